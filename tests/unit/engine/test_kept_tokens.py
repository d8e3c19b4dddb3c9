"""Tokens of the final pass on their way into the row: from places in a patch to times, groups, rows and columns."""

import numpy as np
import pytest

from pipeline.method.evidence import build_evidence
from pipeline.passes.token_record import pack_tokens
from pipeline.results.rows import KeptTokens
from tests.unit.engine.fakes import World, make_config, make_probe, make_tasks

PATCHES, TOKENS, WEIGHTS = [1, 1, 20, 49], [0, 3, 2, 1], [1.0, 2.0, 4.0, 1.0]  # of 50 patches of 2 by 2 tokens


class WorldWithEvidence(World):
    def _answer(self, kept):
        from dataclasses import replace

        spans = build_evidence(
            np.array(PATCHES),
            np.array(WEIGHTS),
            np.arange(50) * 1.0,
            duration_s=make_probe().duration_s,
        )
        packed = pack_tokens(np.array(PATCHES), np.array(TOKENS), np.array(WEIGHTS))
        return replace(super()._answer(kept), evidence=tuple(spans), tokens=packed)


@pytest.mark.parametrize("method", ["adapttoken", "adapttoken-lite", "uniform"])
def test_a_row_says_when_and_where_its_tokens_are_and_which_group_sold_them(method):
    (row,) = WorldWithEvidence(make_config(method, budget=200), make_tasks(num_questions=1)).run()
    num_groups = row.num_groups
    assert row.kept_tokens == KeptTokens(
        start_s=(1.0, 1.0, 20.0, 49.0),
        group_index=tuple(patch % num_groups for patch in PATCHES),  # interleaved
        token_row=(0, 1, 1, 0),
        token_column=(0, 1, 0, 1),
        weight=(0.125, 0.25, 0.5, 0.125),
    )
    assert (row.num_token_rows, row.num_token_columns) == (2, 2)
    assert [span.num_tokens for span in row.evidence] == [1, 2, 1]


def test_a_row_without_evidence_has_no_tokens():
    (row,) = World(make_config(), make_tasks(num_questions=1)).run()
    assert row.kept_tokens is None
