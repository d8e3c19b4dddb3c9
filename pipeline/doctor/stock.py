"""The loaded checkpoint as stock transformers runs it: eager attention, no cache, one whole row per question.

The same weights, so nothing is held twice. What is compared is everything this project does itself: pixels in batches,
one prefix for all questions, attention read beside the fast kernel. Token ids and positions are given to both sides.

Shape suffixes: F = frames, N = visual tokens, E = their columns, T = tokens of a row, V = vocabulary
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.models.adapter import Adapter
from pipeline.models.fusion.setup import unfused
from pipeline.models.interface import FrameGeometry
from pipeline.models.internvl.layout import InternVLLayout
from pipeline.models.internvl.preprocess import normalize_frames
from pipeline.models.llava.layout import LlavaLayout
from pipeline.models.llava.llava_onevision import frame_features
from pipeline.models.llava.preprocess import normalize_frames as normalize_llava
from pipeline.models.qwen.preprocess import flatten_patches
from pipeline.models.video_sequence import VideoSequence

_PARTS = ("text_config", "vision_config")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StockRun:
    """What one row gave: the last logits, and at one layer the attention of the suffix to the visual tokens.

    Attributes:
        logits_V: float32, on the CPU.
        weights_AQN: float32, on the CPU: heads, query positions of the suffix, visual tokens.
    """

    logits_V: Tensor
    weights_AQN: Tensor


@contextmanager
def eager_attention(adapter: Adapter[Any]) -> Iterator[Any]:
    """The stock model with eager attention everywhere and nothing fused; the adapter's own comes back afterwards."""
    model = adapter.stock
    before = {part: getattr(model.config, part)._attn_implementation for part in _PARTS}
    model.set_attn_implementation(dict.fromkeys(_PARTS, "eager"))
    try:
        with unfused(model):
            yield model
    finally:
        model.set_attn_implementation(before)


@torch.inference_mode()
def stock_features(adapter: Adapter[Any], frames_FHW3: npt.NDArray[np.uint8], geometry: FrameGeometry) -> Tensor:
    """``(N, E)`` visual tokens of frames that have the model's own size, in one batch."""
    frames = torch.from_numpy(frames_FHW3).to(adapter.device)
    with eager_attention(adapter) as model:
        if isinstance(adapter.layout, InternVLLayout):
            pixels = normalize_frames(frames).to(model.dtype)
            found: Tensor = model.model.get_image_features(pixel_values=pixels).pooler_output.flatten(0, 1)
            return found
        if isinstance(adapter.layout, LlavaLayout):
            return frame_features(model, normalize_llava(frames).to(model.dtype), geometry.tokens_per_patch)
        patches = adapter.layout.patches
        pixels = flatten_patches(frames, geometry=patches).to(model.dtype)
        rows, columns = (count * patches.merge_size for count in (geometry.token_rows, geometry.token_columns))
        grid = torch.tensor([[len(frames) // patches.temporal_patch_size, rows, columns]], device=adapter.device)
        output = model.model.get_video_features(pixels, grid)
        layers = (output.pooler_output, *(getattr(output, "deepstack_features", None) or ()))
        return torch.cat([torch.cat(list(layer)) if isinstance(layer, tuple | list) else layer for layer in layers], 1)


@torch.inference_mode()
def run_stock(
    adapter: Adapter[Any], sequence: VideoSequence, suffix: Sequence[int], features_NE: Tensor, *, layer: int
) -> StockRun:
    """One causal row over a video and a question.

    Args:
        adapter: whose model runs.
        sequence: the video as it is shown.
        suffix: token ids of the question.
        features_NE: visual tokens.
        layer: whose attention is wanted.
    """
    device = adapter.device
    ids = torch.from_numpy(sequence.ids_with(suffix)).to(device)
    places = np.arange(len(ids))[sequence.visual]
    visual = torch.from_numpy(places).to(device)
    positions = torch.from_numpy(sequence.positions_with(len(suffix))).to(device)
    with eager_attention(adapter) as model:
        embeddings_TD = model.get_input_embeddings()(ids)
        features_NE = features_NE.to(device=device, dtype=embeddings_TD.dtype)
        embeddings_TD[visual] = features_NE[:, : adapter.similarity_dim]
        adapter.fill_in(sequence, embeddings_TD)
        output = model.model.language_model(
            inputs_embeds=embeddings_TD[None],
            position_ids=positions[None] if positions.dim() == 1 else positions[:, None],
            attention_mask=torch.ones_like(ids)[None],
            use_cache=False,
            output_attentions=True,
            **adapter.inputs_besides(sequence, features_NE, len(ids)),
        )
        logits_V = model.get_output_embeddings()(output.last_hidden_state[0, -1:])[0]
        # stock gives the weights of layers that have any
        weights_AQT = output.attentions[adapter.ranking_layers.index(layer)][0, :, -len(suffix) :]
    return StockRun(
        logits_V=logits_V.float().cpu(), weights_AQN=weights_AQT[..., places_on(weights_AQT, places)].float().cpu()
    )


def places_on(weights: Tensor, places: npt.NDArray[np.int64]) -> Tensor:
    """Indices where the weights are: with several GPUs a layer need not lie where the inputs do."""
    return torch.from_numpy(places).to(weights.device)
