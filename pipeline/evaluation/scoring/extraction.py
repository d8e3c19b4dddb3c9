"""Rules that read a letter in a response. Each works as its source does, mistakes included; see docs/benchmarks.md."""

import hashlib
import re
from collections.abc import Sequence
from string import ascii_uppercase

from pipeline.evaluation.scoring.readings import NOTHING, Reading

PHRASES = (
    "The best answer is",
    "The correct answer is",
    "The answer is",
    "The answer",
    "The best option is",
    "The correct option is",
    "Best answer:",
    "Best option:",
)
"""LongVideoBench's list: what is deleted, in this order, before the first letter is looked for."""

GLUED_PHRASES = (*PHRASES[:4], PHRASES[4] + PHRASES[5], PHRASES[6] + PHRASES[7])
"""VideoMME's list, in which two commas are missing: "Best answer: C" keeps its B."""


def read_first_letter(text: str, *, letters: str, phrases: Sequence[str]) -> Reading:
    """Delete phrases wherever they stand, then the first capital of ``letters``, be it inside a word."""
    for phrase in phrases:
        text = text.replace(phrase, "")
    match = re.search(f"[{letters}]", text)
    return NOTHING if match is None else Reading(match[0], "first-letter")


def read_or_guess(text: str, *, question_id: str, num_options: int) -> Reading:
    """LongVideoBench: the first of A to E whatever was offered, else one of the options at random.

    The guess depends on the question alone, so that two evaluations agree.
    """
    reading = read_first_letter(text, letters="ABCDE", phrases=PHRASES)
    if reading.letter is not None:
        return reading
    number = int.from_bytes(hashlib.sha256(question_id.encode()).digest()[:8], "big")
    return Reading(ascii_uppercase[number % num_options], "random-guess")


def read_before_bracket(text: str) -> Reading:
    """MLVU: the character before the first ")"; without one the whole response must be a letter."""
    text = text.strip()
    head, bracket, _ = text.partition(")")
    if bracket:
        return _capital(head[-1:], "before-bracket")
    return _capital(text, "whole-response")


def read_polished(text: str) -> Reading:
    """LVBench: what stands before the first ")", of that what stands behind the first "(", of that the first letter."""
    head = text.strip().split(")")[0].strip()
    if "(" in head:
        head = head.split("(")[1].strip()
    return _capital(head[:1], "first-character")


def read_strictly(text: str, options: Sequence[str]) -> Reading:
    """A response that is one offered letter, bare or as ``(B)``, ``B.``, ``B)``, ``B:``; the option's text may follow.

    Case counts for the letter, not for the text.
    """
    match = re.fullmatch(r"\s*(?:\(([A-Z])\)|([A-Z]))(?:[.):]+|(?=\s|$))\s*(.*?)\s*", text, re.DOTALL)
    if match is None:
        return NOTHING
    letter = match[1] or match[2]
    index = ascii_uppercase.index(letter)
    if index >= len(options):
        return NOTHING
    if not match[3]:
        return Reading(letter, "letter")
    is_option = _plain(match[3]) == _plain(options[index])
    return Reading(letter, "letter-and-text") if is_option else NOTHING


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(".")


def _capital(text: str, rule: str) -> Reading:
    return Reading(text, rule) if len(text) == 1 and text in ascii_uppercase else NOTHING
