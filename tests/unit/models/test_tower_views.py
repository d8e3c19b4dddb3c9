"""What towers tell of their tokens, against stock eager attention and hidden states; separators in InternVL's rank."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from pipeline import load_video_model
from pipeline.models.interface import RICH_OFFERS
from pipeline.models.registry import FAMILIES, check_offers
from pipeline.settings.config import ScoringConfig
from tests.unit.models.families import internvl
from tests.unit.models.tiny_models import build_case

TOLERANCE = 2e-5
QWEN = ["qwen2_5_vl-demo", "qwen2_5_vl-wide", "qwen3_vl-small", "qwen3_5-small"]


def unit_means(case, rows_LX):
    """Rows in stock's raster-of-units order -> mean of each token's patches."""
    unit = case.stock.config.vision_config.spatial_merge_size**2
    return rows_LX.reshape(-1, unit, *rows_LX.shape[1:]).float().mean(dim=1)


def stock_block_inputs(case):
    """What goes into the last block's attention in a stock pass: hidden states, rotary positions, bounds."""
    tower, caught = case.stock.model.visual, {}

    def look(module, args, kwargs):
        caught.update(kwargs | ({"hidden_states": args[0]} if args else {}))

    handle = tower.blocks[-1].attn.register_forward_pre_hook(look, with_kwargs=True)
    with torch.inference_mode():
        output = tower(*case.pixels())
    handle.remove()
    return tower, caught, output


def rotate(x_LHS, cos, sin):
    half = x_LHS.shape[-1] // 2
    turned = torch.cat([-x_LHS[..., half:], x_LHS[..., :half]], dim=-1)
    return x_LHS * cos[:, None] + turned * sin[:, None]


def in_raster_order(case, values_U):
    """By asking stock's own merger: the row of pooler_output that equals the merged unit."""
    tower = case.stock.model.visual
    if not hasattr(tower, "window_size"):
        return values_U
    grid = case.pixels()[1]
    from transformers import vision_utils

    index, _ = vision_utils.get_vision_window_index(
        grid, spatial_merge_size=2, window_size=tower.window_size, patch_size=14
    )
    raster = torch.empty_like(values_U)
    raster[index] = values_U
    return raster


@pytest.mark.parametrize("name", QWEN)
def test_saliency_is_the_eager_attention_that_tokens_receive_in_the_last_block(name):
    case = build_case(name)
    tower, caught, _ = stock_block_inputs(case)
    module = tower.blocks[-1].attn
    with torch.inference_mode():
        rows = len(caught["hidden_states"])
        q, k, _ = module.qkv(caught["hidden_states"]).view(rows, 3, module.num_heads, -1).unbind(1)
        q, k = (rotate(one, *caught["position_embeddings"]) for one in (q, k))
        bounds, expected = caught["cu_seqlens"].tolist(), []
        for start, end in itertools.pairwise(bounds):
            weights = torch.einsum("qhs,khs->hqk", q[start:end], k[start:end]) * module.scaling
            expected.append(weights.softmax(dim=-1).mean(dim=(0, 1)))
        expected_N = in_raster_order(case, unit_means(case, torch.cat(expected)))
    for batch_patches in (1, 2, 3):
        found = case.adapter.encode_richly(
            case.frames, case.geometry, batch_patches=batch_patches, saliency=True, tower=True
        )
        torch.testing.assert_close(found.saliency_N, expected_N, atol=TOLERANCE, rtol=0)
    assert float(expected_N.std()) > 10 * TOLERANCE


