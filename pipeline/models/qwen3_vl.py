"""Qwen3-VL (dense) behind the model interface: timestamps as text, deepstack features that travel with their tokens.

A visual token is one row of D merged features followed by D per deepstack layer, so that whatever keeps, moves or drops
tokens keeps them together.

Shape suffixes:
- F = frames, N = visual tokens of a group, K = kept tokens, T = all tokens, D = hidden size, E = D * (1 + deepstack)
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import DynamicCache

from pipeline.config import ScoringConfig
from pipeline.models.attention_probe import AttentionProbe
from pipeline.models.generation import end_ids, respond_greedily
from pipeline.models.interface import FinalTokens, FrameGeometry, QuestionPrompt, Response
from pipeline.models.prompt import build_prompt, letter_ids, render_around_video
from pipeline.models.qwen3_layout import Qwen3Layout
from pipeline.models.qwen3_sequence import VISION_END, VISION_START, VideoSequence, block_texts, clip_centers, lay_out
from pipeline.models.qwen_preprocess import flatten_patches, resize_frames
from pipeline.models.responses import build_probe, to_responses
from pipeline.models.shared_prefix import SharedPrefix, score_questions

_VIDEO_TOKEN = "<|video_pad|>"


class Qwen3VL:
    """Implements ``VideoModel``. One call at a time."""

    def __init__(self, model: Any, tokenizer: Any, *, name: str, revision: str) -> None:
        self.name, self.revision = name, revision
        self._model, self._tokenizer = model, tokenizer
        self._layout = Qwen3Layout.from_config(model.config)
        self.frames_per_patch = self._layout.frames_per_patch
        self.num_layers = self._layout.num_layers
        self.max_positions = self._layout.max_positions
        self.similarity_dim = int(model.config.text_config.hidden_size)
        self._end_ids = end_ids(model)
        self._before = _text_before_video(tokenizer)

    def frame_geometry(self, height: int, width: int, *, min_pixels: int, max_pixels: int) -> FrameGeometry:
        """See ``VideoModel``; sides are multiples of 32 pixels."""
        return self._layout.frame_geometry(height, width, min_pixels=min_pixels, max_pixels=max_pixels)

    def build_question(self, question: str, options: Sequence[str] | None, *, response_tokens: int) -> QuestionPrompt:
        """See ``VideoModel``; the suffix starts with the end of the last vision block."""
        prompt = build_prompt(self._tokenizer, video_token=_VIDEO_TOKEN, question=question, options=options)
        if options is None:
            return QuestionPrompt(suffix_ids=prompt.suffix_ids, option_ids=None, max_tokens=response_tokens)
        ids = letter_ids(self._tokenizer, num_options=len(options))
        return QuestionPrompt(suffix_ids=prompt.suffix_ids, option_ids=ids, max_tokens=1)

    @torch.inference_mode()
    def encode(self, frames_FHW3: npt.NDArray[np.uint8], geometry: FrameGeometry, *, batch_patches: int) -> Tensor:
        """See ``VideoModel``; ``(N, E)``, from ``batch_patches`` temporal patches at a time."""
        step = batch_patches * self.frames_per_patch
        merge = self._layout.patches.merge_size
        parts = []
        for start in range(0, len(frames_FHW3), step):
            frames = torch.from_numpy(frames_FHW3[start : start + step].copy()).to(self._model.device)
            frames = resize_frames(frames, height=geometry.height, width=geometry.width)
            pixels = flatten_patches(frames, geometry=self._layout.patches).to(self._model.dtype)
            grid = [len(frames) // self.frames_per_patch, geometry.token_rows * merge, geometry.token_columns * merge]
            grid_thw = torch.tensor([grid], device=self._model.device)
            output = self._model.model.visual(pixels, grid_thw=grid_thw)
            parts.append(torch.cat([output.pooler_output, *output.deepstack_features], dim=-1))
        return torch.cat(parts)

    @torch.inference_mode()
    def prefill(
        self,
        features_ND: Tensor,
        geometry: FrameGeometry,
        *,
        patch_s: float,
        center_s_P: npt.NDArray[np.float64] | None = None,
    ) -> SharedPrefix:
        """See ``VideoModel``; the group is an ordinary clip whose timestamps say when its patches are presented."""
        num_patches = len(features_ND) // geometry.tokens_per_patch
        if center_s_P is None:
            center_s_P = clip_centers(num_patches, frames_per_patch=self.frames_per_patch, patch_s=patch_s)
        shape = num_patches, geometry.token_rows, geometry.token_columns
        patch_N, row_N, column_N = np.indices(shape).reshape(3, -1)
        sequence = lay_out(
            self._tokenize(block_texts(self._before, center_s_P)),
            patch_N=patch_N,
            row_N=row_N,
            column_N=column_N,
            side=max(geometry.token_rows, geometry.token_columns),
            video_id=self._model.config.video_token_id,
        )
        cache = DynamicCache(config=self._model.config)
        self._read(sequence, features_ND, (), cache=cache, probe=None)
        return SharedPrefix(
            layers=tuple((layer.keys, layer.values) for layer in cache.layers),
            visual=torch.from_numpy(sequence.visual_N).to(self._model.device),
            length=len(sequence.ids_T),
            next_position=sequence.next_position,
        )

    @torch.inference_mode()
    def score(self, prefix: SharedPrefix, prompts: Sequence[QuestionPrompt], config: ScoringConfig) -> list[Response]:
        """See ``VideoModel``."""
        return score_questions(self._model, self._tokenizer, prefix, prompts, config, end_ids=self._end_ids)

    @torch.inference_mode()
    def answer(
        self,
        tokens: FinalTokens,
        prompt: QuestionPrompt,
        *,
        positions: str,
        patch_s: float,
        max_tokens: int,
        config: ScoringConfig,
    ) -> Response:
        """See ``VideoModel``.

        Both values of ``positions`` hold at once: the text before a patch is its presentation time (``absolute``), and
        rotary positions, which do not tell time here, follow each other (``compact``).
        """
        if positions not in ("absolute", "compact"):
            raise ValueError(f"positions must be 'absolute' or 'compact', got {positions!r}")
        sequence = self._lay_out_kept(tokens)
        length = len(sequence.ids_T) + len(prompt.suffix_ids)
        mask = torch.ones((1, length), dtype=torch.long, device=self._model.device)
        visual = torch.from_numpy(sequence.visual_N).to(mask.device)
        probe = build_probe(mask[:, len(sequence.ids_T) :].bool(), visual, config)
        cache = DynamicCache(config=self._model.config)
        hidden_1TD = self._read(sequence, tokens.features_KD, prompt.suffix_ids, cache=cache, probe=probe)
        responses = respond_greedily(
            self._model,
            self._model.get_output_embeddings()(hidden_1TD[:, -1]),
            cache=cache,
            attention_mask_BT=mask,
            next_position_B=mask.new_tensor([sequence.next_position + len(prompt.suffix_ids)]),
            max_tokens=[max_tokens],
            end_ids=self._end_ids,
        )
        return to_responses(self._tokenizer, responses, [prompt], probe)[0]

    def _lay_out_kept(self, tokens: FinalTokens) -> VideoSequence:
        center_s_K = tokens.time_s_K if tokens.center_s_K is None else tokens.center_s_K
        is_first_K = np.diff(tokens.patch_K, prepend=-1) != 0
        if tokens.geometry is None:
            side = int(max(tokens.row_K.max(), tokens.column_K.max())) + 1
        else:
            side = max(tokens.geometry.token_rows, tokens.geometry.token_columns)
        return lay_out(
            self._tokenize(block_texts(self._before, center_s_K[is_first_K])),
            patch_N=tokens.patch_K,
            row_N=tokens.row_K,
            column_N=tokens.column_K,
            side=side,
            video_id=self._model.config.video_token_id,
        )

    def _tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        ids: list[list[int]] = self._tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        return ids

    def _read(
        self,
        sequence: VideoSequence,
        features_NE: Tensor,
        suffix: Sequence[int],
        *,
        cache: DynamicCache,
        probe: AttentionProbe | None,
    ) -> Tensor:
        """Last hidden states ``(1, T, D)`` of video and suffix; fills the cache."""
        device, after = self._model.device, np.asarray(suffix, dtype=np.int64)
        ids_T = torch.from_numpy(np.concatenate([sequence.ids_T, after])).to(device)
        text = np.tile(sequence.next_position + np.arange(len(after)), (3, 1))
        positions_31T = torch.from_numpy(np.concatenate([sequence.positions_3T, text], axis=1))[:, None].to(device)
        visual_N = torch.from_numpy(sequence.visual_N).to(device)
        is_visual_T = torch.zeros(len(ids_T), dtype=torch.bool, device=device)
        is_visual_T[visual_N] = True
        features_NE = features_NE.to(device=device, dtype=self._model.dtype)
        merged_ND, *deepstack = features_NE.view(len(features_NE), -1, self.similarity_dim).unbind(1)
        embeddings_TD = self._model.get_input_embeddings()(ids_T).index_copy(0, visual_N, merged_ND)
        output = self._model.model.language_model(
            inputs_embeds=embeddings_TD[None],
            position_ids=positions_31T,
            attention_mask=torch.ones((1, len(ids_T)), dtype=torch.long, device=device),
            past_key_values=cache,
            use_cache=True,
            visual_pos_masks=is_visual_T[None],
            deepstack_visual_embeds=deepstack,
            attention_probe=probe,
        )
        hidden_1TD: Tensor = output.last_hidden_state
        return hidden_1TD


def _text_before_video(tokenizer: Any) -> str:
    """The chat template's text before the video; its vision tokens go, because every temporal patch brings its own.

    So in the release of the family (transformers 4.57). Stock 5.10 to 5.23 leaves that outer pair standing around all
    blocks, which the checkpoints have not seen (vllm-project/vllm#46817); a test pins the difference.

    Raises:
        ValueError: If the template does not put the video between vision tokens.
    """
    before, after = render_around_video(tokenizer, video_token=_VIDEO_TOKEN, question="", options=None)
    if not (before.endswith(VISION_START) and after.startswith(VISION_END)):
        raise ValueError(
            f"the chat template must put {VISION_START} and {VISION_END} around {_VIDEO_TOKEN}, "
            f"got {before[-20:]!r} before and {after[:20]!r} after it; use the checkpoint's own template"
        )
    return before.removesuffix(VISION_START)
