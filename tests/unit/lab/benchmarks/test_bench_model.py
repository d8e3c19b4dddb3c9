"""``bench.py model`` from the command line on the tiny shape, the clock behind its stages, and its tables."""

import json
from types import SimpleNamespace

import pytest
import torch

from jobs.lab.bench import main
from pipeline.lab.benchmarks import stage_clock
from pipeline.lab.benchmarks.model_report import format_measurement
from pipeline.lab.benchmarks.model_run import OPTIONS, build_clip, build_questions
from pipeline.lab.benchmarks.model_shapes import SHAPES
from pipeline.lab.benchmarks.random_models import build_config, family_tokenizer, video_token
from pipeline.lab.benchmarks.stage_clock import StageClock
from pipeline.models.prompt import build_prompt
from pipeline.models.registry import FAMILIES
from pipeline.settings.config import RunConfig, SamplingConfig

TINY = ["model", "--model-shape", "tiny", "--random-weights", "--num-frames", "16", "--frames-per-group", "8"]
TINY += ["--resolution", "56x84", "--question-tokens", "50", "--device", "cpu"]
STAGES = {
    "other",
    "assemble frames",
    "encode",
    "prefill",
    "score",
    "candidates and shares",
    "gather",
    "merge and prune",
    "final pass",
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """One run over 2 groups of 4 patches of 6 tokens, for 1 and 3 questions."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("bench")
    files = ["--output", str(folder / "a.json"), "--markdown", str(folder / "a.md")]
    assert main([*TINY, "--questions", "3,1", "--token-budget", "20", "--naive-groups", "1", *files]) == 0
    return json.loads((folder / "a.json").read_text()), (folder / "a.md").read_text()


def test_the_file_says_what_was_measured(measured):
    plain, _ = measured
    assert plain["model_shape"] == "tiny"
    assert plain["dtype"] == "float32"
    assert plain["frame_size"] == [56, 84]
    assert (plain["num_groups"], plain["visual_tokens"], plain["token_budget"]) == (2, 48, 20)
    assert [run["num_questions"] for run in plain["runs"]] == [1, 3]
    assert plain["matmul_peak_tflops"] > 0
    assert plain["parameters"] > 1e7


def test_stages_cover_the_whole_run(measured):
    for run in measured[0]["runs"]:
        assert set(run["stages"]) == STAGES
        spent = sum(stage["seconds"] for stage in run["stages"].values())
        assert spent == pytest.approx(run["total_s"], rel=0.02)
        assert 0 <= run["stages"]["other"]["seconds"] < 0.1 * run["total_s"]


def test_rates_follow_from_seconds_tokens_and_flops(measured):
    plain, _ = measured
    for run in plain["runs"]:
        stages = run["stages"]
        assert stages["encode"]["tokens"] == 48
        assert stages["score"]["tokens"] == run["num_questions"] * 2 * 50
        assert run["final_tokens"] == [20] * run["num_questions"]
        assert run["floor_flops"] == sum(stage["floor_flops"] for stage in stages.values())
        for name in ("encode", "prefill", "score", "final pass"):
            stage = stages[name]
            assert stage["tokens_per_s"] == pytest.approx(stage["tokens"] / stage["seconds"])
            assert stage["tflops"] == pytest.approx(stage["floor_flops"] / stage["seconds"] / 1e12)
            assert stage["share_of_floor"] == pytest.approx(stage["tflops"] / plain["matmul_peak_tflops"])
        assert run["share_of_floor"] == pytest.approx(run["floor_s"] / run["total_s"])
        assert 0 < run["share_of_floor"] < 1.5
    one, three = plain["runs"]
    assert three["times_one_question"] == pytest.approx(three["total_s"] / one["total_s"])
    assert one["times_one_question"] == 1


def test_the_naive_baseline_is_extrapolated_to_all_groups_and_questions(measured):
    plain, _ = measured
    naive = plain["naive"]
    assert naive["num_timed"] == 1
    assert naive["problem"] == ""
    for run in plain["runs"]:
        replaced = sum(run["stages"][name]["seconds"] for name in ("encode", "prefill", "score"))
        expected = run["num_questions"] * 2 * naive["pass_s"] + run["total_s"] - replaced
        assert run["naive_s"] == pytest.approx(expected)
        assert 0 <= run["largest_score_difference_to_naive"] < 2e-4
        assert run["naive_to_ours"] == pytest.approx(expected / run["total_s"])


def test_the_tables_show_every_run_and_stage(measured):
    plain, text = measured
    assert text == format_measurement(plain)
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == (1 + 2) + (1 + 2 * len(STAGES))
    assert f"| 3 | {plain['runs'][1]['total_s']:.2f} |" in text
    assert "extrapolated to 2 groups" in text


def test_a_baseline_that_does_not_fit_is_named_and_leaves_its_columns_empty(measured):
    plain = json.loads(json.dumps(measured[0]))
    plain["naive"] |= {"pass_s": None, "problem": "CUDA out of memory"}
    for run in plain["runs"]:
        run |= {"naive_s": None, "naive_to_ours": None}
    text = format_measurement(plain)
    assert "not possible here: CUDA out of memory" in text
    assert next(line for line in text.splitlines() if line.startswith("| 1 |")).endswith("|  |  |")
    assert "Naive baseline: not measured." in format_measurement(plain | {"naive": None})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--questions", "1,x"], "whole numbers such as 1,4,16"),
        (["--questions", "0"], "at least 1 question"),
        (["--resolution", "308"], "height x width in pixels such as 308x560"),
        (["--model-shape", "qwen-9b"], "invalid choice: 'qwen-9b'"),
    ],
)
def test_a_bad_option_is_refused_with_what_is_allowed(arguments, message, capsys):
    with pytest.raises(SystemExit):
        main([*TINY, *arguments])
    assert message in capsys.readouterr().err


def test_a_question_cannot_be_shorter_than_its_template():
    tokenizer = family_tokenizer("qwen2_5_vl")
    with pytest.raises(ValueError, match=r"--question-tokens must be above \d+.*num_tokens=5"):
        build_questions(tokenizer, "qwen2_5_vl", 1, num_tokens=5)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_questions_differ_and_have_the_wanted_length(family):
    tokenizer = family_tokenizer(family)
    questions = build_questions(tokenizer, family, 16, num_tokens=100)
    assert len({question.text for question in questions}) == 16
    for question in questions:
        prompt = build_prompt(tokenizer, video_token=video_token(family), question=question.text, options=OPTIONS)
        assert len(prompt.suffix_ids) == 100
        assert tokenizer.unk_token_id not in prompt.suffix_ids


def test_a_clip_is_planned_like_a_video_of_that_many_frames():
    config = build_config(SHAPES["tiny"], family_tokenizer("qwen2_5_vl"))
    layout = FAMILIES["qwen2_5_vl"].read_layout(config)
    run = RunConfig(sampling=SamplingConfig(frames_per_group=8))
    clip = build_clip(layout, num_frames=21, height=56, width=84, config=run)
    assert sorted(patch for group in clip.plan.groups for patch in group) == list(range(11))
    assert clip.plan.group_indices == (0, 2, 1)
    assert [len(frames) for frames in clip.frames] == [2 * len(patches) for patches in clip.plan.groups]
    assert clip.frames[0].shape[1:] == (56, 84, 3)
    assert clip.plan.patch_times_s.tolist() == list(range(11))
    assert clip.plan.patch_centers_s.tolist() == [*(i + 0.25 for i in range(10)), 10.0]  # the last frame shows twice
    assert (clip.frames[0][:4] != clip.frames[1][:4]).any()


def test_an_instant_belongs_to_the_innermost_open_stage(monkeypatch):
    readings = iter([100.0, 100.0, 101.0, 103.0, 107.0, 115.0, 131.0, 131.5, 140.0, 141.0])
    monkeypatch.setattr(stage_clock, "time", SimpleNamespace(perf_counter=lambda: next(readings)))
    clock = StageClock("cpu")
    clock.start()
    with clock.stage("outer"), clock.stage("inner"):
        pass
    with pytest.raises(KeyError), clock.stage("outer"):
        raise KeyError
    clock.stop()
    assert clock.seconds() == {"other": 1.0 + 16.0 + 8.5, "outer": 2.0 + 8.0 + 0.5, "inner": 4.0}
    assert clock.wall_s == 41.0
