"""Methods side by side say what each says by itself, and cost little more than one; the command, end to end."""

import json

import pytest

from jobs import compare
from jobs.wiring import comparison
from jobs.wiring.model_source import load_configured_model
from pipeline.evaluation.analysis.field import FieldEntry, analyse_field
from pipeline.evaluation.analysis.field_picture import _apart
from pipeline.failures import FailureClass, PipelineError
from pipeline.lab.synthetic.benchmark import BenchmarkSpec, write_benchmark
from pipeline.manifest.time_range import time_range
from pipeline.method.selectors.registry import SELECTORS
from pipeline.passes import shared_model
from pipeline.passes.shared_model import SharedModel
from pipeline.passes.side_by_side import compare_on_video
from pipeline.passes.whole_video import answer_video
from tests.integration.stock_answers import write_fixture

METHODS = ["adapttoken", "equal-quota", "uniform", "evs", "ktv"]
PUBLISHED = ["qwen2_5_vl-demo", "qwen3_vl-small", "internvl-qwen2-text"]


def test_side_by_side_each_method_says_what_it_says_alone(make_job):
    jobs = {method: make_job(method) for method in METHODS}
    model = load_configured_model(jobs["adapttoken"].config)
    task = next(iter(jobs["adapttoken"].tasks))
    configs = {method: job.config for method, job in jobs.items()}
    found = compare_on_video(task.uri, task.questions, model=model, configs=configs)
    for method, job in jobs.items():
        alone = answer_video(task.uri, task.questions, model=model, config=job.config)
        for ours, expected in zip(found.methods[method].answers, alone, strict=True):
            assert ours.bought.tolist() == expected.bought.tolist()
            assert ours.answer == expected.answer
            assert ours.entropy == pytest.approx(expected.entropy, abs=2e-5)
            assert [(span.start_s, span.end_s) for span in ours.evidence] == [
                (span.start_s, span.end_s) for span in expected.evidence
            ]


def test_what_two_methods_both_chose_is_answered_once(make_job, monkeypatch):
    """Whatever the budget, ``all`` keeps the same tokens; prompts, too, are built once for everyone."""
    few, many = (make_job("all", **{"budget.token_budget": budget}) for budget in (16, 64))
    model, asked, built = load_configured_model(few.config), [], []
    answer, build = type(model).answer, type(model).build_question
    monkeypatch.setattr(type(model), "answer", lambda *a, **k: asked.append(1) or answer(*a, **k))
    monkeypatch.setattr(type(model), "build_question", lambda *a, **k: built.append(1) or build(*a, **k))
    task = next(iter(few.tasks))
    configs = {"few": few.config, "many": many.config}
    found = compare_on_video(task.uri, task.questions, model=model, configs=configs)
    assert len(asked) == len(built) == len(task.questions)
    first, second = (found.methods[label].answers for label in configs)
    assert [one.final for one in first] == [one.final for one in second]


def test_a_ranker_is_asked_once_about_a_group_whatever_the_budget(make_job, monkeypatch):
    few, many = (make_job("evs", **{"budget.token_budget": budget}) for budget in (16, 17))
    ranker, seen = SELECTORS["evs"].ranker, []
    rank = type(ranker).rank
    monkeypatch.setattr(type(ranker), "rank", lambda self, view: seen.append(view.patches[0]) or rank(self, view))
    task, model = next(iter(few.tasks)), load_configured_model(few.config)
    configs = {"few": few.config, "many": many.config}
    found = compare_on_video(task.uri, task.questions, model=model, configs=configs).methods
    assert len(seen) == len(set(seen)) == found["few"].answers[0].num_groups
    alone = answer_video(task.uri, task.questions, model=model, config=many.config)
    assert [one.final.tokens for one in found["many"].answers] == [one.final.tokens for one in alone]


def test_what_was_made_once_is_charged_to_each_that_wanted_it(make_job):
    shared = SharedModel(model=load_configured_model(make_job("all").config))
    for _ in range(3):
        shared.build_question("What color is the star?", ("red", "blue"), response_tokens=4)
    assert shared.spent.alone_s == pytest.approx(3 * shared.spent.shared_s)


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return write_benchmark(
        tmp_path_factory.mktemp("bench"), BenchmarkSpec(num_frames=(400,), videos_per_length=2, seed=41_416)
    )


def test_the_command_writes_a_table_figures_and_a_picture_with_its_settings(bench, tmp_path, capsys):
    words = ["--manifest", str(bench), "--model", "demo", "--output", str(tmp_path)]
    words += ["--methods", "adapttoken", "uniform", "rediprune", "flexselect", "--budgets", "1", "16", "--dense"]
    assert compare.main(words) == 0
    report = json.loads((tmp_path / "comparison.json").read_text())
    assert [(e["method"], e["setting"]) for e in report["entries"][:5]] == [
        ("adapttoken", "all frames"),
        ("uniform", "all frames"),
        ("rediprune", "as published"),
        ("rediprune", "dense"),
        ("flexselect", "all frames"),
    ]
    by_name = {(e["method"], e["setting"], e["budget"]): e for e in report["entries"]}
    assert by_name["uniform", "all frames", 16]["low"] is not None
    assert by_name["adapttoken", "all frames", 16]["accuracy"] > by_name["uniform", "all frames", 16]["accuracy"]
    assert "preset model: τ 0.2" in report["settings"]
    assert (tmp_path / "comparison.png").stat().st_size > 10_000
    assert report["chance"] == pytest.approx(0.25)
    printed = capsys.readouterr().out
    assert printed.count("rule of ReDiPrune (2603.24680), after the merger") == 1  # once, not under every budget
    assert "(blind guessing)" in printed
    assert report["together_s"] < sum(entry["alone_s"] for entry in report["entries"])


