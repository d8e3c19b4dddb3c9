"""Shows a needle archive to a model, group by group as in a run, and keeps the attention of every layer.

Shape suffixes: F = frames of a group, N = its visual tokens, L = layers
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.demo.archive import ArchiveSpec, generator, plan_questions, plan_timeline
from pipeline.demo.scenes import Appearance
from pipeline.doctor.needles import label_tokens
from pipeline.failures import FailureClass, PipelineError
from pipeline.lab.layer_probe.hit_rates import NeedleReading
from pipeline.manifest.questions import Question
from pipeline.method.selectors.registry import get_selector
from pipeline.models.attention_probe import PROBED_ATTENTION, record_layers
from pipeline.models.devices.transfer import Download
from pipeline.models.interface import VideoModel, ranking_layers
from pipeline.passes.group_pass import launch_group
from pipeline.passes.records import GroupInput
from pipeline.planning.video_plan import VideoPlan, plan_video
from pipeline.settings.config import RunConfig
from pipeline.video.decode import decode_stretch
from pipeline.video.probe import probe_video

_METHOD = "adapttoken"
_Marked = npt.NDArray[np.bool_]  # (N,) which of a group's tokens show a question's needle


def read_video(
    model: VideoModel,
    manifest: Path,
    spec: ArchiveSpec,
    config: RunConfig,
    *,
    video: int,
    groups_per_question: int | None = None,
) -> list[NeedleReading]:
    """Ask each question of one archive video, of the groups that show its needle.

    Args:
        model: loaded.
        manifest: what ``write_archive`` returned for ``spec``.
        spec: with one encoded frame per sampled frame.
        config: sampling and scoring; its reference layer does not matter.
        video: its number in the archive.
        groups_per_question: at most so many, the first in visiting order; None means all.

    Raises:
        PipelineError: The video cannot be read, or its frames cannot be fitted to the model.
        ValueError: For an archive of another kind.
    """
    if spec.encoded_frames_per_sample != 1:
        raise ValueError(f"encoded_frames_per_sample must be 1 for the probe, got {spec.encoded_frames_per_sample}")
    timeline = plan_timeline(generator(spec.split, spec.seed, video, 0), spec, spec.num_frames[video])
    rows: list[dict[str, Any]] = plan_questions(timeline, spec, video_index=video)
    probe = probe_video(str((manifest.parent / rows[0]["video"]).resolve()))
    plan = plan_video(probe, layout=model, selector=get_selector(_METHOD), config=config)
    marked = _mark_groups(plan, timeline[: len(rows)], groups_per_question)
    if not marked:
        return []
    wanted = np.unique(np.concatenate([plan.group_frames(position) for position in marked]))
    decoded = decode_stretch(probe, wanted, size=plan.decode_size, backend=config.sampling.decoder)
    questions = [
        Question(
            question_id=str(number), video=probe.path, text=row["question"], options=_options(row), row_index=number
        )
        for number, row in enumerate(rows)
    ]
    return [
        NeedleReading(
            video=video,
            question=question,
            attention_LN=attention_LN,
            shows_N=by_question[question],
            tokens_per_patch=plan.geometry.tokens_per_patch,
        )
        for position, by_question in marked.items()
        for question, attention_LN in _read_group(
            model,
            decoded.frames[np.searchsorted(wanted, plan.group_frames(position))],
            plan,
            position,
            {question: questions[question] for question in by_question},
            config,
        )
    ]


def _options(row: Mapping[str, Any]) -> tuple[str, ...] | None:
    return None if row["options"] is None else tuple(row["options"])


def _mark_groups(
    plan: VideoPlan, needles: Sequence[Appearance], groups_per_question: int | None
) -> dict[int, dict[int, _Marked]]:
    """Group position -> question -> its needle's tokens, for the groups that show it, in visiting order."""
    marked: dict[int, dict[int, _Marked]] = {}
    num_groups = [0] * len(needles)
    for position, patches in enumerate(plan.groups):
        frames_PF = plan.sample.frame_indices[plan.patch_frames[patches]]
        for question, needle in enumerate(needles):
            shows_N = label_tokens(needle, frames_PF, plan.geometry)
            if shows_N.any() and (groups_per_question is None or num_groups[question] < groups_per_question):
                marked.setdefault(position, {})[question] = shows_N
                num_groups[question] += 1
    return marked


def _read_group(
    model: VideoModel,
    frames_FHW3: npt.NDArray[np.uint8],
    plan: VideoPlan,
    position: int,
    asked: Mapping[int, Question],
    config: RunConfig,
) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    """One group's pass, as in a run, yields ``(L, N)`` for each question; NaN for layers that cannot rank tokens.

    Raises:
        PipelineError: Class ``model``: not all layers could be read.
    """
    size, patches = config.scoring.question_batch, plan.groups[position]
    group = GroupInput(
        group_index=plan.group_indices[position],
        geometry=plan.geometry,
        patches=patches,
        questions=tuple(asked.values()),
        batches=tuple(tuple(range(start, min(start + size, len(asked)))) for start in range(0, len(asked), size)),
        patch_centers_s=plan.centers_of(patches),
    )
    with record_layers() as by_layer:
        launch_group(model, frames_FHW3, group, replace(config, method=_METHOD))
    ranking = list(ranking_layers(model))
    if sorted(by_layer) != ranking:
        raise PipelineError(
            FailureClass.MODEL,
            f"model {model.name!r} has {len(ranking)} layers, of which {sorted(by_layer)} could be read; its "
            f"text model must run with the attention {PROBED_ATTENTION!r} (see docs/models.md)",
        )
    by_number = np.stack(Download(*(by_layer[layer] for layer in ranking)).read())  # perhaps from several GPUs
    attention_LBN = np.full((model.num_layers, *by_number.shape[1:]), np.nan, dtype=np.float32)
    attention_LBN[ranking] = by_number
    yield from ((question, attention_LBN[:, row]) for row, question in enumerate(asked))
