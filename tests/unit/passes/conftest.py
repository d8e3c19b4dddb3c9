"""A model without weights: features tell frame and place, attention prefers late tokens, the answer is always B."""

import numpy as np
import pytest
import torch

from pipeline.models.interface import FrameGeometry, QuestionPrompt, Response


class FakeLaunch:
    def __init__(self, responses):
        self._responses = responses

    def read(self):
        return self._responses


class FakeModel:
    name, revision, frames_per_patch, num_layers, max_positions, feature_width = "fake", "0", 2, 2, 1_000, 1
    similarity_dim = 2
    device = torch.device("cpu")
    devices = (device,)

    def __init__(self, entropy=0.25):
        self.entropy, self.answered = entropy, []
        self.encoded = self.prefilled = 0
        self.batches = []

    def frame_geometry(self, height, width, *, min_pixels, max_pixels):
        return FrameGeometry(height=2, width=4, token_rows=1, token_columns=2)

    def build_question(self, question, options, *, response_tokens):
        option_ids = None if options is None else tuple(range(len(options)))
        return QuestionPrompt(suffix_ids=(1,), option_ids=option_ids, max_tokens=1 if options else response_tokens)

    def encode(self, frames_FHW3, geometry, *, batch_patches):
        """Token j of a patch: (value of the patch's first frame, j)."""
        self.encoded += 1
        values = torch.as_tensor(frames_FHW3)[::2, 0, 0, 0].float().repeat_interleave(2)
        places = torch.tensor([0.0, 1.0]).repeat(len(frames_FHW3) // 2)
        return torch.stack([values, places], dim=1)

    def prefill(self, features_ND, geometry, *, patch_s, center_s_P=None):
        self.prefilled += 1
        return features_ND, patch_s

    def launch(self, prefix, prompts, config):
        self.batches.append(tuple(prompt.suffix_ids for prompt in prompts))
        return FakeLaunch([self._respond(prompt, len(prefix[0]), config) for prompt in prompts])

    def score(self, prefix, prompts, config):
        return self.launch(prefix, prompts, config).read()

    def answer(self, tokens, prompt, *, positions, patch_s, max_tokens, config):
        self.answered.append((tokens, positions, patch_s, max_tokens, config.attention_reduce))
        return self._respond(prompt, len(tokens.features_KD), config)

    def _respond(self, prompt, num_tokens, config):
        return Response(
            text="b text",
            entropies=(self.entropy,),
            option_probabilities=(0.25, 0.75) if prompt.option_ids else None,
            attention_N=np.arange(1, num_tokens + 1, dtype=np.float32),
            letter_share=0.875 if prompt.option_ids else None,
        )


@pytest.fixture(scope="session")
def fake_model():
    return FakeModel
