"""Every benchmark in every layout: annotation files, manifest, one run of the demo model over all, scores by hand.

Question i of six is about video i // 3; where a writer planted a wrong answer, a right model is marked wrong. The demo
model answers with four options, so the test set of MLVU has four here; six are in the unit tests.
"""

import json
from math import sqrt

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs import evaluate, import_benchmark, run
from pipeline.demo.archive import ArchiveSpec, write_archive
from pipeline.evaluation.scoring.scorers import SCORERS
from tests.unit.evaluation.importers.small_benchmarks import WRITERS, Asked


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Two videos of 128 sampled frames, three needles each, visible for 12 to 16 of them."""
    spec = ArchiveSpec(num_frames=(128, 128), questions_per_video=3, needle_frames=(12, 16), seed=60_601)
    return write_archive(tmp_path_factory.mktemp("archive"), spec)


@pytest.fixture(scope="module")
def manifests(archive, tmp_path_factory):
    """(benchmark, layout) -> its manifest; ids carry the layout, so that all fit into one run."""
    asked = [
        Asked(row["question"], tuple(row["options"]), row["expected"]) for row in pq.read_table(archive).to_pylist()
    ]
    videos = (archive.parent / "videos" / "v000.mp4", archive.parent / "videos" / "v001.mp4")
    written = {}
    for (benchmark, layout), write in WRITERS.items():
        folder = tmp_path_factory.mktemp(f"{benchmark}-{layout}")
        annotations, video_folder = write(folder, asked, videos)
        output = folder / "manifest.parquet"
        arguments = ["--annotations", str(annotations), "--videos", str(video_folder), "--output", str(output)]
        assert import_benchmark.main([benchmark, *arguments]) == 0
        table = pq.read_table(output)
        ids = pa.array([f"{layout}/{question_id}" for question_id in table.column("question_id").to_pylist()])
        pq.write_table(table.set_column(0, "question_id", ids), output)
        written[benchmark, layout] = output
    return written


@pytest.fixture(scope="module")
def answers(manifests, tmp_path_factory):
    """One serial run over all manifests together."""
    folder = tmp_path_factory.mktemp("run")
    merged = pa.concat_tables([pq.read_table(path) for path in manifests.values()], promote_options="default")
    pq.write_table(merged, folder / "manifest.parquet")
    arguments = ["--manifest", str(folder / "manifest.parquet"), "--output", str(folder / "answers")]
    assert run.main([*arguments, "--model", "demo", "--executor", "serial", "--log-level", "warning"]) == 0
    return folder / "answers"


@pytest.fixture(scope="module")
def scores(answers, manifests, tmp_path_factory):
    """Folder of the scores of a (benchmark, layout), made when first asked for; MLVU's test set with a submission."""
    made = {}

    def folder_of(benchmark, layout):
        if (benchmark, layout) not in made:
            folder = made[benchmark, layout] = tmp_path_factory.mktemp("scores")
            arguments = [str(answers), "--manifest", str(manifests[benchmark, layout]), "--output", str(folder)]
            submission = ["--submission", str(folder / "submission.json")] if benchmark == "mlvu-test" else []
            assert evaluate.main([*arguments, *submission]) == 0
        return made[benchmark, layout]

    return folder_of


@pytest.fixture
def score(scores):
    def read(benchmark, layout):
        (found,) = json.loads((scores(benchmark, layout) / "evaluation.json").read_text())["evaluations"]
        assert found["benchmark"] == benchmark
        return found

    return read


@pytest.mark.parametrize(("benchmark", "layout"), WRITERS)
def test_every_scorer_reads_the_same_letters_of_which_one_is_wrong(score, benchmark, layout):
    found = score(benchmark, layout)
    expected = found["overall"]["num_questions"] - 1
    assert found["counts"]["unparsed"] == found["counts"]["failed"] == found["counts"]["missing"] == 0
    assert {name: part["num_right"] for name, part in found["by_scorer"].items()} == dict.fromkeys(SCORERS, expected)


