import pytest
import torch

from pipeline.demo.architecture import build_demo_model
from pipeline.demo.vocabulary import build_tokenizer


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """A tiny Qwen2.5-VL checkpoint."""
    folder = tmp_path_factory.mktemp("checkpoint")
    tokenizer = build_tokenizer()
    build_demo_model(tokenizer, seed=2).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
