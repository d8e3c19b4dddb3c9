"""Static generation against a growing cache that is read token by token: the same ids, however steps run."""

import logging
from functools import cache

import pytest
import torch

from pipeline.models import static_greedy
from pipeline.models.fast_paths import FastPaths
from pipeline.models.final_pass import run_final_pass
from pipeline.models.greedy import GrowingGreedy
from pipeline.models.interface import QuestionPrompt
from pipeline.models.shared_prefix import SharedPrefix, SharedPrefixScorer
from pipeline.models.slots import Slots
from pipeline.models.static_greedy import SHARED_MULTIPLE, StaticGreedy
from pipeline.models.text_model import TextModel
from pipeline.settings.config import ScoringConfig
from tests.cuda_on_cpu.graphs import REFUSED, capture
from tests.unit.models.tiny_models import BUILDERS

MOST = 64
CONFIG = ScoringConfig(reference_layer=0)
WAYS = {
    "every step": {"steps_per_read": 1},
    "four at once": {"steps_per_read": 4},
    "seven at once, captured": {"steps_per_read": 7, "capture": capture},
}


class Ids:
    """A tokenizer that shows the ids themselves."""

    def decode(self, ids, **_):
        return " ".join(map(str, ids))


@pytest.fixture(scope="module")
def text():
    """A small language model that talks without falling into a loop at once."""
    stock, _ = BUILDERS["qwen2_5_vl"]()
    torch.manual_seed(7)
    for parameter in stock.model.language_model.parameters():
        if parameter.dim() == 2:
            parameter.data = torch.randn_like(parameter) * 0.4
    stock.set_attn_implementation("adapttoken_probed")
    model = TextModel(stock.eval().requires_grad_(False), Ids())
    model.end_ids = frozenset()
    return model


@pytest.fixture
def end_with(text):
    """Ends responses with a token, until the test is over."""

    def set_end(*ids):
        text.end_ids = frozenset(ids)

    yield set_end
    text.end_ids = frozenset()


@cache
def say_usually(text, length, end_ids, most):
    return say(text, length, GrowingGreedy(), most=most)


def say(text, length, greedy, *, most=MOST):
    """The ids of a final pass over random tokens, and their entropies."""
    if greedy is None:
        return say_usually(text, length, text.end_ids, most)
    embeddings = torch.randn(length, text._embed.embedding_dim, generator=torch.Generator().manual_seed(length))
    prompt = QuestionPrompt(suffix_ids=(1,), option_ids=None, max_tokens=most)
    response = run_final_pass(
        text,
        embeddings,
        torch.arange(length),
        prompt,
        CONFIG,
        visual=slice(0, 1),
        next_position=length,
        paths=FastPaths(greedy=greedy),
    )
    return [int(word) for word in response.text.split()], response.entropies


