"""The examination of tiny checkpoints on the CPU: all checks pass, and each that fails names a remedy."""

import json
import re
import shutil
from contextlib import contextmanager

import pytest
import torch

from jobs import doctor
from pipeline.doctor import environment, stock
from pipeline.doctor import examine as examination
from pipeline.doctor.examine import examine
from pipeline.failures import FailureClass, PipelineError
from pipeline.models import loading, prefix_attention, recurrent_prefix
from pipeline.models.fusion.setup import fuse_exact
from tests.unit.models.tiny_models import BUILDERS, REPEATS, build_case

SMALL = (
    "sampling.frames_per_group=4",
    "sampling.min_pixels=2000",
    "sampling.max_pixels=8000",
    "scoring.question_batch=2",
    "scoring.reference_layer=1",
)
WORDS = [word for setting in SMALL for word in ("--set", setting)]
NAMES = ["devices", "versions", "decoders", "checkpoint", "load", "fusion", "fast paths", "group pass, float32"]
NAMES += ["final pass, float32", "group time", "memory plan", "needles"]
CASES = ["qwen2_5_vl-wide", "qwen3_vl-small", "qwen3_vl_moe-experts", "internvl-qwen3-text", "internvl-llama-text"]
CASES += ["qwen3_5-small", "qwen3_5_moe-experts"]
CASES += ["glm4v-dense", "glm4v_moe-experts", "glm46v-seconds", "llava_onevision-odd"]
MARKED = [pytest.param(name, marks=[pytest.mark.slow] if name in REPEATS else []) for name in CASES]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Case -> its checkpoint."""
    found = {}
    for name in CASES:
        case = build_case(name)
        found[name] = tmp_path_factory.mktemp(name)
        case.stock.save_pretrained(found[name])
        case.tokenizer.save_pretrained(found[name])
    return found


@pytest.fixture
def folder(folders, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(folders["qwen2_5_vl-wide"], tmp_path / "checkpoint")


def verdicts(found):
    return {check.name: check.verdict.value for check in found.checks}


def test_every_family_is_examined(folders):
    assert {name.partition("-")[0] for name in folders} == set(BUILDERS)


@pytest.mark.parametrize("name", MARKED)
def test_all_checks_of_a_sound_checkpoint_pass_with_a_line_each_and_a_card(folders, name, tmp_path, capsys):
    card = tmp_path / "card.md"
    assert doctor.main(["--model", str(folders[name]), "--device", "cpu", "--output", str(card), *WORDS]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [re.split(r"\s+", line, maxsplit=1)[1].partition(":")[0] for line in lines[:-1]] == NAMES
    assert "failed" not in "\n".join(lines)
    text = card.read_text()
    assert "**All checks passed.**" in text
    for heading in ("Devices", "Versions", "Checkpoint", "Attention", "Needles"):
        assert f"## {heading}\n" in text
    assert torch.__version__ in text
    assert all(f"| {check} |" in text for check in NAMES)
    assert ("linear attention's delta rule" in text) == name.startswith("qwen3_5")


def test_the_card_says_which_kernels_linear_attention_takes(monkeypatch):
    for is_there, expected in ((True, "package causal-conv1d"), (False, "torch, much slower on a GPU; pip install")):
        monkeypatch.setattr(environment, "find_spec", lambda name, is_there=is_there: is_there)
        kernels = dict(environment.list_kernels({"text_config": "probed"}, has_linear=True))
        assert kernels["linear attention's convolution"].startswith(expected)
    assert not [name for name, _ in environment.list_kernels({}) if "linear" in name]


def test_half_precision_is_compared_in_both_types(folders):
    found = examine(str(folders["qwen3_vl-small"]), device="cpu", sets=[*SMALL, "model.dtype=bfloat16"])
    assert found.has_passed
    assert {"group pass, bfloat16", "final pass, bfloat16", "group pass, float32"} <= verdicts(found).keys()


def test_what_float32_does_not_fit_is_a_note(folders, monkeypatch):
    load = examination.load_model

    def refuse(config, **arguments):
        if config.dtype == "float32":
            raise PipelineError(FailureClass.OUT_OF_MEMORY, "it needs twice as much; use more GPUs")
        return load(config, **arguments)

    monkeypatch.setattr(examination, "load_model", refuse)
    found = examine(str(folders["qwen3_vl-small"]), device="cpu", sets=[*SMALL, "model.dtype=bfloat16"])
    assert verdicts(found)["passes, float32"] == "note"
    assert found.has_passed


def test_the_models_own_attention_is_back_after_a_comparison(folders):
    case = build_case("qwen2_5_vl-wide")
    before = case.adapter.stock.config.text_config._attn_implementation
    with pytest.raises(RuntimeError), examination_of_stock(case):
        raise RuntimeError
    assert case.adapter.stock.config.text_config._attn_implementation == before != "eager"


def examination_of_stock(case):
    from pipeline.doctor.stock import eager_attention

    return eager_attention(case.adapter)


@pytest.mark.parametrize("name", MARKED)
def test_a_pass_that_differs_from_stock_fails_and_says_what_to_do(folders, name, monkeypatch, capsys):
    mask = prefix_attention.additive_mask
    for module in (recurrent_prefix, prefix_attention):
        monkeypatch.setattr(module, "additive_mask", lambda visible, text: mask(visible | True, text))
    assert doctor.main(["--model", str(folders[name]), "--device", "cpu", *WORDS]) == 1
    lines = capsys.readouterr().out.splitlines()
    (wrong,) = (line for line in lines if line.startswith("failed"))
    assert "group pass, float32: option probabilities differ by" in wrong
    assert "send this card to the developers" in wrong


def cut(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1_000])


def set_family(folder):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_type": "llava_qwen"}))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (cut, ("checkpoint: model: model '", "damaged file model.safetensors", "copy that file again")),
        (set_family, ("checkpoint: model: model '", "LLaVA-Video", "Qwen/Qwen2.5-VL-7B-Instruct")),
        (shutil.rmtree, ("folder that does not exist", "give an existing folder")),
    ],
)
def test_a_checkpoint_that_cannot_be_used_is_a_failed_check_with_its_remedy_and_still_a_card(
    folder, damage, words, tmp_path, capsys
):
    damage(folder)
    card = tmp_path / "card.md"
    assert doctor.main(["--model", str(folder), "--device", "cpu", "--output", str(card)]) == 1
    printed = capsys.readouterr()
    (wrong,) = (line for line in printed.out.splitlines() if line.startswith("failed"))
    assert all(word in wrong for word in words)
    assert "Traceback" not in printed.out + printed.err
    assert "**Failed:** checkpoint." in card.read_text()
    assert "## Versions" in card.read_text()


def test_a_gpu_that_is_wanted_and_not_there_fails_before_anything_is_loaded(folders, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.delattr(examination, "load_model")
    assert doctor.main(["--model", str(folders["qwen2_5_vl-wide"]), "--device", "cuda"]) == 1
    assert "give --device cpu" in capsys.readouterr().out


def test_versions_beyond_the_tested_ones_and_no_decoder_fail_with_a_remedy(folder, monkeypatch):
    monkeypatch.setattr(examination, "wrong_versions", lambda: iter(["transformers 9.0, tested with <5.25"]))
    monkeypatch.setattr(examination, "list_decoders", list)
    shutil.rmtree(folder)
    checks = {check.name: check for check in examine(str(folder), device="cpu").checks}
    assert "tested with <5.25" in checks["versions"].found
    assert "pip install -e ." in checks["versions"].remedy
    assert checks["decoders"].remedy == "pip install av"


@pytest.mark.parametrize(
    ("message", "remedy"),
    [("CUDA error: no kernel image", "send this card"), ("CUDA out of memory. Tried", "lower scoring.question_batch")],
)
def test_a_step_that_breaks_is_a_failed_check_and_the_others_go_on(folders, monkeypatch, message, remedy):
    def fail(*_, **__):
        raise RuntimeError(message)

    monkeypatch.setattr(examination, "compare_final_pass", fail)
    found = examine(str(folders["qwen2_5_vl-wide"]), device="cpu", sets=SMALL)
    assert [name for name, verdict in verdicts(found).items() if verdict == "failed"] == ["final pass, float32"]
    assert list(verdicts(found)) == NAMES
    assert remedy in next(check.remedy for check in found.checks if check.verdict == "failed")


def test_a_wrong_setting_is_a_matter_of_usage(folders, capsys):
    assert doctor.main(["--model", str(folders["qwen2_5_vl-wide"]), "--device", "cpu", "--set", "taau=1"]) == 2
    assert "did you mean 'tau'" in capsys.readouterr().err


def test_the_demo_model_finds_its_needles_and_gets_settings_proposed(capsys):
    assert doctor.main(["--model", "demo", "--device", "cpu", "--set", "sampling.frames_per_group=8"]) == 0
    needles = capsys.readouterr().out.splitlines()[-1]
    assert needles.startswith("ok      needles: layer ")
    assert "6 of 6 colours right" in needles
    assert re.search(r"--set scoring.reference_layer=[01] --set stopping.stop_entropy=0\.\d+$", needles)


def test_a_fused_model_is_compared_with_an_unfused_one_and_the_card_says_what_was_taken(folders, monkeypatch):
    monkeypatch.setattr(
        loading, "set_up_fusion", lambda model, setting: fuse_exact(model, is_compiled=False, row_counts=(67, 1))
    )
    inside, eager = [], stock.eager_attention

    @contextmanager
    def watched(adapter):
        with eager(adapter) as model:
            inside.append("forward" in model.model.language_model.layers[0].__dict__)
            yield model

    monkeypatch.setattr(stock, "eager_attention", watched)
    found = examine(str(folders["qwen3_vl-small"]), device="cpu", sets=SMALL)
    assert found.has_passed
    assert verdicts(found)["fusion"] == "ok"
    assert set(inside) == {False}
    assert ("add_deepstack 32", "taken: error 1.00 times stock's") in found.facts["Fusion"]