@pytest.mark.parametrize("name", QWEN)
def test_tower_features_are_what_stock_has_before_its_merger_in_raster_order(name):
    case = build_case(name)
    _, _, output = stock_block_inputs(case)
    expected_NC = in_raster_order(case, unit_means(case, output.last_hidden_state))
    found = case.adapter.encode_richly(case.frames, case.geometry, batch_patches=2, tower=True)
    torch.testing.assert_close(found.tower_NC, expected_NC, atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(found.features_ND, case.encode(case.adapter), atol=TOLERANCE, rtol=0)


def test_internvl_tells_what_its_class_token_pays_and_its_hidden_states():
    case = build_case("internvl-qwen2-text")
    with torch.inference_mode():
        tower = case.stock.model.vision_tower
        output = tower(internvl.process(case.frames, size=case.geometry.height), output_attentions=True)
    side, paid = case.geometry.token_rows, output.attentions[-1][:, :, 0, 1:].mean(dim=1)
    patches = round(paid.shape[1] ** 0.5)
    merge = patches // side
    expected, hidden = [], []
    for frame in range(case.num_patches):
        for row in range(side):
            for column in range(side):
                cell = [(row * merge + r) * patches + column * merge + c for r in range(merge) for c in range(merge)]
                expected.append(float(paid[frame, cell].mean()))
                hidden.append(output.last_hidden_state[frame, 1:][cell].mean(dim=0))
    found = case.adapter.encode_richly(case.frames, case.geometry, batch_patches=2, saliency=True, tower=True)
    assert found.saliency_N.numpy() == pytest.approx(np.array(expected), abs=TOLERANCE)
    torch.testing.assert_close(found.tower_NC, torch.stack(hidden), atol=TOLERANCE, rtol=0)
    assert np.ptp(expected) > 10 * TOLERANCE


@pytest.mark.parametrize("name", ["qwen2_5_vl-demo", "internvl-qwen2-text", "glm4v-dense", "llava_onevision-odd"])
def test_a_family_tells_what_it_offers_and_refuses_the_rest(name):
    case = build_case(name)
    offers = FAMILIES[case.family].build.offers
    assert offers == case.adapter.offers
    assert (offers == RICH_OFFERS) == (name.startswith(("qwen", "internvl")))
    if "saliency" not in offers:
        with pytest.raises(ValueError, match="tells nothing of its vision tower"):
            case.adapter.encode_richly(case.frames, case.geometry, batch_patches=2, saliency=True)


def test_a_method_that_looks_at_more_is_refused_before_anything_is_loaded():
    with pytest.raises(ValueError, match=r"method 'duet' looks at saliency, which glm4v does not tell; .*qwen2_5_vl"):
        check_offers("glm4v", {"saliency": True, "tower": False}, method="duet")
    check_offers("internvl", {"saliency": True, "tower": True}, method="duet")


def test_so_it_is_from_python(monkeypatch):
    """The demo's family is made to tell nothing; its weights are not read."""
    silent = dataclasses.replace(FAMILIES["qwen2_5_vl"], build=FAMILIES["glm4v"].build)
    monkeypatch.setattr("pipeline.models.registry.FAMILIES", {**FAMILIES, "qwen2_5_vl": silent})
    monkeypatch.setattr("pipeline.models.loading.load_model", lambda *a, **k: pytest.fail("was loaded"))
    with pytest.raises(ValueError, match=r"method 'duet' looks at saliency, tower, which qwen2_5_vl does not tell"):
        load_video_model("demo", method="duet")


@pytest.mark.parametrize("name", ["qwen2_5_vl-demo", "internvl-qwen2-text", "glm4v-dense"])
def test_a_questions_vectors_are_the_stock_embeddings_of_all_that_follows_the_video(name):
    case = build_case(name)
    prompt = case.adapter.build_question(*case.choice, response_tokens=4)
    expected = case.stock.get_input_embeddings().weight[list(prompt.suffix_ids)]
    torch.testing.assert_close(case.adapter.embed_question(prompt), expected.detach(), atol=0, rtol=0)


def test_separators_are_ranked_by_the_attention_that_stock_pays_them():
    case = build_case("internvl-qwen2-text")
    features = case.encode(case.adapter)
    prefix = case.adapter.prefill(features, case.geometry, patch_s=1.0, rank_separators=True)
    (prompt,) = case.prompts(case.adapter)[:1]
    (response,) = case.adapter.score(prefix, [prompt], ScoringConfig(reference_layer=case.layer))
    ids = torch.tensor([case.clip_ids(internvl.question_text(*case.questions[0]))])
    with torch.inference_mode():
        output = case.stock(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            use_cache=False,
            output_attentions=True,
            pixel_values=internvl.process(case.frames, size=case.geometry.height),
        )
    marks = [case.tokenizer.convert_tokens_to_ids(token) for token in ("<img>", "<IMG_CONTEXT>", "</img>")]
    is_ranked = torch.isin(ids[0], torch.tensor(marks))
    last = int(is_ranked.nonzero()[-1])
    expected = output.attentions[case.layer][0, :, last + 1 :][..., is_ranked].amax(dim=(0, 1))
    assert response.attention_N.shape == (case.num_patches * (case.per_patch + 2),)
    assert response.attention_N == pytest.approx(expected.numpy(), abs=TOLERANCE)
