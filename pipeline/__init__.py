"""AdaptToken from Python, one video at a time.

    from pipeline import answer_video, load_video_model

    model, config = load_video_model("demo", method="adapttoken-lite")
    for answer in answer_video("film.mp4", ["What color is the star?"], model=model, config=config):
        print(answer.answer, answer.evidence[0])

Many videos, several GPUs, files of results: ``jobs/run.py``. Importing this costs nothing; torch comes with the call.
"""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.models.interface import VideoModel
    from pipeline.passes.video_answer import Asked, VideoAnswer
    from pipeline.settings.config import RunConfig

__all__ = ["answer_video", "load_video_model"]


def load_video_model(
    name: str, *, method: str = "adapttoken", settings: Sequence[str] = ()
) -> "tuple[VideoModel, RunConfig]":
    """Load a checkpoint, and the settings that fit it.

    Args:
        name: a folder, a hub id such as ``Qwen/Qwen2.5-VL-7B-Instruct``, an ``s3://`` prefix, or ``demo``.
        method: one of ``pipeline.method.selectors.registry.SELECTORS``.
        settings: ``key=value`` pairs over the model's preset, as ``--set`` takes them.

    Raises:
        PipelineError: Class ``model``: the checkpoint cannot be used.
        ValueError: An unknown method or setting, a value out of range, or a method that looks at what this checkpoint's
            family does not tell.
    """
    from pipeline.method.selectors.registry import get_selector, preset_for_method
    from pipeline.models.interface import ranking_layers
    from pipeline.models.loading import check_reference_layer, describe_model, is_demo_model, load_model
    from pipeline.models.registry import check_offers
    from pipeline.settings.config import ModelConfig
    from pipeline.settings.presets import preset_for
    from pipeline.settings.reading import load_config

    get_selector(method)
    found = describe_model(ModelConfig(model=name))
    is_demo, num_layers = is_demo_model(name), found.layout.num_layers
    ranking = ranking_layers(found.layout)
    preset = preset_for(name, num_layers=num_layers, is_demo=is_demo, family=found.family, ranking_layers=ranking)
    preset = preset_for_method(preset, method)
    config = load_config(preset, sets=[f"method={method}", *settings])
    check_reference_layer(found.layout, config.scoring.reference_layer)
    ranker = get_selector(config.method).ranker
    if ranker is not None:
        wanted = {name: getattr(ranker.inputs, name) for name in ("saliency", "tower", "question")}
        check_offers(found.family, wanted, method=config.method)
    return load_model(config.model, run=config), config


def answer_video(
    path: str,
    questions: "Sequence[Asked]",
    *,
    model: "VideoModel",
    config: "RunConfig",
    start_s: float | None = None,
    end_s: float | None = None,
    transcript: str | None = None,
) -> "tuple[VideoAnswer, ...]":
    """Answer questions about one video file; see ``pipeline.passes.whole_video``, which is the method step by step.

    Args:
        path: of the file.
        questions: about it.
        model: loaded.
        config: its settings.
        start_s: only ``[start_s, end_s)`` is looked at, in seconds; both may be left out.
        end_s: see there.
        transcript: what is said, as text or as the path of an ``.srt`` or ``.vtt`` file; lines that sampled frames
            show stand before each question.
    """
    from pipeline.manifest.time_range import time_range
    from pipeline.passes import whole_video
    from pipeline.passes.video_answer import to_questions

    asked = to_questions(questions, path, transcript=transcript)
    part = time_range(start_s, end_s)
    answers = whole_video.answer_video(path, asked, model=model, config=config, time_range=part)
    for warning in dict.fromkeys(warning for answer in answers for warning in answer.warnings):
        warnings.warn(f"{path}: {warning}", stacklevel=2)
    return answers
