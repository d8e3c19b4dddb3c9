"""The engine against the plain loop, which knows no scheduler: the same bits for every selector."""

from dataclasses import replace

import numpy as np
import pytest

import pipeline
from actors.outcomes import VideoOutcome
from actors.serial_executor import run_serial
from jobs.wiring.model_source import load_configured_model
from pipeline.demo.archive import ArchiveSpec, write_archive
from pipeline.method.selectors.registry import SELECTORS, get_selector
from pipeline.passes.token_record import unpack_tokens
from pipeline.passes.whole_video import answer_video
from pipeline.planning import video_warnings
from pipeline.planning.video_plan import plan_video
from pipeline.video.probe import probe_video
from tests.unit.models.checkpoints.published_layout import write_published
from tests.unit.models.families import tiny_qwen3_5


@pytest.fixture(scope="module")
def model(make_job):
    return load_configured_model(make_job("adapttoken").config)


def by_engine(job, tasks):
    """Question id -> row."""
    events = run_serial(replace(job, tasks=tasks, num_videos=len(tasks)))
    rows = [row for event in events if isinstance(event, VideoOutcome) for row in event.rows]
    assert {row.status for row in rows} == {"ok"}
    return {row.question_id: row for row in rows}


def seen_in(row):
    return {
        "answer": (row.answer, row.answer_text, row.option_probabilities, row.answer_entropy),
        "evidence": [(span.start_s, span.end_s, span.weight, span.num_tokens) for span in row.evidence],
        "tokens": (row.kept_tokens.start_s, row.kept_tokens.weight) if row.kept_tokens else ((), ()),
        "groups": [tuple(getattr(group, name) for name in GROUP_COLUMNS) for group in row.groups],
        "counts": (row.num_groups, row.num_groups_scored, row.num_tokens_offered, row.num_tokens_kept),
        "has_stopped": row.stop_reason == "confident",
        "warnings": row.warnings,
    }


GROUP_COLUMNS = (
    "group_index",
    "entropy",
    "certainty",
    "response",
    "num_tokens_offered",
    "num_tokens_bought",
    "num_tokens_kept",
)


def said_by_loop(found, plan, *, needs_scores):
    final, scores = found.final, found.scores
    tokens = unpack_tokens(final.tokens)
    groups = [
        (s.group_index, s.entropy, s.certainty, s.response, s.num_tokens, bought, final.kept.get(position, 0))
        for position, (s, bought) in enumerate(zip(scores, found.bought.tolist(), strict=True))
    ]
    num_offered, num_kept = sum(score.num_tokens for score in scores), sum(final.kept.values())
    return {
        "answer": (final.answer, final.answer_text, final.option_probabilities, final.answer_entropy),
        "evidence": [(span.start_s, span.end_s, span.weight, span.num_tokens) for span in final.evidence],
        "tokens": (tuple(plan.patch_times_s[tokens["patch"]].tolist()), tuple(tokens["weight"].tolist())),
        "groups": groups if needs_scores else [],
        "counts": (found.num_groups, len(scores) if needs_scores else 0, num_offered, num_kept),
        "has_stopped": found.has_stopped,
        "warnings": found.warnings,
    }


@pytest.fixture
def loop(model, monkeypatch):
    """Answers of the plain loop with the plan they were given under."""
    from pipeline.passes import whole_video

    plans, plan_video = [], whole_video.plan_video
    monkeypatch.setattr(whole_video, "plan_video", lambda *a, **k: plans.append(plan_video(*a, **k)) or plans[-1])

    def run(task, config):
        return answer_video(task.uri, task.questions, model=model, config=config), plans[-1]

    return run


BY_DEFAULT = {
    "adapttoken",
    "adapttoken-lite",
    "adapttoken-vote",
    "flexselect",
    "most-certain",
    "duet",
    "uniform",
}  # all: -m slow


@pytest.mark.parametrize(
    "method",
    [pytest.param(name, marks=[] if name in BY_DEFAULT else [pytest.mark.slow]) for name in sorted(SELECTORS)],
)
def test_the_engine_gives_the_bits_of_the_plain_loop(method, make_job, loop, monkeypatch):
    monkeypatch.setattr(video_warnings, "LEAST_LETTER_SHARE", 1.1)  # so that each choice is warned of
    job = make_job(method)
    rows = by_engine(job, tuple(job.tasks))
    for task in job.tasks:
        answers, plan = loop(task, job.config)
        for question, found in zip(task.questions, answers, strict=True):
            expected = said_by_loop(found, plan, needs_scores=SELECTORS[method].needs_scores)
            assert seen_in(rows[question.question_id]) == expected
            warned = [warning for warning in found.warnings if "options' letters have" in warning]
            assert len(warned) == (question.options is not None)


@pytest.mark.parametrize("method", ["adapttoken", "adapttoken-lite"])
def test_so_it_does_where_only_one_question_is_asked(method, make_job, loop):
    job = make_job(method)
    task = replace(job.tasks[0], questions=job.tasks[0].questions[1:2], question_keys=job.tasks[0].question_keys[1:2])
    rows = by_engine(job, (task,))
    (found,), plan = loop(task, job.config)
    assert seen_in(rows[task.questions[0].question_id]) == said_by_loop(found, plan, needs_scores=True)
    assert found.has_stopped == (method == "adapttoken-lite")


@pytest.fixture(scope="module")
def hybrid_folder(tmp_path_factory):
    """A tiny Qwen3.5 as it is published."""
    tokenizer = tiny_qwen3_5.build_tokenizer()
    folder = tmp_path_factory.mktemp("hybrid")
    write_published(folder, tiny_qwen3_5.build_model(tokenizer, kind="pattern", seed=3), tokenizer)
    return folder


