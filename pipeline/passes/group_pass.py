"""One group, one encode, one prefill, all questions: attention rank and response entropy.

Shape suffixes: F = frames of a group, N = its visual tokens
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.failures import FailureClass, PipelineError
from pipeline.manifest.questions import option_letter
from pipeline.method.entropy import response_certainty
from pipeline.method.selectors.base import GroupScore, Selector
from pipeline.method.selectors.ranking import RankInputs
from pipeline.method.selectors.registry import get_selector
from pipeline.method.shannon import shannon_entropy
from pipeline.models.devices.timer import DeviceTimer
from pipeline.models.devices.transfer import FrameUpload, staging, upload
from pipeline.models.interface import Encoded, LaunchedResponses, QuestionPrompt, Response, VideoModel, styled
from pipeline.passes.candidates import GroupCandidates
from pipeline.passes.kept_groups import NOTHING_KEPT, KeptGroups
from pipeline.passes.picture_change import luma_change
from pipeline.passes.ranking import RankedGroup, RankOnce, by_attention, by_rule, profile_of, rank_anew
from pipeline.passes.records import GroupInput
from pipeline.settings.config import RunConfig
from pipeline.video.slot_table import FramePiece

DevicePiece = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Tensor]
"""As a ``FramePiece``, its frames on the device."""
_CPU = torch.device("cpu")
_FILLER_ID = 0  # every vocabulary has it


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ScoredGroup:
    """What one group's pass yields; seconds are the device's own."""

    scores: dict[int, GroupScore]
    candidates: GroupCandidates
    was_prefilled: bool
    encode_s: float
    prefill_s: float
    score_s: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LaunchedGroup:
    """One group's pass, queued on the device; ``finish`` waits for it."""

    group: GroupInput
    config: RunConfig
    encoded: Encoded
    responses: Sequence[tuple[tuple[int, ...], LaunchedResponses]]
    timer: DeviceTimer
    questions: Mapping[int, Tensor]
    similarity_dim: int
    separators: int
    once: RankOnce = rank_anew

    def finish(self) -> ScoredGroup:
        """Read the responses and rank the tokens.

        Raises:
            PipelineError: ``MODEL`` when the model's output is not a distribution.
        """
        group, selector = self.group, get_selector(self.config.method)
        said = {
            index: response
            for batch, launched in self.responses
            for index, response in zip(batch, launched.read(), strict=True)
        }
        ranked = self._rank(said)
        candidates = GroupCandidates.build(
            ranked.features_ND,
            patches=group.patches,
            tokens_per_patch=group.geometry.tokens_per_patch,
            scores=ranked.scores,
            keeps_whole_patches=selector.keeps_whole_patches,
            members=ranked.members,
        )
        seconds = self.timer.seconds()
        return ScoredGroup(
            scores={
                index: _group_score(group, said.get(index), ranked.offered[index], self.config)._replace(
                    profile=profile_of(selector, ranked, index, group, self.config)
                )
                for index in group.asked
            },
            candidates=candidates,
            was_prefilled=bool(said),
            encode_s=seconds["encode"],
            prefill_s=seconds["prefill"],
            score_s=seconds["score"],
        )

    def _rank(self, said: Mapping[int, Response]) -> RankedGroup:
        """By attention, or by the selector's own rule."""
        group, selector = self.group, get_selector(self.config.method)
        num_tokens = len(self.encoded.features_ND)
        attention = {i: said[i].attention_N if said else np.zeros(num_tokens, np.float32) for i in group.asked}
        if selector.ranker is None:
            quota = self.config.budget.token_budget // group.num_groups
            features_ND = self.encoded.features_ND
            return by_attention(attention, features_ND, group, separators=self.separators, quota=quota)
        return by_rule(
            selector,
            self.encoded,
            group,
            attention=attention,
            questions=self.questions,
            config=self.config,
            similarity_dim=self.similarity_dim,
            once=self.once,
        )


def assemble_frames(pieces: Sequence[FramePiece], *, num_frames: int, device: torch.device = _CPU) -> Tensor:
    """Put the stretches' frames into their slots: ``(F, H, W, 3)`` on the host, ready to be copied to ``device``."""
    frames_FHW3 = staging((num_frames, *pieces[0][2].shape[1:]), torch.uint8, device)
    view, filled = frames_FHW3.numpy(), 0
    for slots, rows, frames in pieces:
        view[slots] = frames[rows]
        filled += len(slots)
    assert filled == num_frames, "a group was handed out before its last stretch"
    return frames_FHW3


