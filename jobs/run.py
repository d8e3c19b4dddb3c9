"""The main job: a manifest of questions about long videos in, a Parquet of answers out. Wiring only."""

import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from actors.builders import Job
from actors.coordinator import VideoOutcome
from jobs.cli import build_parser, resolve_config
from pipeline.config import RunConfig
from pipeline.config_io import config_hash, to_dict
from pipeline.demo.archive import demo_spec, write_archive
from pipeline.display import ProgressDisplay, describe_summary, format_answers
from pipeline.engine.job_state import Progress
from pipeline.failures import PipelineError
from pipeline.job_plan import JobPlan, commit_rows, plan_job
from pipeline.manifest import Manifest, ManifestError, read_manifest
from pipeline.models.interface import VideoModel
from pipeline.models.loading import ModelIdentity, load_model
from pipeline.results.finished import read_answers
from pipeline.results.rows import RunStamp
from pipeline.results.schema import results_table
from pipeline.results.summary import summarize, write_json_atomic
from pipeline.results.writer import write_bytes_atomic

EXIT_OK, EXIT_JOB, EXIT_USAGE, EXIT_FAILURES, EXIT_INTERRUPTED = 0, 1, 2, 3, 130


@dataclass(frozen=True, kw_only=True, slots=True)
class _Run:
    """What is known once the command line has been understood."""

    config: RunConfig
    identity: ModelIdentity
    manifest: Manifest
    stamp: RunStamp
    output: str
    executor: str


def load_configured_model(config: RunConfig) -> VideoModel:
    """In the worker: the checkpoint of a run, with its thread count."""
    return load_model(config.model, torch_threads=config.execution.torch_threads)


def main(arguments: list[str] | None = None) -> int:
    """Run the job; returns the exit code."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.manifest and not options.output:
        parser.error("--manifest needs --output: the folder that receives answers/ and runs/")
    started_at, started = datetime.now(UTC), time.monotonic()
    try:
        if options.demo:
            options.output = options.output or "demo_output"
            options.manifest = str(_make_demo(options.output))
        config, identity = resolve_config(options)
        manifest = read_manifest(options.manifest, limit=options.limit, skip_bad_rows=options.skip_bad_rows)
        run = _Run(
            config=config,
            identity=identity,
            manifest=manifest,
            stamp=_stamp(config, identity),
            output=options.output,
            executor=options.executor,
        )
        plan = plan_job(manifest, stamp=run.stamp, output_uri=run.output, retry_failed=options.retry_failed)
    except (ManifestError, ValueError, PipelineError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USAGE
    tables: list[pa.Table] = []
    try:
        for table in _execute(run, plan):
            tables.append(table)
        code = _exit_code(tables, options.max_failures)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        code = EXIT_INTERRUPTED
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        code = EXIT_JOB
    _report(run, plan, tables, code, started_at=started_at, wall_s=time.monotonic() - started, is_demo=options.demo)
    return code


def _make_demo(output: str) -> str:
    folder = Path(output) / "archive"
    print(f"making the demo archive in {folder} …", file=sys.stderr)
    return str(write_archive(folder, demo_spec()))


def _stamp(config: RunConfig, identity: ModelIdentity) -> RunStamp:
    return RunStamp(
        run_id=f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}",
        method=config.method,
        model=identity.name,
        model_revision=identity.revision,
        config_hash=config_hash(config, model_revision=identity.revision),
    )


def _execute(run: _Run, plan: JobPlan) -> Iterator[pa.Table]:
    """Yield one table per commit, written already."""
    for rows in plan.failed:
        yield commit_rows(rows, run.manifest, output_uri=run.output)
    if not plan.tasks:
        return
    job = Job(
        tasks=plan.tasks,
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
                yield commit_rows(event.rows, run.manifest, output_uri=run.output)


def _events(run: _Run, job: Job) -> Iterator[VideoOutcome | Progress]:
    if run.executor == "serial":
        from actors.serial_executor import run_serial

        yield from run_serial(job)
        return
    from actors.ray_executor import ActorOptions, run_on_ray
    from cluster.placement import plan_placement
    from cluster.session import cluster_resources, ray_session

    execution = run.config.execution
    with ray_session():
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


def _exit_code(tables: list[pa.Table], max_failures: int) -> int:
    num_failed = sum(table.column("status").to_pylist().count("failed") for table in tables)
    return EXIT_FAILURES if num_failed > max_failures else EXIT_OK


def _report(
    run: _Run,
    plan: JobPlan,
    tables: list[pa.Table],
    code: int,
    *,
    started_at: datetime,
    wall_s: float,
    is_demo: bool,
) -> None:
    """Write the run's files and say in a few lines what was done."""
    answers = pa.concat_tables(tables) if tables else results_table([], run.manifest.pass_through.slice(0, 0))
    folder = f"{run.output.rstrip('/')}/runs/{run.stamp.run_id}"
    summary = summarize(
        answers,
        stamp=run.stamp,
        started_at=started_at,
        finished_at=datetime.now(UTC),
        wall_s=wall_s,
        exit_code=code,
        num_skipped=plan.num_skipped,
    )
    write_json_atomic(f"{folder}/summary.json", summary)
    write_bytes_atomic(f"{folder}/config.yaml", yaml.safe_dump(to_dict(run.config), sort_keys=False).encode())
    if is_demo:
        print(format_answers(_this_config(run)))
    print(describe_summary(summary, output=run.output))


def _this_config(run: _Run) -> list[dict[str, Any]]:
    """All answers of this configuration, from this run or an earlier one."""
    rows = read_answers(run.output).to_pylist()
    return [row for row in rows if row["config_hash"] == run.stamp.config_hash]


if __name__ == "__main__":
    sys.exit(main())
