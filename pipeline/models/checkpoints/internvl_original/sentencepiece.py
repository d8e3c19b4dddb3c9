"""Reads a SentencePiece model file: its pieces and how text is prepared. Only the few fields that a tokenizer needs.

The file is one protocol buffer: field 1, repeated, is a piece (1 text, 2 score, 3 kind); field 3 is the normaliser,
whose field 3 says whether a space is put before every text. See sentencepiece_model.proto of google/sentencepiece.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

_PIECE, _NORMALIZER, _TRAINER = 1, 3, 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_BPE = 2


class PieceKind(IntEnum):
    """What a piece is."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class VocabularyPiece:
    """One entry of the vocabulary; its id is its place."""

    text: str
    score: float
    kind: PieceKind


@dataclass(frozen=True, kw_only=True, slots=True)
class SentencePieceModel:
    """A vocabulary of byte pairs; ``adds_space`` says whether a space is put before every text."""

    pieces: tuple[VocabularyPiece, ...]
    adds_space: bool


def read_model(path: Path) -> SentencePieceModel:
    """Read a tokenizer.model.

    Raises:
        ValueError: It is cut short, or no vocabulary of byte pairs.
    """
    pieces, adds_space, kind = [], True, 1
    for number, value in _fields(path.read_bytes()):
        if number == _PIECE and isinstance(value, bytes):
            pieces.append(_read_piece(value))
        elif number == _NORMALIZER and isinstance(value, bytes):
            adds_space = bool(dict(_fields(value)).get(3, 1))
        elif number == _TRAINER and isinstance(value, bytes):
            kind = int(dict(_fields(value)).get(3, 1))
    if not pieces or kind != _BPE:
        raise ValueError(f"{path.name} must be a SentencePiece model of byte pairs")
    return SentencePieceModel(pieces=tuple(pieces), adds_space=adds_space)


def _read_piece(content: bytes) -> VocabularyPiece:
    fields = dict(_fields(content))
    text, score, kind = fields.get(1, b""), fields.get(2, 0.0), fields.get(3, 1)
    assert isinstance(text, bytes)
    return VocabularyPiece(text=text.decode("utf-8"), score=float(score), kind=PieceKind(int(kind)))


def _fields(content: bytes) -> Iterator[tuple[int, bytes | int | float]]:
    """Field number and value, in the order of the file."""
    place = 0
    while place < len(content):
        tag, place = _varint(content, place)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, place = _varint(content, place)
            yield number, value
            continue
        size = {_FIXED64: 8, _FIXED32: 4}.get(wire, 0)
        if wire == _BYTES:
            size, place = _varint(content, place)
        elif not size:
            raise ValueError(f"it is no protocol buffer: wire type {wire}")
        if place + size > len(content):
            raise ValueError("it is cut short")
        piece = content[place : place + size]
        yield number, piece if wire == _BYTES else struct.unpack("<d" if size == 8 else "<f", piece)[0]
        place += size


def _varint(content: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if place >= len(content):
            raise ValueError("it is cut short")
        byte = content[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
