"""The files that the benchmarks' own evaluation scripts and servers take."""

import json
from collections.abc import Callable, Mapping, Sequence
from string import ascii_uppercase

from pipeline.evaluation.scoring.answers import Answer, AnswerSet
from pipeline.evaluation.scoring.extraction import read_before_bracket


def submission_bytes(answers: AnswerSet) -> bytes:
    """A submission for the benchmark that these answers belong to. A question without an answer has an empty one.

    Raises:
        ValueError: The benchmark takes no submission.
    """
    name = answers.benchmark.name
    if name not in _FORMATS:
        raise ValueError(f"{answers.benchmark.title} takes no submission; those that do are {', '.join(_FORMATS)}")
    ordered = sorted(answers.answers, key=lambda answer: answer.question_id)
    return (json.dumps(_FORMATS[name](ordered), indent=2, ensure_ascii=False) + "\n").encode()


def _videomme(answers: Sequence[Answer]) -> list[dict[str, object]]:
    """One object per video, with its questions; options carry their letters again."""
    videos: dict[str, list[Answer]] = {}
    for answer in answers:
        videos.setdefault(answer.source_id.rpartition("-")[0] or answer.video_id, []).append(answer)
    return [
        {
            "video_id": video_id,
            "duration": own[0].categories.get("duration_group", ""),
            "domain": own[0].categories.get("domain", ""),
            "sub_category": own[0].categories.get("sub_category", ""),
            "questions": [_videomme_question(answer) for answer in own],
        }
        for video_id, own in videos.items()
    ]


def _videomme_question(answer: Answer) -> dict[str, object]:
    return {
        "question_id": answer.source_id,
        "task_type": answer.categories.get("task_type", ""),
        "question": answer.question,
        "options": [
            f"{letter}. {option}" for letter, option in zip(ascii_uppercase, answer.options or (), strict=False)
        ],
        "answer": answer.expected or "",
        "response": answer.answer_text,
    }


def _longvideobench(answers: Sequence[Answer]) -> dict[str, str]:
    return {answer.source_id: answer.answer_text for answer in answers}


def _mlvu_test(answers: Sequence[Answer]) -> list[dict[str, str]]:
    """The letter that the official rule reads; what cannot be read is handed in as it is."""
    return [
        {
            "question_id": answer.source_id,
            "question_type": answer.categories.get("task_type", ""),
            "option": read_before_bracket(answer.answer_text).letter or answer.answer_text,
        }
        for answer in answers
    ]


_FORMATS: Mapping[str, Callable[[Sequence[Answer]], object]] = {
    "videomme": _videomme,
    "longvideobench": _longvideobench,
    "mlvu-test": _mlvu_test,
}
