"""Each neighbouring method's rule against an independent brute force in plain Python, at small size."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.method.diversity import determinant_order, max_min_order
from pipeline.method.selectors.adaq import draw_systematically, probabilities
from pipeline.method.selectors.aks import Aks
from pipeline.method.selectors.consensusdrop import Consensus, place_from_top
from pipeline.method.selectors.duet import SalientThenLookedAt, stage_one
from pipeline.method.selectors.evs import FeatureChange
from pipeline.method.selectors.flashvid import SalientAndMerged, grow, hang, segments
from pipeline.method.selectors.frame_change import PixelChange
from pipeline.method.selectors.keyframes import by_group, in_time
from pipeline.method.selectors.ktv import ImportanceWithoutRepetition, nearest_to_centres, tokens_by_place
from pipeline.method.selectors.promprune import SaliencyAndCoverage, saliency_share, spectral_entropy, split_order
from pipeline.method.selectors.ranking import GroupView, in_rounds
from pipeline.method.selectors.rediprune import RelevanceAndDistance, fit_width, question_vector
from pipeline.method.selectors.registry import SELECTORS, get_selector
from pipeline.settings.config import BudgetConfig

SEEDS = st.integers(0, 2**32 - 1)


def view(seed=0, *, patches=(3, 4, 5), per_patch=6, depth=4, width=8, **changes):
    random = torch.Generator().manual_seed(seed)
    shape = len(patches) * per_patch
    known = {
        "features_ND": torch.randn(shape, width, generator=random),
        "patches": np.array(patches),
        "time_s_P": np.array(patches, dtype=float),
        "depth": depth,
        "attention_N": torch.rand(shape, generator=random).numpy(),
        "saliency_N": torch.rand(shape, generator=random),
        "tower_NC": torch.randn(shape, 5, generator=random),
        "question_LD": torch.randn(9, width, generator=random),
        "change_N": torch.rand(shape, generator=random),
    }
    return GroupView(**known | changes)


def cosine(a, b):
    a, b = (np.asarray(one, dtype=np.float64) for one in (a, b))
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def sold(score_N, count):
    return sorted(np.argsort(-score_N, kind="stable")[:count].tolist())


# ---- greedy orders


@given(seed=SEEDS, num=st.integers(2, 8))
@settings(deadline=None, max_examples=40)
def test_max_min_takes_the_farthest_from_its_nearest_and_its_prefixes_do_not_depend_on_the_count(seed, num):
    points = torch.randn(2, num, 3, generator=torch.Generator().manual_seed(seed)).double()
    distance = torch.cdist(points, points)
    first = torch.tensor([0, num - 1])
    full = max_min_order(distance, first, count=num).tolist()
    for patch, order in enumerate(full):
        chosen = [int(first[patch])]
        while len(chosen) < num:
            rest = [i for i in range(num) if i not in chosen]
            chosen.append(max(rest, key=lambda i: (min(float(distance[patch, i, j]) for j in chosen), -i)))
        assert order == chosen
    for count in range(1, num):
        assert max_min_order(distance, first, count=count).tolist() == [order[:count] for order in full]


@given(seed=SEEDS, num=st.integers(2, 7))
@settings(deadline=None, max_examples=40)
def test_the_determinant_order_is_greedy_and_its_prefixes_do_not_depend_on_the_count(seed, num):
    rows = torch.randn(num, num + 2, generator=torch.Generator().manual_seed(seed)).double()
    rows = rows / rows.norm(dim=1, keepdim=True) * torch.linspace(1, 1.3, num)[:, None]
    kernel = rows @ rows.T
    chosen = []
    while len(chosen) < num:
        rest = [i for i in range(num) if i not in chosen]
        chosen.append(max(rest, key=lambda i: float(torch.linalg.det(kernel[[*chosen, i]][:, [*chosen, i]]))))
    full = determinant_order(kernel, count=num)
    assert full == chosen
    for count in range(1, num):
        assert determinant_order(kernel, count=count) == full[:count]


def test_every_patch_sells_its_first_choice_before_any_sells_its_second():
    score_N = in_rounds(np.array([[2, 0], [1, 2]]), 3)
    assert score_N.tolist() == [-1, -np.inf, 0, -np.inf, 0, -1]
    assert sold(score_N, 2) == [2, 4]


# ---- EVS and pixels


def test_evs_scores_the_change_since_the_patch_before_and_keeps_the_videos_first_patch():
    seen = view(patches=(0, 1, 2), per_patch=4)
    score_N = FeatureChange().rank(seen).score_N
    rows = seen.features_ND.numpy().reshape(3, 4, -1)
    for patch, token in itertools.product(range(1, 3), range(4)):
        assert score_N[patch * 4 + token] == pytest.approx(
            1 - cosine(rows[patch, token], rows[patch - 1, token]), abs=1e-6
        )
    assert (score_N[:4] == np.inf).all()
    later = FeatureChange().rank(view(patches=(7, 8, 9), per_patch=4)).score_N
    assert later[:4].tolist() == later[4:8].tolist()
    assert np.isfinite(FeatureChange().rank(view(patches=(7,), per_patch=4)).score_N).all()


def test_the_best_tokens_of_all_groups_are_sold_and_a_further_group_raises_no_share():
    random = np.random.default_rng(3)
    scores = [-np.sort(-random.choice(9, size)).astype(np.float32) for size in (7, 3, 9, 5)]
    for name in ("evs", "frame-change"):
        before = None
        for length in range(1, 5):
            shares = get_selector(name).allocate_tokens(scores[:length], BudgetConfig(token_budget=8))
            ranked = sorted(((-value, g, i) for g in range(length) for i, value in enumerate(scores[g].tolist())))[:8]
            assert shares.tolist() == [sum(g == group for _, g, _ in ranked) for group in range(length)]
            assert before is None or (shares[: length - 1] <= before).all()
            before = shares


def test_pixels_that_change_rank_first():
    seen = view(patches=(4, 5, 6))
    assert PixelChange().rank(seen).score_N.tolist() == seen.change_N.tolist()


# ---- ReDiPrune


@pytest.mark.parametrize("in_tower", [False, True])
@given(seed=SEEDS)
@settings(deadline=None, max_examples=15)
def test_rediprune_starts_at_the_most_relevant_and_goes_on_by_distance_and_relevance(seed, in_tower):
    seen = view(seed, depth=4)
    features = (seen.tower_NC if in_tower else seen.features_ND).numpy().reshape(3, 6, -1)
    words = seen.question_LD.numpy().astype(np.float64)
    alike = np.array([[cosine(a, b) for b in words] for a in words])
    weights = np.exp(alike)
    context = (weights / weights.sum(axis=1, keepdims=True)) @ words
    late = np.array([math.exp(3 * i / (len(words) - 1)) for i in range(len(words))])
    question = (late / late.sum()) @ context
    if in_tower:  # 8 numbers for 5: adaptive means, borders as torch documents them
        question = [question[(i * 8) // 5 : -(-(i + 1) * 8 // 5)].mean() for i in range(5)]
    score_N = RelevanceAndDistance(in_tower=in_tower).rank(seen).score_N
    for patch in range(3):
        rows = features[patch]
        chosen = [max(range(6), key=lambda i: cosine(rows[i], question))]
        while len(chosen) < 4:
            rest = [i for i in range(6) if i not in chosen]
            chosen.append(
                max(
                    rest,
                    key=lambda i: min(1 - cosine(rows[i], rows[j]) for j in chosen) + 0.5 * cosine(rows[i], question),
                )
            )
        assert [score_N[patch * 6 + token] for token in chosen] == [0, -1, -2, -3]


def test_a_question_vector_is_made_as_wide_as_features():
    assert fit_width(torch.arange(8.0), 4).tolist() == [0.5, 2.5, 4.5, 6.5]
    assert fit_width(torch.arange(2.0), 5).tolist() == [0, 1, 0, 1, 0]
    assert question_vector(torch.randn(300, 4)).shape == (4,)


# ---- PromPrune


@pytest.mark.parametrize("num", [3, 5, 8])
def test_spectral_entropy_is_that_of_orthogonal_rows_and_nothing_for_two_kinds(num):
    orthogonal = torch.eye(num)[None]
    assert float(spectral_entropy(orthogonal)[0]) == pytest.approx(math.log(num - 1) / math.log(num), abs=1e-6)
    two = torch.cat([torch.eye(num)[:1].repeat(num, 1), torch.eye(num)[1:2].repeat(num, 1)])[None]
    assert float(spectral_entropy(two)[0]) == pytest.approx(0, abs=1e-6)


def test_promprune_takes_salient_tokens_and_then_what_is_least_like_them():
    for seed, num_salient in itertools.product(range(4), (0, 1, 3, 4)):
        seen = view(seed, patches=(1,), per_patch=7)
        rows = seen.features_ND.double() / seen.features_ND.double().norm(dim=1, keepdim=True)
        kernel, saliency = rows @ rows.T, seen.saliency_N
        order = split_order(kernel, saliency, num_salient=num_salient, count=4).tolist()
        salient = sorted(range(7), key=lambda i: -float(saliency[i]))[:num_salient]
        assert order[:num_salient] == salient
        others = [i for i in range(7) if i not in salient]
        chosen = []
        while len(chosen) + num_salient < 4:
            rest = [i for i in others if i not in chosen]
            if not chosen and salient:
                chosen.append(min(rest, key=lambda i: max(float(kernel[i, j]) for j in salient)))
            else:
                chosen.append(max(rest, key=lambda i: float(torch.linalg.det(kernel[[*chosen, i]][:, [*chosen, i]]))))
        assert order[num_salient:] == chosen


def test_promprunes_switch_lies_at_the_middle_of_the_groups_own_entropies():
    shares = saliency_share(torch.tensor([0.1, 0.4, 0.5, 0.6, 0.9]).double())
    assert shares[0] > 0.99
    assert shares[2] == pytest.approx(0.5)
    assert shares[4] < 0.01
    assert (SaliencyAndCoverage().rank(view(depth=4)).score_N > -np.inf).sum() == 3 * 4


# ---- ConsensusDrop


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_the_consensus_is_a_mean_of_places_and_its_ends_are_the_two_signals(share):
    seen = view(5)
    score_N = Consensus(share).rank(seen).score_N

    def places(values):
        return [
            1 - sum((w > v) or (w == v and j < i) for j, w in enumerate(values)) / (len(values) - 1)
            for i, v in enumerate(values)
        ]

    expected = [
        share * a + (1 - share) * s
        for a, s in zip(places(seen.attention_N.tolist()), places(seen.saliency_N.tolist()), strict=True)
    ]
    assert score_N == pytest.approx(expected, abs=1e-6)
    assert place_from_top(np.array([1.0, 1.0, 0.0])).tolist() == [1.0, 0.5, 0.0]
    if share in (0.0, 1.0):
        alone = seen.attention_N if share else seen.saliency_N.numpy()
        assert sold(score_N, 5) == sold(alone, 5)


# ---- FlashVID


def test_a_chain_of_three_frames_becomes_its_true_average():
    features = torch.stack([torch.eye(4), 2 * torch.eye(4), 4 * torch.eye(4)])  # of one direction, not of one length
    is_free = np.zeros((3, 4), dtype=bool)
    is_free[:, 0] = True
    parent = hang(features, is_free, np.zeros(3, dtype=np.int64), least_roots=0)
    assert parent[[0, 4, 8]].tolist() == [-1, 0, 4]
    assert grow(parent, is_free.reshape(-1)) == {0: [0, 4, 8]}
    # the least four segments of six patches that are alike: each of the first three, and the chain
    clip = torch.cat([features[:1].repeat(3, 1, 1), features]).reshape(24, 4)
    seen = view(
        features_ND=clip,
        patches=range(6),
        per_patch=4,
        depth=4,
        saliency_N=torch.tensor([0.01, 1, 1, 1] * 6),
    )
    ranked = SalientAndMerged().rank(seen)
    assert ranked.members == {12: [12, 16, 20]}
    assert ranked.features_ND[12].tolist() == pytest.approx([7 / 3, 0.0, 0.0, 0.0])
    assert ranked.score_N[[16, 20]].tolist() == [-np.inf, -np.inf]


def test_trees_end_at_segments_and_are_never_fewer_than_asked_for():
    features = torch.ones(4, 3, 2)
    is_free = np.ones((4, 3), dtype=bool)
    apart = hang(features, is_free, np.array([0, 0, 1, 1]), least_roots=0)
    assert (apart[6:9] == -1).all()
    for least in (3, 5, 12):
        roots = (hang(features, is_free, np.zeros(4, dtype=np.int64), least_roots=least) == -1).sum()
        assert roots >= least
    assert segments(torch.ones(6, 2, 3)).max() + 1 == 4
    first, second = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    cut = torch.stack([first, first, second, second, first, first])[:, None]
    assert segments(cut).tolist()[1] != segments(cut).tolist()[2]


def test_all_that_flashvid_offers_is_a_selected_token_or_a_root():
    ranked = SalientAndMerged().rank(view(2, depth=4))
    offered = np.flatnonzero(ranked.score_N > -np.inf)
    inside = {token for members in ranked.members.values() for token in members[1:]}
    assert not inside & set(offered.tolist())
    covered = set(offered.tolist()) | inside
    assert covered == set(range(18))


# ---- DUET


def test_stage_one_keeps_dominant_tokens_and_lets_anchors_gather_the_likest():
    saliency = torch.arange(24, 0, -1).float()
    alike = torch.rand(24, 24, generator=torch.Generator().manual_seed(1))
    dominant, followers = stage_one(saliency, alike, 12)
    assert dominant == list(range(10))
    assert list(followers) == [10, 14]
    for token in (11, 12, 13, 15, 16, 17):
        likest = 10 if alike[token, 10] >= alike[token, 14] else 14
        assert token in followers[likest]
    gathered = {token for members in followers.values() for token in members}
    assert gathered == {11, 12, 13, 15, 16, 17}  # what was not looked at is lost
    assert stage_one(saliency, alike, 5) == (list(range(5)), {})


def test_after_both_stages_a_quarter_of_the_tokens_is_left_where_each_keeps_half():
    seen = view(4, per_patch=24, depth=7)  # 6 of 24 are sold; stage one leaves 12
    ranked = SalientThenLookedAt().rank(seen)
    left = np.flatnonzero(ranked.score_N > -np.inf)
    assert len(left) == 3 * 12
    assert len(sold(ranked.score_N, 3 * 6)) / (3 * 24) == 0.25
    best = sorted(left.tolist(), key=lambda token: -seen.attention_N[token])[:18]
    assert sold(ranked.score_N, 18) == sorted(best)
    for anchor, members in ranked.members.items():
        expected = seen.features_ND[anchor] + seen.features_ND[members[1:]].mean(dim=0)
        torch.testing.assert_close(ranked.features_ND[anchor], expected)


# ---- keyframes


def test_patches_of_interleaved_groups_are_put_in_time_and_back():
    groups = [np.array([0.0, 3.0], np.float32), np.array([2.0], np.float32), np.array([1.0], np.float32)]
    assert in_time(groups, [0, 2, 1]).tolist() == [0, 1, 2, 3]
    assert [part.tolist() for part in by_group(np.arange(4), [0, 2, 1])] == [[0, 3], [2], [1]]


def test_adaqs_probabilities_are_a_softmax_over_the_variance_cut_at_three_sigma():
    scores = np.array([0.1, 0.5, 0.9, 0.2, 0.88])
    scaled = [(s - 0.1) / 0.8 for s in scores]
    mean = sum(scaled) / 5
    temperature = 0.5 * sum((s - mean) ** 2 for s in scaled) / 5
    weights = [math.exp((s - 1) / temperature) for s in scaled]
    shares = [w / sum(weights) for w in weights]
    kept, mass = [], 0.0
    for i in sorted(range(5), key=lambda i: -shares[i]):
        if mass < 0.997:
            kept.append(i)
            mass += shares[i]
    expected = [shares[i] / sum(shares[j] for j in kept) if i in kept else 0 for i in range(5)]
    assert probabilities(scores) == pytest.approx(expected)
    assert probabilities(np.full(4, 0.3)).tolist() == [0.25] * 4
    assert draw_systematically(np.full(8, 1 / 8), 4).tolist() == [0, 2, 4, 6]
    assert draw_systematically(np.array([0.0, 1.0, 0.0, 0.0]), 3).tolist() == [0, 1, 2]


def brute_aks(scores, part, count, depth=0):
    best = sorted(part, key=lambda i: (-scores[i], i))[:count]
    mean = sum(scores[i] for i in best) / max(1, len(best)) - sum(scores[i] for i in part) / len(part)
    if depth == 5 or count <= 1 or len(part) <= count or mean > 0.8:
        return best
    half = -(-len(part) // 2)
    left, right = part[:half], part[half:]
    extra = count % 2
    of_left = count // 2 + (extra if max(scores[i] for i in right) <= max(scores[i] for i in left) else 0)
    of_left = min(of_left, len(left))
    of_right = min(count - of_left, len(right))
    of_left = count - of_right
    out = brute_aks(scores, left, of_left, depth + 1) if of_left else []
    return out + (brute_aks(scores, right, of_right, depth + 1) if of_right else [])


@given(seed=SEEDS, num=st.integers(1, 40), count=st.integers(1, 12))
@settings(deadline=None, max_examples=60)
def test_aks_halves_until_some_stand_out(seed, num, count):
    scores = np.random.default_rng(seed).random(num) ** 4
    scaled = (scores - scores.min()) / max(1e-300, scores.max() - scores.min())
    chosen = Aks().choose(scores, min(count, num))
    assert chosen.tolist() == sorted(brute_aks(scaled.tolist(), list(range(num)), min(count, num)))
    assert len(set(chosen.tolist())) == min(count, num)


@pytest.mark.parametrize("name", ["adaq", "aks"])
@given(seed=SEEDS, num=st.integers(1, 30), groups=st.integers(1, 5), budget=st.integers(1, 60))
@settings(deadline=None, max_examples=30)
def test_chosen_frames_keep_all_their_tokens_within_the_budget(name, seed, num, groups, budget):
    groups = min(groups, num)
    scores = np.random.default_rng(seed).random(num).astype(np.float32)
    parts = [scores[g::groups] for g in range(groups)]
    config = BudgetConfig(token_budget=budget)
    tokens = get_selector(name).allocate_patches(parts, list(range(groups)), config, tokens_per_patch=4)
    sizes = {int(n) for part in tokens for n in part}
    assert sizes <= {0, min(4, budget)}
    assert sum(int(part.sum()) for part in tokens) == min(num, max(1, budget // 4)) * min(4, budget)


def test_ktvs_keyframes_are_one_of_each_kind_and_the_one_looked_at_most_gets_most():
    vectors = np.repeat(np.array([[0.0, 0], [9, 0], [0, 9]]), 4, axis=0) + np.arange(12)[:, None] * 0.01
    chosen = nearest_to_centres(vectors, 3)
    assert sorted(chosen // 4) == [0, 1, 2]
    assert nearest_to_centres(np.zeros((9, 2)), 3).tolist() == [1, 4, 7]  # centres that coincide: evenly spaced
    assert tokens_by_place(6, 130, most=100).tolist() == [40, 20, 20, 20, 20, 10]
    assert tokens_by_place(6, 600, most=100).tolist() == [100] * 6
    seen = view(1)
    score = ImportanceWithoutRepetition().rank(seen).score_N.reshape(3, 6)
    rows = seen.features_ND.numpy().reshape(3, 6, -1)
    for patch in range(3):
        alike = np.array(
            [np.mean([cosine(rows[patch, i], rows[patch, j]) for j in range(6) if j != i]) for i in range(6)]
        )
        saliency = seen.saliency_N.numpy().reshape(3, 6)[patch]

        def norm(x):
            return (x - x.min()) / (x.max() - x.min())

        assert score[patch] == pytest.approx(0.8 * norm(saliency) + 0.2 * (1 - norm(alike)), abs=1e-5)


# ---- all of them


@pytest.mark.parametrize("name", [name for name, one in SELECTORS.items() if one.ranker is not None])
def test_a_neighbour_is_labelled_and_ranks_without_ties_of_its_own_making(name):
    selector = get_selector(name)
    assert any(character.isdigit() for character in selector.label)  # the paper's number
    first, again = selector.ranker.rank(view(9)), selector.ranker.rank(view(9))
    assert first.score_N.dtype == np.float32
    assert first.score_N.tolist() == again.score_N.tolist()
    assert not np.isnan(first.score_N).any()
