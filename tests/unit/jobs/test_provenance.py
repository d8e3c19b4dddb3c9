"""What a run writes about its origin: no secret in a command, the commit, hashes of manifests."""

import hashlib
import subprocess

import pytest

from cluster.placement import ClusterSize, NodeSize
from jobs.wiring.provenance import describe_cluster, find_commit, hash_manifest, redact_command


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("--storage-options {secret-x}", "--storage-options ***"),
        ("--storage-options={secret-x} --demo", "--storage-options=*** --demo"),
        ("--storage-options @keys.json --demo", "--storage-options @keys.json --demo"),
        ("--storage-options=@keys.json", "--storage-options=@keys.json"),
        ("--manifest https://me:secret-x@host/m.csv?sig=secret-x", "--manifest https://host/m.csv"),
        ("--output s3://bucket/a#b", "--output s3://bucket/a#b"),
        ("--set tau=secret-x", "--set tau=***"),
    ],
)
def test_no_secret_is_in_the_command(typed, shown):
    assert redact_command(typed.split(), secrets=("secret-x",)) == shown.split()


NOBODY_KNOWS = {"git_commit": None, "git_is_changed": None, "git_source": None}


def test_the_commit_is_that_of_the_clone_and_says_whether_it_was_changed(tmp_path, monkeypatch):
    monkeypatch.delenv("ADAPTTOKEN_GIT_COMMIT", raising=False)

    def git(*words):
        identity = ("-c", "user.name=x", "-c", "user.email=x@example.org")
        command = ["git", "-C", str(tmp_path), *identity, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    none = tmp_path / "no-commit.txt"
    assert find_commit(tmp_path, commit_file=none) == NOBODY_KNOWS
    git("init")
    (tmp_path / "a.py").write_text("a = 1\n")
    git("add", ".")
    git("commit", "-m", "a")
    clean = {"git_commit": git("rev-parse", "HEAD"), "git_is_changed": False, "git_source": "clone"}
    assert find_commit(tmp_path, commit_file=none) == clean
    monkeypatch.setenv("ADAPTTOKEN_GIT_COMMIT", "f00d")  # of another checkout: the clone knows better
    assert find_commit(tmp_path, commit_file=none) == clean
    (tmp_path / "a.py").write_text("a = 2\n")
    assert find_commit(tmp_path, commit_file=none)["git_is_changed"] is True
    (tmp_path / "commit.txt").write_text("0123 changed\n")  # as a wheel has it
    found = find_commit(tmp_path / "away", commit_file=tmp_path / "commit.txt")
    assert found == {"git_commit": "0123", "git_is_changed": True, "git_source": "wheel"}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("0123abc", {"git_commit": "0123abc", "git_is_changed": False, "git_source": "ADAPTTOKEN_GIT_COMMIT"}),
        ("0123abc changed", {"git_commit": "0123abc", "git_is_changed": True, "git_source": "ADAPTTOKEN_GIT_COMMIT"}),
        (" ", NOBODY_KNOWS),
    ],
)
def test_of_a_copy_without_its_history_the_one_who_sent_it_says_the_commit(said, expected, tmp_path, monkeypatch):
    monkeypatch.setenv("ADAPTTOKEN_GIT_COMMIT", said)
    assert find_commit(tmp_path, commit_file=tmp_path / "none.txt") == expected


def test_a_folder_a_pattern_and_a_list_of_manifests_are_hashed_file_by_file(tmp_path):
    for name in ("b.csv", "a.csv"):
        (tmp_path / name).write_text(name)
    hashes = [hashlib.sha256(name.encode()).hexdigest() for name in ("a.csv", "b.csv")]
    for given in (str(tmp_path), f"{tmp_path}/*.csv", [f"{tmp_path}/a.csv", f"{tmp_path}/b.csv"]):
        found = hash_manifest(given, None)
        assert [one["sha256"] for one in found] == hashes
        assert [one["uri"].rpartition("/")[2] for one in found] == ["a.csv", "b.csv"]
    assert hash_manifest(str(tmp_path / "gone.csv"), None)[0]["sha256"] is None


def test_nodes_of_one_size_are_counted_together():
    nodes = (NodeSize(num_cpus=4), NodeSize(num_cpus=16, num_gpus=1), NodeSize(num_cpus=16, num_gpus=1))
    found = describe_cluster(ClusterSize(nodes=nodes, max_gpus=8))
    assert [(one["num_nodes"], one["gpus"]) for one in found["nodes"]] == [(1, 0), (2, 1)]
    assert found["max_gpus"] == 8
