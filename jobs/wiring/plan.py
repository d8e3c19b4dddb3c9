"""``run.py --plan``: what a run would do and cost. Reads headers, configuration and tokenizer; starts nothing."""

import argparse
import json
from dataclasses import asdict

from jobs.wiring.executors import settle_config, this_machine
from jobs.wiring.logs import LOG
from jobs.wiring.model_source import load_tokenizer
from jobs.wiring.preparation import PreparedRun
from pipeline.planning.estimate import estimate_job
from pipeline.planning.model_cost import judge_memory, read_checkpoint_config, scorer_speed
from pipeline.planning.plan_table import format_plan
from pipeline.planning.question_sample import sample_questions
from pipeline.planning.video_sample import sample_videos
from pipeline.results.atomic_files import write_bytes_atomic
from pipeline.video.machine_speed import relative_decode_time


def print_plan(run: PreparedRun, options: argparse.Namespace) -> None:
    """Print the table; write the same figures as JSON where that was asked for.

    Raises:
        ValueError: An option of the plan is out of range.
    """
    for name, least in (("plan_probes", 0), ("plan_tflops", 0), ("plan_gpu_gib", 0)):
        value = getattr(options, name)
        if value is not None and (value < least or (value == 0 and name != "plan_probes")):
            raise ValueError(f"--{name.replace('_', '-')} must be positive, got {value}")
    layout, storage = run.identity.layout, run.storage_options
    config = settle_config(run.config, this_machine(), is_logged=False)
    if config != run.config:
        LOG.info(
            "workers are planned as on this machine: %d scorers, %g GPUs each; for another one set "
            "execution.gpus_per_scorer and execution.num_scorers",
            *(config.execution.scorers, config.execution.gpus),
        )
    sample = sample_videos(
        run.plan.tasks.uris(),
        config=config,
        layout=layout,
        storage_options=storage,
        max_probes=options.plan_probes,
        ranges=run.plan.tasks.ranges(),
    )
    LOG.info("headers: %d videos probed, %d bytes read", len(sample.costs), sample.bytes_read)
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
    print(format_plan(estimate))
    if options.plan_output:
        text = json.dumps(asdict(estimate), indent=2, allow_nan=False)
        write_bytes_atomic(options.plan_output, f"{text}\n".encode(), storage_options=storage)
