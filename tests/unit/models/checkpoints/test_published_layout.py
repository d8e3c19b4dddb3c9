"""Every family's tiny models, in folders laid out as its published checkpoints are."""

import copy
import json
import shutil

import pytest
import torch

from pipeline.models.loading import describe_model, load_model
from pipeline.models.registry import FAMILIES
from pipeline.settings.config import ModelConfig, ScoringConfig
from tests.unit.models.checkpoints.published_layout import RENAMED, end_tokens, tie_head, write_published
from tests.unit.models.tiny_models import CASES


@pytest.fixture(scope="session")
def rounded(case):
    """The stock model with the weights that bfloat16 can hold."""
    model = copy.deepcopy(case.stock)
    with torch.no_grad():
        for parameter in model.parameters():  # and no buffer: rotary frequencies stay what they are
            parameter.copy_(parameter.bfloat16())
    return model


@pytest.fixture(scope="session")
def published(case, rounded, tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    return folder, write_published(folder, rounded, case.tokenizer)


@pytest.fixture(scope="session")
def loaded(published):
    return load_model(ModelConfig(model=str(published[0])), device="cpu")


def test_every_registered_family_has_a_published_layout():
    assert set(RENAMED) == set(FAMILIES) == {name.partition("-")[0] for name in CASES}


def test_names_and_settings_are_those_of_the_release(case, published):
    folder, names = published
    tops = {
        "qwen2_5_vl": {"lm_head", "model", "visual"},
        "internvl": {"language_model", "multi_modal_projector", "vision_tower"},
        "qwen3_5": {"lm_head", "model", "mtp"},
        "qwen3_5_moe": {"lm_head", "model", "mtp"},
        "llava_onevision": {"image_newline", "language_model", "multi_modal_projector", "vision_tower"},
    }
    assert {name.partition(".")[0] for name in names} == tops.get(case.family, {"lm_head", "model"})
    config = json.loads((folder / "config.json").read_text())
    assert ("hidden_size" in config) == ("text_config" not in config) == (case.family == "qwen2_5_vl")
    assert ("tie_word_embeddings" in json.dumps(config)) == (case.family != "internvl")
    assert len(list(folder.glob("*.safetensors"))) == 2


def test_every_tensor_equals_the_one_it_was_made_from(case, rounded, published, loaded):
    ours, expected = loaded._model.state_dict(), rounded.state_dict()
    assert ours.keys() == expected.keys()
    names = [name for name in published[1] if not name.startswith("mtp.")]  # layers that nobody loads
    is_apart = any(".experts.0." in name for name in names)  # a tensor per expert
    assert is_apart or len(names) == len(expected)
    different = [name for name in expected if not torch.equal(ours[name], expected[name])]
    assert different == []
    assert ours["lm_head.weight"].data_ptr() != ours["model.language_model.embed_tokens.weight"].data_ptr()
    assert not torch.equal(ours["lm_head.weight"], ours["model.language_model.embed_tokens.weight"])


def test_a_small_size_without_an_output_head_uses_its_embedding(case, rounded, published, tmp_path):
    folder = shutil.copytree(published[0], tmp_path / "small")
    tie_head(folder)
    assert describe_model(ModelConfig(model=str(folder))).family == case.family
    ours = load_model(ModelConfig(model=str(folder)), device="cpu")._model.state_dict()
    expected = rounded.state_dict() | {"lm_head.weight": rounded.get_input_embeddings().weight}
    assert [name for name in expected if not torch.equal(ours[name], expected[name])] == []
    assert ours["lm_head.weight"].data_ptr() == ours["model.language_model.embed_tokens.weight"].data_ptr()


def test_the_configuration_says_what_the_one_it_was_made_from_says(case, published, loaded):
    identity = describe_model(ModelConfig(model=str(published[0])))
    assert identity.family == case.family
    assert identity.layout == FAMILIES[case.family].read_layout(case.stock.config)
    ours, expected = loaded._model.config.text_config, case.stock.config.text_config
    rope = {name: value for name, value in ours.rope_parameters.items() if name != "type"}  # an old name, kept beside
    assert rope == expected.rope_parameters
    seen, expected = (model.config.vision_config.to_dict() for model in (loaded._model, case.stock))
    empty = {"deepstack_visual_indexes": []} if case.family.startswith("qwen3_5") else {}  # a field without a meaning
    assert seen.keys() == expected.keys() | empty.keys()
    ends = {case.tokenizer.convert_tokens_to_ids(token) for token in end_tokens(case.family)}
    assert loaded._text.end_ids == ends


def test_it_answers_greedily_with_the_vision_template_whatever_generation_config_says(case, rounded, loaded):
    rounded.generation_config.eos_token_id = sorted(loaded._text.end_ids)
    original = case.as_adapter(rounded)
    config = ScoringConfig(reference_layer=case.layer)
    expected, actual = (
        model.score(case.prefill(model, case.encode(model)), case.prompts(model), config)
        for model in (original, loaded)
    )
    assert case.prompts(original) == case.prompts(loaded)
    for one, two in zip(expected, actual, strict=True):
        assert one.text == two.text
        assert two.entropies == pytest.approx(one.entropies, abs=1e-5)
        assert two.option_probabilities == (
            one.option_probabilities and pytest.approx(one.option_probabilities, abs=1e-6)
        )
        assert two.attention_N == pytest.approx(one.attention_N, abs=1e-6)
