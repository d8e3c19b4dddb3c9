"""Questions that cannot be asked: found when their video is planned, they fail alone and cost the others nothing."""

from dataclasses import replace

import pytest

from pipeline.engine.messages.work import DecodeWork, ProbeWork, ScoreWork
from pipeline.failures import Failure, FailureClass
from pipeline.manifest.questions import Question
from pipeline.method.selectors.registry import get_selector
from pipeline.models.interface import QuestionPrompt
from pipeline.planning.question_check import check_questions, most_question_tokens
from pipeline.planning.video_plan import plan_video
from tests.unit.engine.fakes import FakeLayout, World, make_config, make_probe, make_tasks, stable

TOO_LONG = Failure(failure_class=FailureClass.TOO_LARGE, message="too long")


class WordTokenizer:
    """One token per word; letters A to C."""

    def build(self, question, options, *, response_tokens):
        if options is not None and len(options) > 3:
            raise ValueError(f"no letter for {len(options)} options; ask with fewer")
        return QuestionPrompt(suffix_ids=(1,) * len(question.split()), option_ids=None, max_tokens=response_tokens)


def ask(text, options=None):
    return Question(question_id="q", video="v", text=text, options=options, row_index=0)


def plan(config, layout):
    return plan_video(make_probe(), layout=layout, selector=get_selector(config.method), config=config)


def test_each_question_is_judged_by_itself_with_value_and_remedy():
    questions = [ask("what is it"), ask("word " * 1_485), ask("which", ("x",) * 4), ask("word " * 1_484)]
    config, layout = make_config(), FakeLayout()
    layout.max_positions = 1_024 + 40 + 2 * 1_484  # the template, the final pass, two questions to a micro-batch
    found = check_questions(questions, plan(config, layout), tokenizer=WordTokenizer(), layout=layout, config=config)
    assert found.num_tokens == (3, 1_485, 0, 1_484)
    assert {index: failure.failure_class for index, failure in found.refused.items()} == {1: "too_large", 2: "model"}
    assert found.refused[1].message.startswith("the question is 1485 tokens long with its options")
    assert "leave 1484 to each of scoring.question_batch=2 questions; shorten it" in found.refused[1].message
    assert found.refused[2].message == "no letter for 4 options; ask with fewer"


@pytest.mark.parametrize(
    ("max_positions", "method", "expected"),
    [
        (4_096, "adapttoken", (4_096 - 1_024 - 40) // 2),
        (4_096, "all", (4_096 - 1_024 - 200) // 2),  # 100 frames, 2 tokens each, at once
        (1_100, "adapttoken", 1_024),  # a question of ordinary length is never refused
    ],
)
def test_a_questions_room_is_its_share_of_what_the_video_leaves(max_positions, method, expected):
    config, layout = make_config(method), FakeLayout()
    layout.max_positions = 4_096
    video = plan(config, layout)
    layout.max_positions = max_positions
    assert most_question_tokens(video.group_num_tokens, layout=layout, config=config) == expected
    forced = replace(config, answering=replace(config.answering, allow_long_context=True))
    assert most_question_tokens(video.group_num_tokens, layout=layout, config=forced) is None


@pytest.mark.parametrize("method", ["adapttoken", "adapttoken-lite", "uniform"])
def test_the_others_are_asked_as_if_the_manifest_did_not_have_it(method):
    config, tasks = make_config(method), make_tasks(2, 5)
    world = World(config, tasks, refused={1: TOO_LONG, 4: TOO_LONG})
    rows = {row.question_id: row for row in world.run()}
    assert {row.attempts for row in rows.values()} == {1}
    refused = [row for name, row in rows.items() if name[-1] in "14"]
    assert [(row.status, row.error_class, row.error_message) for row in refused] == [
        ("failed", "too_large", "too long")
    ] * 4
    assert all(row.status == "ok" for name, row in rows.items() if name[-1] in "023")
    batches = {batch for _, work in world.done if isinstance(work, ScoreWork) for batch in work.group.batches}
    assert batches <= {(0, 2), (3,)}  # micro-batches of two, as without the refused ones
    assert {work.group.question_tokens for _, work in world.done if isinstance(work, ScoreWork)} == {(5, 6, 7, 8, 9)}


def test_a_video_none_of_whose_questions_can_be_asked_is_not_decoded():
    world = World(make_config(), make_tasks(1, 2), refused={0: TOO_LONG, 1: TOO_LONG})
    assert [row.error_class for row in world.run()] == ["too_large"] * 2
    assert [type(work) for _, work in world.done] == [ProbeWork]
    assert not any(isinstance(work, DecodeWork) for _, work in world.done)


def test_what_one_question_does_to_a_group_is_told_in_no_other_row():
    """It passed the check, and fails all the same whenever it is asked."""

    def fail(worker, work):
        if isinstance(work, ScoreWork) and (work.group.only is None or work.group.only == (1,)):
            return Failure(failure_class=FailureClass.INTERNAL, message=f"score: {work.group.questions[1].text}")
        return None

    rows = World(make_config(), make_tasks(1, 4), fail=fail).run()
    assert [row.status for row in rows] == ["ok", "failed", "ok", "ok"]
    assert [row.error_message for row in rows] == [None, "score: 1?", None, None]
    healthy = World(make_config(), make_tasks(1, 4)).run()
    others = 0, 2, 3
    assert [stable(rows[i]) for i in others] == [stable(healthy[i]) for i in others]
