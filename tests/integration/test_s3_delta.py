"""The Delta table on an S3 store (moto server): the same rows, versions and readers as on a disk."""

import json

import fsspec
import polars as pl
import pytest
from deltalake import DeltaTable

from jobs.compact import main as compact_main
from pipeline.results.delta import sync_delta
from pipeline.results.delta_store import delta_store
from pipeline.results.finished import read_answers
from tests.unit.results.answer_rows import commit, row
from tests.unit.results.query_output_rows import write_output

OUTPUT = "s3://tabled/out"


@pytest.fixture(scope="module")
def options(s3_endpoint):
    options = {"endpoint_url": s3_endpoint, "key": "k", "secret": "hidden-secret"}
    fsspec.filesystem("s3", **options).mkdir("tabled")
    write_output(OUTPUT, storage_options=options)
    return options


def keys_of(table):
    return sorted(table.column("question_key").to_pylist())


def test_versions_on_s3_are_the_answers_of_their_time(options, capsys):
    assert sync_delta(OUTPUT, storage_options=options).version == 0
    commit(OUTPUT, [row("e"), row("c", second=9, run="run-9", num_runs=2)], storage_options=options)
    report = sync_delta(OUTPUT, storage_options=options)
    assert (report.version, report.num_added, report.num_changed) == (1, 1, 1)
    place, settings = delta_store(OUTPUT, "delta", options)
    expected = keys_of(read_answers(OUTPUT, storage_options=options))
    assert keys_of(DeltaTable(place, storage_options=settings).to_pyarrow_table()) == expected == list("abcde")
    assert keys_of(DeltaTable(place, version=0, storage_options=settings).to_pyarrow_table()) == list("abcd")
    assert sorted(pl.read_delta(place, storage_options=settings)["question_key"]) == expected
    assert compact_main([OUTPUT, "--table", "delta", "--storage-options", json.dumps(options)]) == 0
    said = capsys.readouterr()
    assert "delta table at version" in said.out
    assert "hidden" not in said.out + said.err
