import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Tiny models only wait for each other's threads."""
    torch.set_num_threads(1)
