"""The shipped weights answer every kind of question about one short encoded video."""

import collections

import numpy as np
import pyarrow.parquet as pq
import pytest

from jobs import run
from pipeline.lab.synthetic.benchmark import BenchmarkSpec, write_benchmark
from pipeline.results.finished import read_answers


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Answers about two videos of 640 sampled frames; a seed that no figure uses."""
    folder = tmp_path_factory.mktemp("synthetic")
    manifest = write_benchmark(folder, BenchmarkSpec(num_frames=(640,), videos_per_length=2, seed=41_414))
    output = str(folder / "answers")
    arguments = ["--manifest", str(manifest), "--output", output, "--model", "demo", "--executor", "serial"]
    assert run.main(arguments) == 0
    answers = read_answers(output).to_pylist()
    assert {row["question_id"] for row in answers} == set(pq.read_table(manifest)["question_id"].to_pylist())
    by_kind = collections.defaultdict(list)
    for row in answers:
        by_kind[row["kind"]].append(row)
    return by_kind


@pytest.mark.parametrize("kind", ["needle", "order", "last"])
def test_needles_their_order_and_last_values_are_answered(rows, kind):
    assert sum(row["answer"] == row["expected"] for row in rows[kind]) == len(rows[kind]) == 4


def test_counts_are_answered_with_less_doubt_than_missing_objects(rows):
    """How often they are right is a matter of benchmarks; that something was seen is not."""
    doubt = {kind: np.mean([row["answer_entropy"] for row in rows[kind]]) for kind in ("count", "absent")}
    assert doubt["count"] < doubt["absent"] - 0.05


def test_nobody_is_sure_about_what_never_appears(rows):
    unsure = [row["answer_entropy"] for row in rows["absent"]]
    sure = [row["answer_entropy"] for kind in ("needle", "last") for row in rows[kind]]
    assert np.mean([a > b for a in unsure for b in sure]) > 0.9
    assert min(unsure) > 0.5


def test_evidence_of_a_needle_lies_on_it(rows):
    spans = [(row["evidence"][0], row["needle_start_s"][0], row["needle_end_s"][0]) for row in rows["needle"]]
    hits = [span["start_s"] < end and start < span["end_s"] for span, start, end in spans]
    assert sum(hits) >= 3
