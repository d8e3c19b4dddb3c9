import numpy as np
import pytest

from pipeline.lab.moments.kinds import KINDS_OF_OBJECT, coverage
from pipeline.lab.moments.looks import make_canvas, place_moment
from pipeline.lab.moments.plan import COLOR_NAMES, StorySpec, draw_story
from pipeline.lab.moments.questions import KINDS, UNANSWERABLE, draw_questions
from pipeline.lab.moments.sprites import HELD_OUT_STYLES, TRAINED_STYLES, object_sprite

ASPECTS = (1.0, 4 / 3, 16 / 9, 21 / 9, 9 / 16)
STORIES = [(seed, aspect) for seed in range(6) for aspect in ASPECTS]


def story_of(seed, aspect, num_frames=2_000):
    return draw_story(np.random.default_rng(seed), StorySpec(), num_frames, aspect=aspect)


def test_there_are_at_least_twenty_kinds_that_differ_in_outline_and_six_colors():
    assert len(KINDS_OF_OBJECT) >= 20
    assert len(COLOR_NAMES) == 6
    for index, one in enumerate(KINDS_OF_OBJECT):
        for other in KINDS_OF_OBJECT[:index]:
            a, b = coverage(one, 56) > 0.5, coverage(other, 56) > 0.5
            assert (a & b).sum() / (a | b).sum() < 0.9, (one, other)  # a circle and a ring differ in their middle


def test_an_unknown_kind_is_named():
    with pytest.raises(ValueError, match="kind must be one of circle"):
        coverage("unicorn", 20)


@pytest.mark.parametrize(("seed", "aspect"), STORIES)
def test_moments_follow_each_other_with_room_between_them(seed, aspect):
    story = story_of(seed, aspect)
    ends = [moment.end_frame for moment in story.moments[:-1]]
    assert all(later.start_frame - end >= 4 for end, later in zip(ends, story.moments[1:], strict=True))
    assert story.moments[-1].end_frame <= 2_000


@pytest.mark.parametrize(("seed", "aspect"), STORIES)
def test_nothing_else_in_the_video_answers_a_question(seed, aspect):
    """By brute force over all moments: the subject is seen only in the evidence, and what never appears nowhere."""
    story = story_of(seed, aspect)
    for question in draw_questions(np.random.default_rng(seed), story):
        if question.kind in ("detail", "no_sign"):
            seen = [moment for moment in story.moments if moment.sign_color == question.subject]
        else:
            seen = [m for m in story.moments if any(thing.kind == question.subject for thing in m.things)]
        if question.kind in UNANSWERABLE:
            assert seen == []
            assert question.answer is None
        elif question.kind == "last":
            assert question.evidence == (seen[-1],)
        else:
            assert list(question.evidence) == seen


@pytest.mark.parametrize(("seed", "aspect"), STORIES)
def test_answers_are_what_an_independent_reading_of_the_story_finds(seed, aspect):
    story = story_of(seed, aspect)
    step = {"left": (0, -1), "right": (0, 1), "above": (-1, 0), "below": (1, 0)}
    asked = draw_questions(np.random.default_rng(seed), story)
    assert {question.kind for question in asked} == set(KINDS)
    for question in asked:
        assert len(set(question.options)) == 4
        if question.answer is None:
            continue
        assert question.answer in question.options
        words = question.text.removesuffix("?").split()
        moments = question.evidence
        if question.kind in ("scene", "twice"):
            moment = moments[-1] if words[-2:] == ["last", "time"] else moments[0]
            at = {(thing.row, thing.column): thing.kind for thing in moment.things}
            place_of = {kind: place for place, kind in at.items()}
            if "between" in words:
                one, other = (place_of[words[index]] for index in (words.index("and") - 1, words.index("and") + 2))
                middle = tuple((a + b) / 2 for a, b in zip(one, other, strict=True))
                assert at[middle] == question.answer
            else:
                down, right = step[words[2]]
                row, column = place_of[question.subject]
                assert at[row + down, column + right] == question.answer
            assert all(option in place_of or question.kind == "twice" for option in question.options)
        elif question.kind == "detail":
            number = ("first", "second", "third").index(words[3])
            assert moments[0].letters[number] == question.answer
        elif question.kind == "count":
            assert str(len(moments)) == question.answer
        else:
            index = 0 if question.kind in ("needle", "order") else -1
            assert moments[index].things[0].color == question.answer


def test_leaving_a_kind_out_changes_no_other_question():
    story = story_of(1, 4 / 3)
    every = draw_questions(np.random.default_rng(5), story)
    some = draw_questions(np.random.default_rng(5), story, kinds=("scene", "twice"))
    assert some == [question for question in every if question.kind in ("scene", "twice")]


def test_a_video_too_short_for_its_moments_says_so():
    with pytest.raises(ValueError, match="use longer videos"):
        draw_story(np.random.default_rng(0), StorySpec(), 150, aspect=1.0)


@pytest.mark.parametrize("aspect", ASPECTS)
def test_things_of_a_scene_stand_in_their_rows_and_columns(aspect):
    story = story_of(3, aspect)
    canvas = make_canvas(160, round(160 * aspect))
    for moment in story.moments:
        if moment.form != "scene":
            continue
        placed = place_moment(np.random.default_rng(0), moment, canvas, styles=TRAINED_STYLES)
        for one in placed:
            left, top = one.corner(0)
            side = one.sprite.cover_HW1.shape[0]
            assert int((top + side / 2) / canvas.box_height * moment.rows) == one.row
            assert int((left + side / 2) / canvas.box_width * moment.columns) == one.column


def test_bars_leave_the_picture_its_shape():
    canvas = make_canvas(120, 160, content_aspect=16 / 9)
    assert (canvas.top, canvas.left, canvas.box_height, canvas.box_width) == (15, 0, 90, 160)
    assert make_canvas(90, 160, content_aspect=1.0).left == 35


def test_held_out_styles_look_like_no_trained_one():
    assert not set(HELD_OUT_STYLES) & set(TRAINED_STYLES)

    def drawn(style):
        rng = np.random.default_rng(4)
        return object_sprite(rng, kind="heart", color="green", style=style, side_px=48).color_HW3

    for style in HELD_OUT_STYLES:
        assert all(abs(drawn(style) - drawn(other)).mean() > 4 for other in TRAINED_STYLES)
