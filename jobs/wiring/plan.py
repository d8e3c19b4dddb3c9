"""``run.py --plan``: what a run would do and cost. Reads headers, configuration and tokenizer; starts nothing."""

import argparse
import json
from dataclasses import asdict, replace

from cluster.placement import ClusterSize, Placement, PlacementError
from jobs.wiring.executors import MOST_ON_CPU, place, settle_config
from jobs.wiring.exit_codes import EXIT_OK, EXIT_USAGE
from jobs.wiring.logs import LOG
from jobs.wiring.machines import machines_to_plan_for
from jobs.wiring.model_source import load_tokenizer
from jobs.wiring.preparation import PreparedRun
from jobs.wiring.terminal import measure_width
from pipeline.counted import counted
from pipeline.planning.estimate import JobEstimate, estimate_job
from pipeline.planning.model_cost import judge_memory, read_checkpoint_config, scorer_speed
from pipeline.planning.plan_table import format_plan
from pipeline.planning.question_sample import sample_questions
from pipeline.planning.video_sample import sample_videos
from pipeline.results.atomic_files import write_bytes_atomic
from pipeline.settings.config import RunConfig
from pipeline.video.machine_speed import relative_decode_time


def print_plan(run: PreparedRun, options: argparse.Namespace) -> int:
    """Print the table; write the same figures as JSON where that was asked for. What does not fit is exit code 2.

    Raises:
        ValueError: An option of the plan is out of range.
    """
    for name, least in (("plan_probes", 0), ("plan_tflops", 0), ("plan_gpu_gib", 0)):
        value = getattr(options, name)
        if value is not None and (value < least or (value == 0 and name != "plan_probes")):
            raise ValueError(f"--{name.replace('_', '-')} must be positive, got {value}")
    layout, storage = run.identity.layout, run.storage_options
    machines, where = machines_to_plan_for(options)
    config = settle_config(run.config, machines, is_logged=False, has_cuda=True if options.cluster_shape else None)
    LOG.info(
        "workers are planned for %s (%s): %d scorers, %g GPUs each, %d decoders",
        *(where, describe_machines(machines)),
        *(config.execution.scorers, config.execution.gpus, config.execution.decoders),
    )
    sample = sample_videos(
        run.plan.tasks.uris(),
        config=config,
        layout=layout,
        storage_options=storage,
        max_probes=options.plan_probes,
        ranges=run.plan.tasks.ranges(),
    )
    LOG.info("headers: %s probed, %d bytes read", counted(len(sample.costs), "video"), sample.bytes_read)
    checkpoint = read_checkpoint_config(config, storage)
    estimate = estimate_job(
        run.plan,
        sample,
        checkpoint=checkpoint,
        model=judge_memory(
            checkpoint, config=config, layout=layout, gpu_gib=options.plan_gpu_gib, size=run.identity.size
        ),
        config=config,
        speed=scorer_speed(config, options.plan_tflops),
        decode_factor=relative_decode_time() if run.plan.tasks else 1.0,
        questions=sample_questions(
            run.plan.tasks,
            sample,
            tokenizer=load_tokenizer(config, storage_options=storage),
            layout=layout,
            config=config,
        ),
    )
    problem = _find_problem(run, config, machines, where, estimate)
    estimate_here = replace(estimate, model=replace(estimate.model, problem=problem))
    print(format_plan(estimate_here, width=measure_width()))
    if options.plan_output:
        text = json.dumps(asdict(estimate), indent=2, allow_nan=False)
        write_bytes_atomic(options.plan_output, f"{text}\n".encode(), storage_options=storage)
    if problem:
        LOG.error("the plan does not fit: %s", problem)
        return EXIT_USAGE
    return EXIT_OK


def describe_machines(cluster: ClusterSize) -> str:
    """``8 nodes, 128 CPUs, 8 GPUs``."""
    cpus, gpus = (sum(getattr(node, name) for node in cluster.nodes) for name in ("num_cpus", "num_gpus"))
    most = f", up to {cluster.max_cpus:g} CPUs and {cluster.max_gpus:g} GPUs" if cluster.max_cpus else ""
    return f"{len(cluster.nodes)} nodes, {cpus:g} CPUs, {gpus:g} GPUs{most}"


def _find_problem(run: PreparedRun, config: RunConfig, machines: ClusterSize, where: str, estimate: JobEstimate) -> str:
    """Why a run of these settings would be refused there, or end in memory; empty where it fits."""
    if estimate.model.problem:
        return estimate.model.problem
    told_cpu = run.config.execution.gpus_per_scorer == 0
    if not config.execution.gpus and not told_cpu and estimate.model.num_parameters > MOST_ON_CPU:
        return (
            f"{where} has no GPU that torch can use, and the model has {estimate.model.num_parameters / 1e9:.1f} "
            "billion parameters; name other machines with --cluster-shape, or add --set gpus_per_scorer=0"
        )
    try:
        found = place(
            config,
            machines,
            num_videos=max(1, len(run.plan.tasks)),
            num_questions=max(1, run.plan.tasks.num_questions),
            layout=run.identity.layout,
        )
    except PlacementError as error:
        return f"on {where}: {error}; --cluster-shape plans for other machines"
    _tell_waiting(found)
    return ""


def _tell_waiting(found: Placement) -> None:
    num_wanted = len(found.near_decoders) + found.num_answerers
    if found.gpus_per_model and found.num_ready < num_wanted:
        LOG.warning("%d of %d scorers and answerers have room at once; the others wait", found.num_ready, num_wanted)
