"""A cluster in words, for a plan that is made elsewhere."""

import re

from cluster.placement import ClusterSize, NodeSize

_SHAPE = re.compile(r"(?:(?P<nodes>\d+)x)?(?P<cpus>\d+)cpus?(?:(?P<gpus>\d+)gpus?)?", re.IGNORECASE)
SHAPE_FORM = "[N x] CPUs and GPUs of nodes, such as 8x16cpu1gpu or 1x4cpu+8x16cpu1gpu"


def parse_shape(text: str) -> ClusterSize:
    """``8x16cpu1gpu`` -> eight nodes with 16 CPUs and a GPU each.

    Raises:
        ValueError: It has another form, or no CPU.
    """
    nodes: list[NodeSize] = []
    for part in text.replace(" ", "").split("+"):
        found = _SHAPE.fullmatch(part)
        if found is None:
            raise ValueError(f"{text!r} is no cluster: write {SHAPE_FORM}")
        size = NodeSize(num_cpus=float(found["cpus"]), num_gpus=float(found["gpus"] or 0))
        nodes += [size] * int(found["nodes"] or 1)
    if not sum(node.num_cpus for node in nodes):
        raise ValueError(f"{text!r} has no CPU: write {SHAPE_FORM}")
    return ClusterSize(nodes=tuple(nodes))