@pytest.mark.parametrize(
    ("length", "way"),
    [
        pytest.param(5, "every step", marks=pytest.mark.slow),
        (5, "seven at once, captured"),
        (SHARED_MULTIPLE, "seven at once, captured"),
        (SHARED_MULTIPLE + 30, "every step"),
        pytest.param(SHARED_MULTIPLE + 30, "four at once", marks=pytest.mark.slow),
    ],
)
def test_sixty_four_tokens_are_those_of_a_growing_cache_with_and_without_an_end(text, end_with, way, length):
    greedy = StaticGreedy(**WAYS[way])
    ids, entropies = say(text, length, None)
    assert len(ids) == MOST
    assert len(set(ids)) > 4  # a loop of few tokens would say little
    said, own = say(text, length, greedy)
    assert said == ids
    assert own == pytest.approx(entropies, abs=2e-5)
    end = max(set(ids[: MOST // 2]), key=ids.index)  # the one of the first half that comes last for the first time
    assert ids.index(end) > 4
    end_with(end)
    assert say(text, length, None)[0] == ids[: ids.index(end) + 1]
    said, own = say(text, length, greedy)
    assert said == ids[: ids.index(end) + 1]
    assert len(own) == len(said)
    end_with(ids[0])
    assert say(text, length, greedy)[0] == ids[:1]


@pytest.mark.parametrize(
    "way", [pytest.param("every step", marks=pytest.mark.slow), "four at once", "seven at once, captured"]
)
def test_questions_of_a_batch_end_at_different_tokens(text, end_with, way):
    greedy = StaticGreedy(**WAYS[way])

    def ask(greedy):
        cache, length = text.new_cache(), SHARED_MULTIPLE + 14
        torch.manual_seed(3)
        text.run(torch.randn(length, text._embed.embedding_dim), torch.arange(length), cache=cache)
        prefix = SharedPrefix.of_cache(cache, visual=slice(3, 20), length=length, next_position=length)
        lengths = (3, 9, 1, 6)  # the third is multiple choice and says nothing more
        prompts = [
            QuestionPrompt(
                suffix_ids=tuple(range(2 + row, 2 + row + length)),
                option_ids=(4, 5) if row == 2 else None,
                max_tokens=1 if row == 2 else MOST - row,
            )
            for row, length in enumerate(lengths)
        ]
        paths = FastPaths(greedy=greedy) if greedy else FastPaths()
        responses = SharedPrefixScorer(text, paths).launch(prefix, prompts, CONFIG).read()
        return [response.text for response in responses], [len(response.entropies) for response in responses]

    whole, lengths = ask(None)
    assert lengths == [MOST, MOST - 1, 1, MOST - 3]
    assert ask(greedy) == (whole, lengths)
    ids = whole[1].split()
    end_with(int(ids[len(set(ids)) // 2]))
    expected = ask(None)
    assert len(set(expected[1])) > 2  # they do end at different tokens
    assert ask(greedy) == expected


def test_a_captured_step_is_used_again_for_rows_of_like_length_and_made_anew_for_longer_ones(text):
    captures = []

    def counted(step):
        captures.append(step)
        return capture(step)

    greedy = StaticGreedy(steps_per_read=4, capture=counted)
    # 300 and 310 are 256 and a rest; beyond 1,024 shared tokens memory moves, and all that was captured with it
    for length, expected in [(300, 1), (310, 1), (20, 2), (300, 2), (1_290, 3), (310, 4)]:
        assert say(text, length, greedy, most=9)[0] == say(text, length, None, most=9)[0]
        assert len(captures) == expected


@pytest.mark.parametrize(("own", "most"), [(61, 2), (62, 2), (63, 2), (0, 2), (60, 4)])
def test_steps_before_capture_stay_within_the_slots(text, own, most):
    greedy = StaticGreedy(steps_per_read=4, capture=capture)
    length = SHARED_MULTIPLE + own
    assert say(text, length, greedy, most=most)[0] == say(text, length, None, most=most)[0]
    assert greedy._capture is capture


def test_a_step_that_asks_the_host_runs_as_it_is_and_says_so(text, monkeypatch, caplog):
    step = Slots.step

    def asking(slots):
        step(slots)
        slots._row.item()

    monkeypatch.setattr(Slots, "step", asking)
    greedy = StaticGreedy(steps_per_read=4, capture=capture)
    with caplog.at_level(logging.WARNING):
        assert say(text, 30, greedy)[0] == say(text, 30, None)[0]
    assert greedy._capture is None
    (record,) = caplog.records
    assert record.getMessage().startswith(f"open answers are generated without CUDA graphs: {REFUSED}")


def test_a_step_that_plays_something_else_runs_as_it_is_and_says_so(text, caplog):
    """A number of the host in a step is captured as it was: here the first step's position."""

    def forgetful(step):
        played = capture(step)
        slots = step.__self__
        return lambda: (slots._positions_B.fill_(0), played())

    greedy = StaticGreedy(steps_per_read=4, capture=forgetful)
    assert say(text, 30, greedy)[0] == say(text, 30, None)[0]
    assert "it plays other tokens than it was captured from" in caplog.text


def test_rows_beyond_the_trained_context_of_dynamic_scaling_are_not_captured(text, monkeypatch):
    monkeypatch.setattr(TextModel, "is_scaled", lambda model, num_positions: num_positions > 40)
    captures = []
    greedy = StaticGreedy(capture=lambda step: captures.append(step) or capture(step))
    say(text, 30, greedy, most=4)
    assert captures == []
    monkeypatch.setattr(TextModel, "is_scaled", lambda model, num_positions: False)
    say(text, 30, greedy, most=4)
    assert len(captures) == 1


def test_few_captured_steps_are_kept(text, monkeypatch):
    monkeypatch.setattr(static_greedy, "_KEPT", 2)
    greedy = StaticGreedy(capture=capture)
    for length in (600, 300, 20, 600):
        say(text, length, greedy, most=4)
        assert len(greedy._captured) <= 2
    slots = [of_shape._own[0][0].shape for of_shape, _ in greedy._captured.values()]
    assert len(slots) == 2
    held = greedy._arena[0][0].shape[2] + sum(shape[0] * shape[2] for shape in slots)
    assert held <= static_greedy.count_held(600, 1, 1 + 4)  # what is planned for