def test_an_interrupted_comparison_goes_on_and_may_be_shared_among_processes(bench, tmp_path, monkeypatch, capsys):
    asked, real = [], comparison.compare_on_video

    def spy(video, questions, *, configs, **rest):
        asked.append((video.rpartition("/")[2], sorted(configs)))
        return real(video, questions, configs=configs, **rest)

    monkeypatch.setattr(comparison, "compare_on_video", spy)
    words = ["--manifest", str(bench), "--model", "demo", "--output", str(tmp_path), "--methods", "uniform"]
    assert compare.main([*words, "--budgets", "4", "--share", "2/2"]) == 0
    assert not (tmp_path / "comparison.json").exists()
    assert "without --share the same command draws the table" in capsys.readouterr().out
    assert compare.main([*words, "--budgets", "4"]) == 0
    once = json.loads((tmp_path / "comparison.json").read_text())["entries"][0]
    assert compare.main([*words, "--budgets", "4", "8"]) == 0
    again = json.loads((tmp_path / "comparison.json").read_text())["entries"]
    first, second = ["uniform@4 all frames"], ["uniform@8 all frames"]
    names = ["n00400-v000.mp4", "n00400-v001.mp4"]
    assert asked == [(names[1], first), (names[0], first), (names[0], second), (names[1], second)]
    assert again[0] == once
    assert [entry["questions"] for entry in again] == [once["questions"]] * 2
    assert compare.main([*words, "--share", "3/2"]) == 2
    assert "--share must be like 1/2" in capsys.readouterr().err


@pytest.mark.parametrize(("free", "what"), [([1_000], "frames"), ([1 << 50, 1_000], "visual tokens")])
def test_a_video_that_memory_cannot_hold_is_refused_before_it_is_too_late(make_job, monkeypatch, free, what):
    left = iter(free)
    monkeypatch.setattr(shared_model, "free_bytes", lambda device: next(left))
    job = make_job("uniform")
    task = next(iter(job.tasks))
    with pytest.raises(PipelineError, match=rf"^{what} of the whole video need .* lower sampling.max_frames") as caught:
        compare_on_video(
            task.uri, task.questions, model=load_configured_model(job.config), configs={"uniform": job.config}
        )
    assert caught.value.failure_class is FailureClass.OUT_OF_MEMORY


def test_only_the_part_of_a_video_that_is_asked_about_is_compared(make_job):
    job = make_job("uniform")
    task, model = next(iter(job.tasks)), load_configured_model(job.config)
    part = time_range(10.0, 20.0)
    found = compare_on_video(
        task.uri, task.questions, model=model, configs={"uniform": job.config}, time_range=part
    ).methods["uniform"]
    alone = answer_video(task.uri, task.questions, model=model, config=job.config, time_range=part)
    assert [one.final for one in found.answers] == [one.final for one in alone]
    assert all(10.0 <= span.start_s < 20.0 for one in found.answers for span in one.evidence)


def test_numbers_beside_curves_that_end_together_are_moved_apart():
    places = dict(_apart({"a": 50.0, "b": 50.0, "c": 90.0, "d": 100.0}, least=5.0, low=0.0, high=100.0))
    assert places == {"a": 50.0, "b": 55.0, "c": 90.0, "d": 100.0}
    crowded = dict(_apart(dict.fromkeys("abc", 100.0), least=5.0, low=0.0, high=100.0))
    assert crowded == {"a": 90.0, "b": 95.0, "c": 100.0}


def test_an_unknown_method_names_the_nearest(bench, tmp_path, capsys):
    words = ["--manifest", str(bench), "--model", "demo", "--output", str(tmp_path), "--methods", "redipruen"]
    assert compare.main(words) == 2
    assert "did you mean 'rediprune'" in capsys.readouterr().err


def test_what_was_refused_stands_in_the_table_with_its_reason():
    refused = FieldEntry(
        method="duet", budget=4, setting="dense", evaluation=None, alone_s=0.0, reason="it tells no saliency"
    )
    analysis = analyse_field([refused], settings="s", together_s=0.0)
    assert "duet: it tells no saliency" in analysis.tables[0].notes


@pytest.mark.slow
@pytest.mark.parametrize("name", [*PUBLISHED, "glm4v-dense"])
def test_it_runs_on_a_published_layout_of_each_family_by_the_papers_preset(name, tmp_path):
    (tmp_path / "fixture").mkdir()
    checkpoint, video, stock = write_fixture(name, tmp_path / "fixture")
    rows = [
        {"question_id": f"q{i}", "video": str(video), "question": text, "options": options, "expected": "A"}
        for i, (text, options) in enumerate(stock.questions)
        if options is not None
    ]
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps(rows))
    settings = {
        "sampling.sample_fps": stock.sample_fps,
        "sampling.frames_per_group": stock.frames_per_group,
        "sampling.min_pixels": 1,
        "scoring.reference_layer": stock.clip.layer,
    }
    words = ["--manifest", str(manifest), "--model", str(checkpoint), "--output", str(tmp_path / "out")]
    words += ["--methods", "adapttoken", "flexselect", "evs", "rediprune", "promprune", "consensusdrop", "flashvid"]
    words += ["duet", "ktv", "adaq", "aks", "frame-change", "--budgets", "12"]
    words += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    assert compare.main(words) == 0
    report = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert "preset paper: τ 2, 1.1 times as many" in report["settings"]
    refused = {entry["method"] for entry in report["entries"] if entry["refused"]}
    assert refused == ({"promprune", "consensusdrop", "flashvid", "duet", "ktv"} if name.startswith("glm") else set())
    assert all(entry["questions"] == len(rows) for entry in report["entries"] if not entry["refused"])
