"""The tokenizer of an original InternVL folder in native form; no code of the folder is run.

Folders over Qwen hold one that stock transformers reads. InternLM2's is a SentencePiece model: its byte pairs become a
tokenizer of the tokenizers library, and the chat's control tokens take the places the folder gives them.
"""

import json
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers
from transformers import PreTrainedTokenizerFast, Qwen2Tokenizer

from pipeline.models.checkpoints.internvl_original.names import INTERNLM2
from pipeline.models.checkpoints.internvl_original.sentencepiece import PieceKind, SentencePieceModel, read_model

IMAGE_TOKEN, END_TOKEN = "<IMG_CONTEXT>", "<|im_end|>"
_ROLES = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": IMAGE_TOKEN}
_SPACE = "▁"
_CONFIG_FILE, _MODEL_FILE = "tokenizer_config.json", "tokenizer.model"


def to_native_tokenizer(folder: Path, *, text_type: str) -> Any:
    """A tokenizer to ``save_pretrained``, without chat template.

    Raises:
        ValueError: A token of the family is missing, or the ids of added tokens leave gaps.
    """
    return _from_internlm2(folder) if text_type == INTERNLM2 else _from_qwen(folder)


def bos_of(folder: Path) -> str:
    """What the folder's tokenizer puts before every prompt; empty for nothing."""
    settings = _settings(folder)
    if not settings.get("add_bos_token", (folder / _MODEL_FILE).is_file()):
        return ""
    bos = settings.get("bos_token") or ""
    return str(bos["content"] if isinstance(bos, dict) else bos)


def _check_family_tokens(known: Container[str]) -> None:
    """Before they are given their roles, which would make those that are missing."""
    for token in (*_ROLES.values(), END_TOKEN):
        if token not in known:
            raise ValueError(f"its tokenizer has no token {token!r}; copy {_CONFIG_FILE} and added_tokens.json too")


def _from_qwen(folder: Path) -> Any:
    _check_family_tokens(Qwen2Tokenizer.from_pretrained(str(folder)).get_vocab())
    tokenizer = Qwen2Tokenizer.from_pretrained(str(folder), extra_special_tokens=dict(_ROLES))
    expected = added_tokens(folder)
    moved = [token for token, number in expected.items() if tokenizer.convert_tokens_to_ids(token) != number]
    if moved:
        raise ValueError(f"token {moved[0]!r} would not keep its id {expected[moved[0]]}")
    return tokenizer


def _from_internlm2(folder: Path) -> Any:
    model, settings, added = read_model(folder / _MODEL_FILE), _settings(folder), added_tokens(folder)
    texts = [piece.text for piece in model.pieces]
    for token, number in added.items():  # control tokens of the chat stand where the vocabulary left room
        if number < len(texts):
            texts[number] = token
    tokenizer = _byte_pairs(model, texts)
    beyond = sorted((number, token) for token, number in added.items() if number >= len(texts))
    if [number for number, _ in beyond] != list(range(len(texts), len(texts) + len(beyond))):
        raise ValueError(f"ids of added tokens must go on from {len(texts)} without a gap, got {beyond}")
    _check_family_tokens({*texts, *added})
    special = {piece.text for piece in model.pieces if piece.kind in (PieceKind.CONTROL, PieceKind.UNKNOWN)}
    known = [texts[i] for i, piece in enumerate(model.pieces) if piece.kind is PieceKind.USER_DEFINED]
    tokens = [token for token in texts if token in special | added.keys()] + [token for _, token in beyond]
    plain = [token for token in known if token not in tokens]
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=False) for token in plain])
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in tokens])
    names = {key: _text(settings.get(key)) for key in ("bos_token", "unk_token", "eos_token", "pad_token")}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        extra_special_tokens=dict(_ROLES),
        model_max_length=settings.get("model_max_length", 8_192),
        clean_up_tokenization_spaces=False,
        **{key: token for key, token in names.items() if token},
    )


def _byte_pairs(model: SentencePieceModel, texts: list[str]) -> Tokenizer:
    vocabulary = {text: number for number, text in enumerate(texts)}
    merges = _merges(model, vocabulary)
    unknown = next((p.text for p in model.pieces if p.kind is PieceKind.UNKNOWN), None)
    has_bytes = any(piece.kind is PieceKind.BYTE for piece in model.pieces)
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token=unknown, fuse_unk=True, byte_fallback=has_bytes))
    steps: list[Any] = [normalizers.Prepend(_SPACE)] if model.adds_space else []
    tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", _SPACE)])
    strip = [decoders.Strip(" ", 1, 0)] if model.adds_space else []
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(Regex(_SPACE), " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    return tokenizer


def _merges(model: SentencePieceModel, vocabulary: Mapping[str, int]) -> list[tuple[str, str]]:
    """Pairs of pieces that make a piece, the best piece first, as SentencePiece merges them."""
    ranked = []
    for piece in model.pieces:
        if piece.kind is not PieceKind.NORMAL or len(piece.text) < 2:
            continue
        for cut in range(1, len(piece.text)):
            left, right = piece.text[:cut], piece.text[cut:]
            if left in vocabulary and right in vocabulary:
                ranked.append((-piece.score, vocabulary[left], vocabulary[right], left, right))
    return [(left, right) for *_, left, right in sorted(ranked)]


def added_tokens(folder: Path) -> dict[str, int]:
    """Tokens that the folder's own files add, with their ids."""
    decoder = _settings(folder).get("added_tokens_decoder") or {}
    added = {str(entry["content"]): int(number) for number, entry in decoder.items()}
    path = folder / "added_tokens.json"
    if path.is_file():
        added |= {str(token): int(number) for token, number in json.loads(path.read_text(encoding="utf-8")).items()}
    return added


def _settings(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / _CONFIG_FILE).read_text(encoding="utf-8")))


def _text(token: Any) -> str | None:
    return str(token["content"] if isinstance(token, dict) else token) if token else None
