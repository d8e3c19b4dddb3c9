"""One group pass and one final pass against stock transformers, on a few frames.

Shape suffixes: N = visual tokens, K = kept ones
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pipeline.doctor.stock import StockRun, run_stock, stock_features
from pipeline.models.adapter import Adapter
from pipeline.models.interface import FinalTokens, QuestionPrompt, Response
from pipeline.settings.config import RunConfig

_PATCHES, _SIDE = 3, 224
_QUESTION, _OPTIONS = "Which of these is shown?", ("a road", "a room", "a map")
_EXACT, _SHARE = 2e-3, 0.05  # float32; probabilities in the working type
_TOP_SHARE, _FEWEST_SAME = 0.1, 0.7  # of the highest tokens, how many must be the same in the working type


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """Between the project and stock.

    Attributes:
        probabilities: largest difference of an option's probability.
        entropy: of the entropies, in nats.
        attention: largest difference, as a share of the highest attention.
        same_top: of the tenth of the visual tokens that stock attends most, how many are ours too.
    """

    probabilities: float
    entropy: float
    attention: float
    same_top: float

    def is_small(self, dtype: torch.dtype) -> bool:
        """Whether it is no more than rounding of that type explains."""
        if dtype == torch.float32:
            return max(self.probabilities, self.attention) <= _EXACT and self.entropy <= 10 * _EXACT
        return self.probabilities <= _SHARE and self.same_top >= _FEWEST_SAME

    def __str__(self) -> str:
        return (
            f"option probabilities differ by {self.probabilities:.1e}, entropy by {self.entropy:.1e}, attention rank "
            f"by {self.attention:.1e} of its maximum; {self.same_top:.0%} of the most attended tokens are the same"
        )


def compare_group_pass(adapter: Adapter[Any], config: RunConfig) -> Difference:
    """Encode, prefill and score three temporal patches of noise, by both."""
    frames, geometry = _frames(adapter, config)
    patch_s = adapter.frames_per_patch / config.sampling.sample_fps
    centers_s_P = (np.arange(_PATCHES, dtype=np.float64) + 0.5) * patch_s
    prompt = _prompt(adapter, config)
    features = adapter.encode(frames, geometry, batch_patches=2)
    prefix = adapter.prefill(features, geometry, patch_s=patch_s, center_s_P=centers_s_P)
    (response,) = adapter.score(prefix, [prompt], config.scoring)
    sequence = adapter.show_clip(_PATCHES, geometry, patch_s=patch_s, center_s_P=centers_s_P)
    expected = stock_features(adapter, frames, geometry)
    run = run_stock(adapter, sequence, prompt.suffix_ids, expected, layer=config.scoring.reference_layer)
    return _difference(response, run, prompt, config)


def compare_final_pass(adapter: Adapter[Any], config: RunConfig) -> Difference:
    """Every other token of the same frames, an hour apart from each other, by both."""
    frames, geometry = _frames(adapter, config)
    patch_s = adapter.frames_per_patch / config.sampling.sample_fps
    features = adapter.encode(frames, geometry, batch_patches=2)
    kept = np.arange(0, len(features), 2)
    patch_K, place_K = np.divmod(kept, geometry.tokens_per_patch)
    apart = 70  # of a longer video
    tokens = FinalTokens(
        features_KD=features[torch.from_numpy(kept).to(features.device)],
        patch_K=patch_K * apart,
        time_s_K=patch_K * apart * patch_s,
        row_K=place_K // geometry.token_columns,
        column_K=place_K % geometry.token_columns,
        center_s_K=(patch_K * apart + 0.5) * patch_s,
        geometry=geometry,
    )
    prompt, positions = _prompt(adapter, config), config.answering.positions
    response = adapter.answer(tokens, prompt, positions=positions, patch_s=patch_s, max_tokens=1, config=config.scoring)
    sequence = adapter.show_kept(tokens, positions=positions, patch_s=patch_s)
    run = run_stock(adapter, sequence, prompt.suffix_ids, tokens.features_KD, layer=config.scoring.reference_layer)
    return _difference(response, run, prompt, config)


def _frames(adapter: Adapter[Any], config: RunConfig) -> tuple[npt.NDArray[np.uint8], Any]:
    geometry = adapter.frame_geometry(_SIDE, _SIDE, min_pixels=1, max_pixels=config.sampling.min_pixels)
    shape = (_PATCHES * adapter.frames_per_patch, geometry.height, geometry.width, 3)
    return np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8), geometry


def _prompt(adapter: Adapter[Any], config: RunConfig) -> QuestionPrompt:
    return adapter.build_question(_QUESTION, _OPTIONS, response_tokens=config.scoring.response_tokens)


def _difference(response: Response, run: StockRun, prompt: QuestionPrompt, config: RunConfig) -> Difference:
    scoring = config.scoring
    rows = run.weights_AQN[:, -1:] if scoring.query_tokens == "last-token" else run.weights_AQN
    stock_N = (rows.amax(dim=(0, 1)) if scoring.attention_reduce == "max" else rows.mean(dim=(0, 1))).numpy()
    ours_N = response.attention_N
    top = max(1, int(len(stock_N) * _TOP_SHARE))
    highest = [set(np.argsort(-values, kind="stable")[:top].tolist()) for values in (ours_N, stock_N)]
    probabilities = run.logits_V[list(prompt.option_ids or ())].double().softmax(-1).numpy()
    distribution = run.logits_V.double().softmax(-1)
    entropy = float(torch.special.entr(distribution).sum())
    return Difference(
        probabilities=float(np.abs(np.asarray(response.option_probabilities) - probabilities).max()),
        entropy=abs(response.entropies[0] - entropy),
        attention=float(np.abs(ours_N - stock_N).max() / max(float(stock_N.max()), 1e-12)),
        same_top=len(highest[0] & highest[1]) / top,
    )
