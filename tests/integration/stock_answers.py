"""What stock transformers says about one small video: the family's own Pillow processor, text expansion and model, with
eager attention and without a cache, over frames that PyAV decodes one after the other.

What the method adds is counted by loops: which patches a group holds, the best tokens of each group, spans of evidence.

Shape suffixes: N = visual tokens of the video, in temporal, row, column order
"""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch

from tests.unit.models.checkpoints.published_layout import end_tokens, write_published
from tests.unit.models.families.case import Case, Question, StockRun, entropy
from tests.unit.models.tiny_models import build_case

NUM_GROUPS = 2
ENCODED_PER_SAMPLE = 2
# to the case's own it says an image token, which stock, asked again, would take for one of the video's
OPEN_QUESTIONS = {"internvl-llama-text": "What is shown, and where?"}
Run = Callable[[Sequence[int]], StockRun]


@dataclass(frozen=True, kw_only=True)
class Said:
    """A response; probabilities and one entropy for multiple choice, an entropy for each token of an open answer."""

    text: str
    entropies: tuple[float, ...]
    probabilities: tuple[float, ...] | None

    @property
    def entropy(self) -> float:
        """Of the least sure tenth of ten tokens or fewer, which is one token."""
        return max(self.entropies)

    @property
    def letter(self) -> str:
        return self.text if self.probabilities is None else "ABCDEF"[int(np.argmax(self.probabilities))]


@dataclass(frozen=True, kw_only=True)
class Stock:
    """One family's fixture: the whole video as a clip, on a model whose weights bfloat16 can hold."""

    clip: Case
    num_frames: int
    open_question: str

    @property
    def sample_fps(self) -> float:
        return self.clip.frames_per_patch / self.clip.patch_s

    @property
    def duration_s(self) -> float:
        return self.num_frames / self.sample_fps

    @property
    def frames_per_group(self) -> int:
        return self.clip.num_patches // NUM_GROUPS * self.clip.frames_per_patch

    @property
    def questions(self) -> tuple[Question, ...]:
        return self.clip.choice, (self.open_question, None)

    def group(self, index: int) -> Case:
        """Its patches as a clip of their own."""
        return self.clip.only(range(index, self.clip.num_patches, NUM_GROUPS))

    def respond_group(self, index: int, question: Question) -> Said:
        group, max_tokens = self.group(index), 1 if question[1] else self.clip.response_tokens
        return self._respond(lambda tail: group.run(question, tail), question, max_tokens=max_tokens)

    def answer(self, kept: Sequence[int], question: Question) -> Said:
        """The final pass over these tokens of the video."""
        max_tokens = self.clip.answer_tokens if question[1] else self.clip.response_tokens
        return self._respond(lambda tail: self.clip.run_kept(question, kept, tail), question, max_tokens=max_tokens)

    def shares(self, kept: Sequence[int], question: Question) -> list[float]:
        """Of the attention that the question pays to each token, in the mean over heads and its tokens."""
        attention = self.clip.run_kept(question, kept).weights_ARN.double().mean(dim=(0, 1))
        return (attention / attention.sum()).tolist()

    def _respond(self, run: Run, question: Question, *, max_tokens: int) -> Said:
        """Greedily, the whole row again for every token."""
        tokenizer, ids, runs = self.clip.tokenizer, list[int](), list[StockRun]()
        ends = {tokenizer.convert_tokens_to_ids(token) for token in end_tokens(self.clip.family)}
        while len(ids) < max_tokens and not ends & set(ids):
            runs.append(run(ids))
            ids.append(int(runs[-1].logits_V.argmax()))
        letters = [tokenizer.convert_tokens_to_ids(letter) for letter in "ABCDEF"[: len(question[1] or ())]]
        return Said(
            text=tokenizer.decode(ids, skip_special_tokens=True).strip(),
            entropies=tuple(entropy(one.logits_V) for one in (runs[:1] if letters else runs)),
            probabilities=tuple(runs[0].logits_V[letters].double().softmax(-1).tolist()) if letters else None,
        )

    def best_tokens(self, question: Question, count: int) -> list[int]:
        """Of each group the most attended ``count``, by number within the video."""
        per_patch, found = self.clip.per_patch, list[int]()
        for index in range(NUM_GROUPS):
            attention = self.group(index).stock_run(question).weights_ARN.amax(dim=(0, 1))
            for token in attention.argsort(descending=True)[:count].tolist():
                patch = token // per_patch * NUM_GROUPS + index
                found.append(patch * per_patch + token % per_patch)
        return sorted(found)

    def spans(self, kept: Sequence[int], shares: Sequence[float]) -> list[tuple[float, float, float, int]]:
        """Start, end, share and tokens of every run of neighbouring patches, the largest share first."""
        spans: list[list[float]] = []
        for token, share in zip(kept, shares, strict=True):
            patch = token // self.clip.per_patch
            if spans and patch <= spans[-1][1] + 1:
                spans[-1][1] = patch
            else:
                spans.append([patch, patch, 0.0, 0])
            spans[-1][2] += share
            spans[-1][3] += 1
        in_seconds = [
            (first * self.clip.patch_s, min((last + 1) * self.clip.patch_s, self.duration_s), share, int(count))
            for first, last, share, count in spans
        ]
        return sorted(in_seconds, key=lambda span: -span[2])


@cache
def build_stock(name: str) -> tuple[Any, Stock]:
    """The rounded model, and the fixture without frames yet."""
    case = build_case(name)
    model = copy.deepcopy(case.stock)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.bfloat16())
    return model, Stock(
        clip=replace(case, stock=model, _runs={}),
        num_frames=11 if case.frames_per_patch == 2 else 8,  # odd for models that show two at once: the last one twice
        open_question=OPEN_QUESTIONS.get(name, case.open_question),
    )


def write_fixture(name: str, folder: Path) -> tuple[Path, Path, Stock]:
    """A checkpoint in the published layout, a video of the model's own size, and what stock is asked about it."""
    model, stock = build_stock(name)
    checkpoint, video = folder / "checkpoint", folder / "video.mp4"
    checkpoint.mkdir()
    write_published(checkpoint, model, stock.clip.tokenizer)
    write_video(video, stock)
    frames = list(read_frames(video))[::ENCODED_PER_SAMPLE]
    assert len(frames) == stock.num_frames
    indices = [*range(len(frames)), *[len(frames) - 1] * (len(frames) % stock.clip.frames_per_patch)]
    clip = stock.clip.over(np.stack(frames)[indices], samples=indices, sample_fps=stock.sample_fps)
    return checkpoint, video, replace(stock, clip=clip)


def write_video(path: Path, stock: Stock) -> None:
    """H.264 with B-frames; a bright block moves over coarse noise, which changes with every sample."""
    height, width = stock.clip.geometry.height, stock.clip.geometry.width
    rng = np.random.default_rng(7)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=round(stock.sample_fps * ENCODED_PER_SAMPLE))
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        stream.options = {"crf": "18", "bf": "2"}
        for number in range(stock.num_frames * ENCODED_PER_SAMPLE):
            noise = rng.integers(0, 256, (math.ceil(height / 7), math.ceil(width / 7), 3), dtype=np.uint8)
            image = noise.repeat(7, axis=0).repeat(7, axis=1)[:height, :width].copy()
            start = number * 3 % (width // 2)
            image[height // 4 : height // 2, start : start + width // 3] = [250, 200, 10]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


def read_frames(path: Path) -> Iterator[np.ndarray]:
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24")
