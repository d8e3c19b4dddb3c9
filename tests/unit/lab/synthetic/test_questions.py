import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.demo.scenes import SHAPES
from pipeline.lab.synthetic.questions import KINDS, draw_questions
from pipeline.lab.synthetic.timeline import TimelineSpec, draw_timeline


def watch(plan):
    """What a viewer notes frame by frame: shape and colour on show, or None."""
    seen = [None] * plan.num_frames
    for event in plan.events:
        for frame in range(event.start_frame, event.end_frame):
            assert seen[frame] is None
            seen[frame] = (event.shape, event.color)
    return seen


def answers_by_watching(question, seen):
    """The options that a viewer would call right, worked out from the frames alone."""
    words = question.text.replace("?", "").split()
    shape = next((word for word in words if word in SHAPES), None)
    colors = [sight[1] for sight in seen if sight and sight[0] == shape]
    if question.kind == "order":
        return colors[:1]
    if question.kind == "count":
        is_shown = [bool(sight and sight[0] == shape) for sight in seen]
        return [str(sum(now and not before for before, now in zip([False, *is_shown], is_shown, strict=False)))]
    if question.kind == "last":
        return colors[-1:]
    return sorted(set(colors))


@settings(deadline=None, max_examples=120)
@given(st.integers(0, 10**6), st.sampled_from([600, 1_500]))
def test_every_question_has_exactly_the_answer_that_watching_gives(seed, num_frames):
    rng = np.random.default_rng(seed)
    plan = draw_timeline(rng, TimelineSpec(), num_frames)
    seen = watch(plan)
    for question in draw_questions(rng, plan):
        right = answers_by_watching(question, seen)
        assert len(question.options) == len(set(question.options)) == 4
        if question.kind == "absent":
            assert right == []
            assert (question.answer, question.expected, question.evidence) == (None, None, ())
            continue
        assert right == [question.answer]
        assert question.options["ABCD".index(question.expected)] == question.answer
        for event in question.evidence:
            assert {seen[frame] for frame in range(event.start_frame, event.end_frame)} == {(event.shape, event.color)}
            assert event.shape in question.shapes


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6))
def test_what_is_asked_about_is_never_a_distractor(seed):
    rng = np.random.default_rng(seed)
    plan = draw_timeline(rng, TimelineSpec(distractor_density=0.15), 2_000)
    (distractor,) = {e.shape for e in plan.events} - {*plan.needles, *plan.pairs, *plan.series}
    for question in draw_questions(rng, plan):
        assert distractor not in question.text
        assert distractor not in question.options


def questions_of(seed, **changes):
    plan = draw_timeline(np.random.default_rng(seed), TimelineSpec(), 1_000)
    return draw_questions(np.random.default_rng(seed + 1), plan, **changes)


def test_all_kinds_are_asked_twice_about_different_things_but_for_the_one_that_never_appears():
    for seed in range(30):
        questions = questions_of(seed)
        wanted = [kind for kind in KINDS for _ in range(1 if kind == "absent" else 2)]
        assert [question.kind for question in questions] == wanted
        assert len({(question.kind, question.shapes) for question in questions}) == 9


@pytest.mark.parametrize("kind", KINDS)
def test_leaving_kinds_out_does_not_change_the_others(kind):
    assert questions_of(4, kinds=(kind,)) == [q for q in questions_of(4) if q.kind == kind]


def test_the_right_letter_is_spread_evenly_and_wrong_colours_are_the_earlier_ones():
    questions = [question for seed in range(250) for question in questions_of(seed)]
    for kind in ("needle", "order", "last", "count"):
        letters = [question.expected for question in questions if question.kind == kind]
        assert min(letters.count(letter) for letter in "ABCD") > 0.19 * len(letters)
    for seed in range(30):
        plan = draw_timeline(np.random.default_rng(seed), TimelineSpec(), 1_000)
        for question in questions_of(seed, kinds=("last",)):
            assert {event.color for event in plan.of_shape(question.shapes[0])} <= set(question.options)
        for question in questions_of(seed, kinds=("order",)):
            before, after = question.evidence
            assert before.end_frame < after.start_frame
            assert before.color == question.answer
            assert {before.shape, after.shape} == {*question.shapes} <= {*plan.pairs}
            assert after.color in question.options
            assert after.color != question.answer


def test_numbers_of_appearances_are_spread_over_all_options():
    answers = [question.answer for seed in range(250) for question in questions_of(seed, kinds=("count",))]
    assert min(answers.count(str(number)) for number in range(1, 5)) > 0.18 * len(answers)
