"""Two small random Qwen2.5-VL models. The stock side gets explicit positions, counted here by loops of their own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from pipeline.lab.demo_training.architecture import build_demo_model, demo_config
from pipeline.lab.demo_training.vocabulary import build_tokenizer
from pipeline.models.qwen.preprocess import PatchGeometry, flatten_patches
from tests.unit.models.families.case import (
    NUM_PATCHES,
    Case,
    Question,
    StockRun,
    add_noise,
    as_adapter,
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
        """Pixel rows and the grid, as the family's processor would give them."""
        grid = [NUM_PATCHES, self.geometry.height // 14, self.geometry.width // 14]
        return flatten_patches(torch.from_numpy(self.frames), geometry=PatchGeometry()), torch.tensor([grid])

    def stock_features(self) -> torch.Tensor:
        with torch.inference_mode():
            return self.stock.get_video_features(*self.pixels()).pooler_output[0]

    def visual_positions(self, *, temporal: Sequence[int] | None = None) -> list[list[int]]:
        """``[t, row, column]`` of every visual token; temporal positions default to an ordinary clip's."""
        start = len(self.prefix_ids)
        step = self.patch_s * self.stock.config.vision_config.tokens_per_second
        temporal = [int(patch * step) for patch in range(NUM_PATCHES)] if temporal is None else temporal
        return [
            [start + t, start + row, start + column]
            for t in temporal
            for row in range(self.geometry.token_rows)
            for column in range(self.geometry.token_columns)
        ]

    def run(self, question: Question, tail: Sequence[int] = ()) -> StockRun:
        suffix = self.adapter.build_question(*question, response_tokens=1).suffix_ids
        return self.run_at([*suffix, *tail], visual_positions=self.visual_positions())

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
