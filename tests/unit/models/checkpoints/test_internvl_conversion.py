"""Original InternVL folders, converted: every tensor, the tokens, the prompt and a forward pass against stock."""

import copy
import json
import shutil

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from jobs import convert_internvl as job
from pipeline.models.checkpoints.files import CheckpointError
from pipeline.models.checkpoints.internvl_original import convert
from pipeline.models.checkpoints.internvl_original.convert import convert_internvl
from pipeline.models.loading import describe_model, load_model
from pipeline.settings.config import ModelConfig, ScoringConfig
from tests.unit.models.checkpoints import original_internvl as published
from tests.unit.models.families import tiny_internvl
from tests.unit.models.families.case import as_adapter, random_frames

SHAPES = ("qwen2-text", "qwen3-text", "llama-text")
TEXTS = ("what is it shown", "Frame1: 12  dogs\nand counts", "ünknown ▁ 字", "the\n\nfox over")


def build(folder, shape):
    """An original folder, and the native model that it was made from."""
    tokenizer = tiny_internvl.build_tokenizer()
    model = tiny_internvl.build_model(tokenizer, shape)
    if shape == "llama-text":
        size = len(published.VOCABULARY) + len(published.BEYOND)
        model.resize_token_embeddings(size)
        with torch.no_grad():
            for table in (model.get_input_embeddings(), model.get_output_embeddings()):
                table.weight.copy_(torch.randn_like(table.weight) * 0.5)
        model.config.image_token_id = size - 2
    published.write_original(folder, model)
    if shape == "llama-text":
        published.write_internlm2_tokenizer(folder)
    else:
        tokenizer.chat_template = None
        tokenizer.save_pretrained(folder)
    return model


