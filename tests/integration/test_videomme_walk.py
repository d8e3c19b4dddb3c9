"""VideoMME from downloaded files to a submission: 20 short videos in the published layout, a checkpoint in Qwen's."""

import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs import evaluate, import_benchmark, run
from pipeline.demo.archive import ArchiveSpec, write_archive
from tests.integration.stock_answers import write_fixture

NUM_VIDEOS, PER_VIDEO = 20, 3


def write_videomme(folder):
    """``videomme/test-00000-of-00001.parquet``, ``data/{videoID}.mp4``, ``subtitle/{videoID}.srt`` of every other."""
    spec = ArchiveSpec(
        num_frames=(128,) * NUM_VIDEOS, questions_per_video=PER_VIDEO, needle_frames=(12, 16), seed=60_602
    )
    archive = write_archive(folder / "made", spec)
    rows, (data, subtitles) = [], (folder / "data", folder / "subtitle")
    for path in (data, subtitles, folder / "videomme"):
        path.mkdir(parents=True)
    for number, row in enumerate(pq.read_table(archive).to_pylist()):
        video, question = divmod(number, PER_VIDEO)
        name = f"vid-{video:03d}_x"
        if question == 0:
            os.link(archive.parent / "videos" / f"v{video:03d}.mp4", data / f"{name}.mp4")
            if video % 2:
                line = '1\n00:00:01,000 --> 00:00:09,000\n<font color="white" size=".72c">A line.</font>\n'
                (subtitles / f"{name}.srt").write_text(line)
        rows.append(
            {
                "video_id": f"{video + 1:03d}",
                "duration": ("short", "medium", "long")[video % 3],
                "domain": "Knowledge",
                "sub_category": "Law",
                "url": f"https://www.youtube.com/watch?v={name}",
                "videoID": name,
                "question_id": f"{video + 1:03d}-{question + 1}",
                "task_type": "OCR Problems",
                "question": row["question"],
                "options": [f"{letter}. {text}" for letter, text in zip("ABCD", row["options"], strict=True)],
                "answer": row["expected"],
            }
        )
    pq.write_table(pa.Table.from_pylist(rows), folder / "videomme" / "test-00000-of-00001.parquet")
    return rows


@pytest.mark.slow
@pytest.mark.parametrize("with_subtitles", [False, True])
def test_videomme_with_qwen2_5_vl_from_files_to_a_submission(with_subtitles, tmp_path, capsys):
    rows = write_videomme(tmp_path)
    (tmp_path / "fixture").mkdir()
    made, _, stock = write_fixture("qwen2_5_vl-demo", tmp_path / "fixture")
    checkpoint = made.rename(tmp_path / "Qwen2.5-VL-7B-Instruct")
    manifest, answers, scores = (str(tmp_path / name) for name in ("videomme.parquet", "answers", "scores"))
    extra = ["--subtitles", str(tmp_path / "subtitle")] if with_subtitles else []
    words = ["--annotations", str(tmp_path / "videomme"), "--videos", str(tmp_path / "data"), "--output", manifest]
    assert import_benchmark.main(["videomme", *words, *extra]) == 0
    assert "--set scoring.prompt_style=videomme" in capsys.readouterr().out

    words = ["--manifest", manifest, "--output", answers, "--model", str(checkpoint), "--executor", "serial"]
    sets = {"scoring.prompt_style": "videomme", "sampling.frames_per_group": 64, "sampling.min_pixels": 1}
    sets |= {"scoring.reference_layer": stock.clip.layer, "budget.token_budget": 32}
    words += [word for key, value in sets.items() for word in ("--set", f"{key}={value}")]
    assert run.main(words) == 0

    submission = tmp_path / "submission.json"
    assert evaluate.main([answers, "--output", scores, "--submission", str(submission)]) == 0
    (found,) = json.loads((tmp_path / "scores" / "evaluation.json").read_text())["evaluations"]
    assert found["overall"]["num_questions"] == len(rows) == NUM_VIDEOS * PER_VIDEO
    assert (found["scorer"], found["prompt_style"], found["paper_percent"]) == ("official", "videomme", None)
    assert set(found["by_category"]["duration_group"]) == {"short", "medium", "long"}
    assert (
        "the paper's figure is not shown: it is of all 2700 questions"
        in (tmp_path / "scores" / "evaluation.md").read_text()
    )
    sent = json.loads(submission.read_text())
    assert [len(video["questions"]) for video in sent] == [PER_VIDEO] * NUM_VIDEOS
