"""The main job: a manifest of questions about long videos in, a Parquet of answers out. Wiring only."""

import argparse
import sys
import time
import uuid
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from actors.builders import Job
from actors.coordinator import VideoOutcome
from cluster.placement import PlacementError
from jobs.cli import build_parser, resolve_config
from jobs.interruption import InterruptedBySignalError, raise_on_signals
from jobs.model_source import load_configured_model
from pipeline.config import RunConfig
from pipeline.config_io import config_hash, to_dict
from pipeline.demo.archive import demo_spec, write_archive
from pipeline.display import ProgressDisplay, describe_summary, format_answers, format_failures
from pipeline.engine.progress import Progress
from pipeline.failures import PipelineError
from pipeline.job_plan import AnswerCommitter, JobPlan, plan_job
from pipeline.manifest import Manifest, read_manifest
from pipeline.models.loading import ModelIdentity
from pipeline.results.finished import read_answers
from pipeline.results.rows import RunStamp
from pipeline.results.schema import results_table
from pipeline.results.summary import summarize, write_json_atomic
from pipeline.results.writer import write_bytes_atomic
from pipeline.uris import redact_text

EXIT_OK, EXIT_JOB, EXIT_USAGE, EXIT_FAILURES = 0, 1, 2, 3
_OTHER_OBJECTS_BYTES = 256 * 1024**2  # in a local object store, beside frames


@dataclass(frozen=True, kw_only=True, slots=True)
class _Run:
    """What is known once the command line has been understood."""

    config: RunConfig
    identity: ModelIdentity
    manifest: Manifest
    plan: JobPlan
    stamp: RunStamp
    output: str
    executor: str
    is_demo: bool
    max_failures: int
    started_at: datetime


def main(arguments: list[str] | None = None) -> int:
    """Run the job; returns the exit code."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.manifest and not options.output:
        parser.error("--manifest needs --output: the folder that receives answers/ and runs/")
    with raise_on_signals():
        try:
            run = _prepare(options)
        except InterruptedBySignalError as interruption:
            return interruption.exit_code
        except (ValueError, OSError, PipelineError) as error:  # a ManifestError is a ValueError
            return _complain(error, EXIT_USAGE)
        return _run_job(run)


def _prepare(options: argparse.Namespace) -> _Run:
    """Everything that can be wrong with what the user gave is found here, before Ray starts."""
    started_at = datetime.now(UTC)
    config, identity = resolve_config(options)
    if options.demo:
        options.output = options.output or "demo_output"
        options.manifest = _make_demo(options.output)
    manifest = read_manifest(options.manifest, limit=options.limit, skip_bad_rows=options.skip_bad_rows)
    stamp = RunStamp(
        run_id=f"{started_at:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}",
        method=config.method,
        model=identity.name,
        model_revision=identity.revision,
        config_hash=config_hash(config, model_revision=identity.revision),
    )
    return _Run(
        config=config,
        identity=identity,
        manifest=manifest,
        plan=plan_job(
            manifest,
            stamp=stamp,
            output_uri=options.output,
            retry_failed=options.retry_failed,
            allow_http=config.reading.allow_http,
        ),
        stamp=stamp,
        output=options.output,
        executor=options.executor,
        is_demo=options.demo,
        max_failures=options.max_failures,
        started_at=started_at,
    )


def _make_demo(output: str) -> str:
    folder = Path(output) / "archive"
    print(f"making the demo archive in {folder} …", file=sys.stderr)
    return str(write_archive(folder, demo_spec()))


def _run_job(run: _Run) -> int:
    """Answer what is pending; whatever happens, the run's files are written, with the code it ends with."""
    started, code = time.monotonic(), EXIT_JOB
    tables: list[pa.Table] = []
    try:
        for table in _execute(run):
            tables.append(table)
        num_failed = sum(table.column("status").to_pylist().count("failed") for table in tables)
        code = EXIT_FAILURES if num_failed > run.max_failures else EXIT_OK
    except InterruptedBySignalError as interruption:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        code = interruption.exit_code
    except PlacementError as error:
        code = _complain(error, EXIT_USAGE)
    except (PipelineError, OSError) as error:
        code = _complain(error, EXIT_JOB)
    finally:  # a bug passes on with its traceback, and exit code 1
        _report(run, tables, code, wall_s=time.monotonic() - started)
    return code


