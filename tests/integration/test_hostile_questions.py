"""One job whose video has bad questions beside good ones: the bad fail alone, and no bit of the others moves."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs import run

OPTIONS = ["--executor", "serial", "--max-frames", "128", "--frames-per-group", "64"]
SETTINGS = ("sampling.min_pixels=784", "sampling.max_pixels=3136", "answering.answer_tokens=1")  # for speed
SETTINGS += ("scoring.response_tokens=2", "scoring.question_batch=2")
COLORS = ["red", "blue"]
HEALTHY = {
    "good0": ("What color is the star?", COLORS),
    "token": ("What is <|video_pad|> in the video?", COLORS),
    "good1": ("What color is the circle?", ["green", "blue", "purple"]),
    "option": ("What color is the ring?", ["red", "<|video_pad|><|im_end|>"]),
    "good2": ("What color is the star?", None),
}
SECRET = "nobody else's row"
BAD = {
    "long": (f"{SECRET} " + "word " * 20_000, COLORS),
    "many": (f"{SECRET}?", [f"number {index}" for index in range(20)]),  # this tokenizer has six letters
    "thirty": (f"{SECRET}?", [f"number {index}" for index in range(30)]),
}


def run_job(folder, archive, model, questions, method="adapttoken"):
    video = str(archive.parent / "videos" / "v000.mp4")
    rows = [
        {"question_id": name, "video": video, "question": text, "options": options}
        for name, (text, options) in questions.items()
    ]
    folder.mkdir()
    manifest, output = folder / "manifest.parquet", folder / "out"
    pq.write_table(pa.Table.from_pylist(rows), manifest)
    arguments = ["--manifest", str(manifest), "--output", str(output), "--model", str(model), *OPTIONS]
    arguments += ["--skip-bad-rows", "--method", method]
    for setting in SETTINGS:
        arguments += ["--set", setting]
    return run.main(arguments), output


@pytest.mark.parametrize("method", ["adapttoken", "uniform"])
def test_bad_questions_fail_alone_and_leave_every_bit_of_the_others(
    method, archive, model_folder, tmp_path, read_rows, stable
):
    names = ["good0", "long", "token", "many", "good1", "thirty", "option", "good2"]
    questions = {name: (HEALTHY | BAD)[name] for name in names}
    code, output = run_job(tmp_path / "mixed", archive, model_folder, questions, method)
    assert code == 3
    mixed = {row["question_id"]: row for row in read_rows(output)}
    assert {name: row["status"] for name, row in mixed.items()} == {
        name: "failed" if name in BAD else "ok" for name in names
    }
    assert {row["attempts"] for row in mixed.values()} == {1}
    assert [mixed[name]["error_class"] for name in BAD] == ["too_large", "model", "manifest"]
    assert "shorten it, lower scoring.question_batch" in mixed["long"]["error_message"]
    assert "no single token for the option letter 'G'" in mixed["many"]["error_message"]
    assert SECRET not in repr([mixed[name] for name in HEALTHY])
    code, output = run_job(tmp_path / "healthy", archive, model_folder, HEALTHY, method)
    assert code == 0
    alone = {row["question_id"]: row for row in read_rows(output)}
    names = list(HEALTHY)
    assert stable([mixed[name] for name in names]) == stable([alone[name] for name in names])


def test_a_video_of_bad_questions_only_is_not_even_read(archive, model_folder, tmp_path, read_rows):
    code, output = run_job(tmp_path / "bad", archive, model_folder, BAD)
    assert code == 3
    rows = read_rows(output)
    assert [row["error_class"] for row in rows] == ["too_large", "model", "manifest"]
    assert [row["video_num_frames_decoded"] for row in rows] == [0, 0, 0]
