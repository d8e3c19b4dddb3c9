"""Attention by parts against float64 over all keys, for any heads, lengths and segments."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.models.attention_check import AttentionShape, measure_cascade, measure_slots
from pipeline.models.partial_attention import (
    Partial,
    SuffixPlaces,
    alone,
    attend,
    attend_slots,
    attend_suffixes,
    merge,
)

CPU, FLOAT = torch.device("cpu"), torch.float32
TOLERANCE = 2e-6  # of values around 1: some units in the last place of float32
HEADS = {"key_heads": st.integers(1, 3), "ratio": st.integers(1, 4), "size": st.sampled_from([4, 8, 24])}
PROPERTY = settings(deadline=None, max_examples=40)


def draw(seed, *shapes):
    random = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=random) for shape in shapes]


def whole(query, key, value, seen, scaling):
    """Float64, straight from the definition: output and log-sum-exp."""
    repeats = query.shape[1] // key.shape[1]
    key, value = (states.double().repeat_interleave(repeats, dim=1) for states in (key, value))
    scores = (query.double() @ key.transpose(2, 3) * scaling).masked_fill(~seen, -torch.inf)
    return scores.softmax(dim=-1) @ value, scores.logsumexp(dim=-1)


def assert_equal(found, expected, tolerance=TOLERANCE):
    for one, other in zip((found.out, found.lse), expected, strict=True):
        torch.testing.assert_close(one.double(), other, atol=tolerance, rtol=tolerance)


@given(
    seed=st.integers(0, 999),
    num_prefix=st.integers(1, 40),
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    sharpness=st.sampled_from([0.3, 1.0, 3.0]),
    **HEADS,
)
@PROPERTY
def test_a_row_over_a_prefix_equals_attention_under_the_dense_mask(
    seed, num_prefix, lengths, sharpness, key_heads, ratio, size
):
    total, edges = sum(lengths), [0, *itertools.accumulate(lengths)]
    keys = (1, key_heads, num_prefix + total, size)
    query, key, value = draw(seed, (1, key_heads * ratio, total, size), keys, keys)
    seen = torch.zeros(total, num_prefix + total, dtype=torch.bool)
    seen[:, :num_prefix] = True
    for start, stop in itertools.pairwise(edges):
        for place in range(start, stop):
            seen[place, num_prefix + start : num_prefix + place + 1] = True
    scaling = sharpness * size**-0.5
    prefix = attend(query, key[:, :, :num_prefix], value[:, :, :num_prefix], scaling=scaling)
    segments = SuffixPlaces(list(itertools.pairwise(edges)), CPU)
    own = attend_suffixes(query, key[:, :, num_prefix:], value[:, :, num_prefix:], segments, scaling=scaling)
    assert_equal(merge(prefix, own, FLOAT), whole(query, key, value, seen, scaling))


@given(seed=st.integers(0, 999), num_keys=st.integers(2, 40), num_queries=st.integers(1, 5), data=st.data(), **HEADS)
@PROPERTY
def test_keys_may_be_cut_anywhere_and_parts_merged_in_any_order(
    seed, num_keys, num_queries, data, key_heads, ratio, size
):
    cut = data.draw(st.integers(1, num_keys - 1))
    keys = (1, key_heads, num_keys, size)
    query, key, value = draw(seed, (1, key_heads * ratio, num_queries, size), keys, keys)
    parts = [attend(query, key[:, :, p], value[:, :, p], scaling=0.4) for p in (slice(cut), slice(cut, None))]
    expected = whole(query, key, value, torch.ones(num_queries, num_keys, dtype=torch.bool), 0.4)
    assert_equal(merge(*parts, FLOAT), expected)
    assert_equal(merge(*reversed(parts), FLOAT), expected)
    assert_equal(alone(attend(query, key, value, scaling=0.4), FLOAT), expected)


@given(
    seed=st.integers(0, 999),
    num_slots=st.integers(1, 12),
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    **HEADS,
)
@PROPERTY
def test_a_question_sees_its_own_slots_up_to_its_length(seed, num_slots, lengths, key_heads, ratio, size):
    keys = (len(lengths), key_heads, num_slots, size)
    query, key, value = draw(seed, (1, key_heads * ratio, len(lengths), size), keys, keys)
    hidden = torch.arange(num_slots) >= torch.tensor(lengths).clamp(max=num_slots)[:, None]
    mask = torch.zeros(hidden.shape).masked_fill_(hidden, -torch.inf)
    found = alone(attend_slots(query, key, value, mask, scaling=0.4), FLOAT)
    one_by_one = query[0].transpose(0, 1)[:, :, None]
    out, lse = whole(one_by_one, key, value, ~hidden[:, None, None], 0.4)
    assert_equal(found, (out[:, :, 0].transpose(0, 1)[None], lse[:, :, 0].T[None]))


@pytest.mark.parametrize("difference", [-200.0, 200.0])
def test_a_part_that_weighs_nothing_changes_nothing(difference):
    one, other = (Partial(out, torch.zeros(1, 1, 1, 1)) for out in draw(0, (1, 1, 1, 1, 4), (1, 1, 1, 1, 4)))
    merged = merge(one, other._replace(lse=torch.full((1, 1, 1, 1), difference)), FLOAT)
    assert torch.equal(merged.out, (other if difference > 0 else one).out.flatten(1, 2))
    assert merged.lse.item() == max(difference, 0.0)


def test_what_runs_where_there_is_no_kernel_says_the_same(monkeypatch):
    from pipeline.models import partial_attention

    query, key, value = draw(1, (1, 4, 6, 8), (1, 2, 6, 8), (1, 2, 6, 8))
    slots = [states.expand(6, -1, -1, -1) for states in (key, value)]
    mask = torch.zeros(6, 6).masked_fill_(torch.ones(6, 6).triu(1) > 0, -torch.inf)

    def run():
        yield alone(attend(query, key, value, scaling=0.4), FLOAT)
        yield alone(attend_suffixes(query, key, value, SuffixPlaces([(0, 2), (2, 6)], CPU), scaling=0.4), FLOAT)
        yield alone(attend_slots(query, *slots, mask, scaling=0.4), FLOAT)

    fast = list(run())
    monkeypatch.setattr(partial_attention, "_run_kernel", partial_attention._attend_eagerly)
    for one, other in zip(run(), fast, strict=True):
        assert_equal(one, (other.out.double(), other.lse.double()))


@pytest.mark.parametrize("dtype", [FLOAT, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("heads", "key_heads", "head_dim"), [(7, 1, 128), (4, 2, 16), (2, 2, 80)])
def test_parts_are_as_exact_as_the_masked_kernel(dtype, heads, key_heads, head_dim):
    shape = AttentionShape(heads=heads, key_heads=key_heads, head_dim=head_dim, scaling=head_dim**-0.5)
    for measure in (measure_cascade, measure_slots):
        found = measure(CPU, dtype, shape)
        assert found.is_exact, found
        assert found.error > 0


def test_a_device_that_cannot_compute_is_not_exact_and_says_why():
    found = measure_cascade(torch.device("meta"), FLOAT, AttentionShape(heads=2, key_heads=1, head_dim=8, scaling=1.0))
    assert not found.is_exact
    assert "meta" in found.refusal
