import pytest
import torch

from tests.unit.models.tiny_checkpoint import save_tiny_checkpoint


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """A tiny Qwen2.5-VL checkpoint."""
    return save_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint"))
