"""Damage to files: what each kind does to the bytes, and that a reader survives a few dozen damaged videos."""

import dataclasses
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.lab.benchmarks.fuzzing import fuzz_reader, write_sources
from pipeline.lab.benchmarks.mutations import MUTATION_KINDS, mutate

ANY_FILE = st.binary(min_size=16, max_size=3000)
SEEDS = st.integers(0, 2**32)


@pytest.mark.parametrize("kind", MUTATION_KINDS)
@settings(deadline=None, max_examples=60)
@given(data=ANY_FILE, seed=SEEDS)
def test_the_same_seed_does_the_same_damage_and_no_more_than_its_kind_says(kind, data, seed):
    damaged = mutate(data, Random(seed), kind=kind)
    assert damaged == mutate(data, Random(seed), kind=kind)
    num_changed = sum(left != right for left, right in zip(data, damaged, strict=False))
    if kind in ("flip_bits", "overwrite", "swap_blocks", "edit_number"):
        assert len(damaged) == len(data)
    if kind == "flip_bits":
        assert num_changed <= 64
    elif kind == "edit_number":
        assert num_changed <= 4
    elif kind == "swap_blocks":
        assert sorted(damaged) == sorted(data)
    elif kind == "truncate":
        assert data.startswith(damaged)
        assert 0 < len(damaged) < len(data)
    elif kind == "delete":
        assert len(data) // 2 <= len(damaged) < len(data)
    elif kind in ("insert", "duplicate"):
        assert len(data) < len(damaged) <= len(data) * 3 // 2


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("duplicate", lambda data, damaged: len(set(damaged)) == len(set(data))),
        ("insert", lambda data, damaged: is_subsequence(data, damaged)),
        ("delete", lambda data, damaged: is_subsequence(damaged, data)),
    ],
)
def test_what_is_left_keeps_its_order(kind, expected):
    data = bytes(range(40))
    for seed in range(50):
        assert expected(data, mutate(data, Random(seed), kind=kind))


def is_subsequence(part, whole):
    rest = iter(whole)
    return all(byte in rest for byte in part)


def test_a_number_is_edited_close_to_the_name_of_a_box():
    data = bytes(500) + b"stsz" + bytes(496)
    for seed in range(50):
        damaged = mutate(data, Random(seed), kind="edit_number")
        changed = [i for i, (left, right) in enumerate(zip(data, damaged, strict=True)) if left != right]
        assert all(496 <= i < 524 for i in changed)


@pytest.mark.parametrize(("data", "kind"), [(bytes(15), "truncate"), (bytes(16), "melt")])
def test_too_short_a_file_and_an_unknown_kind_are_refused(data, kind):
    with pytest.raises(ValueError, match=r"at least 16 bytes and a kind of .*'flip_bits'"):
        mutate(data, Random(0), kind=kind)


def test_a_reader_survives_56_damaged_videos_in_time_and_leaves_nothing_behind(tmp_path):
    sources = write_sources(tmp_path)
    assert len(sources) * len(MUTATION_KINDS) == 56  # each kind of damage to each kind of file
    report = fuzz_reader(sources, tmp_path, count=56, seed=1, timeout_s=20.0)
    assert report.problems == ()
    assert sum(report.outcomes.values()) == report.num_files == 56
    assert set(report.outcomes) <= {"ok", "ok-with-warning", "corrupt_media", "unsupported_media", "too_large"}
    assert min(report.outcomes["ok"], report.outcomes["corrupt_media"]) > 10
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(sources)


def test_growth_hangs_leaks_and_internal_errors_are_problems(tmp_path):
    report = fuzz_reader({"a.mp4": b"no video at all, but text"}, tmp_path, count=2, seed=0, timeout_s=5.0)
    assert (report.problems, report.outcomes) == ((), {"unsupported_media": 2})
    bad = dataclasses.replace(
        report,
        late=("a: 9 s",),
        internal=("b: TypeError",),
        leaked_pids=(7,),
        child_bytes_at_20=100 * 2**20,
        child_bytes_at_200=121 * 2**20,
    )
    assert bad.problems == (
        "late: a: 9 s",
        "internal: b: TypeError",
        "leaked process: 7",
        "memory of the child grew from 100 to 121 MiB",
    )
