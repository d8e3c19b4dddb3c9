import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.method.evidence import EvidenceSpan, build_evidence

TIMES_S = np.array([0.0, 1.0, 2.5, 4.0])  # uneven: variable frame rate


def evidence(patches, weights, *, times_s=TIMES_S, duration_s=5.0):
    return build_evidence(
        np.array(patches, dtype=np.int64), np.array(weights, dtype=np.float64), times_s, duration_s=duration_s
    )


@pytest.mark.parametrize(
    ("patches", "weights", "expected"),
    [
        ([2], [7.0], [(2.5, 4.0, 1.0, 1)]),
        ([3], [7.0], [(4.0, 5.0, 1.0, 1)]),  # the last patch lasts until the end
        ([0, 0, 1], [1.0, 1.0, 2.0], [(0.0, 2.5, 1.0, 3)]),  # neighbours are one span
        ([0, 3, 1], [1.0, 2.0, 1.0], [(0.0, 2.5, 0.5, 2), (4.0, 5.0, 0.5, 1)]),  # equal weights: by time
        ([0, 2], [1.0, 3.0], [(2.5, 4.0, 0.75, 1), (0.0, 1.0, 0.25, 1)]),  # heaviest first
        ([0, 0, 0, 2], [0.0, 0.0, 0.0, 0.0], [(0.0, 1.0, 0.75, 3), (2.5, 4.0, 0.25, 1)]),  # no weight: tokens count
        ([0, 2], [0.0, 3.0], [(2.5, 4.0, 1.0, 1), (0.0, 1.0, 0.0, 1)]),  # a kept token without weight stays visible
        ([], [], []),
    ],
)
def test_tokens_become_spans_of_presentation_time(patches, weights, expected):
    spans = [
        EvidenceSpan(start_s=start_s, end_s=end_s, weight=weight, num_tokens=num_tokens)
        for start_s, end_s, weight, num_tokens in expected
    ]
    assert evidence(patches, weights) == spans


@settings(deadline=None)
@given(tokens=st.lists(st.tuples(st.integers(0, 11), st.floats(0, 9)), min_size=1, max_size=40))
def test_spans_cover_exactly_the_patches_of_the_tokens(tokens):
    patches, weights = zip(*tokens, strict=True)
    spans = evidence(patches, weights, times_s=np.arange(12.0), duration_s=12.0)
    covered = [p for span in spans for p in range(int(span.start_s), int(span.end_s))]
    assert sorted(covered) == sorted(set(patches))
    assert math.isclose(sum(span.weight for span in spans), 1.0, abs_tol=1e-9)
    assert sum(span.num_tokens for span in spans) == len(tokens)
    assert not {span.start_s for span in spans} & {span.end_s for span in spans}  # nothing left to merge
    total = sum(weights)
    for span in spans if total > 1e-6 else []:
        inside = sum(w for p, w in tokens if span.start_s <= p < span.end_s)
        assert span.weight == pytest.approx(inside / total, abs=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: evidence([0, 1], [1.0]), r"got \(2,\) and \(1,\)"),
        (lambda: evidence([4], [1.0]), r"in \[0, 4\), got \[4\]"),
        (lambda: evidence([-1], [1.0]), r"in \[0, 4\), got \[-1\]"),
        (lambda: evidence([0], [-1.0]), "weights_N must be finite and at least 0, got -1.0"),
        (lambda: evidence([0], [1.0], duration_s=4.0), "duration_s=4.0"),
        (lambda: evidence([0], [1.0], times_s=np.array([0.0, 2.0, 2.0])), "patch_times_s_P must ascend"),
    ],
)
def test_a_bad_argument_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
