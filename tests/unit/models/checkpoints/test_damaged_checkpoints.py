"""Whatever a checkpoint raises is one line of class ``model`` with a remedy, mostly before a worker is asked for."""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from jobs import run
from pipeline.failures import FailureClass, PipelineError
from pipeline.models import loading
from pipeline.models.checkpoints.files import CheckpointError, ExplainErrors, cause_of
from pipeline.models.loading import describe_model, load_model
from pipeline.settings.config import ModelConfig

OWN_CODE = "trust_remote_code"


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "checkpoint")


def edit(folder, file_name="config.json", part=None, **changes):
    path = folder / file_name
    content = json.loads(path.read_text())
    (content[part] if part else content).update(changes)
    path.write_text(json.dumps(content))


def assert_one_line(error, *words):
    assert error.failure_class is FailureClass.MODEL
    assert "\n" not in error.message
    assert "; " in error.message
    assert OWN_CODE not in error.message
    for word in words:
        assert word in error.message


UNKNOWN = [
    ("internvl_chat", ('"adapttoken convert-internvl {folder} OUTPUT"', "-hf", "never run here")),
    ("llava_qwen", ("LLaVA-Video", "llava-hf/llava-onevision-qwen2-7b-ov-hf", "Qwen/Qwen2.5-VL-7B-Instruct")),
    ("llava_next_video", ("LLaVA-NeXT-Video", "llava-hf/llava-onevision-qwen2-7b-ov-hf")),
    ("chatglm", ("GLM-4V-9B", "zai-org/GLM-4.6V-Flash")),
    ("glm4_moe", ("sees no video", "zai-org/GLM-4.5V")),
    ("videollama3_qwen2", ("VideoLLaMA3", "Qwen/Qwen2.5-VL-7B-Instruct")),
    ("qwen3_5_text", ("text model", "Qwen/Qwen3.5-9B")),
    ("qwen2", ("sees no video", "Qwen/Qwen2.5-VL-7B-Instruct")),
    ("bert", ("OpenGVLab/InternVL3-8B-hf",)),
    ("no_such_family", ("OpenGVLab/InternVL3-8B-hf",)),
    (None, ("OpenGVLab/InternVL3-8B-hf",)),
    (["qwen2_5_vl"], ("OpenGVLab/InternVL3-8B-hf",)),
]


@pytest.mark.parametrize(("family", "words"), UNKNOWN)
@pytest.mark.parametrize("auto_map", [None, {"AutoConfig": "configuration_x.XConfig"}])
def test_an_unknown_family_is_refused_with_the_nearest_checkpoint_that_works(folder, family, words, auto_map):
    edit(folder, model_type=family, **({"auto_map": auto_map} if auto_map else {}))
    (folder / "configuration_x.py").write_text("raise SystemExit('remote code ran')")
    with pytest.raises(CheckpointError) as caught:
        describe_model(ModelConfig(model=str(folder)))
    assert_one_line(
        caught.value,
        f"is of the family {family!r}",
        "known here: glm46v, glm4v, glm4v_moe, internvl, llava_onevision, ",
    )
    assert_one_line(caught.value, *(word.format(folder=folder) for word in words))


METHODS = [
    ({"quant_method": "awq", "bits": 4}, "'awq'", "pip install gptqmodel"),
    ({"quant_method": "gptq", "bits": 4}, "'gptq'", "pip install optimum gptqmodel"),
    ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "'bitsandbytes'", "pip install bitsandbytes"),
    ({"load_in_8bit": True}, "'bitsandbytes'", "pip install bitsandbytes"),
    ({"quant_method": "compressed-tensors"}, "'compressed-tensors'", "pip install compressed-tensors"),
    ({"quant_method": "fbgemm_fp8"}, "'fbgemm_fp8'", "pip install fbgemm-gpu"),
    ({"quant_method": "alchemy"}, "'alchemy'", "quantised by awq, bitsandbytes, "),
]


@pytest.mark.parametrize(("settings", "method", "remedy"), METHODS)
@pytest.mark.parametrize("part", [None, "text_config"])
def test_a_quantiser_that_is_not_installed_is_named_with_its_package(folder, settings, method, remedy, part):
    edit(folder, part=part, quantization_config=settings)
    with pytest.raises(CheckpointError) as caught:
        describe_model(ModelConfig(model=str(folder)))
    assert_one_line(caught.value, f"is quantised by {method}", remedy, "give the checkpoint that is not quantised")


def cut(share):
    def damage(folder):
        path = folder / "model.safetensors"
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

    return damage


def write(file_name, content):
    return lambda folder: (folder / file_name).write_bytes(content)


def drop(part):
    def damage(folder):
        weights = load_file(folder / "model.safetensors")
        kept = {name: weight for name, weight in weights.items() if part not in name}
        save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})

    return damage


def rename_token_type(folder):
    edit(folder, "tokenizer.json", part="model", type="NoSuchModel")


