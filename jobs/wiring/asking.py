"""The desk where questions are answered: the model is loaded once, whatever the method."""

import argparse
import copy
from collections.abc import Iterator

from jobs.wiring.configuration import resolve_config
from jobs.wiring.model_source import load_configured_model, load_tokenizer
from jobs.wiring.sandbox import check_sandbox
from pipeline.serving.desk import Desk
from pipeline.serving.room import Room
from pipeline.serving.video_session import Asker
from pipeline.settings.config import RunConfig
from pipeline.settings.reading import config_hash

_TWO_WAYS = ("adapttoken", "adapttoken-lite")


def open_desk(settings: argparse.Namespace, *, keep_bytes: int, run_id: str) -> tuple[Desk, RunConfig]:
    """The method that was chosen, and where that is AdaptToken the other way of it, with one model for both.

    Args:
        settings: the options of ``run.py``.
        keep_bytes: for frames, and as much again for features and prefixes.
        run_id: that the rows carry.

    Raises:
        ValueError: A setting cannot be used.
        PipelineError: The model cannot be used.
    """
    rooms = {name: Room(keep_bytes) for name in ("frames", "tensors")}
    askers: list[Asker] = []
    for config in _configs(settings):
        if config.sampling.decoder == "nvdec":
            raise ValueError("sampling.decoder nvdec is not for single questions: leave it out")
        if not askers:
            check_sandbox(config.reading)
            model = load_configured_model(config, storage_options=settings.storage_options)
            tokenizer = load_tokenizer(config, storage_options=settings.storage_options)
        asker = Asker(
            model=model,
            tokenizer=tokenizer,
            config=config,
            config_hash=config_hash(config, model_revision=model.revision),
            run_id=run_id,
            storage_options=settings.storage_options,
            **rooms,
        )
        askers.append(asker)
    return Desk(askers), askers[0].config


def _configs(settings: argparse.Namespace) -> Iterator[RunConfig]:
    chosen, _ = resolve_config(settings)
    yield chosen
    if chosen.method in _TWO_WAYS:
        other = copy.copy(settings)
        other.method = next(name for name in _TWO_WAYS if name != chosen.method)
        yield resolve_config(other)[0]
