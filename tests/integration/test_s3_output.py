"""Results in an S3 store (moto server): one PUT per commit, no lost change, no row that a reader misses or doubles."""

import json

import duckdb
import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ClientError
from s3fs import S3FileSystem

from jobs.compact import main as compact_main
from pipeline.manifest.reading import read_manifest
from pipeline.results import atomic_files, conditional_writes
from pipeline.results.atomic_files import change_file, delete_unchanged, write_bytes_atomic
from pipeline.results.committer import AnswerCommitter
from pipeline.results.compaction import compact
from pipeline.results.finished import finished_keys, read_answers
from pipeline.results.keys import part_name
from pipeline.results.part_files import AnswersFolder
from pipeline.results.schema import results_table
from pipeline.results.views import views_sql
from pipeline.results.writer import replace_rows
from tests.unit.results.answer_rows import NOTHING, commit, names_of, row, seen, told

OUTPUT = "s3://results/run"
FIRST = [[row("a", "failed"), row("b")], [row("c")], [row("a", second=5), row("d", "failed")]]
ROWS = [one for rows in FIRST for one in rows]


@pytest.fixture(scope="module")
def server(s3_endpoint):
    return {"endpoint_url": s3_endpoint, "key": "k", "secret": "hidden"}


@pytest.fixture
def options(server):
    """Storage options of an empty bucket."""
    filesystem = fsspec.filesystem("s3", **server)
    filesystem.mkdir("results")
    yield server
    filesystem.invalidate_cache()
    filesystem.rm("results", recursive=True)


@pytest.fixture
def requests(monkeypatch):
    """Names of all operations that this process asked of S3."""
    seen_operations = []
    call = S3FileSystem._call_s3

    async def noted(self, method, *args, **kwargs):
        seen_operations.append(method)
        return await call(self, method, *args, **kwargs)

    monkeypatch.setattr(S3FileSystem, "_call_s3", noted)
    return seen_operations


def commit_first(options):
    for rows in FIRST:
        commit(OUTPUT, rows, storage_options=options)


def path_of(*keys):
    return f"{OUTPUT.removeprefix('s3://')}/answers/{part_name(keys)}"


def test_a_commit_is_one_put_and_is_read_back(options, requests):
    commit(OUTPUT, FIRST[0], storage_options=options)
    assert [name for name in requests if "put" in name or "upload" in name] == ["put_object"]
    assert seen(OUTPUT, storage_options=options) == told(FIRST[0])
    finished = finished_keys(OUTPUT, storage_options=options)
    assert (finished.ok, finished.failed) == ({"b"}, {"a"})
    assert {key: row.path for key, row in finished.failed_rows.items()} == {"a": path_of("a", "b")}


def test_large_content_is_one_put_too(options, requests):
    content = bytes(101 * 2**20)  # from 100 MiB on s3fs by itself sends parts
    write_bytes_atomic("s3://results/large", content, storage_options=options)
    assert [name for name in requests if "put" in name or "upload" in name] == ["put_object"]
    assert fsspec.filesystem("s3", **options).info("results/large", refresh=True)["size"] == len(content)


def test_an_upload_in_parts_that_is_never_completed_shows_nothing(options):
    filesystem = fsspec.filesystem("s3", **options)
    target = {"Bucket": "results", "Key": f"run/answers/{part_name(['a'])}"}
    upload = filesystem.call_s3("create_multipart_upload", **target)["UploadId"]
    filesystem.call_s3("upload_part", UploadId=upload, PartNumber=1, Body=b"PAR1 half", **target)
    assert names_of(OUTPUT, storage_options=options) == []
    assert read_answers(OUTPUT, storage_options=options).num_rows == 0
    filesystem.call_s3("abort_multipart_upload", UploadId=upload, **target)
    assert names_of(OUTPUT, storage_options=options) == []


def test_a_put_that_fails_leaves_the_old_object(options, monkeypatch):
    commit(OUTPUT, [row("a")], storage_options=options)

    call = S3FileSystem._call_s3

    async def lose_connection(self, method, *args, **kwargs):
        if method == "put_object":
            raise OSError("connection lost")
        return await call(self, method, *args, **kwargs)

    monkeypatch.setattr(S3FileSystem, "_call_s3", lose_connection)
    with pytest.raises(OSError, match="lost"):
        commit(OUTPUT, [row("a", second=1)], storage_options=options)
    monkeypatch.undo()
    assert seen(OUTPUT, storage_options=options) == told([row("a")])


