"""Tokens of the final pass as bytes: what comes out is what went in, and agrees with the spans of evidence."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.method.evidence import build_evidence
from pipeline.passes.token_record import pack_tokens, unpack_tokens


@settings(deadline=None)
@given(
    tokens=st.dictionaries(st.tuples(st.integers(0, 11), st.integers(0, 7)), st.floats(0, 9), min_size=1, max_size=40)
)
def test_tokens_come_back_in_order_with_their_shares_and_fill_the_spans(tokens):
    places, weights = list(tokens), list(tokens.values())
    patches, within = (np.array(column, dtype=np.int64) for column in zip(*places, strict=True))
    kept = unpack_tokens(pack_tokens(patches, within, np.array(weights)))
    assert list(zip(kept["patch"].tolist(), kept["token"].tolist(), strict=True)) == sorted(places)
    total = sum(weights)
    for place, weight in zip(sorted(places), kept["weight"].tolist(), strict=True):
        share = tokens[place] / total if total else 1 / len(tokens)
        assert weight == pytest.approx(share, rel=2**-8, abs=1e-37)
    spans = build_evidence(patches, np.array(weights), np.arange(12.0), duration_s=12.0)
    assert sum(span.num_tokens for span in spans) == len(kept)
    for span in spans:
        own = kept[(kept["patch"] >= span.start_s) & (kept["patch"] < span.end_s)]
        assert len(own) == span.num_tokens
        assert float(own["weight"].sum(dtype=np.float64)) == pytest.approx(span.weight, rel=2**-8, abs=1e-37)


def test_no_record_holds_no_tokens():
    assert len(unpack_tokens(b"")) == 0
