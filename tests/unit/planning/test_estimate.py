"""The plan's figures: equal to a straight sum where all videos are probed, scaled and marked where some are not."""

import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import av
import pytest

from pipeline.demo.archive import ArchiveSpec, write_archive
from pipeline.manifest.reading import read_manifest
from pipeline.models.interface import FrameGeometry
from pipeline.models.loading import describe_model, load_question_tokenizer
from pipeline.planning import question_sample
from pipeline.planning.decode_cost import FrameReading, decode_seconds, store_seconds
from pipeline.planning.estimate import estimate_job
from pipeline.planning.job_plan import plan_job
from pipeline.planning.model_cost import ModelCost, ScorerSpeed, count_video_flops, judge_memory, read_checkpoint_config
from pipeline.planning.plan_table import format_plan
from pipeline.planning.question_sample import MOST_QUESTIONS, sample_questions
from pipeline.planning.video_sample import VideoCost, sample_videos
from pipeline.results.rows import RunStamp
from pipeline.settings.config import ExecutionConfig
from pipeline.settings.presets import preset_for

FILM = FrameReading(
    codec="h264",
    bit_depth=8,
    frame_pixels=19_200,
    coded_bytes=500.0,
    num_decoded=128,
    num_wanted=128,
    wanted_pixels=3_136,
)
STAMP = RunStamp(run_id="r", method="adapttoken", model="demo", model_revision="1", config_hash="c")
SIZES = (270, 330, 390)


@pytest.fixture(scope="module")
def config():
    return preset_for("demo", num_layers=4, is_demo=True)


@pytest.fixture(scope="module")
def identity(config):
    return describe_model(config.model)


@pytest.fixture(scope="module")
def checkpoint(config):
    return read_checkpoint_config(config, None)


@pytest.fixture(scope="module")
def tokenizer(config):
    return load_question_tokenizer(config.model)


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    manifest = write_archive(folder, ArchiveSpec(num_frames=SIZES, questions_per_video=2, seed=4_711))
    return plan_job(read_manifest(str(manifest)), stamp=STAMP, output_uri=str(folder / "out"))


@pytest.fixture(scope="module")
def estimate(plan, config, identity, checkpoint, tokenizer):
    def make(*, max_probes=32, config=config, gpu_gib=80.0, tasks=plan):
        layout = identity.layout
        sample = sample_videos(
            tasks.tasks.uris(), config=config, layout=layout, storage_options=None, max_probes=max_probes
        )
        model = judge_memory(checkpoint, config=config, layout=layout, gpu_gib=gpu_gib)
        return estimate_job(
            tasks,
            sample,
            checkpoint=checkpoint,
            model=model,
            config=config,
            speed=ScorerSpeed(tflops=0.5, source="as given"),
            questions=sample_questions(tasks.tasks, sample, tokenizer=tokenizer, layout=layout, config=config),
        )

    return make


@pytest.fixture(scope="module")
def full(estimate):
    """All headers read."""
    return estimate()


def _core_seconds_by_hand(uris):
    """H.264 of 160 x 120: every frame is decoded and handed on at 56 x 56."""
    coded_bytes = 0
    for uri in uris:
        with av.open(uri) as container:
            coded_bytes += sum(packet.size for packet in container.demux(video=0))
    decoding = sum(SIZES) * 160 * 120 / 1.05e9 + coded_bytes * 1.6e-7
    return decoding + sum(SIZES) * (160 * 120 * 1.2e-9 + 56 * 56 * 3.5e-9)


def test_where_all_headers_are_read_the_figures_are_those_of_the_plans(full, plan):
    found = full
    assert (found.num_videos, found.num_questions, found.num_probed, found.num_estimated) == (3, 6, 3, 0)
    assert found.sampled_frames == found.frames_to_decode == sum(SIZES)
    assert found.groups == 5 + 6 + 7  # of 64 frames at most
    assert found.question_groups == 2 * 18
    assert found.visual_tokens == sum(SIZES) / 2 * 4
    assert found.final_tokens == 6 * 16
    assert found.duration_s == pytest.approx(sum(SIZES) / 2)
    assert found.decode_core_s == pytest.approx(_core_seconds_by_hand(plan.tasks.uris()))
    assert found.scorer_s == pytest.approx(sum(found.flops.values()) / 0.5e12)


def test_of_two_probes_the_first_and_the_last_video_stand_for_all(estimate):
    found = estimate(max_probes=2)
    assert (found.num_probed, found.num_estimated) == (2, 1)
    assert found.sampled_frames == 3 * (270 + 390) / 2
    assert "~990" in format_plan(found)
    assert "1 others are taken for their average" in format_plan(found)