def assemble_on_device(pieces: Sequence[DevicePiece], *, num_frames: int) -> Tensor:
    """The same of stretches that lie on the device: ``(F, H, W, 3)`` there, queued in the current stream."""
    slots, rows = (np.concatenate([piece[part] for piece in pieces]) for part in (0, 1))
    assert len(slots) == num_frames, "a group was handed out before its last stretch"
    device = pieces[0][2].device
    rows_of = torch.split(upload(rows, device), [len(piece[0]) for piece in pieces])
    frames_FHW3 = torch.cat([piece[2].index_select(0, own) for piece, own in zip(pieces, rows_of, strict=True)])
    order = np.argsort(slots)
    is_sorted = bool(np.all(np.diff(order) == 1))
    return frames_FHW3 if is_sorted else frames_FHW3.index_select(0, upload(order, device))


class GroupScorer:
    """Launches groups one after the other; a group's frames are copied while the one before is computed."""

    def __init__(
        self, model: VideoModel, config: RunConfig, kept: KeptGroups = NOTHING_KEPT, once: RankOnce = rank_anew
    ) -> None:
        self._model, self._config, self._kept, self._once = model, config, kept, once
        is_cuda = model.device.type == "cuda"
        self._copies = torch.cuda.Stream(model.device) if is_cuda else None  # type: ignore[no-untyped-call]

    def launch(self, pieces: Sequence[FramePiece] | Sequence[DevicePiece], group: GroupInput) -> LaunchedGroup:
        """Put the frames together, copy them to the device unless they are there, and queue the group's pass.

        Of a group that is kept there are no pieces.
        """
        if not pieces:
            return launch_group(self._model, None, group, self._config, kept=self._kept, once=self._once)
        device, num_frames = self._model.device, len(group.patches) * self._model.frames_per_patch
        if isinstance(pieces[0][2], Tensor):
            frames = assemble_on_device(cast(Sequence[DevicePiece], pieces), num_frames=num_frames)
            return launch_group(self._model, frames, group, self._config, kept=self._kept, once=self._once)
        frames = assemble_frames(cast(Sequence[FramePiece], pieces), num_frames=num_frames, device=device)
        on_their_way = FrameUpload(frames, device, self._copies)
        return launch_group(self._model, on_their_way.wait(), group, self._config, kept=self._kept, once=self._once)


def score_group(
    model: VideoModel, frames_FHW3: Tensor | npt.NDArray[np.uint8], group: GroupInput, config: RunConfig
) -> ScoredGroup:
    """Launch one group's pass and wait for it.

    Raises:
        PipelineError: ``MODEL`` when the model's output is not a distribution.
    """
    return launch_group(model, frames_FHW3, group, config).finish()


def launch_group(
    model: VideoModel,
    frames_FHW3: Tensor | npt.NDArray[np.uint8] | None,
    group: GroupInput,
    config: RunConfig,
    *,
    kept: KeptGroups = NOTHING_KEPT,
    once: RankOnce = rank_anew,
) -> LaunchedGroup:
    """Queue the pass of one group: encode, prefill, and all questions of its micro-batches.

    Args:
        model: loaded.
        frames_FHW3: None where ``kept`` has the group.
        group: what is asked of it.
        config: of the run.
        kept: what earlier questions left here, and what this one does.
        once: looks up what a ranker said of the group, where several methods are compared.
    """
    scoring = config.scoring
    timer = DeviceTimer(model.devices)
    selector = get_selector(config.method)
    # 1. encode (1 group → visual tokens)
    with timer.stage("encode"):
        batch_patches = scoring.encode_patches >> group.rung
        encode = partial(_encode, model, frames_FHW3, group, selector, batch_patches=batch_patches)
        encoded = kept.encoded(group.group_index, model.device, encode)
    responses, separators = [], model.separators_per_patch if selector.ranks_separators else 0
    if selector.needs_scores and group.batches:
        # 2. prefill (visual tokens → keys and values of everything before the questions)
        with timer.stage("prefill"):
            prefill = partial(
                model.prefill,
                encoded.features_ND,
                group.geometry,
                patch_s=model.frames_per_patch / config.sampling.sample_fps,
                center_s_P=group.patch_centers_s,
                **({"rank_separators": True} if separators else {}),
            )
            prefix = kept.prefix(group.group_index, prefill)
        # 3. score (1 micro-batch of questions at a time)
        with timer.stage("score"):
            for batch in _micro_batches(group, size=max(1, scoring.question_batch >> group.rung)):
                prompts = [_build_prompt(model, group, index, config) for index in batch]
                responses.append((batch, model.launch(prefix, prompts, scoring)))
    wanted = group.asked if selector.ranker is not None and selector.ranker.inputs.question else []
    to_embed = {index: _build_prompt(model, group, index, config) for index in wanted}
    return LaunchedGroup(
        group=group,
        config=config,
        encoded=encoded,
        responses=responses,
        timer=timer,
        questions={index: model.embed_question(prompt) for index, prompt in to_embed.items()},
        similarity_dim=model.similarity_dim,
        separators=separators,
        once=once,
    )


