"""Seconds by stage of a model over several GPUs, with events whose device time is known."""

from types import SimpleNamespace

import pytest
import torch

from pipeline.models.devices.timer import DeviceTimer


class Streams:
    """Each GPU's stream with the time up to which it is busy."""

    def __init__(self, num_gpus):
        self.busy_until_s = dict.fromkeys(range(num_gpus), 0.0)

    def current_stream(self, device):
        def wait_event(event):
            self.busy_until_s[device.index] = max(self.busy_until_s[device.index], event.at_s)

        return SimpleNamespace(index=device.index, wait_event=wait_event)

    def event(self, enable_timing=False):
        event = SimpleNamespace(at_s=None, synchronize=lambda: None)
        event.record = lambda stream: setattr(event, "at_s", self.busy_until_s[stream.index])
        event.elapsed_time = lambda other: 1_000 * (other.at_s - event.at_s)
        return event

    def work(self, *seconds):
        """One GPU after the other."""
        at_s = 0.0
        for gpu, duration_s in enumerate(seconds):
            at_s = self.busy_until_s[gpu] = max(at_s, self.busy_until_s[gpu]) + duration_s


@pytest.mark.parametrize("num_gpus", [1, 2, 3])
def test_a_stage_lasts_from_the_first_gpu_to_the_last(monkeypatch, num_gpus):
    streams = Streams(num_gpus)
    monkeypatch.setattr(torch.cuda, "Event", streams.event)
    monkeypatch.setattr(torch.cuda, "current_stream", streams.current_stream)
    timer = DeviceTimer([torch.device("cuda", index) for index in range(num_gpus)])
    with timer.stage("encode"):
        streams.work(2.0)
    with timer.stage("prefill"):
        streams.work(*[4.0] * num_gpus)
    assert timer.seconds() == pytest.approx({"encode": 2.0, "prefill": 4.0 * num_gpus, "score": 0.0})
