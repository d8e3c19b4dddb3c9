"""What of a scorer's frames lies on its GPU, and what happens where decoding fails: threads and room, no GPU."""

import threading
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.failures import FailureClass, PipelineError
from pipeline.passes import device_frames
from pipeline.passes.device_frames import DeviceFrames, ReadStretch
from pipeline.passes.group_pass import assemble_frames, assemble_on_device
from pipeline.settings.config import ExecutionConfig, RunConfig
from pipeline.settings.sources import ReadingConfig
from pipeline.video.undecoded import Undecoded

STRETCH_BYTES = 2 * 10 * 10 * 3
CONFIG = RunConfig(execution=ExecutionConfig(frame_buffer_bytes=3 * STRETCH_BYTES))


def stretch(number):
    return Undecoded(
        uri="/v.mp4",
        fingerprint="f",
        probe="probe",
        frame_indices=np.array([number, number + 1]),
        size=(10, 10),
    )


class FakeSession:
    """Each reading is noted; some hang until they are let go, some fail."""

    read_now: list[int]
    hangs: dict[int, threading.Event]
    fails: dict[int, BaseException]
    closed: list[object]

    def __init__(self, device, config, storage_options):
        pass

    def read(self, wanted, probe):
        assert probe == "timeline of probe"
        number = int(wanted.frame_indices[0])
        self.read_now.append(number)
        if number in self.hangs:
            self.hangs[number].wait(60)
        if number in self.fails:
            raise self.fails[number]
        return ReadStretch(frames=torch.full((1,), number), decoder="nvdec", num_frames_decoded=2)

    def close(self):
        self.closed.append(self)


@pytest.fixture
def session(monkeypatch):
    empty = {"read_now": [], "hangs": {}, "fails": {}, "closed": []}
    session = type("Session", (FakeSession,), empty)
    monkeypatch.setattr(device_frames, "DecodingSession", session)
    yield session
    for event in session.hangs.values():
        event.set()


@pytest.fixture
def frames(session):
    found = make_frames()
    yield found
    found.close()


def make_frames(config=CONFIG):
    return DeviceFrames(torch.device("cuda"), config, timeline=lambda ref: f"timeline of {ref}")


def take(frames, *numbers, owner="v"):
    return [(int(read.frames), is_new) for read, is_new in frames.take([stretch(n) for n in numbers], owner=owner)]


def test_a_stretch_is_decoded_once_for_all_groups_and_counted_with_the_first(frames, session):
    assert take(frames, 10, 20) == [(10, True), (20, True)]
    assert take(frames, 20, 10, 30) == [(20, False), (10, False), (30, True)]
    assert sorted(session.read_now) == [10, 20, 30]


def test_room_is_made_of_what_was_used_longest_ago_and_never_of_what_is_asked_for(frames, session):
    take(frames, 10, 20, 30)
    take(frames, 10)
    take(frames, 40)
    session.read_now.clear()
    assert take(frames, 10, 30, 40) == [(10, False), (30, False), (40, False)]
    assert session.read_now == []
    assert take(frames, 10, 20, 30, 40)[1] == (20, True), "a group larger than the room is still a group"


def test_what_will_be_asked_for_is_begun_only_where_there_is_room(frames, session):
    frames.expect([stretch(10), stretch(20), stretch(30), stretch(40)], owner="v")
    assert take(frames, 10, 20, 30) == [(10, True), (20, True), (30, True)]
    assert sorted(session.read_now) == [10, 20, 30]


def test_a_video_that_is_over_leaves_nothing(frames, session):
    take(frames, 10, owner="one")
    take(frames, 20, owner="other")
    frames.release("one")
    assert take(frames, 10, 20) == [(10, True), (20, False)]


def test_what_could_not_be_read_is_tried_again_and_costs_the_others_nothing(frames, session):
    session.fails[20] = PipelineError(FailureClass.TRANSFER, "away")
    take(frames, 10)
    with pytest.raises(PipelineError, match="away"):
        take(frames, 10, 20)
    session.fails.clear()
    assert take(frames, 10, 20) == [(10, False), (20, True)]


@pytest.mark.parametrize("error", [MemoryError("NVDEC: out of memory"), torch.OutOfMemoryError("CUDA out of memory")])
def test_where_memory_is_short_all_frames_make_room_for_the_next_try(frames, session, error):
    take(frames, 10)
    session.fails[20] = error
    with pytest.raises(type(error)):
        take(frames, 20)
    session.fails.clear()
    assert take(frames, 10, 20) == [(10, True), (20, True)]


def test_a_decoder_that_hangs_fails_its_video_in_time_and_others_are_decoded_after_it(session):
    session.hangs[20] = threading.Event()
    frames = make_frames(replace(CONFIG, reading=ReadingConfig(decode_timeout_s=0.2)))
    with pytest.raises(PipelineError, match=r"/v.mp4: decoding a stretch on the GPU took more than 0.2 s") as caught:
        take(frames, 20)
    assert caught.value.failure_class is FailureClass.DECODE_TIMEOUT
    assert len(session.closed) == 1
    assert take(frames, 10) == [(10, True)]
    frames.close()


def test_a_model_on_the_cpu_is_refused():
    with pytest.raises(PipelineError, match=r"needs the model on a GPU, it is on cpu; use 'auto'"):
        DeviceFrames(torch.device("cpu"), CONFIG, timeline=str)


@given(data=st.data(), num_frames=st.integers(1, 12))
def test_stretches_on_a_device_fill_a_group_as_those_of_the_host_do(data, num_frames):
    order = data.draw(st.permutations(range(num_frames)))
    cuts = sorted({0, num_frames, *data.draw(st.lists(st.integers(0, num_frames)))})
    pieces = []
    for start, stop in pairwise(cuts):
        slots = np.array(order[start:stop])
        pixels = np.random.default_rng(start).integers(0, 256, (stop - start + 1, 2, 2, 3), dtype=np.uint8)
        rows = np.array(data.draw(st.lists(st.integers(0, stop - start), min_size=len(slots), max_size=len(slots))))
        pieces.append((slots, rows, pixels))
    on_device = [(slots, rows, torch.from_numpy(pixels)) for slots, rows, pixels in pieces]
    found = assemble_on_device(on_device, num_frames=num_frames)
    np.testing.assert_array_equal(found.numpy(), assemble_frames(pieces, num_frames=num_frames).numpy())
