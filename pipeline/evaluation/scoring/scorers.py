"""The scorers by name: which rule reads a response, given the benchmark it answers."""

from collections.abc import Callable, Mapping
from string import ascii_uppercase
from typing import TypeAlias

from pipeline.evaluation.scoring.extraction import (
    GLUED_PHRASES,
    read_before_bracket,
    read_first_letter,
    read_or_guess,
    read_polished,
    read_strictly,
)
from pipeline.evaluation.scoring.ranked_extraction import read_ranked
from pipeline.evaluation.scoring.readings import NOTHING, RawAnswer, Reading

Scorer: TypeAlias = Callable[[RawAnswer], Reading]


def _videomme(response: RawAnswer) -> Reading:
    return read_first_letter(response.text.strip(), letters="ABCD", phrases=GLUED_PHRASES)


def _longvideobench(response: RawAnswer) -> Reading:
    return read_or_guess(response.text, question_id=response.question_id, num_options=len(response.options))


def _mlvu(response: RawAnswer) -> Reading:
    return read_before_bracket(response.text)


def _lvbench(response: RawAnswer) -> Reading:
    return read_polished(response.text)


def _ranked_abcd(response: RawAnswer) -> Reading:
    """Also for six options, of which E and F are then never right: that is how lmms-eval asks its extractor."""
    return read_ranked(response.text, letters="ABCD")


def _ranked_offered(response: RawAnswer) -> Reading:
    return read_ranked(response.text, letters=ascii_uppercase[: len(response.options)])


def _first_offered(response: RawAnswer) -> Reading:
    return read_first_letter(
        response.text.strip(), letters=ascii_uppercase[: len(response.options)], phrases=GLUED_PHRASES
    )


_OFFICIAL: Mapping[str, Scorer] = {
    "videomme": _videomme,
    "longvideobench": _longvideobench,
    "lvbench": _lvbench,
    "mlvu-dev": _mlvu,
    "mlvu-test": _mlvu,
}
_LEGACY: Mapping[str, Scorer] = {**_OFFICIAL, "lvbench": _videomme, "": _first_offered}
_APRIL: Mapping[str, Scorer] = {
    **dict.fromkeys(_OFFICIAL, _ranked_abcd),
    "longvideobench": _longvideobench,
    "": _ranked_offered,
}


def _by_benchmark(name: str, rules: Mapping[str, Scorer]) -> Scorer:
    def score(response: RawAnswer) -> Reading:
        if response.benchmark not in rules:
            raise ValueError(
                f"scorer {name!r} has no rule for {response.benchmark or 'an archive without a benchmark'}; "
                "use strict or option_probabilities"
            )
        return rules[response.benchmark](response)

    return score


def _strict(response: RawAnswer) -> Reading:
    return read_strictly(response.text, response.options)


def _option_probabilities(response: RawAnswer) -> Reading:
    """The project's own answer: the most probable of the options' letters as the first token."""
    return NOTHING if response.choice is None else Reading(response.choice, "option-probabilities")


SCORERS: Mapping[str, Scorer] = {
    "official": _by_benchmark("official", _OFFICIAL),
    "lmms_eval_legacy": _by_benchmark("lmms_eval_legacy", _LEGACY),
    "lmms_eval_2026_04": _by_benchmark("lmms_eval_2026_04", _APRIL),
    "strict": _strict,
    "option_probabilities": _option_probabilities,
}


def default_scorer(benchmark: str, style: str = "plain") -> str:
    """The benchmark's own rule where it fits the wording; archives have none.

    MLVU's reads what follows "Best option: (", which only its own wording makes a response begin with; LVBench's takes
    the first character. Of other wordings lmms-eval's shared rule reads the letter.
    """
    if not benchmark:
        return "option_probabilities"
    needs_own_wording = benchmark in ("mlvu-dev", "mlvu-test")
    return "lmms_eval_2026_04" if needs_own_wording and style != "mlvu" else "official"


def get_scorer(name: str) -> Scorer:
    """The scorer of a name.

    Raises:
        ValueError: There is none.
    """
    if name not in SCORERS:
        raise ValueError(f"scorer must be one of {', '.join(SCORERS)}, got {name!r}")
    return SCORERS[name]