def before_the_first_put(monkeypatch, act):
    """Let ``act`` happen between another writer's reading and its PUT."""
    put = conditional_writes.put_whole

    def act_then_put(*args, **kwargs):
        monkeypatch.setattr(conditional_writes, "put_whole", put)
        act()
        put(*args, **kwargs)

    monkeypatch.setattr(conditional_writes, "put_whole", act_then_put)


def test_two_runs_that_create_or_change_one_object_at_once_keep_the_better_rows(options, monkeypatch):
    first, second = [row("a", second=1, run="r1"), row("b", "failed", 9)], [row("a", "failed", 2), row("b", second=2)]
    before_the_first_put(monkeypatch, lambda: commit(OUTPUT, second, storage_options=options))
    commit(OUTPUT, first, storage_options=options)
    assert seen(OUTPUT, storage_options=options) == told([*first, *second])
    filesystem = fsspec.filesystem("s3", **options)
    newer = [row(key, second=20, run=f"r-{key}") for key in "ab"]
    tables = [results_table([one], NOTHING) for one in newer]
    before_the_first_put(monkeypatch, lambda: replace_rows(filesystem, path_of("a", "b"), tables[1]))
    assert replace_rows(filesystem, path_of("a", "b"), tables[0])
    assert seen(OUTPUT, storage_options=options) == told(newer)
    assert names_of(OUTPUT, storage_options=options) == [part_name(["a", "b"])]


def test_a_file_deleted_between_reading_and_rewriting_is_not_made_again(options, monkeypatch):
    commit(OUTPUT, [row("a", "failed")], storage_options=options)
    filesystem = fsspec.filesystem("s3", **options)
    before_the_first_put(monkeypatch, lambda: filesystem.rm_file(path_of("a")))
    assert not replace_rows(filesystem, path_of("a"), results_table([row("a")], NOTHING))
    assert names_of(OUTPUT, storage_options=options) == []


def test_a_changed_object_is_not_deleted(options, monkeypatch):
    commit(OUTPUT, [row("a", "failed")], storage_options=options)
    filesystem = fsspec.filesystem("s3", **options)
    (listed,) = AnswersFolder(OUTPUT, options).list_parts()
    replace_rows(filesystem, listed.path, results_table([row("a")], NOTHING))
    assert not delete_unchanged(filesystem, listed.path, listed.version)
    # Changed after the version was compared: the store itself compares once more.
    before = {"ETag": listed.version}
    monkeypatch.setattr(atomic_files, "fresh_info", lambda filesystem, path: before)
    assert not delete_unchanged(filesystem, listed.path, listed.version)
    monkeypatch.undo()
    assert seen(OUTPUT, storage_options=options)["a"][0] == "ok"
    (listed,) = AnswersFolder(OUTPUT, options).list_parts()
    assert delete_unchanged(filesystem, listed.path, listed.version)
    assert not delete_unchanged(filesystem, listed.path, listed.version)


def test_a_store_without_conditional_requests_gets_plain_ones(options, monkeypatch):
    put = S3FileSystem._pipe_file
    conditions = []

    async def refuse_conditions(self, path, data, **kwargs):
        condition = {name for name in kwargs if name.startswith("If")}
        conditions.append(condition)
        if condition:
            response = {"Error": {"Code": "NotImplemented"}, "ResponseMetadata": {"HTTPStatusCode": 501}}
            raise OSError("A header implies functionality that is not implemented") from ClientError(response, "Put")
        return await put(self, path, data, **kwargs)

    monkeypatch.setattr(S3FileSystem, "_pipe_file", refuse_conditions)
    skipping = options | {"skip_instance_cache": True}
    change_file(S3FileSystem(**skipping), "results/x", lambda old: b"new")
    assert conditions == [{"IfNoneMatch"}, set()]
    assert S3FileSystem(**skipping).cat_file("results/x") == b"new"


def test_a_bucket_that_is_not_there_is_an_error_at_once(options):
    with pytest.raises(FileNotFoundError):
        commit("s3://no-such-bucket/run", [row("a")], storage_options=options)
    with pytest.raises(FileNotFoundError):
        finished_keys("s3://no-such-bucket/run", storage_options=options)


class KilledError(BaseException):
    """Stands for SIGKILL."""


