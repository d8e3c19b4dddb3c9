"""The main job from options to exit code: a manifest of questions about long videos in, a Parquet of answers out."""

import argparse
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from actors.builders import Job
from actors.outcomes import VideoOutcome
from cluster.placement import PlacementError
from jobs.wiring.executors import run_job
from jobs.wiring.exit_codes import EXIT_FAILURES, EXIT_JOB, EXIT_OK, EXIT_USAGE
from jobs.wiring.giving_up import ENDED_WITHOUT_A_WORD, GivingUp
from jobs.wiring.interruption import SignalGuard, raise_on_signals
from jobs.wiring.logs import LOG, LogLines
from jobs.wiring.long_waits import LongWaits
from jobs.wiring.model_source import load_configured_model, load_tokenizer
from jobs.wiring.plan import print_plan
from jobs.wiring.preparation import PreparedRun, make_demo, prepare_run
from jobs.wiring.provenance import Provenance
from jobs.wiring.terminal import measure_width
from jobs.wiring.watchers import Watchers, start_watchers
from pipeline.engine.progress import Progress
from pipeline.failures import OutageError, PipelineError, with_store_errors
from pipeline.models.checkpoints.files import CheckpointError
from pipeline.results.delta import check_delta, sync_delta
from pipeline.results.demo_warning import DEMO_MODEL_WARNING, count_demo_warnings
from pipeline.results.finished import read_answers
from pipeline.results.key_set import KeySet
from pipeline.results.rows import QuestionResult
from pipeline.results.summary import summarize
from pipeline.results.written_rows import WrittenRows
from pipeline.uris import strip_secrets
from pipeline.watch.display import (
    ProgressDisplay,
    describe_commit,
    describe_summary,
    format_answers,
    format_failures,
    order_as_manifest,
)
from pipeline.watch.pace import Outlook, Pace
from pipeline.watch.run_folder import RunFolder

COMMIT_S = 300.0
"""Most seconds for one file of some kilobytes, with all the tries that a storage's client makes by itself."""

_COMMIT_REMEDY = "check that storage; what was committed before stays, and the same command goes on from there"


def run_from(options: argparse.Namespace) -> int:
    """Run the job, or only plan it; returns the exit code."""
    with raise_on_signals() as guard:
        try:
            if options.table == "delta":
                check_delta()
            if options.demo:
                make_demo(options)
            run = prepare_run(options)
            if options.plan:
                return print_plan(run, options)
            folder = RunFolder(
                run.output,
                run.stamp.run_id,
                storage_options=run.storage_options,
                progress_interval_s=options.progress_interval_s,
            )
            folder.write_config(run.config)
            origin = Provenance(folder, options, run_id=run.stamp.run_id, started_at=run.started_at)
            watchers = start_watchers(run, options, origin.content)
        except KeyboardInterrupt:
            return guard.exit_code
        except (CheckpointError, OutageError) as error:
            return _complain(error, EXIT_JOB)
        except with_store_errors(ValueError, OSError, PipelineError) as error:  # a ManifestError is a ValueError
            return _complain(error, EXIT_USAGE)
        return _run(run, options, folder, guard, origin, watchers)


def _run(
    run: PreparedRun,
    options: argparse.Namespace,
    folder: RunFolder,
    guard: SignalGuard,
    origin: Provenance,
    watchers: Watchers,
) -> int:
    """Answer what is pending; whatever happens, the run's files are written, with the code it ends with."""
    code, written = EXIT_JOB, WrittenRows()
    guard.last_words = lambda exit_code: _note_interruption(run, written, folder, exit_code)

    give_up = GivingUp(guard, lambda exit_code: _write_summary(run, written, folder, exit_code))
    try:
        with guard.farewell.in_case(f"ERROR {ENDED_WITHOUT_A_WORD}") if options.executor == "ray" else nullcontext():
            _execute(run, options, folder, guard, written, give_up, origin, watchers)
        code = EXIT_FAILURES if written.num_failed > options.max_failures else EXIT_OK
        code = _keep_table(run, options, code)
    except KeyboardInterrupt:
        code = guard.exit_code
    except PlacementError as error:
        code = _complain(error, EXIT_USAGE)
    except with_store_errors(PipelineError, OSError) as error:
        code = _complain(error, EXIT_JOB)
    finally:  # a bug passes on with its traceback, and exit code 1
        summary = _write_summary(run, written, folder, code)
        _report(run, summary, written, is_demo=options.demo)
        watchers.end(summary)
    give_up.leave_if_stuck(code)
    return code


def _keep_table(run: PreparedRun, options: argparse.Namespace, code: int) -> int:
    """Bring the Delta table up to date, where one is wanted: the answers are safe already, whatever becomes of it."""
    if options.table != "delta":
        return code
    try:
        report = sync_delta(run.output, storage_options=run.storage_options)
    except with_store_errors(ValueError, OSError) as error:
        LOG.error("%s; the answers are there, and the same command brings the table up to date", error)
        return EXIT_JOB
    LOG.info(
        "%s/delta is at version %d: %d rows added, %d changed, %d removed",
        *(strip_secrets(run.output), report.version, report.num_added, report.num_changed, report.num_removed),
    )
    return code


