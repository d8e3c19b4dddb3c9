from collections import Counter

import numpy as np
import pytest
import torch

from pipeline.lab.demo_training.event_examples import EventExampleMaker
from pipeline.lab.demo_training.event_styles import CLEAR_STRIDES, EventStyle, draw_drill_style, draw_rehearsal_style
from pipeline.lab.demo_training.kept_tokens import buy_tokens, drop_redundant, drop_surplus
from pipeline.lab.demo_training.question_text import TextMaker


def test_every_group_sells_its_best_tokens():
    liking = np.array([[9.0, 1, 2, 8], [1, 2, 3, 4], [5, 6, 7, 0], [0, 0, 0.5, 0]])
    bought = buy_tokens(liking, np.array([3, 5, 3, 5]), num_tokens=5)
    assert np.argwhere(bought).tolist() == [[0, 0], [0, 3], [1, 1], [1, 2], [1, 3], [2, 2]]


def test_chance_drops_the_surplus():
    bought = np.array([[True, True, False, False], [True, False, False, True]])
    kept = [drop_surplus(np.random.default_rng(seed), bought, num_tokens=3) for seed in range(40)]
    assert {mask.sum() for mask in kept} == {3}
    assert all((mask <= bought).all() for mask in kept)
    assert len({mask.tobytes() for mask in kept}) == 4


def test_of_tokens_that_look_alike_the_less_liked_goes():
    """Two looks, three tokens each at one time: of each look the best-liked one stays."""
    looks = torch.eye(2)[[0, 0, 1, 1, 0, 1, 0, 0]].view(2, 4, 2)
    bought = np.array([[True] * 4, [True, True, False, False]])
    liking = np.array([[1.0, 5, 2, 3], [4, 9, 0, 0]])
    kept = drop_redundant(bought, looks, liking, np.zeros(2), num_tokens=2, proximity_s=10.0)
    assert np.argwhere(kept).tolist() == [[0, 1], [1, 1]]
    apart = drop_redundant(bought, looks, liking, np.array([0.0, 1e4]), num_tokens=4, proximity_s=10.0)
    assert np.argwhere(apart).tolist() == [[0, 1], [0, 3], [1, 0], [1, 1]]


def test_buying_more_and_thinning_keeps_more_appearances(noise_pool, tokenizer):
    """With features that tell shape and colour apart, and one appearance that outshines the others."""
    looks = torch.eye(48)[torch.from_numpy(noise_pool.shape_N * 6 + noise_pool.color_N).clamp_min(0)]
    looks[torch.from_numpy(noise_pool.shape_N < 0)] = 0.1
    features = looks[:, None, :].repeat(1, 4, 1)
    maker = EventExampleMaker(noise_pool, TextMaker(tokenizer), num_questions=1, features_NKD=features)

    def colors_kept(over_select):
        style = EventStyle(
            view="final",
            num_tokens=16,
            event_strides=CLEAR_STRIDES,
            over_select=over_select,
            proximity_s=60.0,
            event_bias=3.0,
        )
        rng = np.random.default_rng(7)
        for _ in range(60):
            example = maker.make(rng, style, kinds=["order"])
            assert len(example.token_index_N) == 16
            patches = example.patches[example.token_index_N // 4]
            is_asked = example.evidence_QN[0]
            yield len({int(color) for color in noise_pool.color_N[patches[is_asked]]})

    assert np.mean(list(colors_kept(8.0))) > np.mean(list(colors_kept(1.1))) + 0.5


def test_drills_leave_the_easiest_out_and_rehearsals_are_thinned_as_in_a_run():
    rng = np.random.default_rng(0)
    drills = [draw_drill_style(rng) for _ in range(500)]
    assert np.mean([style.is_tiny for style in drills]) == pytest.approx(0.32, abs=0.06)
    rehearsed = [draw_rehearsal_style(rng) for _ in range(500)]
    assert {style.order_weight for style in drills + rehearsed} == {2.2}
    shares = Counter(
        "group" if style.view == "group" else "glimpse" if style.is_tiny else "thinned" for style in rehearsed
    )
    assert [shares[name] / 500 for name in ("group", "glimpse", "thinned")] == pytest.approx(
        [0.25, 0.15, 0.6], abs=0.06
    )
    thinned = [style for style in rehearsed if style.proximity_s is not None]
    assert len(thinned) == shares["thinned"]
    assert {(style.over_select, style.proximity_s) for style in thinned} == {(4, 10), (4, 60), (8, 10), (8, 60)}
    assert np.mean([style.num_tokens == 16 for style in thinned]) > 0.45
    assert max(style.num_tokens for style in thinned) <= 64