def test_a_video_that_will_fail_costs_nothing(estimate, plan, tmp_path):
    folder = Path(plan.tasks.uris()[0]).parent
    (folder / "notes.mp4").write_text("no video")
    rows = [
        {"question_id": name, "video": str(folder / name), "question": "Why?"} for name in ("v000.mp4", "notes.mp4")
    ]
    manifest = tmp_path / "m.jsonl"
    manifest.write_text("\n".join(json.dumps(row) for row in rows))
    found = estimate(tasks=plan_job(read_manifest(str(manifest)), stamp=STAMP, output_uri=str(tmp_path / "out")))
    assert (found.num_videos, found.num_probed, found.probe_failures) == (2, 2, {"unsupported_media": 1})
    assert (found.sampled_frames, found.groups, found.question_groups) == (270, 5, 5)


def test_without_a_header_an_assumed_video_stands_for_each_and_the_table_says_so(estimate):
    found = estimate(max_probes=0)
    assert (found.num_probed, found.num_estimated, found.is_assumed) == (0, 3, True)
    assert found.duration_s == 3 * 3_600
    assert found.sampled_frames == 3 * 7_200
    assert "each video is taken for an hour of 720p" in format_plan(found)


def test_a_plan_with_nothing_left_says_only_what_is_done(estimate, plan):
    found = estimate(tasks=replace(plan, tasks=plan.tasks[:0], num_skipped=6))
    assert (found.num_videos, found.groups, found.scorer_s) == (0, 0, 0)
    lines = format_plan(found).splitlines()
    assert lines[1].split() == ["done", "earlier", "6"]
    assert not [line for line in lines if line.startswith("groups")]


def test_the_figures_are_json(full):
    assert json.loads(json.dumps(asdict(full), allow_nan=False))["groups"] == 18


@pytest.mark.parametrize(
    ("gpus", "gpu_gib", "expected"),
    [(1.0, 80.0, ""), (0.5, 0.5, ""), (1.0, 0.01, "gpu_bytes must be at least"), (0.0, 80.0, "")],
)
def test_a_model_that_does_not_fit_is_said(config, identity, checkpoint, gpus, gpu_gib, expected):
    asked = replace(config, execution=ExecutionConfig(gpus_per_scorer=gpus))
    found = judge_memory(checkpoint, config=asked, layout=identity.layout, gpu_gib=gpu_gib)
    assert found.on_gpu is (gpus > 0)
    assert expected in found.problem
    assert bool(expected) == bool(found.problem)
    assert found.weight_bytes == found.num_parameters * (2 if gpus else 4)


def test_more_scorers_than_the_machine_has_memory_for_are_said(config, identity, checkpoint):
    asked = replace(config, execution=ExecutionConfig(num_scorers=1_000_000))
    assert (
        "1000000 scorers do not fit"
        in judge_memory(checkpoint, config=asked, layout=identity.layout, gpu_gib=80.0).problem
    )


def test_a_method_without_scores_encodes_and_answers_only(config, identity, checkpoint):
    geometry = FrameGeometry(height=56, width=56, token_rows=2, token_columns=2)
    video = VideoCost(
        duration_s=64.0,
        num_sampled_frames=128,
        num_frames_to_decode=128,
        num_passes=1,
        num_tokens=256,
        decoding=FILM,
        num_keyframes_decoded=None,
        group_patches=(32, 32),
        geometry=geometry,
    )
    full = count_video_flops(checkpoint, video, num_questions=3, config=config)
    one = count_video_flops(checkpoint, video, num_questions=1, config=config)
    uniform = count_video_flops(checkpoint, video, num_questions=3, config=replace(config, method="uniform"))
    assert (full["encode"], full["prefill"]) == (one["encode"], one["prefill"])
    assert (full["score"], full["final pass"]) == (3 * one["score"], 3 * one["final pass"])
    assert (uniform["prefill"], uniform["score"], uniform["encode"]) == (0, 0, full["encode"])


def test_a_video_that_its_header_condemns_is_named_by_class(full):
    found = replace(full, probe_failures={"corrupt_media": 2}, is_assumed=True)
    assert "an hour of 720p at 30 frames/s; will fail: 2 corrupt_media" in format_plan(found)


def test_a_misfit_stands_in_the_table(full):
    found = replace(
        full,
        model=ModelCost(
            num_parameters=7_000_000_000,
            dtype="bfloat16",
            weight_bytes=14 * 1024**3,
            scorer_bytes=30 * 1024**3,
            on_gpu=True,
            gpus_needed=2,
            problem="execution.gpus_per_scorer must be at least 2 with 24 GiB each",
        ),
    )
    table = format_plan(found)
    assert "does NOT fit: execution.gpus_per_scorer must be at least 2" in table
    assert "7 G parameters, bfloat16" in table


