from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pipeline.demo.archive import ArchiveSpec, write_archive
from pipeline.failures import PipelineError
from pipeline.lab.layer_probe.hit_rates import rate_layers
from pipeline.lab.layer_probe.measure import read_video
from pipeline.models.attention_probe import AttentionProbe, probed_attention
from pipeline.models.interface import FrameGeometry
from pipeline.settings.config import RunConfig, SamplingConfig, ScoringConfig

SPEC = ArchiveSpec(num_frames=(280, 300), questions_per_video=2, seed=9, distractor_share=0.0)
GEOMETRY = FrameGeometry(height=60, width=80, token_rows=3, token_columns=4)


class PlantedModel:
    """Looks at saturated colours, which only objects have, at one layer, and anywhere at the others."""

    name, revision, frames_per_patch, num_layers, max_positions = "planted", "0", 2, 5, 10_000
    feature_width = similarity_dim = 1
    device = torch.device("cpu")
    devices = (device,)

    def __init__(self, planted_layer, *, layers_run=5):
        self.planted_layer, self.layers_run = planted_layer, layers_run
        self.num_encoded = self.num_prefilled = 0
        self.batches = []

    def frame_geometry(self, height, width, *, min_pixels, max_pixels):
        return GEOMETRY

    def build_question(self, question, options, *, response_tokens):
        return question, options

    def encode(self, frames_FHW3, geometry, *, batch_patches):
        self.num_encoded += 1
        saturation = np.ptp(frames_FHW3.astype(np.float32), axis=-1) / 255
        blocks = saturation.reshape(-1, 2, 3, 20, 4, 20)  # patch, frame, token row, pixel, token column, pixel
        return torch.from_numpy(blocks.mean(axis=(1, 3, 5)).reshape(-1, 1))

    def prefill(self, features_ND, geometry, *, patch_s, center_s_P):
        assert len(center_s_P) * geometry.tokens_per_patch == len(features_ND)
        self.num_prefilled += 1
        return features_ND

    def launch(self, prefix, prompts, config):
        self.batches.append(tuple(prompts))
        probe = AttentionProbe(
            layer=config.reference_layer,
            segments=[(question, question + 1) for question in range(len(prompts))],
            visual=slice(0, len(prefix)),
            reduce="max",
        )
        for layer in range(self.layers_run):
            random = torch.rand(prefix.shape, generator=torch.Generator().manual_seed(layer))
            keys = prefix if layer == self.planted_layer else random
            keys = torch.cat([keys, torch.zeros(1, 1)])[None, None]
            query = torch.ones(1, 1, len(prompts), 1)
            mask = torch.ones(1, 1, len(prompts), keys.shape[2], dtype=torch.bool)
            module = SimpleNamespace(layer_idx=layer, num_key_value_groups=1, is_causal=True, training=False)
            probed_attention(module, query, keys, keys, mask, scaling=3.0, attention_probe=probe)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return write_archive(tmp_path_factory.mktemp("needles"), SPEC)


def config(**sampling):
    return RunConfig(sampling=SamplingConfig(**sampling), scoring=ScoringConfig(reference_layer=0, question_batch=1))


def read_all(model, manifest, run_config, **options):
    return [
        reading
        for video in range(2)
        for reading in read_video(model, manifest, SPEC, run_config, video=video, **options)
    ]


@pytest.mark.parametrize("planted_layer", [0, 3])
def test_the_layer_that_looks_at_needles_is_found(tmp_path, planted_layer):
    spec = ArchiveSpec(num_frames=(150,) * 4, questions_per_video=1, seed=9, distractor_share=0.0)
    manifest = write_archive(tmp_path, spec)
    model = PlantedModel(planted_layer)
    rates = rate_layers([r for video in range(4) for r in read_video(model, manifest, spec, config(), video=video)])
    assert rates.reference_layer == planted_layer
    assert rates.layers[planted_layer].top_rate > 0.9
    others = [rate.hit_rate for rate in rates.layers if rate.layer != planted_layer]
    assert max(others) < rates.chance + 0.15
    assert rates.layers[planted_layer].hit_rate > max(others) + 0.3
    assert (rates.num_videos, rates.num_questions) == (4, 4)


def test_each_group_with_a_needle_is_encoded_and_prefilled_once_and_asked_only_about_it(manifest):
    model = PlantedModel(1)
    readings = read_video(model, manifest, SPEC, config(), video=0)
    assert model.num_encoded == model.num_prefilled <= 5  # 280 frames in groups of 64
    assert len(model.batches) == len(readings)  # question_batch is 1
    assert all(
        reading.shows_N.any() and reading.attention_LN.shape == (5, len(reading.shows_N)) for reading in readings
    )


@pytest.mark.parametrize("groups_per_question", [1, 2])
def test_at_most_so_many_groups_are_read_per_question(manifest, groups_per_question):
    readings = read_all(PlantedModel(1), manifest, config(), groups_per_question=groups_per_question)
    counts = np.unique([2 * reading.video + reading.question for reading in readings], return_counts=True)[1]
    assert counts.tolist() == [groups_per_question] * 4


def test_a_video_whose_sampled_frames_miss_its_needles_gives_no_reading(manifest):
    model = PlantedModel(1)
    assert read_all(model, manifest, config(max_frames=1)) == []
    assert model.num_encoded == 0


def test_a_model_that_hides_a_layer_is_refused(manifest):
    with pytest.raises(PipelineError, match=r"has 5 layers, of which \[0, 1, 2\] could be read; .*docs/models.md"):
        read_video(PlantedModel(1, layers_run=3), manifest, SPEC, config(), video=0)


def test_an_archive_with_more_encoded_frames_is_refused(manifest):
    spec = ArchiveSpec(num_frames=(280,), questions_per_video=2, seed=9, encoded_frames_per_sample=2)
    with pytest.raises(ValueError, match="encoded_frames_per_sample must be 1 for the probe, got 2"):
        read_video(PlantedModel(1), manifest, spec, config(), video=0)
