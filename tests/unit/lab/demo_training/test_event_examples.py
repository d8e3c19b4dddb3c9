import re
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from pipeline.demo.scenes import COLORS, SHAPES
from pipeline.lab.demo_training.event_examples import EventExampleMaker
from pipeline.lab.demo_training.event_styles import (
    CLEAR_STRIDES,
    FEWEST_GROUPS,
    MOST_DISTRACTORS,
    MOST_GROUPS,
    PARTIAL_STRIDES,
    EventStyle,
    draw_event_style,
    draw_glimpse_style,
    timeline_spec,
)
from pipeline.lab.demo_training.question_text import TextMaker

GROUP = EventStyle(view="group", num_tokens=128, event_strides=CLEAR_STRIDES)


@pytest.fixture(scope="module")
def maker(noise_pool, tokenizer):
    return EventExampleMaker(noise_pool, TextMaker(tokenizer), num_questions=4)


def read(example, pool, tokenizer):
    """Question texts, what may be answered, and (shape, colour) that each temporal position shows."""
    sights = {}
    for token, position in zip(example.token_index_N, example.temporal_N, strict=True):
        patch = example.patches[token // 4]
        if pool.shows_NK[patch, token % 4]:
            sights[int(position)] = (SHAPES[pool.shape_N[patch]], list(COLORS)[pool.color_N[patch]])
    questions = []
    for number in range(1, example.text_segment.max() + 1):
        inside = np.flatnonzero(example.text_segment == number)
        text = tokenizer.decode(example.text_ids[inside])
        (target,) = [t for t in example.targets if t.position in inside and t.weight == 1]
        letters = [tokenizer.decode([token]) for token in target.token_ids]
        answers = [re.search(rf"{letter}\. (\w+)", text).group(1) for letter in letters]
        options = [re.search(rf"{letter}\. (\w+)", text).group(1) for letter in "ABCD"]
        questions.append((text, options, answers))
    return questions, [sights[position] for position in sorted(sights)]


def test_a_group_of_a_video_whose_events_reach_every_group_answers_everything(noise_pool, tokenizer, maker):
    rng = np.random.default_rng(1)
    checked = Counter()
    for _ in range(60):
        questions, sights = read(maker.make(rng, GROUP), noise_pool, tokenizer)
        for text, options, answers in questions:
            shape = next((shape for shape in SHAPES if f" {shape}?" in text or f" {shape} appear" in text), None)
            colors = [color for name, color in sights if name == shape]
            if "first" in text:
                kind, right = "order", colors[:1] or options
                if len(set(colors)) == 1:  # one needle of two: which one it is, is the truth of the whole video
                    right = answers
                    assert len(answers) == 1
            elif "last" in text:
                kind, right = "last", colors[-1:]
            elif "many" in text:
                changes = sum(now != then for then, now in pairwise(colors))
                kind, right = "count", [str(changes + 1)]
            else:
                kind, right = "needle or absent", colors[:1] or options
            checked[kind] += 1
            assert answers == right, (text, sights)
    assert min(checked.values()) > 15


@pytest.mark.parametrize("num_tokens", [12, 40, 150])
def test_final_passes_hold_the_tokens_asked_for_in_order_of_time(maker, num_tokens):
    rng = np.random.default_rng(2)
    style = EventStyle(view="final", num_tokens=num_tokens, event_strides=PARTIAL_STRIDES)
    is_compact = []
    for _ in range(40):
        example = maker.make(rng, style)
        assert len(example.token_index_N) == len(example.temporal_N) == num_tokens
        assert (np.diff(example.token_index_N) > 0).all()
        assert (np.diff(example.temporal_N) >= 0).all()
        assert set(example.token_index_N // 4) == set(range(len(example.patches)))
        is_compact.append(example.temporal_N.max() == len(example.patches) - 1)
    assert 20 < sum(is_compact) < 40


def test_the_first_questions_of_a_final_pass_are_about_what_was_kept(noise_pool, tokenizer, maker):
    rng = np.random.default_rng(3)
    style = EventStyle(view="final", num_tokens=24, event_strides=(0.5, 1.0))
    shares = []
    for _ in range(60):
        questions, sights = read(maker.make(rng, style, kinds=["last"]), noise_pool, tokenizer)
        asked = next(shape for shape in SHAPES if f" {shape}?" in questions[0][0])
        assert f" {asked}?" in questions[1][0]
        shares.append(np.mean([shape == asked for shape, _ in sights]) if sights else 0.0)
    assert np.mean(shares) > 0.4


def test_partial_evidence_is_labelled_with_the_truth_of_the_whole_video(noise_pool, tokenizer, maker):
    """With short events a group misses some: counting what it shows is often too few, and never too many."""
    rng = np.random.default_rng(4)
    style = EventStyle(view="group", num_tokens=128, event_strides=(0.3, 0.5))
    missed = []
    for _ in range(60):
        questions, sights = read(maker.make(rng, style, kinds=["count"]), noise_pool, tokenizer)
        for text, _, answers in questions:
            shape = next(shape for shape in SHAPES if f" {shape} appear" in text)
            colors = [color for name, color in sights if name == shape]
            runs = sum(now != then for then, now in zip([None, *colors], colors, strict=False))
            missed.append(int(answers[0]) - runs)
    assert min(missed) >= 0
    assert np.mean(np.array(missed) > 0) > 0.5


def test_tiny_final_passes_are_all_about_one_object(noise_pool, tokenizer, maker):
    rng = np.random.default_rng(9)
    style = EventStyle(view="final", num_tokens=14, event_strides=CLEAR_STRIDES, is_tiny=True)
    shares = []
    for _ in range(50):
        questions, sights = read(maker.make(rng, style), noise_pool, tokenizer)
        asked = {shape for shape in SHAPES for text, _, _ in questions if f" {shape}?" in text or f" {shape} " in text}
        assert len(asked) == 1
        questions, sights = read(maker.make(rng, style, kinds=["last"]), noise_pool, tokenizer)  # about what stays long
        (asked,) = {shape for shape in SHAPES for text, _, _ in questions if f" {shape}?" in text}
        shares.append(np.mean([shape == asked for shape, _ in sights]))
    assert np.mean(shares) > 0.5


def test_glimpses_are_tiny_and_clear():
    rng = np.random.default_rng(0)
    styles = [draw_glimpse_style(rng) for _ in range(400)]
    tiny = [style for style in styles if style.is_tiny]
    assert len(tiny) / len(styles) == pytest.approx(0.85, abs=0.06)
    assert {style.event_strides for style in styles} == {CLEAR_STRIDES}
    assert {style.num_tokens for style in tiny} == set(range(8, 20))


def test_passes_grow_to_whole_groups_and_partial_evidence_comes_last():
    rng = np.random.default_rng(0)
    early, middle, late = (
        [draw_event_style(rng, progress=progress) for _ in range(600)] for progress in (0.0, 0.6, 1.0)
    )
    assert [max(s.num_tokens for s in styles if s.is_tiny) for styles in (early, middle, late)] == [20, 128, 128]
    assert [np.mean([s.is_tiny for s in styles]) for styles in (early, middle, late)] == pytest.approx(
        [0.7, 0.43, 0.25], abs=0.06
    )
    assert {s.event_strides for s in early + middle} == {CLEAR_STRIDES}
    assert np.mean([s.event_strides == PARTIAL_STRIDES for s in late if not s.is_tiny]) == pytest.approx(0.3, abs=0.08)
    assert {s.num_tokens for s in late if s.view == "group"} == {128}


def test_runs_count_the_changes_of_colour_that_a_shape_has_shown_so_far(noise_pool, maker):
    rng = np.random.default_rng(6)
    most = 0
    for _ in range(30):
        example = maker.make(rng, GROUP)
        last, runs = {}, Counter()
        for token, run in zip(example.token_index_N, example.run_N, strict=True):
            patch = example.patches[token // 4]
            shape, color = int(noise_pool.shape_N[patch]), int(noise_pool.color_N[patch])
            if not noise_pool.shows_NK[patch, token % 4]:
                assert run == -1
                continue
            runs[shape] += last.get(shape) not in (None, color)
            last[shape] = color
            assert run == runs[shape]
            most = max(most, run)
    assert most >= 3


def test_a_pool_without_some_shape_and_colour_is_refused(pool, tokenizer):
    maker = EventExampleMaker(pool, TextMaker(tokenizer), num_questions=1)
    rng = np.random.default_rng(5)
    with pytest.raises(ValueError, match=r"no training picture shows a \w+ \w+; make more training videos"):
        maker.make(rng, EventStyle(view="final", num_tokens=160, event_strides=CLEAR_STRIDES))


@pytest.mark.parametrize("strides", [CLEAR_STRIDES, PARTIAL_STRIDES])
def test_every_virtual_video_that_may_be_drawn_has_room_for_its_objects(strides):
    for num_groups in range(FEWEST_GROUPS, MOST_GROUPS + 1):
        spec = timeline_spec(num_groups, strides, distractor_density=MOST_DISTRACTORS)
        spec.check_room(num_groups * 64)
