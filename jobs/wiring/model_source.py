"""How a worker gets its model: light to import, as every worker process does so; what is heavy comes with loading."""

import dataclasses

from pipeline.models.interface import VideoModel
from pipeline.models.question_tokenizer import QuestionTokenizer
from pipeline.settings.config import RunConfig
from pipeline.uris import StorageOptions


def pin_revision(config: RunConfig, revision: str) -> RunConfig:
    """The same settings, for workers that load exactly what the job has described, whatever its name means by then."""
    return dataclasses.replace(config, model=dataclasses.replace(config.model, revision=revision))


def load_configured_model(config: RunConfig, *, storage_options: StorageOptions = None) -> VideoModel:
    """The checkpoint of a run, with its thread count and without progress bars.

    Args:
        config: of the run.
        storage_options: for a model on ``s3://``.
    """
    from transformers.utils import logging

    from pipeline.models.loading import load_model

    logging.disable_progress_bar()
    threads = config.execution.torch_threads
    return load_model(config.model, torch_threads=threads, run=config, storage_options=storage_options)


def load_tokenizer(config: RunConfig, *, storage_options: StorageOptions = None) -> QuestionTokenizer:
    """What reads a run's questions; workers get a copy, which spares them the look at the model's storage."""
    from transformers.utils import logging

    from pipeline.models.loading import load_question_tokenizer

    logging.disable_progress_bar()
    return load_question_tokenizer(config.model, storage_options=storage_options)
