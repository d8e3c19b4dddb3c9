import math

import numpy as np
import pytest
import torch

from pipeline.lab.demo_training.event_examples import EventExampleMaker
from pipeline.lab.demo_training.event_styles import CLEAR_STRIDES, EventStyle
from pipeline.lab.demo_training.question_text import TextMaker
from pipeline.lab.demo_training.timing_probe import TimingProbe


@pytest.fixture(scope="module")
def examples(noise_pool, tokenizer):
    maker = EventExampleMaker(noise_pool, TextMaker(tokenizer), num_questions=1)
    style = EventStyle(view="final", num_tokens=30, event_strides=CLEAR_STRIDES)
    rng = np.random.default_rng(8)
    return [maker.make(rng, style) for _ in range(3)]


def places_of(example):
    order = {position: index for index, position in enumerate(sorted(set(example.temporal_N.tolist())))}
    return [order[position] / 32 for position in example.temporal_N.tolist()]


def test_a_blind_probe_pays_for_every_place_and_run(examples):
    probe = TimingProbe(hidden_size=4)
    torch.nn.init.zeros_(probe._place.bias)
    torch.nn.init.zeros_(probe._run.bias)
    hidden = [torch.zeros(3, 40, 4)] * 3
    squares = np.square([places_of(example) for example in examples])
    wanted = squares.mean() + math.log(4)
    assert probe.loss(examples, hidden, start=5).item() == pytest.approx(wanted, rel=1e-5)


def test_hidden_states_that_tell_place_and_run_cost_nothing(examples):
    probe = TimingProbe(hidden_size=5)
    with torch.no_grad():
        probe._place.weight.copy_(torch.tensor([[1.0, 0, 0, 0, 0]]))
        probe._run.weight.copy_(torch.eye(5)[1:] * 50)
        for layer in (probe._place, probe._run):
            layer.bias.zero_()
    told = torch.zeros(3, 40, 5)
    for row, example in enumerate(examples):
        told[row, 5:35, 0] = torch.tensor(places_of(example))
        for column, number in enumerate(example.run_N):
            told[row, 5 + column, 1 + max(0, int(number))] = 1.0
    assert probe.loss(examples, [torch.zeros(3, 40, 5)] * 2 + [told], start=5).item() == pytest.approx(0.0, abs=1e-6)
