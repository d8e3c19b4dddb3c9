"""Annotation files in the shape of each benchmark's, each layout, around six given questions about two videos.

Questions 0 to 2 are about the first video, 3 to 5 about the second. What is planted beside them is said at each writer.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

LVBENCH_REFERENCES = ("00:00-01:36", "100:00-101:05", "00:30-00:10", "None-None", "00:10-None", "00:00-01:36")
LVBENCH_TYPES = (
    ["entity recognition", "reasoning"],
    ["reasoning"],
    ["summarization"],
    ["temporal grounding", "summarization"],
    ["reasoning"],
    ["entity recognition"],
)


@dataclass(frozen=True)
class Asked:
    question: str
    options: tuple[str, str, str, str]
    letter: str

    @property
    def answer(self):
        return self.options["ABCD".index(self.letter)]

    @property
    def wrong_letter(self):
        return "BCDA"["ABCD".index(self.letter)]

    @property
    def wrong_answer(self):
        return self.options["ABCD".index(self.wrong_letter)]

    @property
    def lettered(self):
        return [f"{letter}. {option}" for letter, option in zip("ABCD", self.options, strict=True)]

    @property
    def with_options(self):
        lines = [f"({letter}) {option}" for letter, option in zip("ABCD", self.options, strict=True)]
        return "\n".join([self.question, *lines])


def place(folder: Path, first: str, second: str, videos: tuple[Path, Path] | None) -> Path:
    """Put the two videos, or empty files, under these names."""
    for name, source in zip((first, second), videos or (None, None), strict=True):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if source is None:
            path.touch()
        else:
            os.link(source, path)
    return folder


def write_rows(path: Path, rows: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        path.write_text(json.dumps(rows))
    return path


def videomme_parquet(folder, asked, videos):
    """Question 5 has a wrong answer; the second video's suffix is in capitals."""
    rows = [
        {
            "video_id": f"00{1 + index // 3}",
            "duration": ("short", "long")[index // 3],
            "domain": ("Knowledge", "Film & Television")[index // 3],
            "sub_category": ("Law", "Animation")[index // 3],
            "url": f"https://www.youtube.com/watch?v={'-vidA' if index < 3 else '_vidB'}",
            "videoID": "-vidA" if index < 3 else "_vidB",
            "question_id": f"00{1 + index // 3}-{1 + index % 3}",
            "task_type": "Attribute Perception" if index % 2 else "OCR Problems",
            "question": item.question,
            "options": item.lettered,
            "answer": item.wrong_letter if index == 5 else item.letter,
        }
        for index, item in enumerate(asked)
    ]
    path = write_rows(folder / "videomme" / "test-00000-of-00001.parquet", rows)
    return path, place(folder, "data/-vidA.mp4", "data/_vidB.MP4", videos)


def videomme_json(folder, asked, videos):
    """As the Parquet, by video; files are named after the video's number."""
    rows = [
        {
            "video_id": f"00{1 + half}",
            "duration": ("short", "long")[half],
            "domain": ("Knowledge", "Film & Television")[half],
            "sub_category": ("Law", "Animation")[half],
            "questions": [
                {
                    "question_id": f"00{1 + half}-{1 + index % 3}",
                    "task_type": "Attribute Perception" if index % 2 else "OCR Problems",
                    "question": asked[index].question,
                    "options": asked[index].lettered,
                    "answer": asked[index].wrong_letter if index == 5 else asked[index].letter,
                    "response": "",
                }
                for index in range(3 * half, 3 * half + 3)
            ],
        }
        for half in (0, 1)
    ]
    return write_rows(folder / "template.json", rows), place(folder, "001.mp4", "002.mp4", videos)


def _longvideobench(asked, index):
    item, half = asked[index], index // 3
    right = "ABCD".index(item.wrong_letter if index == 0 else item.letter)
    return {
        "video_id": f"clip{half}",
        "question": item.question,
        "correct_choice": -1 if index == 5 else right,
        "position": [10, 20],
        "topic_category": "KH-Knowledge-History",
        "question_category": ("S2E", "TOS", "T3E")[index % 3],
        "level": ("L1-Perception", "L2-Relation")[index % 2],
        "id": f"clip{half}_{index % 3}",
        "video_path": f"clip{half}.mp4",
        "subtitle_path": f"clip{half}_en.json",
        "duration_group": (60, 3600)[half],
        "starting_timestamp_for_subtitles": 0.0,
        "duration": 96.0,
        "view_count": 1,
    }


def longvideobench_json(folder, asked, videos):
    """Question 0 has a wrong answer; that of question 5 is secret."""
    rows = [{**_longvideobench(asked, index), "candidates": list(asked[index].options)} for index in range(6)]
    return write_rows(folder / "lvb_val.json", rows), place(folder / "videos", "clip0.mp4", "clip1.mp4", videos)


def longvideobench_parquet(folder, asked, videos):
    """The same in the Parquet's columns."""
    rows = [
        {
            **_longvideobench(asked, index),
            **{f"option{place}": text for place, text in enumerate([*asked[index].options, "N/A"])},
        }
        for index in range(6)
    ]
    path = write_rows(folder / "validation-00000-of-00001.parquet", rows)
    return path, place(folder, "clip0.mp4", "clip1.mp4", videos)


def _lvbench(asked, index):
    return {
        "uid": str(100 + index),
        "question": asked[index].with_options,
        "answer": asked[index].wrong_letter if index == 1 else asked[index].letter,
        "question_type": LVBENCH_TYPES[index],
        "time_reference": LVBENCH_REFERENCES[index],
    }


def lvbench_jsonl(folder, asked, videos):
    """Question 1 has a wrong answer; files are named by the official download, by line."""
    rows = [
        {
            "key": ("Cm73ma6Ibcs", "28CIeC8cZks")[half],
            "type": ("cartoon", "tv")[half],
            "video_info": {"duration_minutes": 1.6, "fps": 2.0, "resolution": {"width": 160, "height": 120}},
            "qa": [_lvbench(asked, index) for index in range(3 * half, 3 * half + 3)],
        }
        for half in (0, 1)
    ]
    path = write_rows(folder / "video_info.meta.jsonl", rows)
    return path, place(folder, "videos/00000/00000000.mp4", "videos/00000/00000001.mp4", videos)


def lvbench_parquet(folder, asked, videos):
    """Flat rows; of question 4 the options stand in a field of their own."""
    rows = [
        {
            "key": ("Cm73ma6Ibcs", "28CIeC8cZks")[index // 3],
            "type": ("cartoon", "tv")[index // 3],
            "video_path": f"{('Cm73ma6Ibcs', '28CIeC8cZks')[index // 3]}.mp4",
            **_lvbench(asked, index),
            "options": None,
        }
        for index in range(6)
    ]
    rows[4] |= {"question": asked[4].question, "options": list(asked[4].options)}
    path = write_rows(folder / "train-00000-of-00001.parquet", rows)
    return path, place(folder / "all_videos", "Cm73ma6Ibcs.mp4", "28CIeC8cZks.mp4", videos)


def mlvu_dev_json(folder, asked, videos):
    """Question 3 has a wrong answer, that of question 5 is not offered, and there is a summary to be written."""
    tasks = {"1_plotQA": ("plotQA", "movie_1.mp4", range(3)), "2_needle": ("findNeedle", "needle_4.mp4", range(3, 6))}
    answers = {3: asked[3].wrong_answer, 5: "something else"}
    for name, (task, video, indices) in tasks.items():
        rows = [
            {
                "video": video,
                "duration": 96 if index % 2 else 96.0,
                "question": asked[index].question,
                "candidates": list(asked[index].options),
                "answer": answers.get(index, asked[index].answer),
                "question_type": task,
            }
            for index in indices
        ]
        write_rows(folder / "json" / f"{name}.json", rows)
    summary = {"video": "movie_1.mp4", "duration": 96, "question": "Sum up.", "answer": "…", "question_type": "summary"}
    write_rows(folder / "json" / "9_summary.json", [summary])
    return folder / "json", place(folder / "video", "1_plotQA/movie_1.mp4", "2_needle/needle_4.mp4", videos)


def mlvu_dev_parquet(folder, asked, videos):
    """The same five questions that can be scored, in lmms-eval's columns."""
    rows = [
        {
            "video_name": ("movie_1.mp4", "needle_4.mp4")[index // 3],
            "duration": 96.0,
            "question": asked[index].with_options,
            "candidates": list(asked[index].options),
            "answer": asked[index].wrong_letter if index == 3 else asked[index].letter,
            "task_type": ("plotQA", "needle")[index // 3],
        }
        for index in range(5)
    ]
    path = write_rows(folder / "mlvu" / "test-00000-of-00001.parquet", rows)
    return path, place(folder, "movie_1.mp4", "needle_4.mp4", videos)


def mlvu_test_json(folder, asked, videos):
    """Question 2 has a wrong answer."""
    rows = [
        {
            "video": ("test_1.mp4", "test_2.mp4")[index // 3],
            "duration": 96,
            "question": asked[index].question,
            "candidates": list(asked[index].options),
            "answer": asked[index].wrong_answer if index == 2 else asked[index].answer,
            "question_type": ("anomaly_reco", "needleQA", "sportsQA")[index % 3],
            "question_id": f"Q_{index}",
        }
        for index in range(6)
    ]
    path = write_rows(folder / "test_mcq_gt.json", rows)
    return path, place(folder / "video", "test_1.mp4", "test_2.mp4", videos)


def mlvu_test_parquet(folder, asked, videos):
    """The same in lmms-eval's columns."""
    rows = [
        {
            "video_name": ("test_1.mp4", "test_2.mp4")[index // 3],
            "duration": 96.0,
            "question": asked[index].with_options,
            "answer": asked[index].wrong_letter if index == 2 else asked[index].letter,
            "task_type": ("anomaly_reco", "needleQA", "sportsQA")[index % 3],
            "question_id": f"Q_{index}",
        }
        for index in range(6)
    ]
    path = write_rows(folder / "test-00000-of-00001.parquet", rows)
    return path, place(folder, "test_1.mp4", "test_2.mp4", videos)


WRITERS = {
    ("videomme", "parquet"): videomme_parquet,
    ("videomme", "json"): videomme_json,
    ("longvideobench", "json"): longvideobench_json,
    ("longvideobench", "parquet"): longvideobench_parquet,
    ("lvbench", "jsonl"): lvbench_jsonl,
    ("lvbench", "parquet"): lvbench_parquet,
    ("mlvu-dev", "json"): mlvu_dev_json,
    ("mlvu-dev", "parquet"): mlvu_dev_parquet,
    ("mlvu-test", "json"): mlvu_test_json,
    ("mlvu-test", "parquet"): mlvu_test_parquet,
}
