"""Two small random Qwen2.5-VL models. The stock side gets explicit positions, counted here by loops of their own."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from pipeline.lab.demo_training.architecture import build_demo_model, demo_config
from pipeline.lab.demo_training.vocabulary import build_tokenizer
from pipeline.models.prompt import question_text
from tests.unit.models.families.case import (
    NUM_PATCHES,
    Case,
    Question,
    StockRun,
    add_noise,
    as_adapter,
    causal_without,
    random_frames,
)

# frame height and width: 2 x 2 tokens in one window; 6 x 5 tokens in four unequal windows
SHAPES = {"demo": (56, 56, 1.0, 1), "wide": (168, 140, 0.5, 2)}


@dataclass(frozen=True, kw_only=True)
class Qwen25Case(Case):
    """See ``Case``."""

    @property
    def prefix_ids(self) -> list[int]:
        text = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<|vision_start|>"
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def pixels(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Pixel rows and the grid; stock's Pillow processor shows a frame in both slots of a patch, so take one each.

        The video processor needs torchvision.
        """
        processor = Qwen2VLImageProcessorPil(size={"shortest_edge": 1, "longest_edge": 10**6})
        output = processor(images=list(self.frames), return_tensors="pt", input_data_format="channels_last")
        rows = output["pixel_values"].unflatten(0, (self.num_patches, 2, -1)).unflatten(-1, (3, 2, -1))
        slots = torch.stack([rows[:, slot, :, :, slot] for slot in range(2)], dim=3)  # (P, rows, 3, 2, 14 * 14)
        _, height, width = output["image_grid_thw"][0].tolist()
        return slots.flatten(0, 1).flatten(1), torch.tensor([[self.num_patches, height, width]])

    def stock_features(self) -> torch.Tensor:
        with torch.inference_mode():
            return self.stock.get_video_features(*self.pixels()).pooler_output[0]

    def visual_positions(self, *, temporal: Sequence[int] | None = None) -> list[list[int]]:
        """``[t, row, column]`` of every visual token; temporal positions default to an ordinary clip's."""
        start = len(self.prefix_ids)
        step = self.patch_s * self.stock.config.vision_config.tokens_per_second
        temporal = [int(patch * step) for patch in range(self.num_patches)] if temporal is None else temporal
        return [
            [start + t, start + row, start + column]
            for t in temporal
            for row in range(self.geometry.token_rows)
            for column in range(self.geometry.token_columns)
        ]

    def suffix_ids(self, question: Question) -> list[int]:
        """What follows the clip, out of the whole rendered prompt in one piece."""
        content = [{"type": "video"}, {"type": "text", "text": question_text(*question)}]
        ids = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, return_dict=True
        )["input_ids"]
        video = ids.index(self.tokenizer.convert_tokens_to_ids("<|video_pad|>"))
        assert ids[:video] == self.prefix_ids
        return ids[video + 1 :]

    def run(self, question: Question, tail: Sequence[int] = ()) -> StockRun:
        return self.run_at([*self.suffix_ids(question), *tail], visual_positions=self.visual_positions())

    def run_kept(self, question: Question, kept: Sequence[int], tail: Sequence[int] = ()) -> StockRun:
        """All tokens stand there, and the dropped are masked; text goes on after the last that is kept."""
        text, visual = [*self.suffix_ids(question), *tail], self.visual_positions()
        start = len(self.prefix_ids)
        dropped = [start + index for index in sorted(set(range(self.num_tokens)) - set(kept))]
        run = self.run_at(
            text,
            visual_positions=visual,
            text_start=max(max(visual[index]) for index in kept) + 1,
            attention_mask=causal_without(dropped, start + self.num_tokens + len(text)),
        )
        return replace(run, weights_ARN=run.weights_ARN[..., list(kept)])

    def run_at(
        self,
        text_ids: Sequence[int],
        *,
        visual_positions: list[list[int]],
        text_start: int | None = None,
        attention_mask: torch.Tensor | None = None,
    ) -> StockRun:
        """One full eager forward over prefix, clip and text."""
        first = max(max(position) for position in visual_positions) + 1 if text_start is None else text_start
        positions = [[i] * 3 for i in range(len(self.prefix_ids))] + visual_positions
        positions += [[first + i] * 3 for i in range(len(text_ids))]
        video_id = self.tokenizer.convert_tokens_to_ids("<|video_pad|>")
        ids = torch.tensor([[*self.prefix_ids, *[video_id] * self.num_tokens, *text_ids]])
        pixel_values, grid = self.pixels()
        with torch.inference_mode():
            output = self.stock(
                input_ids=ids,
                pixel_values_videos=pixel_values,
                video_grid_thw=grid,
                position_ids=torch.tensor(positions).T[:, None],
                attention_mask=torch.ones_like(ids) if attention_mask is None else attention_mask,
                use_cache=False,
                output_attentions=True,
            )
        start, stop = len(self.prefix_ids), len(self.prefix_ids) + self.num_tokens
        return StockRun(
            logits_V=output.logits[0, -1], weights_ARN=output.attentions[self.layer][0, :, stop:, start:stop]
        )


def _wide_config(tokenizer: Any) -> Qwen2_5_VLConfig:
    config = demo_config(tokenizer).to_dict()
    config["text_config"] |= {
        "hidden_size": 96,
        "intermediate_size": 128,
        "num_hidden_layers": 3,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]},
        "layer_types": None,
    }
    config["vision_config"] |= {
        "depth": 3,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_heads": 2,
        "window_size": 112,
        "out_hidden_size": 96,
        "fullatt_block_indexes": [1],
        "tokens_per_second": 4,
    }
    return Qwen2_5_VLConfig(**config)


def _wide_model(tokenizer: Any) -> Any:
    torch.manual_seed(11)
    model = Qwen2_5_VLForConditionalGeneration(_wide_config(tokenizer))
    torch.nn.init.normal_(model.get_input_embeddings().weight, std=0.5)
    return model


def build_model(tokenizer: Any, shape: str = "demo") -> Any:
    model = build_demo_model(tokenizer, seed=5) if shape == "demo" else _wide_model(tokenizer)
    return add_noise(model, scale=0.05)


def build_case(shape: str) -> Qwen25Case:
    height, width, patch_s, layer = SHAPES[shape]
    tokenizer = build_tokenizer()
    model = build_model(tokenizer, shape)
    model.set_attn_implementation("eager")
    adapter = as_adapter(model.config.model_type, model, tokenizer)
    return Qwen25Case(
        family=model.config.model_type,
        adapter=adapter,
        stock=model,
        tokenizer=tokenizer,
        frames=random_frames(2 * NUM_PATCHES, height, width),
        geometry=adapter.frame_geometry(height, width, min_pixels=784, max_pixels=100_000),
        patch_s=patch_s,
        layer=layer,
        max_positions=32_768,
        questions=(
            ("What color is the circle ?", ("red", "blue")),
            ("Which shape does the red one have in the video ?", ("circle", "square", "star", "triangle")),
            ("What is it ?", None),
            ("What color is the star , the circle , the square and the triangle of an assistant ?", None),
        ),
        choice=("Which color is it ?", ("red", "blue", "green")),
        open_question="What is it ?",
    )
