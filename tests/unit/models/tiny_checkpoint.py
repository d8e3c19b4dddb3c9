"""A tiny Qwen2.5-VL checkpoint as ``save_pretrained`` writes it."""

from pipeline.lab.demo_training.architecture import build_demo_model
from pipeline.lab.demo_training.vocabulary import build_tokenizer


def save_tiny_checkpoint(folder, *, seed=2):
    tokenizer = build_tokenizer()
    build_demo_model(tokenizer, seed=seed).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
