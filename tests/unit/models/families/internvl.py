"""Small random InternVL models; the stock side gets the family's own pixels and text, and no positions of ours."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import InternVLProcessor
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

from pipeline.models.prompt import question_text
from tests.unit.models.families import tiny_internvl
from tests.unit.models.families.case import (
    NUM_PATCHES,
    Case,
    Question,
    StockRun,
    as_adapter,
    given_features,
    random_frames,
)

SHAPES = tiny_internvl.SHAPES


def process(frames: Any, *, size: int) -> torch.Tensor:
    """``(F, 3, size, size)`` by the family's PIL processor as InternVL3 configures it, tiles off as for video."""
    processor = GotOcr2ImageProcessorPil(
        size={"height": size, "width": size},
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
        crop_to_patches=False,
    )
    output = processor(images=list(frames), return_tensors="pt", input_data_format="channels_last")
    return output["pixel_values"]


def expand_video(tokenizer: Any, *, num_frames: int, tokens_per_frame: int) -> str:
    """What the stock processor puts in place of the video token (its constructor needs torchvision)."""
    processor = object.__new__(InternVLProcessor)
    processor.image_seq_length = tokens_per_frame
    processor.image_token = tokenizer.context_image_token
    processor.start_image_token, processor.end_image_token = tokenizer.start_image_token, tokenizer.end_image_token
    return processor.replace_video_token({"pixel_values_videos": [torch.zeros(num_frames, 3, 1, 1)]}, 0)


@dataclass(frozen=True, kw_only=True)
class InternVLCase(Case):
    """See ``Case``; a frame is a patch of its own, so their number is odd."""

    def chat(self, frames_text: str, question: str) -> list[int]:
        """Ids of the whole prompt, tokenized in one piece."""
        text = f"<|im_start|>user\n{frames_text}\n{question}<|im_end|>\n<|im_start|>assistant\n"
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def clip_ids(self, question: str) -> list[int]:
        """``chat`` over the whole clip as the stock processor expands it."""
        frames_text = expand_video(
            self.tokenizer, num_frames=self.num_patches, tokens_per_frame=self.geometry.tokens_per_patch
        )
        return self.chat(frames_text, question)

    def stock_features(self) -> torch.Tensor:
        with torch.inference_mode():
            pixels = process(self.frames, size=self.geometry.height)
            return self.stock.get_image_features(pixels).pooler_output.flatten(0, 1)

    def run(self, question: Question, tail: Sequence[int] = ()) -> StockRun:
        return self._forward([*self.clip_ids(question_text(*question)), *tail])

    def run_kept(self, question: Question, kept: Sequence[int], tail: Sequence[int] = ()) -> StockRun:
        counts = np.unique(np.asarray(kept) // self.per_patch, return_counts=True)[1]
        frames = [f"Frame{i}: <img>{'<IMG_CONTEXT>' * count}</img>" for i, count in enumerate(counts, start=1)]
        ids = [*self.chat("\n".join(frames), question_text(*question)), *tail]
        return self.run_features(ids, self.stock_features()[list(kept)])

    def run_features(self, ids: Sequence[int], features_KD: torch.Tensor) -> StockRun:
        """Over some of the clip's visual tokens."""
        return self._forward(ids, BaseModelOutputWithPooling(pooler_output=features_KD[None]))

    def _forward(self, ids: Sequence[int], outputs: Any = None) -> StockRun:
        input_ids = torch.tensor([list(ids)])
        with torch.inference_mode(), given_features(self.stock, "get_image_features", outputs):
            output = self.stock(
                input_ids=input_ids,
                attention_mask=torch.ones_like(input_ids),
                use_cache=False,
                output_attentions=True,
                pixel_values=process(self.frames, size=self.geometry.height),
            )
        is_visual_T = input_ids[0] == self.tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>")
        last_end = int((input_ids[0] == self.tokenizer.convert_tokens_to_ids("</img>")).nonzero()[-1])
        return StockRun(
            logits_V=output.logits[0, -1],
            weights_ARN=output.attentions[self.layer][0, :, last_end + 1 :][..., is_visual_T],
        )


def build_case(shape: str) -> InternVLCase:
    tokenizer = tiny_internvl.build_tokenizer()
    model = tiny_internvl.build_model(tokenizer, shape, seed=7 if "moe" in shape else 5)  # so that responses vary
    model.set_attn_implementation("eager")
    if "moe" in shape:
        model.set_experts_implementation("eager")
    adapter = as_adapter(model.config.model_type, model, tokenizer)
    geometry = adapter.frame_geometry(240, 320, min_pixels=1, max_pixels=10**6)
    return InternVLCase(
        family=model.config.model_type,
        adapter=adapter,
        stock=model,
        tokenizer=tokenizer,
        frames=random_frames(NUM_PATCHES, geometry.height, geometry.width),
        geometry=geometry,
        layer=1,
        frames_per_patch=1,
        max_positions=4_096,
        questions=(
            ("What colour?", ("red", "blue")),
            ("Which shape does the red one have?", ("circle", "square", "star", "triangle")),
            ("What is it?", None),
            ("What is shown, and where?", None),
        ),
        choice=("Which colour is it?", ("red", "blue", "green")),
        open_question="Which colour is it?",
    )