@pytest.fixture(scope="module", params=SHAPES)
def converted(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    model = build(folder / "original", request.param)
    convert_internvl(folder / "original", folder / "native", shard_bytes=40_000)
    return request.param, model, folder / "native"


@pytest.fixture(scope="module")
def loaded(converted):
    return load_model(ModelConfig(model=str(converted[2])), device="cpu")


@pytest.fixture
def original(tmp_path):
    build(tmp_path / "original", "llama-text")
    return tmp_path / "original"


def edit(path, part=None, **changes):
    content = json.loads(path.read_text())
    (content[part] if part else content).update(changes)
    path.write_text(json.dumps(content))


def test_every_tensor_is_that_of_the_model_the_original_was_made_from(converted, loaded):
    _, model, _ = converted
    ours, expected = loaded._model.state_dict(), model.state_dict()
    assert ours.keys() == expected.keys()
    assert [name for name in expected if not torch.equal(ours[name], expected[name])] == []


def test_weights_lie_in_files_of_the_size_asked_for_and_the_index_names_every_tensor(converted):
    folder = converted[2]
    shards = sorted(folder.glob("*.safetensors"))
    assert len(shards) > 2
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    held = {}
    for path in shards:
        with safe_open(path, framework="pt") as file:
            held |= dict.fromkeys(file.keys(), path.name)
    assert index["weight_map"] == held
    assert index["metadata"]["total_size"] == sum(w.nbytes for path in shards for w in load_file(path).values())
    assert {name.partition(".")[0] for name in held} == {"language_model", "vision_tower", "multi_modal_projector"}


def test_the_configuration_says_what_the_native_one_says(converted, loaded):
    shape, model, folder = converted
    ours, expected = loaded._model.config, model.config
    for part, names in {
        "text_config": ("hidden_size", "num_hidden_layers", "num_key_value_heads", "rms_norm_eps", "model_type"),
        "vision_config": ("hidden_size", "image_size", "patch_size", "attention_bias", "use_qk_norm", "norm_type"),
    }.items():
        for name in names:
            mine, stock = (getattr(getattr(config, part), name) for config in (ours, expected))
            assert (tuple(mine) if isinstance(mine, list) else mine) == (
                tuple(stock) if isinstance(stock, list) else stock
            )
    rope = {key: value for key, value in ours.text_config.rope_parameters.items() if key != "type"}
    assert rope == expected.text_config.rope_parameters
    assert ours.image_token_id == expected.image_token_id
    assert not ours.tie_word_embeddings
    assert describe_model(ModelConfig(model=str(folder))).family == "internvl"
    tokenizer = loaded._tokenizer
    ends = {"<|im_end|>"} | ({"<|im_start|>"} if shape == "llama-text" else set())
    assert loaded._text.end_ids == {tokenizer.convert_tokens_to_ids(token) for token in ends}


def test_a_question_about_frames_is_answered_as_by_the_model_it_was_made_from(converted, loaded):
    _, model, _ = converted
    stock, tokenizer = copy.deepcopy(model), loaded._tokenizer
    frames = random_frames(2, 56, 56)
    geometry = loaded.frame_geometry(56, 56, min_pixels=1, max_pixels=10**6)
    frames = random_frames(2, geometry.height, geometry.width)
    features = loaded.encode(frames, geometry, batch_patches=2)
    reference = as_adapter("internvl", stock, tokenizer).encode(frames, geometry, batch_patches=2)
    torch.testing.assert_close(features, reference, atol=1e-5, rtol=0)
    prompt = loaded.build_question("what is it shown ?", ("fox", "dogs"), response_tokens=1)
    (response,) = loaded.score(
        loaded.prefill(features, geometry, patch_s=1.0), [prompt], ScoringConfig(reference_layer=1)
    )
    sequence = loaded._lay_out_clip(2, geometry, patch_s=1.0, center_s_P=None)
    ids = torch.from_numpy(sequence.ids_with(prompt.suffix_ids))[None]
    stock.set_attn_implementation("eager")
    with torch.inference_mode():
        embeddings = stock.get_input_embeddings()(ids)
        embeddings[0, sequence.visual] = features
        output = stock(inputs_embeds=embeddings, attention_mask=torch.ones_like(ids), output_attentions=True)
    expected = output.logits[0, -1, list(prompt.option_ids)].softmax(-1)
    assert response.option_probabilities == pytest.approx(expected.tolist(), abs=2e-5)
    rows = output.attentions[1][0, :, -len(prompt.suffix_ids) :][..., sequence.visual]
    assert response.attention_N == pytest.approx(rows.amax(dim=(0, 1)).numpy(), abs=2e-5)


def test_the_prompt_is_the_authors_with_their_system_message(converted, loaded):
    shape, _, _ = converted
    messages = [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": "What?"}]}]
    render = loaded._tokenizer.apply_chat_template
    turn = "<|im_start|>user\n<video>\nWhat?<|im_end|>\n<|im_start|>assistant\n"
    bos = "<s>" if shape == "llama-text" else ""
    expected = f"{bos}<|im_start|>system\n{published.SYSTEM}<|im_end|>\n{turn}"
    assert render(messages, tokenize=False, add_generation_prompt=True) == expected
    own = [{"role": "system", "content": "Short."}, *messages]
    assert render(own, tokenize=False, add_generation_prompt=True).startswith(
        f"{bos}<|im_start|>system\nShort.<|im_end|>"
    )


@pytest.mark.parametrize("text", TEXTS)
def test_internlm2s_tokens_are_those_of_sentencepiece(original, tmp_path, text):
    convert_internvl(original, tmp_path / "native")
    tokenizer = load_model(ModelConfig(model=str(tmp_path / "native")), device="cpu")._tokenizer
    size = len(published.VOCABULARY)
    ids = tokenizer(f"<s><|im_start|>{text}<img></img><|im_end|>", add_special_tokens=False)["input_ids"]
    assert ids == [1, size - 1, *published.cut_text(text), size, size + 1, size - 2]
    assert tokenizer.decode(published.cut_text(text)) == text.replace("▁", " ")
    assert tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>") == size + 2


def test_qwens_tokens_stay_what_they_were(tmp_path):
    build(tmp_path / "original", "qwen2-text")
    convert_internvl(tmp_path / "original", tmp_path / "native")
    before = tiny_internvl.build_tokenizer()
    after = load_model(ModelConfig(model=str(tmp_path / "native")), device="cpu")._tokenizer
    for text in TEXTS:
        assert after(text)["input_ids"] == before(text)["input_ids"]
    assert after.get_vocab() == before.get_vocab()


def test_nothing_appears_under_the_name_before_everything_is_written(original, tmp_path, monkeypatch):
    output = tmp_path / "native"

    def fail(*_, **__):
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(convert, "save_file", fail)
        with pytest.raises(OSError, match="no space left"):
            convert_internvl(original, output)
        assert not output.exists()
        assert not list(tmp_path.glob(".native.part/*.index.json"))
    convert_internvl(original, output)
    assert [path.name for path in tmp_path.iterdir()].count("native") == 1
    assert not (tmp_path / ".native.part").exists()


def drop(name):
    def damage(folder):
        for path in folder.glob("*.safetensors"):
            weights = load_file(path)
            if weights.pop(name, None) is not None:
                save_file(weights, path)

    return damage


def add(name):
    def damage(folder):
        path = sorted(folder.glob("*.safetensors"))[0]
        save_file(load_file(path) | {name: torch.zeros(2)}, path)

    return damage


DAMAGE = [
    (lambda f: edit(f / "config.json", model_type="internvl"), "model_type must be 'internvl_chat', got 'internvl'"),
    (
        lambda f: edit(f / "config.json", part="llm_config", model_type="internlm3"),
        "must be one of internlm2, .*'internlm3'",
    ),
    (lambda f: edit(f / "config.json", ps_version="v1"), "ps_version must be 'v2', got 'v1'"),
    (lambda f: edit(f / "config.json", template="phi3-chat"), "template 'phi3-chat' is none of those in"),
    (lambda f: edit(f / "config.json", template="other"), "must be of the kind"),
    (
        lambda f: edit(f / "config.json", part="llm_config", intermediate_size=95),
        "has the shape .* the configuration says",
    ),
    (lambda f: edit(f / "config.json", part="llm_config", num_key_value_heads=4), "has 128 rows, its parts would have"),
    (drop("mlp1.1.weight"), "1 weights are missing and 0 unknown, such as multi_modal_projector.linear_1.weight"),
    (add("language_model.model.layers.0.attention.extra"), "0 weights are missing and 1 unknown"),
    (add("visual.extra"), "tensor 'visual.extra' is none of InternVL's"),
    (lambda f: (f / "tokenizer.model").write_bytes((f / "tokenizer.model").read_bytes()[:-300]), "cut short"),
    (lambda f: published.write_internlm2_tokenizer(f, kind=1), "must be a SentencePiece model of byte pairs"),
    (lambda f: (f / "tokenizer_config.json").unlink(), "tokenizer_config.json"),
    (
        lambda f: edit(f / "tokenizer_config.json", added_tokens_decoder={}),
        "has no token '<img>'; copy tokenizer_config.json",
    ),
    (lambda f: sorted(f.glob("*.safetensors"))[1].unlink(), "lacks 1 of the 2 files"),
    (lambda f: sorted(f.glob("*.safetensors"))[1].write_bytes(b"x" * 100), "cannot be converted"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGE)
def test_what_is_not_understood_is_refused_in_one_line_before_anything_is_written(
    original, tmp_path, damage, message, capsys
):
    damage(original)
    with pytest.raises(CheckpointError, match=message):
        convert_internvl(original, tmp_path / "native")
    assert job.main([str(original), str(tmp_path / "native")]) == 1
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["original"]


def test_a_folder_without_conversation_py_gets_the_published_message(original, tmp_path):
    (original / "conversation.py").unlink()
    convert_internvl(original, tmp_path / "native")
    assert "书生·万象" in (tmp_path / "native" / "chat_template.jinja").read_text(encoding="utf-8")


def test_the_command_says_what_to_do_with_the_result_and_overwrites_nothing(original, tmp_path, capsys):
    output = tmp_path / "native"
    assert job.main([str(original), str(output)]) == 0
    said = capsys.readouterr().out
    assert f"use it with --model {output}" in said
    assert job.main([str(original), str(output)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert job.main([str(tmp_path / "none"), str(output)]) == 2
    assert "is no folder" in capsys.readouterr().err


def test_what_the_refusal_of_the_original_advises_works(original, tmp_path):
    with pytest.raises(CheckpointError, match=f'"adapttoken convert-internvl {original} OUTPUT"'):
        describe_model(ModelConfig(model=str(original)))
    shutil.rmtree(tmp_path / "native", ignore_errors=True)
    convert_internvl(original, tmp_path / "native")
    assert describe_model(ModelConfig(model=str(tmp_path / "native"))).layout.num_layers == 3
