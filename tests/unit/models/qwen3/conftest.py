"""Two small random Qwen3-VL models, each behind the adapter and as stock transformers with eager attention.

The stock side gets pixels, token ids and explicit positions. Ids come out of the stock processor's own text expansion
(but for the outer vision tokens, see test_prompt), positions out of loops that know nothing of the adapter's.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor
from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor
from transformers.video_utils import VideoMetadata

from pipeline.models.attention_probe import PROBED_ATTENTION
from pipeline.models.prompt import question_text
from pipeline.models.qwen.qwen3_vl import Qwen3VL
from pipeline.models.qwen.window_attention import WINDOW_ATTENTION
from tests.unit.models.qwen3.tiny_qwen3 import build_model, build_tokenizer

NUM_PATCHES = 3
FPS = 10.0
FRAME_INDICES = (3, 8, 1200, 1201, 98_765, 98_773)  # of the source; timestamps 0.55, 120.05 and 9876.9 s


@dataclass(frozen=True, kw_only=True)
class Token:
    """One token of a sequence for the stock model."""

    id: int
    position: tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One model in both forms, with one clip of three temporal patches."""

    adapter: Qwen3VL
    stock: Any
    tokenizer: Any
    processor: Any
    frames: Any
    geometry: Any
    layer: int
    centers_s: Any
    frame_indices: tuple[int, ...] = FRAME_INDICES

    @property
    def per_patch(self) -> int:
        return self.geometry.tokens_per_patch

    @property
    def num_tokens(self) -> int:
        return len(self.frame_indices) // 2 * self.per_patch

    def only(self, patches: Sequence[int]) -> "Case":
        """The clip of these patches alone, at their old times."""
        frames = [2 * patch + i for patch in patches for i in range(2)]
        return replace(
            self,
            frames=self.frames[frames],
            centers_s=self.centers_s[list(patches)],
            frame_indices=tuple(self.frame_indices[i] for i in frames),
        )

    def pixels(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Pixel rows by the family's own patchify, and the grid."""
        frames = torch.from_numpy(self.frames).permute(0, 3, 1, 2).float() / 127.5 - 1
        rows, *grid = self.processor.video_processor.patchify(frames[None], 16, 2, 2)
        return rows[0], torch.tensor([grid])

    def stock_video_text(self) -> str:
        """What the stock processor writes in place of the video token."""
        metadata = VideoMetadata(total_num_frames=100_000, fps=FPS, frames_indices=list(self.frame_indices))
        inputs = {"video_grid_thw": self.pixels()[1], "video_metadata": [metadata]}
        return self.processor.replace_video_token(inputs, 0)

    def prompt_text(self, question: str, options: Sequence[str] | None) -> str:
        """The rendered chat template with the video expanded by the stock processor."""
        content = [{"type": "video"}, {"type": "text", "text": question_text(question, options)}]
        rendered = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        return rendered.replace("<|vision_start|><|video_pad|><|vision_end|>", self.stock_video_text())

    def lay_out(self, question: str, options: Sequence[str] | None, tail: Sequence[int] = ()) -> list[Token]:
        """All tokens of the expanded prompt and what follows, with their positions; one step at a time."""
        ids = self.tokenizer(self.prompt_text(question, options), add_special_tokens=False)["input_ids"] + list(tail)
        video_id, tokens, position, seen = self.stock.config.video_token_id, [], 0, 0
        for token in ids:
            if token != video_id:
                if seen:  # a whole frame lies behind
                    position += max(self.geometry.token_rows, self.geometry.token_columns)
                    seen = 0
                tokens.append(Token(id=token, position=(position, position, position)))
                position += 1
            else:
                row, column = divmod(seen, self.geometry.token_columns)
                tokens.append(Token(id=token, position=(position, position + row, position + column)))
                seen += 1
        return tokens

    def run_stock(self, tokens: Sequence[Token], *, attention_mask: torch.Tensor | None = None, **inputs: Any) -> Any:
        """One full eager forward without a cache; ``inputs`` in place of the clip's pixels."""
        ids = torch.tensor([[token.id for token in tokens]])
        if not inputs:
            pixel_values, grid = self.pixels()
            inputs = {"pixel_values_videos": pixel_values, "video_grid_thw": grid}
        with torch.inference_mode():
            return self.stock(
                input_ids=ids,
                position_ids=torch.tensor([token.position for token in tokens]).T[:, None],
                attention_mask=torch.ones_like(ids) if attention_mask is None else attention_mask,
                use_cache=False,
                output_attentions=True,
                **inputs,
            )

    def visual_places(self, tokens: Sequence[Token]) -> list[int]:
        return [place for place, token in enumerate(tokens) if token.id == self.stock.config.video_token_id]

    def visual_attention(self, output: Any, tokens: Sequence[Token]) -> torch.Tensor:
        """``(heads, rows after the last visual token, visual tokens)`` at the reference layer."""
        places = self.visual_places(tokens)
        return output.attentions[self.layer][0, :, places[-1] + 1 :][..., places]

    def respond_stock(
        self, question: str, options: Sequence[str] | None, *, max_tokens: int, end_token: str | None = "<|im_end|>"
    ) -> tuple[list[int], list[torch.Tensor]]:
        """Naive greedy loop, the whole sequence again for every token: response ids and the logits of each."""
        end_id = self.tokenizer.convert_tokens_to_ids(end_token) if end_token else None
        ids: list[int] = []
        logits: list[torch.Tensor] = []
        while len(ids) < max_tokens and end_id not in ids:
            logits.append(self.run_stock(self.lay_out(question, options, ids)).logits[0, -1])
            ids.append(int(logits[-1].argmax()))
        return ids, logits


def build_processor(tokenizer: Any) -> Any:
    """The stock processor without its image side, which cannot be built without torchvision."""
    processor = object.__new__(Qwen3VLProcessor)
    processor.tokenizer, processor.video_processor = tokenizer, Qwen3VLVideoProcessor()
    processor.image_token, processor.video_token = "<|image_pad|>", "<|video_pad|>"
    processor.vision_start_token, processor.vision_end_token = "<|vision_start|>", "<|vision_end|>"
    return processor


@pytest.fixture(scope="session")
def tokenizer():
    return build_tokenizer()


@pytest.fixture(scope="session")
def as_adapter(tokenizer):
    def build(model: Any) -> Qwen3VL:
        model = copy.deepcopy(model)
        model.set_attn_implementation({"text_config": PROBED_ATTENTION, "vision_config": WINDOW_ATTENTION})
        return Qwen3VL(model, tokenizer, name="tiny", revision="0")

    return build


# frame height and width: 2 x 2 tokens; 5 x 3 tokens
@pytest.fixture(scope="session", params=[("small", 64, 64, 1), ("wide", 160, 96, 2)], ids=["small", "wide"])
def case(request, tokenizer, as_adapter):
    kind, height, width, layer = request.param
    model = build_model(tokenizer, kind=kind, seed=10)
    model.set_attn_implementation("eager")
    adapter = as_adapter(model)
    frames = np.random.default_rng(3).integers(0, 256, (2 * NUM_PATCHES, height, width, 3), dtype=np.uint8)
    return Case(
        adapter=adapter,
        stock=model,
        tokenizer=tokenizer,
        processor=build_processor(tokenizer),
        frames=frames,
        geometry=adapter.frame_geometry(height, width, min_pixels=1_024, max_pixels=100_000),
        layer=layer,
        centers_s=np.array(FRAME_INDICES).reshape(NUM_PATCHES, 2).mean(axis=1) / FPS,
    )


@pytest.fixture(scope="session")
def features(case):
    return case.adapter.encode(case.frames, case.geometry, batch_patches=NUM_PATCHES)


@pytest.fixture(scope="session")
def prefix(case, features):
    return case.adapter.prefill(features, case.geometry, patch_s=1.0, center_s_P=case.centers_s)


@pytest.fixture
def first_logits(monkeypatch):
    """Logits from which the adapter chose its first response tokens, one entry per call."""
    import pipeline.models.final_pass as answering
    import pipeline.models.shared_prefix as scoring

    seen: list[torch.Tensor] = []
    first_tokens = scoring.first_tokens

    def record(text, logits_BV, *arguments):
        seen.append(logits_BV)
        return first_tokens(text, logits_BV, *arguments)

    for module in (answering, scoring):
        monkeypatch.setattr(module, "first_tokens", record)
    return seen