def _complain(error: BaseException, code: int) -> int:
    print(f"error: {redact_text(str(error))}", file=sys.stderr)
    return code


def _execute(run: _Run) -> Iterator[pa.Table]:
    """Yield one table per commit, written already."""
    committer = AnswerCommitter(run.manifest, output_uri=run.output)
    for rows in run.plan.failed:
        yield committer.commit(rows)
    if not run.plan.tasks:
        return
    job = Job(
        tasks=run.plan.tasks,
        config=run.config,
        layout=run.identity.layout,
        stamp=run.stamp,
        load_model=load_configured_model,
    )
    with closing(ProgressDisplay()) as display, closing(_events(run, job)) as events:
        for event in events:
            if isinstance(event, Progress):
                display.show(event)
            else:
                yield committer.commit(event.rows)


def _events(run: _Run, job: Job) -> Generator[VideoOutcome | Progress, None, None]:
    if run.executor == "serial":
        from actors.serial_executor import run_serial

        yield from run_serial(job)
        return
    from actors.ray_executor import ActorOptions, run_on_ray
    from cluster.placement import plan_placement
    from cluster.session import cluster_resources, ray_session

    execution = run.config.execution
    with ray_session(object_store_bytes=execution.frame_memory_bytes + _OTHER_OBJECTS_BYTES):
        num_cpus, num_gpus = cluster_resources()
        placement = plan_placement(
            num_cpus=num_cpus,
            num_gpus=num_gpus,
            num_scorers=execution.num_scorers,
            num_decoders=execution.num_decoders,
            gpus_per_scorer=execution.gpus_per_scorer,
        )
        options = ActorOptions(scorer=placement.scorer, decoder=placement.decoder, coordinator=placement.coordinator)
        yield from run_on_ray(job, options)


def _report(run: _Run, tables: list[pa.Table], code: int, *, wall_s: float) -> None:
    """Write the run's files and say in a few lines what was done."""
    answers = pa.concat_tables(tables) if tables else results_table([], run.manifest.pass_through.slice(0, 0))
    folder = f"{run.output.rstrip('/')}/runs/{run.stamp.run_id}"
    summary = summarize(
        answers,
        stamp=run.stamp,
        started_at=run.started_at,
        finished_at=datetime.now(UTC),
        wall_s=wall_s,
        exit_code=code,
        num_skipped=run.plan.num_skipped,
    )
    try:
        write_json_atomic(f"{folder}/summary.json", summary)
        write_bytes_atomic(f"{folder}/config.yaml", yaml.safe_dump(to_dict(run.config), sort_keys=False).encode())
    except OSError as error:  # a full disk: what was committed before stays, and the same command goes on
        _complain(OSError(f"{folder} cannot be written ({error.strerror}); free space or check the rights"), code)
    if run.is_demo:
        print(format_answers(_this_config(run)))
    print(describe_summary(summary, output=run.output))
    if summary["num_failed"]:
        print(format_failures(answers.select(["question_id", "status", "error_class", "error_message"]).to_pylist()))


def _this_config(run: _Run) -> list[dict[str, Any]]:
    """All answers of this configuration, from this run or an earlier one, in manifest order."""
    rows = [row for row in read_answers(run.output).to_pylist() if row["config_hash"] == run.stamp.config_hash]
    order = {question.question_id: question.row_index for question in run.manifest.questions}
    return sorted(rows, key=lambda row: order.get(row["question_id"], -1))


if __name__ == "__main__":
    sys.exit(main())
