"""The snippets of docs/orchestration.md, loaded and run by the real schedulers, each where it is installed.

A test of each needs an environment of its own: their requirements exclude each other's. docs/orchestration.md says how.
"""

import json
import re
import subprocess
from pathlib import Path

import pyarrow as pa
import pytest

import adapttoken

pytestmark = pytest.mark.slow
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "orchestration.md").read_text(encoding="utf-8")
BLOCKS = dict(
    zip(("airflow", "prefect", "dagster"), re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL), strict=True)
)


def load(scheduler):
    """What the snippet defines, as where it is imported."""
    names = {"__name__": "nightly"}
    exec(compile(BLOCKS[scheduler], "docs/orchestration.md", "exec"), names)
    return names


def end_with(monkeypatch, code):
    """The command that a snippet runs ends with this exit code; returns what was run."""
    ran = []

    def run(command, **options):
        ran.append(command)
        return subprocess.CompletedProcess(command, code)

    monkeypatch.setattr(subprocess, "run", run)
    return ran


def test_airflow_knows_the_run_and_tries_again_only_where_that_helps(monkeypatch, tmp_path):
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    pytest.importorskip("airflow.sdk", reason="Airflow is not installed: pip install apache-airflow")
    from airflow.sdk.exceptions import AirflowFailException

    found = load("airflow")["nightly_answers"]()
    assert (found.dag_id, found.max_active_runs, found.catchup) == ("nightly_answers", 1, False)
    task = found.get_task("answer")
    assert task.retries == 3
    ran = end_with(monkeypatch, 0)
    task.python_callable()
    assert ran[0][:2] == ["adapttoken", "run"]
    for code, error in ((2, AirflowFailException), (3, AirflowFailException), (1, RuntimeError), (143, RuntimeError)):
        end_with(monkeypatch, code)
        with pytest.raises(error, match=f"exit code {code}"):
            task.python_callable()


@pytest.mark.parametrize(("error", "num_tries"), [(None, 1), (ValueError("manifest"), 1), (RuntimeError("lost"), 2)])
def test_prefect_runs_the_flow_and_tries_again_only_where_that_helps(error, num_tries, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    pytest.importorskip("prefect", reason="Prefect is not installed: pip install prefect")
    from prefect.testing.utilities import prefect_test_harness

    tries = []

    def answer(manifest, **options):
        tries.append((manifest, options["output"]))
        if error is not None and len(tries) < 2:
            raise error
        return pa.table({"status": ["ok", "failed"]})

    monkeypatch.setattr(adapttoken, "run", answer)
    names = load("prefect")
    names["answer"] = names["answer"].with_options(retry_delay_seconds=0)
    names["nightly_answers"].fn.__globals__["answer"] = names["answer"]
    with prefect_test_harness(server_startup_timeout=120):
        if isinstance(error, ValueError):
            with pytest.raises(ValueError, match="manifest"):
                names["nightly_answers"]()
        else:
            names["nightly_answers"]()
            assert "2 questions, 1 failed" in capsys.readouterr().out
    assert tries == [("s3://videos/manifest.parquet", "s3://videos/answers")] * num_tries


def test_dagster_materializes_the_asset_with_what_the_runs_folder_says(monkeypatch, tmp_path):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv("DAGSTER_DISABLE_TELEMETRY", "yes")
    dagster = pytest.importorskip("dagster", reason="Dagster is not installed: pip install dagster")
    names = load("dagster")
    names["OUTPUT"] = names["answers"].op.compute_fn.decorated_fn.__globals__["OUTPUT"] = str(tmp_path / "out")
    folder = tmp_path / "out" / "runs" / "r1"
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps({"run_id": "r1", "num_ok": 5, "num_failed": 1}))
    end_with(monkeypatch, 0)
    done = dagster.materialize([names["answers"]])
    (made,) = done.asset_materializations_for_node("answers")
    assert {name: value.value for name, value in made.metadata.items()} == {
        "run_id": "r1",
        "num_ok": 5,
        "num_failed": 1,
    }
    for code, may_retry in ((2, False), (3, False), (1, True), (143, True)):
        end_with(monkeypatch, code)
        with pytest.raises(dagster.Failure, match=f"exit code {code}") as raised:
            names["answers"](dagster.build_asset_context())
        assert raised.value.allow_retries is may_retry
