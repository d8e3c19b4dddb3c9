"""How InternVL is shown frames: ``Frame1: <img>…</img>``, one line each, so text stands between the visual tokens.

Shape suffixes:
- K = kept tokens, T = all tokens
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.models.video_sequence import IntArray, VideoSequence, check_positions

VIDEO_TOKEN = "<video>"  # in the chat template, where the frames go
_START, _END, _CONTEXT = "<img>", "</img>", "<IMG_CONTEXT>"


def build_frame_prompt(tokenizer: Any, before: str, *, tokens_by_frame: Sequence[int]) -> VideoSequence:
    """Number the frames from 1 and leave room for so many visual tokens in each; positions only count.

    ``2, 1 tokens  ->  … Frame1: <img> v v </img> (new line) Frame2: <img> v </img>``

    Args:
        tokenizer: of the checkpoint.
        before: the rendered chat template up to its video token.
        tokens_by_frame: visual tokens of each frame, each at least 1.

    Raises:
        ValueError: If the tokenizer lacks the family's frame tokens.
    """
    start_id, end_id, context_id = (_token_id(tokenizer, token) for token in (_START, _END, _CONTEXT))
    lines = "\n".join(f"Frame{index + 1}: {_START}{_END}" for index in range(len(tokens_by_frame)))
    ids = np.array(tokenizer(before + lines, add_special_tokens=False)["input_ids"], dtype=np.int64)
    room = np.flatnonzero((ids[:-1] == start_id) & (ids[1:] == end_id)) + 1
    assert len(room) == len(tokens_by_frame), "the chat template holds an empty frame of its own"
    ids_T = np.insert(ids, np.repeat(room, tokens_by_frame), context_id)
    return VideoSequence(
        ids_T=ids_T,
        positions=np.arange(len(ids_T)),
        visual=np.flatnonzero(ids_T == context_id),
        next_position=len(ids_T),
    )


def count_by_frame(patch_K: IntArray, *, positions: str, tokens_per_frame: int) -> list[int]:
    """Kept tokens of each frame of the final prompt, in their order.

    Text stands around every frame, about nine tokens. Tokens that are spread thinly over thousands of frames would
    drown in it, so ``compact`` lets neighbouring kept frames share one as long as it is no fuller than a whole one.

    Example, 256 tokens per frame: 200, 50, 7, 256 kept  ->  absolute 200, 50, 7, 256; compact 250, 7, 256

    Args:
        patch_K: video frame of each kept token, ascending.
        positions: ``absolute`` and ``patch-index`` (each kept frame stays one) or ``compact``.
        tokens_per_frame: visual tokens of a whole frame.

    Raises:
        ValueError: If ``positions`` is not one of its values.
    """
    check_positions(positions)
    kept: list[int] = np.unique(patch_K, return_counts=True)[1].tolist()
    if positions != "compact":
        return kept
    shown: list[int] = []
    for count in kept:
        if shown and shown[-1] + count <= tokens_per_frame:
            shown[-1] += count
        else:
            shown.append(count)
    return shown


def _token_id(tokenizer: Any, token: str) -> int:
    token_id = tokenizer.convert_tokens_to_ids(token)
    if token_id is None or token_id == tokenizer.unk_token_id:
        raise ValueError(
            f"the tokenizer has no token {token!r}, which stands around the family's frames; give a checkpoint as "
            "published for transformers, such as OpenGVLab/InternVL3-8B-hf"
        )
    return int(token_id)
