"""The naive baseline: for every question and group a full eager pass of stock transformers, all weights returned.

Nothing is shared between questions. It is given this project's prompt and positions, so that its scores are the same.

Shape suffixes: F = frames, C = colours, T = whole sequence, N = visual tokens, A = heads, S = tokens of the question
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.lab.benchmarks.random_models import video_token
from pipeline.method.entropy import token_entropies
from pipeline.models.glm import prompt as glm_prompt
from pipeline.models.interface import FrameGeometry, ranking_layers
from pipeline.models.internvl.preprocess import normalize_frames
from pipeline.models.internvl.prompt import build_frame_prompt
from pipeline.models.llava.preprocess import normalize_frames as normalize_llava
from pipeline.models.prompt import build_prompt, render_around_video
from pipeline.models.qwen.layout import QwenLayout
from pipeline.models.qwen.positions import clip_positions
from pipeline.models.qwen.preprocess import flatten_patches
from pipeline.models.qwen.qwen3_sequence import VISION_START, block_texts, lay_out
from pipeline.models.registry import FAMILIES

_HALF = [0.5, 0.5, 0.5]
_IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StockPrompt:
    """One group and one question as stock transformers takes them.

    Attributes:
        positions: ``(3, 1, T)``, or ``(1, T)`` for plain positions.
        visual_N: where the visual tokens stand.
        num_text: tokens of the question, at the end.
    """

    ids_1T: Tensor
    positions: Tensor
    visual_N: Tensor
    num_text: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class NaiveScore:
    """What one forward pass yields: entropy of the first response token in nats, attention per visual token."""

    entropy: float
    attention_N: npt.NDArray[np.float32]


def lay_out_prompt(
    tokenizer: Any,
    config: Any,
    geometry: FrameGeometry,
    *,
    center_s_P: npt.NDArray[np.float64],
    patch_s: float,
    question: str,
    options: Sequence[str] | None,
) -> StockPrompt:
    """Token ids and explicit positions of a group of whole temporal patches and a question.

    Args:
        tokenizer: of the checkpoint.
        config: of the checkpoint.
        geometry: of the frames.
        center_s_P: mean time of each patch's frames.
        patch_s: seconds between patches of an ordinary clip.
        question: text of the question.
        options: of multiple choice.
    """
    video = video_token(config.model_type)
    prompt = build_prompt(tokenizer, video_token=video, question=question, options=options)
    mark = FAMILIES[config.model_type].answer_marks[0] if options is not None else ""
    suffix_ids = [*prompt.suffix_ids, *([tokenizer.get_vocab()[mark]] if mark in tokenizer.get_vocab() else [])]
    if config.model_type == "qwen2_5_vl":
        before_ids, positions = _qwen2_5_vl(config, geometry, prompt.prefix_ids, len(center_s_P), patch_s)
    elif config.model_type.startswith("qwen3_"):
        before_ids, positions = _qwen3_vl(tokenizer, config, geometry, center_s_P)
    elif config.model_type.startswith("glm4"):
        before_ids, positions = _glm4v(tokenizer, config, geometry, center_s_P)
    elif config.model_type == "llava_onevision":
        num_visual = len(center_s_P) * geometry.tokens_per_patch + 1  # and a line break after the last frame
        before_ids = np.append(prompt.prefix_ids, np.full(num_visual, config.video_token_id))
        positions = np.arange(len(before_ids))[None]
    else:
        before, _ = render_around_video(tokenizer, video_token=video, question="", options=None)
        tokens_by_frame = [geometry.tokens_per_patch] * len(center_s_P)
        before_ids = build_frame_prompt(tokenizer, before, tokens_by_frame=tokens_by_frame).ids_T
        positions = np.arange(len(before_ids))[None]
    num_text = len(suffix_ids)
    text = positions.max() + 1 + np.tile(np.arange(num_text), (len(positions), 1))
    places = np.concatenate([positions, text], axis=1)
    is_image = config.model_type == "internvl" or config.model_type.startswith("glm4")
    visual_N = np.flatnonzero(before_ids == (config.image_token_id if is_image else config.video_token_id))
    if config.model_type == "llava_onevision":
        visual_N = visual_N[:-1]
    return StockPrompt(
        ids_1T=torch.from_numpy(np.append(before_ids, suffix_ids))[None],
        positions=torch.from_numpy(places)[:, None] if len(places) == 3 else torch.from_numpy(places),
        visual_N=torch.from_numpy(visual_N),
        num_text=num_text,
    )


def _qwen2_5_vl(
    config: Any, geometry: FrameGeometry, before: Sequence[int], num_patches: int, patch_s: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    visual_3N = clip_positions(
        num_patches=num_patches,
        token_rows=geometry.token_rows,
        token_columns=geometry.token_columns,
        start=len(before),
        patch_s=patch_s,
        tokens_per_second=QwenLayout.from_config(config).tokens_per_second,
    )
    ids_T = np.append(np.array(before), np.full(visual_3N.shape[1], config.video_token_id))
    return ids_T, np.concatenate([np.tile(np.arange(len(before)), (3, 1)), visual_3N], axis=1)


def _qwen3_vl(
    tokenizer: Any, config: Any, geometry: FrameGeometry, center_s_P: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    before, _ = render_around_video(tokenizer, video_token=video_token("qwen3_vl"), question="", options=None)
    texts = block_texts(before.removesuffix(VISION_START), center_s_P)
    shape = len(center_s_P), geometry.token_rows, geometry.token_columns
    patch_N, row_N, column_N = np.indices(shape).reshape(3, -1)
    sequence = lay_out(
        tokenizer(texts, add_special_tokens=False)["input_ids"],
        patch_N=patch_N,
        row_N=row_N,
        column_N=column_N,
        side=max(geometry.token_rows, geometry.token_columns),
        video_id=config.video_token_id,
    )
    return sequence.ids_T, sequence.positions


def _glm4v(
    tokenizer: Any, config: Any, geometry: FrameGeometry, start_s_P: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    texts = glm_prompt.block_texts(glm_prompt.read_prefix(tokenizer), start_s_P, glm_prompt.time_writer(tokenizer))
    *text_ids, last_ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
    patch_N, row_N, column_N = np.indices((len(start_s_P), geometry.token_rows, geometry.token_columns)).reshape(3, -1)
    sequence = lay_out(
        text_ids,
        patch_N=patch_N,
        row_N=row_N,
        column_N=column_N,
        side=max(geometry.token_rows, geometry.token_columns),
        video_id=config.image_token_id,
    )
    sequence = glm_prompt.append_text(sequence, last_ids)
    return sequence.ids_T, sequence.positions


class StockPixels:
    """Frames to model inputs by the family's own video processor, where torchvision is there; else by this project's.

    Attributes:
        source: which of the two.
    """

    def __init__(self, config: Any) -> None:
        self._config = config
        try:
            self._processor = _build_processor(config)
            self.source = f"stock {type(self._processor).__name__}"
        except (ImportError, RuntimeError) as error:  # a torchvision of another torch raises RuntimeError
            self._processor = None
            self.source = f"this project's (the stock video processor does not load: {error})"

    def prepare(self, frames_FHW3: npt.NDArray[np.uint8], geometry: FrameGeometry) -> dict[str, Tensor]:
        """Keyword arguments of the forward pass; frames have the model's size."""
        frames = torch.from_numpy(frames_FHW3)
        if self._processor is None:
            return self._prepare_here(frames, geometry)
        arguments = {"do_sample_frames": False, "do_resize": False, "return_tensors": "pt"}
        inputs = dict(self._processor(videos=[frames.permute(0, 3, 1, 2)], **arguments))
        if self._config.model_type == "llava_onevision":
            return {"pixel_values_videos": inputs["pixel_values_videos"]}
        if self._config.model_type == "internvl":
            return {"pixel_values": inputs["pixel_values_videos"][0]}
        return {name: inputs[name] for name in ("pixel_values_videos", "video_grid_thw")}

    def _prepare_here(self, frames: Tensor, geometry: FrameGeometry) -> dict[str, Tensor]:
        if self._config.model_type == "internvl":
            return {"pixel_values": normalize_frames(frames)}
        if self._config.model_type == "llava_onevision":
            return {"pixel_values_videos": normalize_llava(frames)[None]}
        layout: Any = FAMILIES[self._config.model_type].read_layout(self._config)
        merge = layout.patches.merge_size
        grid = [len(frames) // layout.frames_per_patch, geometry.token_rows * merge, geometry.token_columns * merge]
        pixels = flatten_patches(frames, geometry=layout.patches)
        return {"pixel_values_videos": pixels, "video_grid_thw": torch.tensor([grid])}


def _build_processor(config: Any) -> Any:
    if config.model_type == "internvl":
        from transformers.models.internvl.video_processing_internvl import InternVLVideoProcessor

        return InternVLVideoProcessor(**_IMAGENET)
    if config.model_type == "qwen2_5_vl":
        from transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor

        return Qwen2VLVideoProcessor()
    if find_spec("torchvision") is None:  # these would only fail at their first call
        raise ImportError("torchvision is not installed")
    if config.model_type.startswith("qwen3_"):
        from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor

        return Qwen3VLVideoProcessor(patch_size=config.vision_config.patch_size)
    if config.model_type.startswith("glm4"):
        from transformers.models.glm4v.video_processing_glm4v import Glm4vVideoProcessor

        return Glm4vVideoProcessor()
    from transformers.models.llava_onevision.video_processing_llava_onevision import LlavaOnevisionVideoProcessor

    return LlavaOnevisionVideoProcessor(image_mean=_HALF, image_std=_HALF)


@torch.inference_mode()
def score_naively(model: Any, pixels: dict[str, Tensor], prompt: StockPrompt, *, layer: int) -> NaiveScore:
    """One full forward pass over video and question.

    Args:
        model: stock, with eager attention.
        pixels: of ``StockPixels.prepare``.
        prompt: ids and positions.
        layer: whose attention is read; the weights of all layers are computed and returned, as stock does.
    """
    device = model.device
    ids_1T = prompt.ids_1T.to(device)
    inputs = {
        name: value.to(device, model.dtype if value.is_floating_point() else None) for name, value in pixels.items()
    }
    output = model(
        input_ids=ids_1T,
        position_ids=prompt.positions.to(device),
        attention_mask=torch.ones_like(ids_1T),
        use_cache=False,
        output_attentions=True,
        **inputs,
    )
    layers = ranking_layers(FAMILIES[model.config.model_type].read_layout(model.config))  # stock gives those only
    weights_AST = output.attentions[layers.index(layer)][0, :, -prompt.num_text :]
    attention_N = weights_AST[..., prompt.visual_N.to(device)].float().amax(dim=(0, 1))
    entropy = token_entropies(output.logits[0, -1:])[0]
    return NaiveScore(entropy=float(entropy), attention_N=attention_N.cpu().numpy())
