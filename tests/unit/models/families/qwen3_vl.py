"""Small random Qwen3-VL models, dense and of experts; stock runs one expert after the other.

Ids come out of the stock processor's own text expansion (but for the outer vision tokens, see qwen3_vl/test_prompt),
positions out of loops that know nothing of the adapter's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from transformers.models.qwen3_vl.modeling_qwen3_vl import BaseModelOutputWithDeepstackFeatures
from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor
from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor
from transformers.video_utils import VideoMetadata

from pipeline.models.interface import FinalTokens
from pipeline.models.prompt import question_text
from tests.unit.models.families.case import (
    NUM_PATCHES,
    Case,
    Question,
    StockRun,
    as_adapter,
    causal_without,
    given_features,
    random_frames,
)
from tests.unit.models.families.tiny_qwen3 import build_model, build_tokenizer

FPS = 10.0
FRAME_INDICES = (3, 8, 1200, 1201, 98_765, 98_773)  # of the source; timestamps 0.55, 120.05 and 9876.9 s
# frame height and width: 2 x 2 tokens; 5 x 3 tokens; 3 x 2 tokens
SHAPES = {"small": (64, 64, 1), "wide": (160, 96, 2), "experts": (96, 64, 1)}


@dataclass(frozen=True, kw_only=True)
class Token:
    """One token of a sequence for the stock model."""

    id: int
    position: tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Qwen3Case(Case):
    """See ``Case``."""

    processor: Any
    frame_indices: tuple[int, ...] = FRAME_INDICES
    fps: float = FPS

    def over(self, frames: Any, *, samples: Sequence[int], sample_fps: float) -> "Qwen3Case":
        centers_s = np.array(samples).reshape(-1, 2).mean(axis=1) / sample_fps
        return replace(self, frames=frames, centers_s=centers_s, frame_indices=tuple(samples), fps=sample_fps, _runs={})

    @property
    def attention_number(self) -> int:
        """Of the reference layer, among the layers whose attention stock gives."""
        return self.layer

    def only(self, patches: Sequence[int]) -> "Qwen3Case":
        """At their old times."""
        indices = tuple(self.frame_indices[2 * patch + i] for patch in patches for i in range(2))
        return replace(super().only(patches), centers_s=self.centers_s[list(patches)], frame_indices=indices)

    def pixels(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Pixel rows by the family's own patchify, and the grid."""
        frames = torch.from_numpy(self.frames).permute(0, 3, 1, 2).float() / 127.5 - 1
        rows, *grid = self.processor.video_processor.patchify(frames[None], 16, 2, 2)
        return rows[0], torch.tensor([grid])

    def stock_features(self) -> torch.Tensor:
        """Merged features, then those of each deepstack layer."""
        with torch.inference_mode():
            stock = self.stock.get_video_features(*self.pixels())
        layers = (stock.pooler_output, *stock.deepstack_features)  # one per video, in 5.17 some of them all in one
        return torch.cat([layer if torch.is_tensor(layer) else torch.cat(list(layer)) for layer in layers], dim=1)

    def stock_video_text(self) -> str:
        """What the stock processor writes in place of the video token."""
        metadata = VideoMetadata(total_num_frames=100_000, fps=self.fps, frames_indices=list(self.frame_indices))
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

    def run(self, question: Question, tail: Sequence[int] = ()) -> StockRun:
        return self.run_tokens(self.lay_out(*question, tail))

    def run_kept(self, question: Question, kept: Sequence[int], tail: Sequence[int] = ()) -> StockRun:
        """Patches that kept none leave no trace; of the others all tokens stand there, and the dropped are masked."""
        patches = sorted({index // self.per_patch for index in kept})
        shown = [patch * self.per_patch + n for patch in patches for n in range(self.per_patch)]
        is_kept = np.isin(shown, kept)
        clip = self.only(patches)
        tokens = clip.lay_out(*question, tail)
        dropped = np.array(clip.visual_places(tokens))[: len(shown)][~is_kept]
        run = clip.run_tokens(tokens, attention_mask=causal_without(dropped.tolist(), len(tokens)))
        return replace(run, weights_ARN=run.weights_ARN[..., is_kept])

    def run_tokens(
        self, tokens: Sequence[Token], *, attention_mask: torch.Tensor | None = None, outputs: Any = None
    ) -> StockRun:
        """One full eager forward; ``outputs`` in place of what the tower makes of the clip's pixels."""
        ids = torch.tensor([[token.id for token in tokens]])
        pixel_values, grid = self.pixels()
        with torch.inference_mode(), given_features(self.stock, "get_video_features", outputs):
            output = self.stock(
                pixel_values_videos=pixel_values,
                video_grid_thw=grid,
                input_ids=ids,
                position_ids=torch.tensor([token.position for token in tokens]).T[:, None],
                attention_mask=torch.ones_like(ids) if attention_mask is None else attention_mask,
                use_cache=False,
                output_attentions=True,
            )
        places = self.visual_places(tokens)
        return StockRun(
            logits_V=output.logits[0, -1],
            weights_ARN=output.attentions[self.attention_number][0, :, places[-1] + 1 :][..., places],
        )

    def run_features(
        self, tokens: Sequence[Token], merged: torch.Tensor, deepstack: Sequence[torch.Tensor]
    ) -> StockRun:
        """Over some of the clip's visual tokens."""
        with torch.inference_mode():
            own = self.stock.get_video_features(*self.pixels()).deepstack_features[0]
        layers = [layer if torch.is_tensor(own) else (layer,) for layer in deepstack]  # 5.17: all videos in one
        outputs = BaseModelOutputWithDeepstackFeatures(pooler_output=(merged,), deepstack_features=layers)
        return self.run_tokens(tokens, outputs=outputs)

    def visual_places(self, tokens: Sequence[Token]) -> list[int]:
        return [place for place, token in enumerate(tokens) if token.id == self.stock.config.video_token_id]

    def final_tokens(self, features: Any, kept: Any, *, apart: int = 1) -> FinalTokens:
        tokens = super().final_tokens(features, kept, apart=apart)
        centers_s_K = self.centers_s[np.asarray(kept) // self.per_patch]
        return replace(
            tokens,
            patch_K=tokens.patch_K + 70,  # of a long video
            time_s_K=centers_s_K - 0.25,
            center_s_K=centers_s_K,
            geometry=self.geometry,
        )


def build_processor(tokenizer: Any) -> Any:
    """The stock processor without its image side, which cannot be built without torchvision."""
    processor = object.__new__(Qwen3VLProcessor)
    processor.tokenizer, processor.video_processor = tokenizer, Qwen3VLVideoProcessor()
    processor.image_token, processor.video_token = "<|image_pad|>", "<|video_pad|>"
    processor.vision_start_token, processor.vision_end_token = "<|vision_start|>", "<|vision_end|>"
    return processor


def build_case(shape: str) -> Qwen3Case:
    height, width, layer = SHAPES[shape]
    tokenizer = build_tokenizer()
    model = build_model(tokenizer, kind=shape, seed=10)
    family = model.config.model_type
    adapter = as_adapter(family, model, tokenizer)
    model.set_attn_implementation("eager")
    if shape == "experts":
        model.set_experts_implementation("eager")
    return Qwen3Case(
        family=family,
        adapter=adapter,
        stock=model,
        tokenizer=tokenizer,
        processor=build_processor(tokenizer),
        frames=random_frames(2 * NUM_PATCHES, height, width),
        geometry=adapter.frame_geometry(height, width, min_pixels=1_024, max_pixels=100_000),
        layer=layer,
        centers_s=np.array(FRAME_INDICES).reshape(NUM_PATCHES, 2).mean(axis=1) / FPS,
        max_positions=262_144,
        response_tokens=4,  # then the wide one says a video token, which stock would take for one of the clip's
        answer_tokens=4,
        questions=(
            ("Is it?", ("red", "blue")),
            ("Which shape?", ("circle", "square", "star")),
            ("What is it?", None),
            ("What is it that moves after 2 minutes?", None),
        ),
        choice=("Which color?", ("red", "blue", "green")),
        open_question="What is it?",
    )
