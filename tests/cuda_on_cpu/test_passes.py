"""Every family over simulated GPUs: the numbers of the CPU, no fault of order, and the host waits where it must."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch

from tests.cuda_on_cpu.device_tensor import move_module
from tests.cuda_on_cpu.passes import QUESTIONS, build_model, run_video
from tests.cuda_on_cpu.simulation import simulated
from tests.cuda_on_cpu.two_devices import spread

TOKEN, FIRST = "extend_greedily > Download.read: event", "PendingResponses.rows > Download.read: event"
ROW_TOKEN = "extend_rows > Download.read: event"  # where questions have rows of their own
READ = "PendingResponses.read > Download.read: event"
# An open question's tokens are read one by one, for any may be the last; the rest, when the next group is queued.
LAUNCH = {FIRST, TOKEN}
FINISH = {FIRST, READ, "DeviceTimer.seconds > DeviceTimer._between: event"}
GATHER = {"PieceDownload.read > Download.read: event"}
ANSWER = LAUNCH | {
    READ,
    "remove_redundant > _check_tokens: _local_scalar_dense",
    "remove_redundant > _most_similar_pairs: nonzero",
    "remove_redundant > _most_similar_pairs: copy to the host",
}
FLOAT, HALF = torch.float32, torch.bfloat16


def run_on_gpus(family, dtype, num_devices, *, questions=QUESTIONS):
    """What came of it, the machine, and the waits of each stage; the first group builds what is kept."""
    stages = []
    with simulated(num_devices) as machine:

        def place(stock):
            if num_devices == 1:
                move_module(stock, torch.device("cuda", 0), machine)
            else:
                spread(stock, family, machine)

        model = build_model(family, dtype=dtype, place=place)
        passed = run_video(
            model, lambda stage: stages.append((stage, Counter(machine.journal.waits))), questions=questions
        )
    by_stage = {}
    for (stage, before), (_, after) in pairwise(stages[2:]):
        places = {f"{place}: {why}" for place, why in after - before}
        by_stage[stage] = by_stage.get(stage, set()) | places
    return passed, machine, by_stage


@pytest.mark.parametrize(
    ("family", "dtype", "num_devices"),
    [
        ("qwen2_5_vl", FLOAT, 1),
        ("qwen2_5_vl", HALF, 1),
        ("qwen2_5_vl", HALF, 2),
        ("qwen3_vl", HALF, 2),
        ("qwen3_vl_moe", HALF, 1),
        ("qwen3_5", HALF, 2),
        ("internvl", FLOAT, 1),
        ("internvl", HALF, 2),
        pytest.param("glm4v_moe", HALF, 2, marks=pytest.mark.slow),
        ("llava_onevision", HALF, 2),
    ],
)
def test_gpus_give_the_numbers_of_the_cpu_and_the_host_waits_where_it_must(family, dtype, num_devices):
    expected = run_video(build_model(family, dtype=dtype))
    passed, machine, waits = run_on_gpus(family, dtype, num_devices)
    assert machine.journal.faults == []
    for one, other in zip(expected.groups, passed.groups, strict=True):
        for question in range(len(QUESTIONS)):
            assert one.scores[question].response == other.scores[question].response
            assert one.scores[question].certainty == pytest.approx(other.scores[question].certainty, abs=1e-6)
            ranks = (group.candidates.scores[question] for group in (one, other))
            np.testing.assert_allclose(*ranks, atol=1e-6, rtol=0)
    for one, other in zip(expected.answers, passed.answers, strict=True):
        assert (one.answer_text, one.kept) == (other.answer_text, other.kept)
        assert one.answer_entropy == pytest.approx(other.answer_entropy, abs=1e-6)
    assert waits == {
        "launch": {FIRST, ROW_TOKEN} if "qwen3_5" in family else LAUNCH,
        "finish": FINISH,
        "retain": set(),
        "gather": GATHER,
        "answer": ANSWER,
    }, machine.journal.lines


@pytest.mark.parametrize(
    "family", ["qwen2_5_vl", "internvl", "qwen3_vl", "qwen3_vl_moe", "qwen3_5", "glm4v", "llava_onevision"]
)
def test_a_group_without_open_questions_is_queued_without_a_wait(family):
    _, _, by_stage = run_on_gpus(family, HALF, 1, questions=QUESTIONS[:2])
    assert by_stage["launch"] == set()
    assert by_stage["retain"] == set()