def test_a_deeper_picture_and_more_bits_cost_more():
    assert decode_seconds(replace(FILM, bit_depth=10)) > decode_seconds(FILM)
    more = decode_seconds(replace(FILM, coded_bytes=5_000.0)) - decode_seconds(FILM)
    assert more == pytest.approx(128 * 4_500 * 1.6e-7)
    assert decode_seconds(replace(FILM, codec="unheard of")) == decode_seconds(FILM)


def test_the_table_says_what_a_store_and_keyframes_would_save_and_how_many_cores_a_gpu_needs(full):
    slow = replace(full, decode_core_s=900.0, scorer_s=90.0, cores_per_gpu=10.0, keyframe_core_s=100.0)
    text = format_plan(slow)
    assert "~10.0 per CPU scorer" in text
    assert "execution.num_decoders=10" in text
    assert "with --frame-store, once frames are there" in text
    assert "with sampling.seek=keyframe" in text
    assert "seek=keyframe" not in format_plan(replace(slow, keyframe_core_s=800.0))
    assert full.store_core_s == pytest.approx(sum(SIZES) * 56 * 56 * 1.6e-8)
    assert store_seconds(FILM, "lossless")[1] == pytest.approx(128 * 3_136 * 1.6e-8)


def asked(plan, tmp_path, texts):
    """A plan over the first video with these questions; a number stands for so many options."""
    video = plan.tasks.uris()[0]
    rows = [
        {"question_id": name, "video": video, "question": "Why?" if isinstance(text, int) else text}
        | ({"options": [f"number {at}" for at in range(text)]} if isinstance(text, int) else {})
        for name, text in texts.items()
    ]
    manifest = tmp_path / "asked.jsonl"
    manifest.write_text("\n".join(json.dumps(row) for row in rows))
    return plan_job(read_manifest(str(manifest)), stamp=STAMP, output_uri=str(tmp_path / "out"))


@pytest.mark.parametrize("max_probes", [32, 0])
def test_questions_that_cannot_be_asked_are_counted_and_the_first_are_named(estimate, plan, tmp_path, max_probes):
    texts = {"good": "Why?", "long": "word " * 20_000, "token": "What is <|video_pad|>?", "many": 20}
    found = estimate(tasks=asked(plan, tmp_path, texts | {"n1": 21, "n2": 22}), max_probes=max_probes)
    questions = found.questions
    assert (questions.num_checked, questions.num_refused) == (6, 4)
    assert [(one.question_id, one.failure_class) for one in questions.named] == [
        ("long", "too_large"),
        ("many", "model"),
        ("n1", "model"),
    ]
    printed = format_plan(found).splitlines()
    assert "cannot be asked 4 each fails alone, as said below" in [" ".join(line.split()) for line in printed]
    assert printed[-4].startswith("  long: too_large: the question is ")
    assert "shorten it, lower scoring.question_batch" in printed[-4]
    assert printed[-1] == "  and 1 more that cannot be asked"
    assert json.loads(json.dumps(asdict(found)))["questions"]["named"][0]["question_id"] == "long"


def test_a_question_is_judged_by_the_room_that_its_own_video_leaves(estimate, plan, tmp_path):
    def check(num_words):
        return estimate(tasks=asked(plan, tmp_path, {"a": "word " * num_words})).questions

    message = check(20_000).named[0].message
    length, room = (int(re.search(words, message)[1]) for words in (r"is (\d+) tokens", r"leave (\d+) to"))
    num_words = 20_000 * room // length
    assert check(num_words - 10).num_refused == 0
    assert check(num_words + 10).num_refused == 1


def test_of_very_many_questions_the_first_are_checked_and_the_table_says_so(estimate, plan, tmp_path, monkeypatch):
    assert MOST_QUESTIONS >= 10_000
    monkeypatch.setattr(question_sample, "MOST_QUESTIONS", 2)
    found = estimate(tasks=asked(plan, tmp_path, {"a": 20, "b": "Why?", "c": 20}))
    assert (found.questions.num_checked, found.questions.num_refused) == (2, 1)
    assert "of the first 2; each fails alone" in format_plan(found)


def test_a_plan_whose_questions_can_all_be_asked_says_nothing_of_them(full):
    assert (full.questions.num_checked, full.questions.num_refused) == (6, 0)
    assert "cannot be asked" not in format_plan(full)


def test_where_scorers_decode_the_table_predicts_no_cores_and_offers_no_store(full):
    text = format_plan(replace(full, by_gpu=True))
    assert "with sampling.decoder=nvdec each scorer's GPU decodes instead, which is not predicted" in text
    assert "start and decoding not counted" in text
    assert not any(name in text for name in ("decode cores", "from a store", "at keyframes"))