def _note_interruption(run: PreparedRun, written: WrittenRows, folder: RunFolder, code: int) -> None:
    LOG.warning("interrupted; the same command goes on from here")
    _write_summary(run, written, folder, code)


def _execute(
    run: PreparedRun,
    options: argparse.Namespace,
    folder: RunFolder,
    guard: SignalGuard,
    written: WrittenRows,
    give_up: GivingUp,
    origin: Provenance,
    watchers: Watchers,
) -> None:
    """Commit video by video; a signal waits until the commit under way is on record."""
    is_warned, waits = False, LongWaits(give_up)

    def commit(rows: Sequence[QuestionResult], planned_keys: Sequence[str] = ()) -> None:
        nonlocal is_warned
        with (
            guard.hold(),
            waits.over(f"a commit to {strip_secrets(run.output)}", limit_s=COMMIT_S, remedy=_COMMIT_REMEDY),
        ):
            folder.check_is_there()
            table = run.committer.commit(rows, planned_keys=planned_keys)
            written.add(table)
        watchers.note_rows(table)
        LOG.info("%s", describe_commit(rows))
        if not is_warned and count_demo_warnings(row.warnings for row in rows):
            is_warned = True
            LOG.warning("video %s: %s", strip_secrets(rows[0].video), DEMO_MODEL_WARNING)

    for rows in run.plan.failed_rows(run.stamp):
        commit(rows)
    if not run.plan.tasks:
        return
    stream = LogLines() if options.log_format == "json" else None
    pace, display = Pace(), ProgressDisplay(stream, every_s=options.progress_every)
    events = run_job(
        _make_job(run, is_traced=options.otel),
        options.executor,
        address=options.address,
        on_lost=give_up,
        on_ready=folder.note_worker,
        on_cluster=origin.note_cluster,
    )
    with closing(display), closing(events):
        for event in events:
            if isinstance(event, Progress):
                outlook = pace.note(event)
                display.show(event, outlook)
                _note_progress(folder, event, outlook)
            else:
                for note in event.notes:
                    LOG.warning("%s", note)
                watchers.note_video(event)
                if (left := _still_asked(event, run.plan.answered)).rows:
                    commit(left.rows, left.planned_keys)
    folder.check_is_there()


def _still_asked(outcome: VideoOutcome, answered: KeySet) -> VideoOutcome:
    """Of a video that was replaced by a version which an earlier run knew, what that run answered stays as it is."""
    pairs = list(zip(outcome.rows, outcome.planned_keys, strict=True)) if outcome.planned_keys else []
    left = [(row, key) for row, key in pairs if row.question_key not in answered]
    if len(left) == len(pairs):
        return outcome
    return replace(outcome, rows=tuple(row for row, _ in left), planned_keys=tuple(key for _, key in left))


def _make_job(run: PreparedRun, *, is_traced: bool) -> Job:
    return Job(
        tasks=run.plan.tasks,
        num_videos=len(run.plan.tasks),
        config=run.config,
        layout=run.identity.layout,
        tokenizer=load_tokenizer(run.config, storage_options=run.storage_options),
        stamp=run.stamp,
        load_model=partial(load_configured_model, storage_options=run.storage_options),
        storage_options=run.storage_options,
        num_parameters=run.identity.size.num_parameters if run.identity.size else 0,
        is_told_cpu=run.config.execution.gpus_per_scorer == 0,
        is_traced=is_traced,
    )


def _note_progress(folder: RunFolder, progress: Progress, outlook: Outlook) -> None:
    """Progress is news, not a result: a store that is away for a moment does not end the job."""
    try:
        folder.note_progress(progress, outlook)
    except with_store_errors(OSError) as error:
        LOG.warning("%s/progress.json cannot be written (%s); going on", folder.uri, type(error).__name__)


def _report(run: PreparedRun, summary: dict[str, object], written: WrittenRows, *, is_demo: bool) -> None:
    """Say in a few lines what was done."""
    if is_demo:
        rows = read_answers(run.output).to_pylist()
        if own := order_as_manifest(rows, run.manifest, config_hash=run.stamp.config_hash):
            print(format_answers(own, width=measure_width()))
    print(describe_summary(summary, output=run.output))
    if written.num_failed:
        print(format_failures(written.failures, num_failed=written.num_failed))
    LOG.info("run %s ends with exit code %s", run.stamp.run_id, summary["exit_code"])


def _write_summary(run: PreparedRun, written: WrittenRows, folder: RunFolder, code: int) -> dict[str, object]:
    finished_at = datetime.now(UTC)
    summary = summarize(
        written.table(),
        stamp=run.stamp,
        started_at=run.started_at,
        finished_at=finished_at,
        wall_s=(finished_at - run.started_at).total_seconds(),
        exit_code=code,
        num_skipped=run.plan.num_skipped,
    )
    try:
        folder.write_summary(summary)
    except PipelineError:
        LOG.warning("%s is gone, so nothing is written there", folder.uri)
    except with_store_errors(OSError) as error:  # a full disk: what was committed stays, and the same command goes on
        reason = getattr(error, "strerror", None) or type(error).__name__
        _complain(OSError(f"{folder.uri} cannot be written ({reason}); free space or check the rights"), code)
    return summary


def _complain(error: BaseException, code: int) -> int:
    LOG.error("%s", error)
    return code
