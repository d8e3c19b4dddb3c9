"""First stage: the vision tower learns to say what each token shows, in the language model's own word embeddings.

Shape suffixes:
- T = patches of a batch, K = visual tokens of a patch, N = tokens of a batch (T * K), D = hidden size
- F = frames per patch (2), H, W = pixels, L = letters of a sign (3)
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast, Qwen2_5_VLForConditionalGeneration

from pipeline.lab.moment_training.pictures import MOST_LETTERS, SIGN
from pipeline.lab.moment_training.pool import FORMS, Pool
from pipeline.lab.moments.kinds import KINDS_OF_OBJECT
from pipeline.lab.moments.plan import COLOR_NAMES
from pipeline.lab.moments.sprites import GLYPHS
from pipeline.models.qwen.preprocess import PatchGeometry, flatten_patches

_SCALE = 0.25
_MOVE_PX = 3
_FORM_WEIGHTS = (0.12, 0.36, 0.36, 0.16)  # of a batch, by form of the picture


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Codes:
    """Directions that a token shall lie in: kinds and colours as words, letters by word and place. Never trained.

    Attributes:
        kind_KD: word embeddings of all kinds of object, and of "sign".
        color_CD: of the colours.
        letter_LGD: per place, of the letters: their words with dimensions permuted, and a direction for the place.
    """

    kind_KD: Tensor
    color_CD: Tensor
    letter_LGD: Tensor


def make_codes(model: Qwen2_5_VLForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, *, seed: int) -> Codes:
    """From the word embeddings as they are now."""
    embeddings = model.get_input_embeddings().weight.detach().clone()

    def words(names: tuple[str, ...]) -> Tensor:
        chosen: Tensor = embeddings[torch.tensor(tokenizer.convert_tokens_to_ids(list(names)))]
        return chosen

    random = torch.Generator().manual_seed(seed)
    letters = words(GLYPHS)
    by_place = []
    for _ in range(MOST_LETTERS):
        order = torch.randperm(letters.shape[1], generator=random)
        by_place.append(letters[:, order] + 0.35 * torch.randn(letters.shape[1], generator=random))
    return Codes(
        kind_KD=words((*KINDS_OF_OBJECT, "sign")),
        color_CD=words(COLOR_NAMES),
        letter_LGD=torch.stack(by_place),
    )


def encode(model: Qwen2_5_VLForConditionalGeneration, pool: Pool, frames_TFHW3: Tensor) -> Tensor:
    """``(T, K, D)`` visual tokens."""
    pixels = flatten_patches(frames_TFHW3.flatten(0, 1), geometry=PatchGeometry())
    grid = torch.tensor([[len(frames_TFHW3), 2 * pool.grid.rows, 2 * pool.grid.columns]])
    features: Tensor = model.model.visual(pixels, grid_thw=grid).pooler_output
    return features.view(len(frames_TFHW3), pool.grid.num_tokens, -1)


@torch.no_grad()
def encode_pool(model: Qwen2_5_VLForConditionalGeneration, pool: Pool, *, rng: np.random.Generator | None) -> Tensor:
    """``(N, K, D)`` tokens of all pictures, jittered where there is a ``rng``."""
    parts = []
    for chunk in np.array_split(np.arange(len(pool)), max(1, len(pool) // 128)):
        frames = torch.from_numpy(pool.frames_NFHW3[chunk])
        parts.append(encode(model, pool, frames if rng is None else jitter(rng, frames)))
    return torch.cat(parts)


def jitter(rng: np.random.Generator, frames_TFHW3: Tensor) -> Tensor:
    """A little moved, brighter or darker, each patch in its own way; labels stay true."""
    count, _, height, width, _ = frames_TFHW3.shape
    moved = torch.empty_like(frames_TFHW3)
    for index, (down, right) in enumerate(rng.integers(-_MOVE_PX, _MOVE_PX + 1, (count, 2))):
        rows = torch.arange(height).add(int(down)).clamp(0, height - 1)
        columns = torch.arange(width).add(int(right)).clamp(0, width - 1)
        moved[index] = frames_TFHW3[index][:, rows][:, :, columns]
    gain = torch.from_numpy(rng.uniform(0.85, 1.15, count)).float()[:, None, None, None, None]
    shift = torch.from_numpy(rng.uniform(-18, 18, count)).float()[:, None, None, None, None]
    return (moved.float() * gain + shift).clamp(0, 255).to(torch.uint8)


def draw_batch(rng: np.random.Generator, pool: Pool, count: int) -> NDArray[np.int64]:
    """Pictures of all forms, scenes more often than the pool has them."""
    numbers = rng.multinomial(count, _FORM_WEIGHTS)
    chosen = [rng.choice(pool.of_form(form), number) for form, number in zip(FORMS, numbers, strict=True)]
    return np.concatenate(chosen)


def tower_loss(features_TKD: Tensor, pool: Pool, pictures: NDArray[np.int64], codes: Codes) -> Tensor:
    """Cross-entropies of kind (or none), colour, and letter by place (or none) for every token."""
    kind_N = torch.from_numpy(pool.kind_NK[pictures]).long().reshape(-1)
    color_N = torch.from_numpy(pool.color_NK[pictures]).long().reshape(-1)
    letter_NL = torch.from_numpy(pool.letter_NKL[pictures]).long().reshape(-1, MOST_LETTERS)
    features_ND = features_TKD.flatten(0, 1)
    loss = nn.functional.cross_entropy(_or_none(features_ND @ codes.kind_KD.T), _none_last(kind_N, SIGN + 1))
    shows = color_N >= 0
    loss = loss + nn.functional.cross_entropy(features_ND[shows] @ codes.color_CD.T * _SCALE, color_N[shows])
    is_sign = kind_N == SIGN
    if is_sign.any():
        for place in range(MOST_LETTERS):
            logits = _or_none(features_ND[is_sign] @ codes.letter_LGD[place].T)
            wanted = _none_last(letter_NL[is_sign, place], len(GLYPHS))
            loss = loss + 0.5 * nn.functional.cross_entropy(logits, wanted)
    return loss


def _or_none(products: Tensor) -> Tensor:
    """Logits with a constant one for "none" at the end."""
    logits = products * _SCALE
    return torch.cat([logits, logits.new_zeros(len(logits), 1)], dim=1)


def _none_last(labels: Tensor, number: int) -> Tensor:
    return torch.where(labels < 0, number, labels)


@torch.no_grad()
def tower_shares(features_TKD: Tensor, pool: Pool, pictures: NDArray[np.int64], codes: Codes) -> dict[str, float]:
    """Shares of tokens that are told right: kinds of single objects and in scenes, colours, letters, empty ones."""
    kind_N = torch.from_numpy(pool.kind_NK[pictures]).long().reshape(-1)
    color_N = torch.from_numpy(pool.color_NK[pictures]).long().reshape(-1)
    letter_NL = torch.from_numpy(pool.letter_NKL[pictures]).long().reshape(-1, MOST_LETTERS)
    form_N = torch.from_numpy(pool.form_N[pictures]).repeat_interleave(pool.grid.num_tokens)
    features_ND = features_TKD.flatten(0, 1)
    right_kind = _or_none(features_ND @ codes.kind_KD.T).argmax(-1) == _none_last(kind_N, SIGN + 1)
    shows = color_N >= 0
    right_color = (features_ND @ codes.color_CD.T).argmax(-1) == color_N
    found = {
        "single": right_kind[(form_N == FORMS.index("object")) & shows],
        "scene": right_kind[(form_N == FORMS.index("scene")) & shows],
        "empty": right_kind[~shows],
        "color": right_color[shows],
    }
    letters = []
    for place in range(MOST_LETTERS):
        has = letter_NL[:, place] >= 0
        letters.append((features_ND[has] @ codes.letter_LGD[place].T).argmax(-1) == letter_NL[has, place])
    found["letter"] = torch.cat(letters)
    return {name: round(float(part.float().mean()), 4) for name, part in found.items()}
