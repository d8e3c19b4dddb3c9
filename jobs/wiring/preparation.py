"""From the command line to a run that can start: everything that can be wrong with what the user gave is found here."""

import argparse
import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from jobs.wiring.chosen_settings import addresses_of
from jobs.wiring.configuration import resolve_config
from jobs.wiring.logs import LOG
from jobs.wiring.sandbox import check_sandbox
from jobs.wiring.storage_options import check_storage_options
from pipeline.counted import counted
from pipeline.demo.archive import demo_spec, write_archive
from pipeline.manifest.reading import Manifest, read_manifest
from pipeline.models.loading import ModelIdentity, is_demo_model
from pipeline.planning.fingerprints import look_up_patiently
from pipeline.planning.job_plan import JobPlan, plan_job
from pipeline.results.carried_columns import carry_columns
from pipeline.results.committer import AnswerCommitter
from pipeline.results.rows import RunStamp
from pipeline.settings.config import RunConfig
from pipeline.settings.reading import config_hash
from pipeline.stores import store_of
from pipeline.uris import StorageOptions, strip_secrets


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedRun:
    """What is known once the command line has been understood."""

    config: RunConfig
    identity: ModelIdentity
    manifest: Manifest
    plan: JobPlan
    committer: AnswerCommitter
    stamp: RunStamp
    output: str
    started_at: datetime
    storage_options: StorageOptions = field(repr=False)


def prepare_run(options: argparse.Namespace) -> PreparedRun:
    """Read settings, model identity, manifest and earlier results; look every video up.

    Raises:
        ValueError: A setting, a row of the manifest (``ManifestError``) or the partition column cannot be used.
        OSError: A file cannot be read.
        PipelineError: The model cannot be used.
        OutageError: The storage of the videos does not answer.
    """
    started_at = datetime.now(UTC)
    check_storage_options(options.storage_options, [uri for uri in addresses_of(options) if store_of(uri)])
    config, identity = resolve_config(options)
    stamp = _make_stamp(config, identity, started_at)
    LOG.info("run %s: method %s, settings %s", stamp.run_id, stamp.method, stamp.config_hash)
    check_sandbox(config.reading)
    LOG.info("model %s at revision %s, family %s", strip_secrets(identity.name), identity.revision, identity.family)
    manifest = _read_manifest(options)
    plan = plan_job(
        manifest,
        stamp=stamp,
        output_uri=options.output,
        retry_failed=options.retry_failed,
        max_runs=config.execution.max_runs,
        allow_http=config.reading.allow_http,
        storage_options=options.storage_options,
        look_up=partial(look_up_patiently, outage_s=config.reading.outage_s),
    )
    _tell_plan(plan)
    committer = AnswerCommitter(
        manifest,
        output_uri=options.output,
        storage_options=options.storage_options,
        partition_by=options.partition_by,
        replaces=plan.replaces,
    )
    return PreparedRun(
        config=config,
        identity=identity,
        manifest=manifest,
        plan=plan,
        committer=committer,
        stamp=stamp,
        output=options.output,
        started_at=started_at,
        storage_options=options.storage_options,
    )


def _read_manifest(options: argparse.Namespace) -> Manifest:
    """With columns that can be carried to the end."""
    manifest = read_manifest(
        options.manifest,
        storage_options=options.storage_options,
        limit=options.limit,
        skip_bad_rows=options.skip_bad_rows,
    )
    pass_through, warnings = carry_columns(manifest.pass_through)
    for warning in warnings:
        LOG.warning("manifest: %s", warning)
    manifest = replace(manifest, pass_through=pass_through)
    LOG.info(
        "manifest: %s, %s",
        counted(len(manifest.questions), "question"),
        counted(len(manifest.rejected), "rejected row"),
    )
    return manifest


def _tell_plan(plan: JobPlan) -> None:
    LOG.info(
        "plan: %s about %s to answer, %d fail without being asked, %d done earlier%s",
        *(counted(plan.tasks.num_questions, "question"), counted(len(plan.tasks), "video")),
        *(plan.num_failed, plan.num_skipped),
        f" ({plan.num_skipped_failed} of them failed; --retry-failed asks them again)"
        if plan.num_skipped_failed
        else "",
    )
    if plan.num_skipped_away:
        LOG.warning(
            "%s answered about videos or with transcripts that cannot be reached now",
            counted(plan.num_skipped_away, "question was", "questions were"),
        )
    if plan.num_without_transcript:
        LOG.warning("%s will fail: no transcript can be read", counted(plan.num_without_transcript, "question"))


def make_demo(options: argparse.Namespace) -> None:
    """Write the demo archive, and let the run use it."""
    options.output = options.output or "demo_output"
    folder = Path(options.output) / "archive"
    LOG.info("making the demo archive in %s …", folder)
    options.manifest = [str(write_archive(folder, demo_spec()))]


def _make_stamp(config: RunConfig, identity: ModelIdentity, started_at: datetime) -> RunStamp:
    return RunStamp(
        run_id=f"{started_at:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}",
        method=config.method,
        model=strip_secrets(identity.name),
        model_revision=identity.revision,
        config_hash=config_hash(config, model_revision=identity.revision),
        is_demo_model=is_demo_model(identity.name),
        prompt_style=config.scoring.prompt_style,
    )