@pytest.mark.parametrize("killed_at", range(4))
def test_a_compaction_killed_before_any_put_or_delete_loses_nothing(options, monkeypatch, killed_at):
    commit_first(options)
    changes = iter(range(100))

    def kill_before(call):
        def kill_or_call(*args, **kwargs):
            if next(changes) == killed_at:
                raise KilledError
            return call(*args, **kwargs)

        return kill_or_call

    def compact_twice():
        for _ in range(2):
            compact(OUTPUT, grace_s=0, storage_options=options)

    put = kill_before(conditional_writes.put_whole)
    for module in (atomic_files, conditional_writes):
        monkeypatch.setattr(module, "put_whole", put)
    monkeypatch.setattr(S3FileSystem, "call_s3", kill_before(S3FileSystem.call_s3))  # deletes
    with pytest.raises(KilledError):
        compact_twice()
    monkeypatch.undo()
    assert seen(OUTPUT, storage_options=options) == told(ROWS)
    compact_twice()
    assert names_of(OUTPUT, storage_options=options) == [part_name(["a", "b", "c", "d"])]
    assert seen(OUTPUT, storage_options=options) == told(ROWS)


def test_the_grace_time_counts_from_when_an_object_was_put_aside(options, capsys):
    commit_first(options)
    arguments = [OUTPUT, "--storage-options", json.dumps(options)]
    assert compact_main(arguments) == compact_main(arguments) == 0
    assert "3 wait for that" in capsys.readouterr().out
    assert compact_main([*arguments, "--grace-s", "0"]) == 0
    said = capsys.readouterr()
    assert "3 files deleted that were put aside earlier" in said.out
    assert "hidden" not in said.out + said.err


def test_a_view_over_s3_shows_each_question_once_before_and_after_a_compaction(options):
    commit_first(options)
    connection = duckdb.connect(config={"threads": 1})
    connection.register_filesystem(S3FileSystem(**options, skip_instance_cache=True, use_listings_cache=False))
    connection.execute(views_sql(OUTPUT).partition(";\n\n")[0])
    expected = sorted((key, shown[0], shown[2]) for key, shown in told(ROWS).items())
    for _ in range(3):
        assert connection.execute("SELECT question_key, status, run_id FROM answers ORDER BY 1").fetchall() == expected
        compact(OUTPUT, grace_s=0, storage_options=options)


def test_large_objects_are_read_in_pieces_of_one_version(options, monkeypatch):
    monkeypatch.setattr("pipeline.results.part_files._WHOLE_BYTES", 0)
    commit(OUTPUT, FIRST[0], storage_options=options)
    folder = AnswersFolder(OUTPUT, options)
    (part,) = folder.list_parts()
    assert folder.read_part(part, ["question_key", "status"]).to_pylist() == [
        {"question_key": "a", "status": "failed"},
        {"question_key": "b", "status": "ok"},
    ]
    opened = S3FileSystem.open

    def change_after_opening(self, path, *args, **kwargs):
        monkeypatch.setattr(S3FileSystem, "open", opened)
        file = opened(self, path, *args, **kwargs)
        replace_rows(self, path, results_table([row("a", second=1)], NOTHING))
        return file

    monkeypatch.setattr(S3FileSystem, "open", change_after_opening)
    assert folder.read_part(part, ["status"]).column("status").to_pylist() == ["ok", "ok"]


def test_partitions_and_retries_of_a_run_on_s3(options):
    table = pa.table(
        {"question_id": ["id-a", "id-b"], "video": ["s3://v/1"] * 2, "question": ["?"] * 2, "d": ["ü/%"] * 2}
    )
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer)
    uri = "s3://results/manifest.parquet"
    write_bytes_atomic(uri, buffer.getvalue().to_pybytes(), storage_options=options)
    questions = read_manifest(uri, storage_options=options)
    committer = AnswerCommitter(questions, output_uri=OUTPUT, storage_options=options, partition_by="d")
    committer.commit([row("a", "failed"), row("b")])
    name = f"d=%C3%BC%2F%25/{part_name(['a', 'b'])}"
    assert names_of(OUTPUT, storage_options=options) == [name]
    failed_rows = finished_keys(OUTPUT, storage_options=options).failed_rows
    retry = AnswerCommitter(questions, output_uri=OUTPUT, storage_options=options, replaces=failed_rows)
    retry.commit([row("a", second=1)])
    assert names_of(OUTPUT, storage_options=options) == [name]
    assert seen(OUTPUT, storage_options=options) == told([row("a", second=1), row("b")])
    assert read_answers(OUTPUT, storage_options=options).column("d").to_pylist() == ["ü/%", "ü/%"]
