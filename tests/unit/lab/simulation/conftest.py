from collections.abc import Callable
from dataclasses import replace

import pytest

from pipeline.lab.simulation.settings import CoordinatorTimes, SimulationSettings, StageTimes

FREE = CoordinatorTimes(
    latency_s=0.0, call_s=0.0, record_s=0.0, reference_s=0.0, decision_s=0.0, poll_s=10.0, long_poll_s=1_000.0
)
EXACT = StageTimes(
    encode_s=1.0,
    prefill_s=2.0,
    question_s=0.5,
    fetch_s=0.25,
    gather_s=0.125,
    answer_s=4.0,
    probe_s=3.0,
    demux_frame_s=0.0,
    decode_frame_s=1 / 64,
    wanted_frame_s=1 / 32,
    spread=0.0,
)


@pytest.fixture
def make_settings() -> Callable[..., SimulationSettings]:
    """Small videos, exact times, a coordinator that costs nothing, but for what is changed."""
    plain = SimulationSettings(
        num_videos=1,
        num_frames=128,
        num_questions=1,
        frames_decoded_per_wanted=1,
        gop_frames=32,
        num_gpus=1,
        num_answerers=0,
        decode_cores_per_gpu=1.0,
        groups_in_hand=1,
        gpus_per_node=2,
        mean_stop_groups=2.5,
        times=EXACT,
        coordinator=FREE,
    )
    return lambda **changes: replace(plain, **changes)
