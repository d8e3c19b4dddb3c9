"""Two small random Qwen2.5-VL models, each behind the adapter and as stock transformers with eager attention.

The stock side gets pixels, token ids and explicit positions; positions are counted here by loops of their own.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from pipeline.lab.demo_training.architecture import build_demo_model, demo_config
from pipeline.lab.demo_training.vocabulary import build_tokenizer
from pipeline.models.attention_probe import PROBED_ATTENTION
from pipeline.models.qwen.preprocess import PatchGeometry, flatten_patches
from pipeline.models.qwen.qwen2_5_vl import Qwen25VL
from pipeline.models.qwen.window_attention import WINDOW_ATTENTION

NUM_PATCHES = 3


@dataclass(frozen=True, kw_only=True)
class Case:
    """One model in both forms, with one clip of three temporal patches."""

    adapter: Qwen25VL
    stock: Any
    tokenizer: Any
    frames: Any
    geometry: Any
    patch_s: float
    layer: int

    @property
    def prefix_ids(self) -> list[int]:
        text = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<|vision_start|>"
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    @property
    def num_tokens(self) -> int:
        return NUM_PATCHES * self.geometry.tokens_per_patch

    def pixels(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Pixel rows and the grid, as the family's processor would give them."""
        grid = [NUM_PATCHES, self.geometry.height // 14, self.geometry.width // 14]
        return flatten_patches(torch.from_numpy(self.frames), geometry=PatchGeometry()), torch.tensor([grid])

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

    def run_stock(
        self,
        text_ids: Sequence[int],
        *,
        visual_positions: list[list[int]] | None = None,
        text_start: int | None = None,
        attention_mask: torch.Tensor | None = None,
    ) -> Any:
        """One full eager forward over prefix, clip and text, without a cache."""
        visual = self.visual_positions() if visual_positions is None else visual_positions
        first = max(max(position) for position in visual) + 1 if text_start is None else text_start
        positions = [[i] * 3 for i in range(len(self.prefix_ids))] + visual
        positions += [[first + i] * 3 for i in range(len(text_ids))]
        video_id = self.tokenizer.convert_tokens_to_ids("<|video_pad|>")
        ids = torch.tensor([[*self.prefix_ids, *[video_id] * self.num_tokens, *text_ids]])
        pixel_values, grid = self.pixels()
        with torch.inference_mode():
            return self.stock(
                input_ids=ids,
                pixel_values_videos=pixel_values,
                video_grid_thw=grid,
                position_ids=torch.tensor(positions).T[:, None],
                attention_mask=torch.ones_like(ids) if attention_mask is None else attention_mask,
                use_cache=False,
                output_attentions=True,
            )

    def respond_stock(
        self, text_ids: Sequence[int], *, max_tokens: int, end_token: str | None = "<|im_end|>"
    ) -> tuple[list[int], list[torch.Tensor]]:
        """Naive greedy loop, the whole sequence again for every token: response ids and the logits of each."""
        end_id = self.tokenizer.convert_tokens_to_ids(end_token) if end_token else None
        ids: list[int] = []
        logits: list[torch.Tensor] = []
        while len(ids) < max_tokens and end_id not in ids:
            logits.append(self.run_stock([*text_ids, *ids]).logits[0, -1])
            ids.append(int(logits[-1].argmax()))
        return ids, logits

    def visual_attention(self, attentions: Any) -> torch.Tensor:
        """``(heads, text rows, visual tokens)`` at the reference layer."""
        start, stop = len(self.prefix_ids), len(self.prefix_ids) + self.num_tokens
        return attentions[self.layer][0, :, stop:, start:stop]


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


@pytest.fixture(scope="session")
def tokenizer():
    return build_tokenizer()


def _as_adapter(model: Any, tokenizer: Any) -> Qwen25VL:
    model.set_attn_implementation({"text_config": PROBED_ATTENTION, "vision_config": WINDOW_ATTENTION})
    return Qwen25VL(model, tokenizer, name="tiny", revision="0")


@pytest.fixture(scope="session")
def as_adapter(tokenizer):
    return lambda model: _as_adapter(copy.deepcopy(model), tokenizer)


# frame height and width: 2 x 2 tokens in one window; 6 x 5 tokens in four unequal windows
@pytest.fixture(scope="session", params=[("demo", 56, 56, 1.0, 1), ("wide", 168, 140, 0.5, 2)], ids=["demo", "wide"])
def case(request, tokenizer, as_adapter):
    kind, height, width, patch_s, layer = request.param
    model = build_demo_model(tokenizer, seed=5) if kind == "demo" else _wide_model(tokenizer)
    with torch.no_grad():  # zero biases and unit norms would hide mistakes
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    model.eval()
    model.set_attn_implementation("eager")
    adapter = as_adapter(model)
    frames = np.random.default_rng(3).integers(0, 256, (2 * NUM_PATCHES, height, width, 3), dtype=np.uint8)
    geometry = adapter.frame_geometry(height, width, min_pixels=784, max_pixels=100_000)
    return Case(
        adapter=adapter,
        stock=model,
        tokenizer=tokenizer,
        frames=frames,
        geometry=geometry,
        patch_s=patch_s,
        layer=layer,
    )


@pytest.fixture(scope="session")
def features(case):
    return case.adapter.encode(case.frames, case.geometry, batch_patches=NUM_PATCHES)


@pytest.fixture(scope="session")
def prefix(case, features):
    return case.adapter.prefill(features, case.geometry, patch_s=case.patch_s)


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
