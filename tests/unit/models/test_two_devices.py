"""A model spread over two devices: no operation mixes tensors of both, as CUDA would refuse it.

The later layers and the head lie on the meta device, which computes shapes only; the host takes zeros for what it would
read back from there. Borders are hooks, as accelerate puts them there.
"""

import copy
from itertools import product
from types import SimpleNamespace

import accelerate
import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pipeline.lab.layer_probe import measure
from pipeline.manifest.questions import Question
from pipeline.models import generation, recurrent_prefix, responses
from pipeline.models.devices.map import module_devices
from pipeline.models.devices.memory_plan import measure_model
from pipeline.models.interface import FinalTokens
from pipeline.models.registry import FAMILIES
from pipeline.settings.config import RunConfig, ScoringConfig
from tests.unit.models.tiny_models import BUILDERS

# whose layers another family of the list has too; and those of which one way to rank is enough by default
REPEATED, ONCE = {"qwen3_5_moe", "glm4v", "glm46v"}, {"qwen3_5", "glm4v_moe", "llava_onevision"}
_COPIES = {torch.ops.aten._to_copy, torch.ops.aten.copy_}


class OneDeviceAtATime(TorchDispatchMode):
    """Refuses operations on tensors of both devices; CUDA lets pass copies and host scalars without dimensions."""

    def __init__(self):
        super().__init__()
        self.devices = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        devices = {tensor.device for tensor in tensors if tensor.ndim or tensor.is_meta}
        assert func.overloadpacket in _COPIES or len(devices) < 2, f"{func} on tensors of {devices}"
        self.devices |= devices
        return func(*args, **(kwargs or {}))


class Zeros(responses.Download):
    """Reads zeros from the second device."""

    def __init__(self, *tensors):
        super().__init__(*(torch.zeros(t.shape, dtype=t.dtype) if t.is_meta else t for t in tensors))


@pytest.fixture(autouse=True)
def zeros_from_the_second_device(monkeypatch):
    for module in (generation, measure, recurrent_prefix, responses):
        monkeypatch.setattr(module, "Download", Zeros)


def spread(family):
    """The last layer and the head on the second device."""
    row = FAMILIES[family]
    stock, tokenizer = BUILDERS[family]()
    stock = copy.deepcopy(stock)
    if "moe" in family:
        stock.to(torch.bfloat16)  # all that the kernel for experts takes on the meta device
    size = measure_model(row.architecture, stock.config)
    stock.set_attn_implementation(dict(row.attention))
    names = {0: torch.device("cpu"), 1: torch.device("meta")}
    places = module_devices(size, (len(size.layers) - 1, 1))
    accelerate.dispatch_model(
        stock,
        {part: names[number] for part, number in places.items()},
        main_device="cpu",
        force_hooks=True,
        skip_keys=stock._skip_keys_device_placement,
    )
    own = dict(stock.named_parameters())
    for part, number in places.items():
        if part not in own:  # a parameter of the model itself stays with the first device
            stock.get_submodule(part).to(names[number])
    return row.build(stock, tokenizer, name="tiny", revision="0")


def ways():
    """Family, which queries, and the layer that ranks: on the first device, or on the second."""
    for family, query_tokens, layer in product(sorted(FAMILIES), ("text", "last-token"), (1, -1)):
        is_slow = family in REPEATED or (family in ONCE and (query_tokens, layer) != ("text", -1))
        name = f"{family}-{query_tokens}-rank-of-{'first' if layer == 1 else 'second'}-device"
        marks = [pytest.mark.slow] if is_slow else []
        yield pytest.param(family, query_tokens, layer, id=name, marks=marks)


@pytest.mark.parametrize(("family", "query_tokens", "layer"), [*ways()])
def test_no_operation_mixes_devices(family, query_tokens, layer):
    model = spread(family)
    config = ScoringConfig(reference_layer=layer % model.num_layers, query_tokens=query_tokens)
    geometry = model.frame_geometry(168, 140, min_pixels=2_000, max_pixels=30_000)
    shape = (4 * model.frames_per_patch, geometry.height, geometry.width, 3)
    frames = np.zeros(shape, dtype=np.uint8)
    with OneDeviceAtATime() as watch:
        features = model.encode(frames, geometry, batch_patches=3)
        prefix = model.prefill(features, geometry, patch_s=1.0, center_s_P=np.arange(4) + 0.25)
        prompts = [
            model.build_question("What color is the circle ?", options, response_tokens=3)
            for options in (("red", "blue"), None, ("red", "blue", "green"))
        ]
        scored = model.score(prefix, prompts, config)
        kept = np.arange(0, len(features), 2)
        patch_K, place_K = np.divmod(kept, geometry.tokens_per_patch)
        tokens = FinalTokens(
            features_KD=features[torch.from_numpy(kept)],
            patch_K=patch_K,
            time_s_K=patch_K.astype(np.float64),
            row_K=place_K // geometry.token_columns,
            column_K=place_K % geometry.token_columns,
            geometry=geometry,
        )
        answer = model.answer(tokens, prompts[1], positions="compact", patch_s=1.0, max_tokens=3, config=config)
    assert {device.type for device in watch.devices} == {"cpu", "meta"}
    assert [len(response.attention_N) for response in scored] == [len(features)] * 3
    assert len(answer.entropies) == 3


def test_the_layer_probe_reads_layers_of_both_devices():
    model = spread("qwen2_5_vl")
    geometry = model.frame_geometry(168, 140, min_pixels=2_000, max_pixels=30_000)
    plan = SimpleNamespace(
        geometry=geometry, centers_of=lambda patches: patches + 0.25, groups=[np.arange(2)], group_indices=(0,)
    )
    frames = np.zeros((2 * model.frames_per_patch, geometry.height, geometry.width, 3), dtype=np.uint8)
    text, options = "What color is the circle ?", ("red", "blue")
    asked = {7: Question(question_id="7", video="v", text=text, options=options, row_index=7)}
    config = RunConfig(scoring=ScoringConfig(reference_layer=1))
    ((question, attention_LN),) = measure._read_group(model, frames, plan, 0, asked, config)
    assert question == 7
    assert attention_LN.shape == (model.num_layers, 2 * geometry.tokens_per_patch)
    assert attention_LN[:-1].min() > 0
    assert not attention_LN[-1].any()
