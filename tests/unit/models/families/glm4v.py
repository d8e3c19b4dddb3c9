"""Small random GLM-4.xV models, dense and of experts; stock runs one expert after the other.

Ids come out of the stock processor's own text expansion, positions out of stock ``get_rope_index``, by the processor's
own token types: the stock side gets nothing of the adapter's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from transformers.models.glm4v.processing_glm4v import Glm4vProcessor
from transformers.models.glm4v.video_processing_glm4v import Glm4vVideoProcessor
from transformers.models.glm46v.processing_glm46v import Glm46VProcessor
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
    random_frames,
)
from tests.unit.models.families.tiny_glm import SHAPES, build_model, build_tokenizer

FPS = 10.0
FRAME_INDICES = (3, 8, 1200, 1201, 98_767, 98_773)  # of the source; first frames at 0.3, 120 and 9876.7 s
# frame height and width: 2 x 2 tokens; 5 x 3 tokens; 3 x 2 tokens
SIZES = {"dense": (56, 56, 1), "experts": (140, 84, 2), "seconds": (84, 56, 1)}
CLIP_MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
CLIP_STD = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]


@dataclass(frozen=True, kw_only=True)
class GlmCase(Case):
    """See ``Case``."""

    processor: Any
    frame_indices: tuple[int, ...] = FRAME_INDICES
    fps: float = FPS

    def over(self, frames: Any, *, samples: Sequence[int], sample_fps: float) -> "GlmCase":
        starts_s = np.array(samples)[::2] / sample_fps
        return replace(self, frames=frames, centers_s=starts_s, frame_indices=tuple(samples), fps=sample_fps, _runs={})

    def respond_stock(
        self, question: Question, *, max_tokens: int, end_token: str | None = "<|user|>"
    ) -> tuple[list[int], list[torch.Tensor]]:
        return super().respond_stock(question, max_tokens=max_tokens, end_token=end_token)

    def only(self, patches: Sequence[int]) -> "GlmCase":
        """The clip of these patches alone, at their old times."""
        frames = [2 * patch + i for patch in patches for i in range(2)]
        return replace(
            self,
            frames=self.frames[frames],
            centers_s=self.centers_s[list(patches)],
            frame_indices=tuple(self.frame_indices[i] for i in frames),
            _runs={},
        )

    def pixels(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Pixel rows by the family's own patchify, and the grid."""
        frames = torch.from_numpy(self.frames).permute(0, 3, 1, 2).float() / 255
        rows, *grid = self.processor.video_processor.patchify(((frames - CLIP_MEAN) / CLIP_STD)[None], 14, 2, 2)
        return rows[0], torch.tensor([grid])

    def stock_features(self) -> torch.Tensor:
        with torch.inference_mode():
            return torch.cat(list(self.stock.get_video_features(*self.pixels()).pooler_output))

    def stock_video_text(self) -> str:
        """What the stock processor writes in place of the video token."""
        metadata = VideoMetadata(total_num_frames=100_000, fps=self.fps, frames_indices=list(self.frame_indices))
        inputs = {"video_grid_thw": self.pixels()[1], "video_metadata": [metadata]}
        return self.processor.replace_video_token(inputs, 0)

    def prompt_text(self, question: str, options: Sequence[str] | None) -> str:
        """The rendered chat template, thinking switched off, with the video expanded by the stock processor.

        A letter is asked for inside the mark that the model puts around answers.
        """
        content = [{"type": "video"}, {"type": "text", "text": question_text(question, options)}]
        rendered = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        return rendered.replace("<|video|>", self.stock_video_text()) + ("" if options is None else "<|begin_of_box|>")

    def prompt_ids(self, question: str, options: Sequence[str] | None) -> list[int]:
        return self.tokenizer(self.prompt_text(question, options), add_special_tokens=False)["input_ids"]

    def run(self, question: Question, tail: Sequence[int] = ()) -> StockRun:
        pixel_values, grid = self.pixels()
        return self.run_ids([*self.prompt_ids(*question), *tail], pixel_values_videos=pixel_values, video_grid_thw=grid)

    def run_kept(self, question: Question, kept: Sequence[int], tail: Sequence[int] = ()) -> StockRun:
        """Patches that kept none leave no trace; of the others all tokens stand there, and the dropped are masked."""
        patches = sorted({index // self.per_patch for index in kept})
        shown = [patch * self.per_patch + n for patch in patches for n in range(self.per_patch)]
        is_kept = np.isin(shown, kept)
        clip = self.only(patches)
        ids = [*clip.prompt_ids(*question), *tail]
        dropped = np.array(clip.visual_places(ids))[: len(shown)][~is_kept]
        pixel_values, grid = clip.pixels()
        run = clip.run_ids(
            ids,
            attention_mask=causal_without(dropped.tolist(), len(ids)),
            position_ids=clip.positions(ids),
            pixel_values_videos=pixel_values,
            video_grid_thw=grid,
        )
        return replace(run, weights_ARN=run.weights_ARN[..., is_kept])

    def visual_places(self, ids: Sequence[int]) -> list[int]:
        return [place for place, token in enumerate(ids) if token == self.stock.config.image_token_id]

    def run_ids(self, ids: Sequence[int], **inputs: Any) -> StockRun:
        """One full eager forward."""
        input_ids = torch.tensor([list(ids)])
        with torch.inference_mode():
            output = self.stock(
                input_ids=input_ids,
                mm_token_type_ids=self.token_types(ids),
                use_cache=False,
                output_attentions=True,
                **({"attention_mask": torch.ones_like(input_ids)} | inputs),
            )
        self.stock.model.rope_deltas = None
        places = self.visual_places(ids)
        end = list(ids).index(self.tokenizer.convert_tokens_to_ids("<|end_of_video|>"))  # where the question starts
        return StockRun(
            logits_V=output.logits[0, -1], weights_ARN=output.attentions[self.layer][0, :, end:][..., places]
        )

    def token_types(self, ids: Sequence[int]) -> torch.Tensor:
        """Text, image or video, by the stock processor."""
        return torch.tensor(self.processor.create_mm_token_type_ids([list(ids)]))

    def positions(self, ids: Sequence[int]) -> torch.Tensor:
        """``(3, 1, T)`` by stock."""
        types, grid = self.token_types(ids), self.pixels()[1]
        return self.stock.model.get_rope_index(torch.tensor([list(ids)]), types, video_grid_thw=grid)[0]

    def final_tokens(self, features: Any, kept: Any, *, apart: int = 1) -> FinalTokens:
        tokens = super().final_tokens(features, kept, apart=apart)
        starts_s_K = self.centers_s[np.asarray(kept) // self.per_patch]
        return replace(
            tokens,
            patch_K=tokens.patch_K + 70,  # of a long video
            time_s_K=starts_s_K,
            center_s_K=starts_s_K,
            geometry=self.geometry,
        )


def build_processor(tokenizer: Any) -> Any:
    """The stock processor without its image side, which cannot be built without torchvision."""
    named = {"Glm4vProcessor": Glm4vProcessor, "Glm46VProcessor": Glm46VProcessor}
    processor = object.__new__(named[tokenizer.init_kwargs["processor_class"]])
    processor.tokenizer, processor.video_processor = tokenizer, Glm4vVideoProcessor()
    processor.image_token, processor.video_token = "<|image|>", "<|video|>"
    processor.image_token_id = tokenizer.convert_tokens_to_ids("<|image|>")
    processor.video_start_id = tokenizer.convert_tokens_to_ids("<|begin_of_video|>")
    processor.video_end_id = tokenizer.convert_tokens_to_ids("<|end_of_video|>")
    return processor


def build_case(shape: str) -> GlmCase:
    height, width, layer = SIZES[shape]
    tokenizer = build_tokenizer(shape)
    model = build_model(tokenizer, shape=shape, seed=13)
    family = model.config.model_type
    assert family == SHAPES[shape][0].model_type
    adapter = as_adapter(family, model, tokenizer)
    model.set_attn_implementation("eager")
    if shape == "experts":
        model.set_experts_implementation("eager")
    return GlmCase(
        family=family,
        adapter=adapter,
        stock=model,
        tokenizer=tokenizer,
        processor=build_processor(tokenizer),
        frames=random_frames(2 * NUM_PATCHES, height, width),
        geometry=adapter.frame_geometry(height, width, min_pixels=784, max_pixels=100_000),
        layer=layer,
        centers_s=np.array(FRAME_INDICES)[::2] / FPS,
        max_positions=65_536,
        response_tokens=4,
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
