import pytest
import torch

from tests.unit.models.tiny_checkpoint import save_tiny_checkpoint
from tests.unit.models.tiny_models import CASES, REPEATS, build_case, cases_of

# the light tests that a model runs by default though another one of its family runs all
FOR_EVERY_CASE = {
    "test_first_logits_and_options_of_a_padded_batch_equal_a_full_eager_forward_each",
    "test_all_tokens_of_a_clip_equal_the_stock_forward",
    "test_a_clips_prompt_equals_the_stock_processors_expansion",
    "test_every_tensor_equals_the_one_it_was_made_from",
}


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """A tiny Qwen2.5-VL checkpoint."""
    return save_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint"))


def pytest_generate_tests(metafunc):
    """Every model of every family; in a family's folder, its own."""
    given = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "case" in metafunc.fixturenames and "case" not in given:
        own = cases_of(metafunc.definition.path.parent.name)
        is_light = metafunc.function.__name__ in FOR_EVERY_CASE
        names = [
            pytest.param(name, marks=[pytest.mark.slow] if name in REPEATS and not is_light else [])
            for name in own or CASES
        ]
        metafunc.parametrize("case", names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def case(request):
    return build_case(request.param)


@pytest.fixture(scope="session")
def tokenizer(case):
    return case.tokenizer


@pytest.fixture(scope="session")
def features(case):
    return case.encode(case.adapter)


@pytest.fixture(scope="session")
def prefix(case, features):
    return case.prefill(case.adapter, features)


@pytest.fixture(scope="session")
def checkpoint(case, tmp_path_factory):
    """The stock model's folder as ``save_pretrained`` writes it."""
    folder = tmp_path_factory.mktemp(case.family)
    case.stock.save_pretrained(folder)
    case.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def first_logits(monkeypatch):
    """Logits from which the adapter chose its first response tokens, one entry per call."""
    import pipeline.models.final_pass as answering
    import pipeline.models.recurrent_prefix as recurrent
    import pipeline.models.shared_prefix as scoring

    seen: list[torch.Tensor] = []
    first_tokens = scoring.first_tokens

    def record(text, logits_BV, *arguments):
        seen.append(logits_BV)
        return first_tokens(text, logits_BV, *arguments)

    for module in (answering, recurrent, scoring):
        monkeypatch.setattr(module, "first_tokens", record)
    return seen
