"""A cluster in words."""

import pytest

from cluster.shape import parse_shape


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        ("8x16cpu1gpu", [(16, 1)] * 8),
        ("1x4cpu+2x16cpu4gpus", [(4, 0), (16, 4), (16, 4)]),
        ("32CPUs", [(32, 0)]),
        ("2 x 8cpu", [(8, 0), (8, 0)]),
    ],
)
def test_nodes_are_read(text, nodes):
    assert [(node.num_cpus, node.num_gpus) for node in parse_shape(text).nodes] == nodes


@pytest.mark.parametrize("text", ["8", "8xcpu", "8x16", "gpu8", "", "0x4cpu", "8x16cpu1gpu+"])
def test_another_form_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match=r"write .*8x16cpu1gpu"):
        parse_shape(text)