def _encode(
    model: VideoModel,
    frames_FHW3: Tensor | npt.NDArray[np.uint8] | None,
    group: GroupInput,
    selector: Selector,
    *,
    batch_patches: int,
) -> Encoded:
    """Visual tokens, and what else the selector's rule wants to know of them."""
    assert frames_FHW3 is not None, "a group without frames is kept"
    inputs = RankInputs() if selector.ranker is None else selector.ranker.inputs
    batch_patches = max(1, batch_patches)
    if inputs.saliency or inputs.tower:
        encoded = model.encode_richly(
            frames_FHW3,
            group.geometry,
            batch_patches=batch_patches,
            saliency=inputs.saliency,
            tower=inputs.tower,
        )
    else:
        encoded = Encoded(features_ND=model.encode(frames_FHW3, group.geometry, batch_patches=batch_patches))
    if not inputs.change:
        return encoded
    frames = torch.as_tensor(frames_FHW3)
    return replace(encoded, change_N=luma_change(frames, group.geometry, frames_per_patch=model.frames_per_patch))


def _micro_batches(group: GroupInput, *, size: int) -> Iterator[tuple[int, ...]]:
    """Those of the work, cut smaller down the memory ladder; without one that nobody asks."""
    for whole in group.batches:
        for start in range(0, len(whole), size):
            batch = whole[start : start + size]
            if group.only is None or set(batch) & set(group.only):
                yield batch


def _build_prompt(model: VideoModel, group: GroupInput, index: int, config: RunConfig) -> QuestionPrompt:
    """Of one that is not asked only the shape is left: nothing of its text is read, so it can spoil nothing."""
    question, most = group.questions[index], config.scoring.response_tokens
    if group.only is None or index in group.only:
        return model.build_question(question.text, question.options, response_tokens=most, **styled(config.scoring))
    length = group.question_tokens[index] if group.question_tokens else 1
    option_ids = None if question.options is None else (_FILLER_ID,) * len(question.options)
    return QuestionPrompt(
        suffix_ids=(_FILLER_ID,) * length, option_ids=option_ids, max_tokens=most if option_ids is None else 1
    )


def _group_score(group: GroupInput, response: Response | None, num_tokens: int, config: RunConfig) -> GroupScore:
    score = GroupScore(
        group_index=group.group_index,
        certainty=0.0,
        response="",
        num_tokens=num_tokens,
        tokens_per_patch=group.geometry.tokens_per_patch,
    )
    if response is None:  # tokens were only encoded
        return score
    try:
        certainty = response_certainty(_entropies(response, config), share=config.scoring.certainty_share)
    except ValueError as error:
        raise PipelineError(
            FailureClass.MODEL,
            f"group {group.group_index}: the model's output is no distribution ({error}); try model.dtype=float32",
        ) from error
    said = response.text if response.option is None else option_letter(response.option)
    return score._replace(certainty=certainty, response=said, letter_share=response.letter_share)


def _entropies(response: Response, config: RunConfig) -> tuple[float, ...]:
    """Nats per response token; over the options' letters where the settings want that and there are options."""
    probabilities = response.option_probabilities
    if config.scoring.entropy_over == "vocabulary" or probabilities is None:
        return response.entropies
    return (shannon_entropy(probabilities),)