BEFORE_LOADING = {
    "empty-config": write("config.json", b""),
    "config-not-utf8": write("config.json", b"\xff\xfe{"),
    "config-a-list": write("config.json", b"[1]"),
    "config-nested-deep": write("config.json", b"[" * 100_000),
    "no-family": write("config.json", b'{"architectures": ["Some"]}'),
    "shape-a-word": lambda folder: edit(folder, part="text_config", hidden_size="wide"),
    "shape-missing": lambda folder: edit(folder, part="text_config", num_attention_heads=None),
    "heads-do-not-divide": lambda folder: edit(folder, part="text_config", num_attention_heads=0),
    "unknown-activation": lambda folder: edit(folder, part="text_config", hidden_act="no-such-activation"),
    "unknown-rope": lambda folder: edit(folder, part="text_config", rope_parameters={"rope_type": "no-such"}),
    "vision-a-number": lambda folder: edit(folder, vision_config=3),
    "weights-empty": cut(0),
    "weights-cut-in-the-head": cut(0.001),
    "weights-cut": cut(0.9),
    "weights-are-a-page": write("model.safetensors", b"<!DOCTYPE html><html>Access denied</html>"),
    "weights-head-is-no-json": write("model.safetensors", (8).to_bytes(8, "little") + b"{{{{{{{{"),
    "weights-head-without-offsets": write("model.safetensors", (9).to_bytes(8, "little") + b'{"a": {}}'),
    "weights-a-pointer": write("model.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
    "weights-without-a-layer": drop("layers.2."),
    "weights-without-a-head": drop("lm_head"),
    "weights-without-a-tower": drop("visual"),
    "tokenizer-cut": write("tokenizer.json", b'{"version": "1.0", "model": {'),
    "tokenizer-unknown": rename_token_type,
    "tokenizer-a-list": write("tokenizer.json", b"[]"),
    "tokenizer-config-a-list": write("tokenizer_config.json", b"[]"),
    "index-of-numbers": write("model.safetensors.index.json", b'{"weight_map": {"a": 1, "b": "x"}}'),
}


@pytest.mark.parametrize("damage", BEFORE_LOADING.values(), ids=BEFORE_LOADING)
def test_damage_is_found_while_a_checkpoint_is_identified(folder, damage, monkeypatch):
    monkeypatch.delattr(loading, "_load_weights")
    damage(folder)
    for look in (describe_model, load_model):
        with pytest.raises(CheckpointError) as caught:
            look(ModelConfig(model=str(folder)))
        assert_one_line(caught.value, f"model '{folder}' ")
        assert len(caught.value.message) < 800


@pytest.mark.parametrize("damage", ["weights-cut", "shape-a-word", "tokenizer-unknown", "weights-a-pointer"])
@pytest.mark.parametrize("executor", ["serial", "ray"])
def test_the_job_ends_with_exit_code_1_and_one_line_before_a_worker_is_asked_for(
    folder, damage, executor, tmp_path, capsys
):
    BEFORE_LOADING[damage](folder)
    manifest = tmp_path / "m.csv"
    manifest.write_text("question_id,video,question\nq,v.mp4,What?\n")
    words = ["--manifest", str(manifest), "--output", str(tmp_path / "out"), "--model", str(folder)]
    assert run.main([*words, "--executor", executor]) == 1
    printed = capsys.readouterr().err
    assert len(printed.strip().splitlines()) == 1
    assert "Traceback" not in printed
    assert not (tmp_path / "out").exists()


def reshape(folder):
    weights = load_file(folder / "model.safetensors")
    name = "lm_head.weight"
    weights[name] = weights[name][:, :-1].contiguous()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    "error", [TypeError("a\nb"), ImportError("no flash"), KeyError("x"), AssertionError(), ZeroDivisionError()]
)
def test_whatever_loading_weights_raises_is_one_line(folder, error, monkeypatch):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(loading, "_load_weights", fail)
    with pytest.raises(CheckpointError) as caught:
        load_model(ModelConfig(model=str(folder)), device="cpu")
    assert_one_line(caught.value, "cannot be loaded (", type(error).__name__, "download the checkpoint again")


def test_weights_of_another_shape_are_a_model_failure(folder):
    reshape(folder)
    with pytest.raises(PipelineError) as caught:
        load_model(ModelConfig(model=str(folder)), device="cpu")
    assert_one_line(caught.value, "1 weights have another shape than its config.json says, such as lm_head.weight")


def test_causes_are_short_and_never_advise_to_run_code():
    assert cause_of(KeyError("hidden")) == "KeyError: 'hidden'"
    assert cause_of(ValueError("two\n lines")) == "two lines"
    assert cause_of(ValueError()) == "ValueError"
    assert OWN_CODE not in cause_of(
        ValueError("Please pass the argument `trust_remote_code=True` to allow custom code")
    )
    assert len(cause_of(OSError("x" * 5_000))) < 400


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), PipelineError(FailureClass.TRANSFER, "m")])
def test_what_is_no_fault_of_the_checkpoint_passes_through(error):
    with pytest.raises(type(error)) as caught, ExplainErrors("m", "p", "r"):
        raise error
    assert caught.value is error
