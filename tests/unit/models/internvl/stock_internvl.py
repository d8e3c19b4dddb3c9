"""The other side of each comparison: stock transformers with eager attention, on the family's own pixels and text."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import InternVLProcessor
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

from pipeline.models.internvl.internvl import InternVL

NUM_FRAMES = 3  # odd: a frame is a patch of its own
LAYER = 1


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
class Case:
    """One model in both forms, with one clip of three frames."""

    adapter: InternVL
    stock: Any
    tokenizer: Any
    frames: Any
    geometry: Any
    layer: int = LAYER
    _runs: dict[tuple[int, ...], Any] = field(default_factory=dict)

    @property
    def num_tokens(self) -> int:
        return NUM_FRAMES * self.geometry.tokens_per_patch

    def chat(self, frames_text: str, question: str) -> list[int]:
        """Ids of the whole prompt, tokenized in one piece."""
        text = f"<|im_start|>user\n{frames_text}\n{question}<|im_end|>\n<|im_start|>assistant\n"
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def clip_ids(self, question: str) -> list[int]:
        """``chat`` over the whole clip as the stock processor expands it."""
        frames_text = expand_video(
            self.tokenizer, num_frames=NUM_FRAMES, tokens_per_frame=self.geometry.tokens_per_patch
        )
        return self.chat(frames_text, question)

    def run_stock(self, ids: Sequence[int], *, features: torch.Tensor | None = None) -> Any:
        """One full eager forward, without a cache and without positions of ours; over the clip once per prompt.

        Args:
            ids: the whole sequence.
            features: ``(K, D)`` of the clip's visual tokens; None means the clip's pixels.
        """
        if features is not None:
            return self._forward(
                ids, mm_encoder_outputs={"image": BaseModelOutputWithPooling(pooler_output=features[None])}
            )
        key = tuple(ids)
        if key not in self._runs:
            self._runs[key] = self._forward(ids, pixel_values=process(self.frames, size=self.geometry.height))
        return self._runs[key]

    def _forward(self, ids: Sequence[int], **vision: Any) -> Any:
        input_ids = torch.tensor([list(ids)])
        with torch.inference_mode():
            return self.stock(
                input_ids=input_ids,
                attention_mask=torch.ones_like(input_ids),
                use_cache=False,
                output_attentions=True,
                **vision,
            )

    def respond_stock(
        self, ids: Sequence[int], *, max_tokens: int, end_token: str | None = "<|im_end|>"
    ) -> tuple[list[int], list[torch.Tensor]]:
        """Naive greedy loop, the whole sequence again for every token: response ids and the logits of each."""
        end_id = self.tokenizer.convert_tokens_to_ids(end_token) if end_token else None
        response: list[int] = []
        logits: list[torch.Tensor] = []
        while len(response) < max_tokens and end_id not in response:
            logits.append(self.run_stock([*ids, *response]).logits[0, -1])
            response.append(int(logits[-1].argmax()))
        return response, logits

    def visual_attention(self, attentions: Any, ids: Sequence[int]) -> torch.Tensor:
        """``(heads, rows after the last frame, visual tokens)`` at the reference layer."""
        ids = torch.tensor(list(ids))
        visual = ids == self.tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>")
        last_end = int((ids == self.tokenizer.convert_tokens_to_ids("</img>")).nonzero()[-1])
        return attentions[self.layer][0, :, last_end + 1 :][..., visual]


def entropy(logits: torch.Tensor) -> float:
    """Float64, straight from the definition."""
    probabilities = logits.double().softmax(dim=-1)
    return float(-(probabilities * probabilities.log()).sum())