def test_so_it_does_where_most_layers_keep_states_in_place_of_keys(make_job, hybrid_folder):
    few = {"sampling.min_pixels": 2_000, "sampling.max_pixels": 8_000, "sampling.max_frames": 96}
    method = "adapttoken-lite"
    job = make_job(method, model=hybrid_folder, **few, **{"scoring.response_tokens": 3, "answering.answer_tokens": 3})
    assert job.config.scoring.reference_layer == 3  # the only one with full attention
    model = load_configured_model(job.config)
    task = job.tasks[0]
    rows = by_engine(job, (task,))
    plan = plan_video(probe_video(task.uri), layout=model, selector=get_selector(method), config=job.config)
    answers = answer_video(task.uri, task.questions, model=model, config=job.config)
    for question, found in zip(task.questions, answers, strict=True):
        assert seen_in(rows[question.question_id]) == said_by_loop(found, plan, needs_scores=True)
    assert any(row.stop_reason == "confident" for row in rows.values())


def test_the_loop_reads_in_several_passes_where_the_frame_buffer_is_small(make_job, loop):
    job = make_job("adapttoken", **{"execution.frame_buffer_bytes": 5 * 32 * 56 * 56 * 3})
    whole = loop(job.tasks[0], make_job("adapttoken").config)
    parts = loop(job.tasks[0], job.config)
    assert (len(whole[1].passes), len(parts[1].passes)) == (1, 10)
    assert [one.final for one in parts[0]] == [one.final for one in whole[0]]


def test_tokens_that_can_never_be_bought_are_let_go(make_job, model, monkeypatch):
    """The candidates held at the end stay near the budget; without dropping they would be all of the video."""
    from pipeline.passes import whole_video

    held = []
    monkeypatch.setattr(whole_video, "_drop_beyond_shares", _spy(whole_video._drop_beyond_shares, held))
    job = make_job("adapttoken")
    answer_video(job.tasks[0].uri, job.tasks[0].questions[:1], model=model, config=job.config)
    num_groups, num_tokens = len(held[-1]), sum(len(group.held) for group in held[-1])
    assert num_tokens <= 2 * (512 + 2 * num_groups)  # 4 x 128 bought; cut when half can go
    assert num_tokens < 0.9 * 1_200


def _spy(real, log):
    def run(answer, index, held, selector):
        real(answer, index, held, selector)
        log.append(list(held))

    return run


def test_an_option_is_asked_as_text_or_as_a_pair(make_job, model):
    task, config = make_job("uniform").tasks[0], make_job("uniform").config
    choice = task.questions[0]
    opened, chosen = answer_video(task.uri, ["What is it?", (choice.text, choice.options)], model=model, config=config)
    assert opened.question.options is None
    assert chosen.answer in "ABCD"
    assert chosen.final == answer_video(task.uri, [choice], model=model, config=config)[0].final


def test_frames_that_are_lost_are_told_in_the_answer(tmp_path, make_job, model):
    """As in a row: a few lost frames are a warning, too many end the video."""
    from pipeline.failures import PipelineError

    spec = ArchiveSpec(num_frames=(600,), questions_per_video=1, seed=5)
    video = next((write_archive(tmp_path, spec).parent / "videos").glob("*.mp4"))
    data = bytearray(video.read_bytes())
    rng = np.random.default_rng(0)
    start = len(data) // 2
    data[start : start + 6_000] = rng.bytes(6_000)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(data)
    config = make_job("uniform", **{"sampling.max_bad_frames_share": 0.5}).config
    (told,) = answer_video(str(broken), ["What is it?"], model=model, config=config)
    assert "wanted frames are damaged or lost" in told.warnings[0]
    strict = make_job("uniform", **{"sampling.max_bad_frames_share": 0.0}).config
    with pytest.raises(PipelineError, match="cannot be decoded, allowed is a share of 0"):
        answer_video(str(broken), ["What is it?"], model=model, config=strict)


def test_the_demo_model_says_that_it_was_not_made_for_a_users_video(make_job, model, tmp_path):
    import av

    path = tmp_path / "users.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for number in range(80):
            frame = av.VideoFrame.from_ndarray(np.full((120, 160, 3), number, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    config = make_job("uniform").config
    with pytest.warns(UserWarning, match=r"users.mp4: answered by the demo model"):
        (answer,) = pipeline.answer_video(str(path), ["What is it?"], model=model, config=config)
    assert "answered by the demo model" in answer.warnings[0]


@pytest.mark.parametrize(
    ("questions", "message"),
    [
        ("What is it?", r"must be a list, got one text: write \['What is it\?'\]"),
        ([" "], "question 0 has no text"),
        (["What?", ("Which?", "red")], "question 1: options must be a list of at least two, or left out, got 'red'"),
        ([("Which?", ["red"])], "question 0: options must be a list of at least two"),
        ([("Which?", [])], "question 0: options must be a list of at least two"),
    ],
)
def test_what_cannot_be_asked_is_said_before_anything_is_read(make_job, model, questions, message):
    with pytest.raises(ValueError, match=message):
        answer_video("/no/such.mp4", questions, model=model, config=make_job("uniform").config)


def test_a_video_that_is_not_there_is_said_as_a_job_says_it(make_job, model):
    from pipeline.failures import FailureClass, PipelineError

    with pytest.raises(PipelineError, match=r"there is no video at /no/such\.mp4") as caught:
        answer_video("/no/such.mp4", ["What?"], model=model, config=make_job("uniform").config)
    assert caught.value.failure_class is FailureClass.NOT_FOUND
