"""Small random Qwen3.5 models, dense and of experts; stock runs one whole row per question, and experts in turn."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pipeline.models.prompt import question_text
from tests.unit.models.families.case import NUM_PATCHES, Question, StockRun, as_adapter, random_frames
from tests.unit.models.families.qwen3_vl import FPS, FRAME_INDICES, Qwen3Case, Token, build_processor
from tests.unit.models.families.tiny_qwen3_5 import build_model, build_tokenizer

# frame height and width, and the reference layer: 2 x 2 tokens; 5 x 3 tokens; 3 x 2 tokens
SHAPES = {"small": (64, 64, 1), "pattern": (160, 96, 3), "experts": (96, 64, 1)}


@dataclass(frozen=True, kw_only=True)
class Qwen35Case(Qwen3Case):
    """See ``Case``."""

    @property
    def attention_number(self) -> int:
        kinds = self.stock.config.text_config.layer_types
        assert kinds[self.layer] == "full_attention"
        return kinds[: self.layer].count("full_attention")

    def stock_features(self) -> torch.Tensor:
        with torch.inference_mode():
            return torch.cat(list(self.stock.get_video_features(*self.pixels()).pooler_output))

    def run_kept(self, question: Question, kept: Sequence[int], tail: Sequence[int] = ()) -> StockRun:
        """Stock over the kept tokens alone, at their old positions: no mask makes a state forget the others."""
        patches = sorted({index // self.per_patch for index in kept})
        shown = [patch * self.per_patch + n for patch in patches for n in range(self.per_patch)]
        is_kept = np.isin(shown, kept)
        clip = self.only(patches)
        tokens = clip.lay_out(*question, tail)
        dropped = set(np.array(clip.visual_places(tokens))[: len(shown)][~is_kept].tolist())
        remaining = [token for place, token in enumerate(tokens) if place not in dropped]
        return self._run_embedded(remaining, clip.stock_features()[torch.from_numpy(is_kept)])

    def _run_embedded(self, tokens: Sequence[Token], features_KD: torch.Tensor) -> StockRun:
        """These tokens and no others, the first visual ones given by their features."""
        places = self.visual_places(tokens)[: len(features_KD)]
        with torch.inference_mode():
            embeddings = self.stock.get_input_embeddings()(torch.tensor([[token.id for token in tokens]]))
            embeddings[0, places] = features_KD
            output = self.stock.model.language_model(
                inputs_embeds=embeddings,
                position_ids=torch.tensor([token.position for token in tokens]).T[:, None],
                attention_mask=torch.ones(embeddings.shape[:2], dtype=torch.long),
                use_cache=False,
                output_attentions=True,
            )
            logits_V = self.stock.lm_head(output.last_hidden_state[0, -1])
        weights_AQT = output.attentions[self.attention_number][0, :, places[-1] + 1 :]
        return StockRun(logits_V=logits_V, weights_ARN=weights_AQT[..., places])

    def prompt_text(self, question: str, options: Sequence[str] | None) -> str:
        """Written out, with the video expanded by the stock processor."""
        asked = f"{self.stock_video_text()}{question_text(question, options)}"
        return f"<|im_start|>user\n{asked}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"


def build_case(shape: str) -> Qwen35Case:
    height, width, layer = SHAPES[shape]
    tokenizer = build_tokenizer()
    model = build_model(tokenizer, kind=shape, seed=10)
    family = model.config.model_type
    adapter = as_adapter(family, model, tokenizer)
    model.set_attn_implementation("eager")
    if shape == "experts":
        model.set_experts_implementation("eager")
    return Qwen35Case(
        family=family,
        adapter=adapter,
        stock=model,
        tokenizer=tokenizer,
        processor=build_processor(tokenizer),
        frames=random_frames(2 * NUM_PATCHES, height, width),
        geometry=adapter.frame_geometry(height, width, min_pixels=1_024, max_pixels=100_000),
        layer=layer,
        centers_s=np.array(FRAME_INDICES).reshape(NUM_PATCHES, 2).mean(axis=1) / FPS,
        max_positions=262_144,
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
