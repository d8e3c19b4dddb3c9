"""A video that stays open for further questions: the answers of each asked alone, without its work done again."""

from collections import Counter
from contextlib import closing

import pytest

from jobs.wiring.model_source import load_configured_model, load_tokenizer
from pipeline.failures import FailureClass, PipelineError
from pipeline.manifest.questions import Question
from pipeline.passes import kept_groups, open_video
from pipeline.passes.kept_groups import KeptGroups
from pipeline.passes.whole_video import answer_video
from pipeline.results.keys import video_fingerprint
from pipeline.video.isolated import IsolatedReader


@pytest.fixture(scope="module")
def opened(make_job):
    """The first video of the archive, opened by a method; with the job, its model, and how often each part ran."""
    counts = Counter()

    def count(owner, name, weigh, patch):
        real = getattr(owner, name)

        def counted(*args, **kwargs):
            counts[name] += weigh(args)
            return real(*args, **kwargs)

        patch.setattr(owner, name, counted)

    def open_it(method):
        job = make_job(method)
        config = job.config
        model = load_configured_model(config)
        video = open_video.OpenVideo(
            job.tasks[0].uri,
            fingerprint=video_fingerprint(job.tasks[0].uri),
            uri=job.tasks[0].uri,
            model=model,
            tokenizer=load_tokenizer(config),
            config=config,
        )
        return job, model, video

    with pytest.MonkeyPatch.context() as patch:
        model_class = type(load_configured_model(make_job("adapttoken").config))
        count(model_class, "encode", lambda args: 1, patch)
        count(model_class, "prefill", lambda args: 1, patch)
        count(IsolatedReader, "decode", lambda args: len(args[2]), patch)
        yield open_it, counts


def facts(answer):
    scores = [(score.group_index, score.certainty, score.response) for score in answer.scores]
    return scores, answer.bought.tolist(), answer.final, answer.warnings, answer.has_stopped


@pytest.mark.parametrize(("method", "num_questions"), [("adapttoken", 1), ("adapttoken-lite", 3)])
def test_further_questions_have_the_answers_of_each_asked_alone_without_decoding_and_encoding(
    opened, method, num_questions
):
    open_it, counts = opened
    job, model, video = open_it(method)
    questions = [*job.tasks[0].questions[:num_questions], job.tasks[0].questions[0]]
    with closing(video):
        found, spent = [], []
        for question in questions:
            counts.clear()
            found.append(video.ask(question))
            spent.append(Counter(counts))
    needed = [len(answer.scores) for answer in found]
    most_before = [max(needed[:n], default=0) for n in range(len(needed))]
    news = [max(0, own - before) for own, before in zip(needed, most_before, strict=True)]
    assert [one["encode"] for one in spent] == [one["prefill"] for one in spent] == news
    assert news[0] > 0
    assert news[-1] == 0
    assert [one["decode"] > 0 for one in spent] == [new > 0 for new in news]
    for question, answer in list(zip(questions, found, strict=True))[1:]:
        (alone,) = answer_video(job.tasks[0].uri, [question], model=model, config=job.config)
        assert facts(answer) == facts(alone)


def test_without_room_everything_is_computed_again_and_the_answer_is_the_same(opened, monkeypatch):
    open_it, counts = opened
    monkeypatch.setattr(
        kept_groups.KeptGroups, "for_device", lambda device: KeptGroups(most_token_bytes=100_000, most_prefix_bytes=0)
    )
    job, _, video = open_it("adapttoken")
    question = job.tasks[0].questions[0]
    with closing(video):
        first = video.ask(question)
        counts.clear()
        second = video.ask(question)
    assert facts(first) == facts(second)
    assert 0 < counts["encode"] < counts["prefill"] == len(first.scores)
    assert counts["decode"] < sum(len(patches) for patches in video.plan.groups) * 2


def interrupt(*_, **__):
    raise KeyboardInterrupt


def test_a_question_that_cannot_be_asked_or_is_interrupted_leaves_the_video_open(opened, monkeypatch):
    open_it, _ = opened
    job, _, video = open_it("adapttoken-lite")
    long = Question(question_id="long", video="", text="What? " * 20_000, options=None, row_index=0)
    with closing(video):
        with pytest.raises(PipelineError, match="tokens long") as raised:
            video.ask(long)
        assert raised.value.failure_class is FailureClass.TOO_LARGE
        assert video._reader.child_pid is not None
        with monkeypatch.context() as patch:
            patch.setattr(open_video, "answer_groups", interrupt)
            with pytest.raises(KeyboardInterrupt):
                video.ask(job.tasks[0].questions[0])
        assert video._reader.child_pid is None  # else it would answer the next request with what this one asked for
        assert video.ask(job.tasks[0].questions[0]).final is not None