@pytest.mark.parametrize("layout", ["parquet", "json"])
def test_videomme_is_five_of_six_and_two_of_three_on_the_long_video(score, layout):
    found = score("videomme", layout)
    overall = found["overall"]
    assert (overall["num_questions"], overall["num_right"], overall["num_videos"]) == (6, 5, 2)
    # residuals by video: 3 * 1/6 and 2 * 1/6 - 5/6
    assert overall["standard_error"] == pytest.approx(sqrt(0.5**2 + 0.5**2) / 6)
    right = {value: part["num_right"] for value, part in found["by_category"]["duration_group"].items()}
    assert right == {"long": 2, "short": 3}
    assert found["by_category"]["domain"]["Film & Television"]["accuracy"] == pytest.approx(2 / 3)
    assert found["by_category"]["task_type"]["Attribute Perception"]["accuracy"] == pytest.approx(2 / 3)
    assert found["by_category"]["task_type"]["OCR Problems"]["accuracy"] == 1.0


@pytest.mark.parametrize("layout", ["parquet", "json"])
def test_longvideobench_is_four_of_five_because_one_answer_is_secret(score, layout):
    found = score("longvideobench", layout)
    assert (found["overall"]["num_questions"], found["overall"]["num_right"]) == (5, 4)
    assert found["counts"]["without_truth"] == 1
    groups = {value: part["accuracy"] for value, part in found["by_category"]["duration_group"].items()}
    assert groups == {"60": pytest.approx(2 / 3), "3600": 1.0}
    categories = {value: part["num_questions"] for value, part in found["by_category"]["question_category"].items()}
    assert categories == {"S2E": 2, "T3E": 1, "TOS": 2}


@pytest.mark.parametrize("layout", ["jsonl", "parquet"])
def test_lvbench_counts_a_question_in_each_of_its_types_and_skips_useless_references(score, layout):
    found = score("lvbench", layout)
    assert (found["overall"]["num_questions"], found["overall"]["num_right"]) == (6, 5)
    parts = found["by_category"]["question_types"]
    types = {value: (part["num_right"], part["num_questions"]) for value, part in parts.items()}
    assert types == {
        "entity recognition": (2, 2),
        "reasoning": (2, 3),
        "summarization": (2, 2),
        "temporal grounding": (1, 1),
    }
    assert {value: part["num_right"] for value, part in found["by_category"]["video_type"].items()} == {
        "cartoon": 2,
        "tv": 3,
    }
    # two references are the whole video, one lies behind its end, three cannot be used
    evidence = found["evidence"]
    assert (evidence["num_questions"], evidence["num_skipped"]) == (3, 3)
    assert evidence["top_hit_share"] == pytest.approx(2 / 3)
    assert evidence["chance"] == pytest.approx(2 / 3)  # anywhere hits a reference that is the whole video


@pytest.mark.parametrize("layout", ["json", "parquet"])
def test_mlvu_dev_averages_over_tasks(score, layout):
    found = score("mlvu-dev", layout)
    assert found["overall"]["accuracy"] == pytest.approx(4 / 5)
    macro = found["macro"]
    assert (macro["category"], macro["num_values"]) == ("task_type", 2)
    assert macro["accuracy"] == pytest.approx((3 / 3 + 1 / 2) / 2)
    # one video per task: residuals cancel within each
    assert macro["standard_error"] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("layout", ["json", "parquet"])
def test_mlvu_test_scores_and_makes_the_list_that_its_server_takes(score, scores, layout):
    found = score("mlvu-test", layout)
    assert found["overall"]["accuracy"] == pytest.approx(5 / 6)
    assert found["macro"]["accuracy"] == pytest.approx((1 + 1 + 1 / 2) / 3)
    submission = json.loads((scores("mlvu-test", layout) / "submission.json").read_text())
    assert [row["question_id"] for row in submission] == [f"Q_{index}" for index in range(6)]
    assert [row["question_type"] for row in submission[:3]] == ["anomaly_reco", "needleQA", "sportsQA"]
    assert all(row["option"] in "ABCD" for row in submission)


def test_the_report_shows_the_papers_figures_as_the_papers(scores):
    report = (scores("videomme", "parquet") / "evaluation.md").read_text()
    assert "## VideoMME: accuracy, scorer official" in report
    assert "83.3 ± 11.8" in report
    assert "## the paper's figures (arXiv 2603.28696), not measured here" in report
    assert "| Qwen2.5-VL-7B | AdaptToken | – | 70.5 |" in report
