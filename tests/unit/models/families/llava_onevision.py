"""Small random LLaVA-OneVision models; the stock side gets the family's own pixels and text, no positions of ours.

``image_newline`` is stock's business there, but for subsets of a clip's tokens, after which it is put here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import LlavaOnevisionProcessor
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from pipeline.models.prompt import question_text
from tests.unit.models.families import tiny_llava
from tests.unit.models.families.case import NUM_PATCHES, Case, Question, StockRun, as_adapter, random_frames


def process(frames: Any, *, size: int) -> torch.Tensor:
    """``(F, 3, size, size)`` by the PIL processor of the tower, which the published checkpoints' settings come from."""
    processor = SiglipImageProcessorPil(
        size={"height": size, "width": size}, image_mean=[0.5] * 3, image_std=[0.5] * 3, resample=3
    )
    return processor(images=list(frames), return_tensors="pt", input_data_format="channels_last")["pixel_values"]


def expand_video(*, num_frames: int, patches_per_frame: int) -> str:
    """What the stock processor puts in place of the video token (its constructor needs torchvision)."""
    processor = object.__new__(LlavaOnevisionProcessor)
    processor.num_image_tokens, processor.video_token = patches_per_frame, "<video>"
    return processor.replace_video_token({"pixel_values_videos": [torch.zeros(num_frames, 3, 1, 1)]}, 0)


@dataclass(frozen=True, kw_only=True)
class LlavaCase(Case):
    """See ``Case``; a frame is a patch of its own, so their number is odd."""

    def chat(self, video_text: str, question: str) -> list[int]:
        """Ids of the whole prompt, tokenized in one piece."""
        text = f"<|im_start|>user {video_text}\n{question}<|im_end|><|im_start|>assistant\n"
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def clip_ids(self, question: str) -> list[int]:
        """``chat`` over the whole clip as the stock processor expands it."""
        vision = self.stock.config.vision_config
        patches = (vision.image_size // vision.patch_size) ** 2
        return self.chat(expand_video(num_frames=self.num_patches, patches_per_frame=patches), question)

    def pixels(self) -> torch.Tensor:
        return process(self.frames, size=self.geometry.height)[None]

    def stock_features(self) -> torch.Tensor:
        with torch.inference_mode():
            features = self.stock.get_video_features(self.pixels()).pooler_output[0]
        if len(features) == self.num_tokens:  # transformers 5.17 adds the line break later
            return features
        assert torch.equal(features[-1], self.stock.model.image_newline)
        return features[:-1]

    def run(self, question: Question, tail: Sequence[int] = ()) -> StockRun:
        ids = [*self.clip_ids(question_text(*question)), *tail]
        return self._forward(ids, pixel_values_videos=self.pixels())

    def run_kept(self, question: Question, kept: Sequence[int], tail: Sequence[int] = ()) -> StockRun:
        """The kept follow each other, and the line break stands after the last of them."""
        ids = [*self.chat("<video>" * (len(kept) + 1), question_text(*question)), *tail]
        return self.run_features(ids, self.stock_features()[list(kept)])

    def run_features(self, ids: Sequence[int], features_KD: torch.Tensor) -> StockRun:
        """Over some of the clip's visual tokens, and the line break."""
        embeddings_TD = self.stock.get_input_embeddings()(torch.tensor(list(ids))).detach()
        embeddings_TD[self.places(ids)] = torch.cat([features_KD, self.stock.model.image_newline.detach()[None]])
        return self._forward(ids, inputs_embeds=embeddings_TD[None])

    def places(self, ids: Sequence[int]) -> list[int]:
        """Where the video's tokens stand, the line break last."""
        return [place for place, token in enumerate(ids) if token == self.stock.config.video_token_id]

    def _forward(self, ids: Sequence[int], **inputs: Any) -> StockRun:
        input_ids = torch.tensor([list(ids)])
        with torch.inference_mode():
            output = self.stock(
                attention_mask=torch.ones_like(input_ids),
                use_cache=False,
                output_attentions=True,
                **(inputs if "inputs_embeds" in inputs else inputs | {"input_ids": input_ids}),
            )
        places = self.places(ids)
        return StockRun(
            logits_V=output.logits[0, -1],
            weights_ARN=output.attentions[self.layer][0, :, places[-1] + 1 :][..., places[:-1]],
        )


def side_of(config: Any) -> int:
    """Tokens along a frame's side, by the formula of the stock processor."""
    return math.ceil(config.vision_config.image_size // config.vision_config.patch_size / 2)


def build_case(shape: str) -> LlavaCase:
    tokenizer = tiny_llava.build_tokenizer()
    model = tiny_llava.build_model(tokenizer, shape, seed=6 if shape == "odd" else 5)  # none says a video token
    model.set_attn_implementation("eager")
    adapter = as_adapter(model.config.model_type, model, tokenizer)
    geometry = adapter.frame_geometry(240, 320, min_pixels=1, max_pixels=10**6)
    return LlavaCase(
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
