"""The recipe at a tiny scale: what is drawn, what is asked, and that an interrupted run ends with the same bits."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.lab.demo_training.question_text import TextMaker
from pipeline.lab.moment_training.answer_probe import AnswerProbe
from pipeline.lab.moment_training.card import save_model
from pipeline.lab.moment_training.clip_styles import ViewStyle, draw_style
from pipeline.lab.moment_training.clips import ClipMaker
from pipeline.lab.moment_training.pictures import GRIDS, SIGN
from pipeline.lab.moment_training.pool import make_pool
from pipeline.lab.moment_training.recipe import MomentRecipe, scaled
from pipeline.lab.moment_training.stage import BadRunError, StagePlan, run_stage
from pipeline.lab.moment_training.train import train
from pipeline.lab.moment_training.words import build_tokenizer
from pipeline.lab.moments.kinds import KINDS_OF_OBJECT
from pipeline.lab.moments.questions import KINDS
from pipeline.models.loading import load_model
from pipeline.settings.config import ModelConfig


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="module")
def pool(pictures):
    return make_pool(pictures, 0, count=500, seed=2)


def tiny_recipe():
    tiny = scaled(MomentRecipe(), 0.0)
    return replace(
        tiny,
        pool_counts=(400,),
        held_out_counts=(300,),
        pictures_per_batch=6,
        clips_per_batch=1,
        variants=1,
        look=replace(tiny.look, steps=3),
        read=replace(tiny.read, steps=2),
    )


def test_every_grid_gives_sixteen_tokens_or_more():
    assert min(grid.num_tokens for grid in GRIDS) >= 16


def test_tokens_are_labelled_with_what_is_drawn_there(pool):
    """Where a token is labelled as a saturated colour, its pixels are more saturated than where nothing is shown."""
    objects = pool.of_form("object")
    blocks = pool.frames_NFHW3[objects].max(axis=1).reshape(len(objects), 4, 28, 5, 28, 3).astype(int)
    saturation = (blocks.max(axis=-1) - blocks.min(axis=-1)).mean(axis=(2, 4)).reshape(len(objects), 20)
    shows = pool.kind_NK[objects] >= 0
    assert saturation[shows].mean() > saturation[~shows].mean() + 25
    assert (shows.sum(axis=1) > 0).mean() > 0.99


def test_a_scene_lists_the_objects_that_its_tokens_show(pool):
    for picture in pool.of_form("scene"):
        listed = pool.thing_NTC[picture, :, 0]
        assert len(set(listed[listed >= 0].tolist())) == pool.shape_N2[picture].prod()
        number = pool.thing_NK[picture]
        shown = number >= 0
        assert (listed[number[shown]] == pool.kind_NK[picture][shown]).all()


def test_letters_of_a_sign_stand_on_its_tokens_from_left_to_right(pool):
    for picture in pool.of_form("sign"):
        columns = []
        for place in range(3):
            holds = np.flatnonzero(pool.letter_NKL[picture, :, place] >= 0)
            if len(holds):
                assert (pool.kind_NK[picture][holds] == SIGN).all()
                columns.append(float(np.mean(holds % 5)))
        assert columns == sorted(columns)


@pytest.mark.parametrize("done", [0.0, 0.15, 0.5, 0.9])
def test_a_clips_wanted_answers_agree_with_what_it_shows(pool, tokenizer, done):
    text = TextMaker(tokenizer)
    maker = ClipMaker(pool, text, num_questions=6)
    letters = [text.encode(letter)[0] for letter in "ABCD"]
    sure = unsure = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        clip = maker.make(rng, draw_style(rng, done, tokens_per_patch=20))
        wanted = [target for target in clip.targets if target.weight == 1]
        assert len(wanted) == len(clip.evidence_QN) == 6
        for target, evidence in zip(wanted, clip.evidence_QN, strict=True):
            if len(target.token_ids) == 4:
                assert sorted(target.token_ids) == sorted(letters)
                assert not evidence.any(), "what a clip shows is never open"
                unsure += 1
            else:
                sure += 1
    assert sure > 5
    assert unsure > 3 or done == 0.0


def test_questions_can_be_limited_to_kinds_and_single_words_answer_them(pool, tokenizer):
    maker = ClipMaker(pool, TextMaker(tokenizer), num_questions=4)
    for kind in KINDS:
        clip = maker.make(
            np.random.default_rng(3), ViewStyle(view="group", num_patches=4, open_share=0.0), kinds=[kind]
        )
        assert tokenizer.unk_token_id not in clip.text_ids
        asked = tokenizer.decode(clip.text_ids)
        assert ("sign" in asked) == (kind in ("detail", "no_sign"))


def test_the_probe_finds_the_options_and_which_is_right(pool, tokenizer, tiny_model):
    maker = ClipMaker(pool, TextMaker(tokenizer), num_questions=6)
    probe = AnswerProbe(tiny_model, tokenizer)
    clips = [
        maker.make(np.random.default_rng(seed), ViewStyle(view="group", num_patches=3, open_share=0.3))
        for seed in (1, 2)
    ]
    places = probe.find(clips, start=0)
    for row, column in places.mark_W2.tolist():
        assert tokenizer.convert_ids_to_tokens(int(clips[row].text_ids[column])) == "?"
    words = {*KINDS_OF_OBJECT, *"HKLOSTXZ1234", "red", "green", "blue", "yellow", "purple", "cyan"}
    at = places.option_O2.tolist()
    assert len(at) % 4 == 0
    for row, column in at:
        assert tokenizer.convert_ids_to_tokens(int(clips[row].text_ids[column])) in words
        assert tokenizer.convert_ids_to_tokens(int(clips[row].text_ids[column - 2])) in "ABCD"
    assert torch.allclose(places.share_O.view(-1, 4).sum(dim=1), torch.ones(len(at) // 4))


@pytest.fixture(scope="module")
def tiny_model(tokenizer):
    from pipeline.lab.demo_training.architecture import build_demo_model

    return build_demo_model(tokenizer, seed=0, vision_depth=1, text_layers=3)


def counting_stage(steps, checks=None):
    return StagePlan(name="count", number=1, steps=steps, rate=0.1, checks=checks or {}, save_every=2)


def run_counting(folder, plan, stop_at=None):
    torch.manual_seed(0)
    module = torch.nn.Linear(3, 1)
    taken = []

    def take_step(rng, done):
        if len(taken) == stop_at:
            raise KeyboardInterrupt
        taken.append(done)
        return (module(torch.from_numpy(rng.random((4, 3))).float()) ** 2).mean(), ""

    run_stage(
        plan,
        {"module": module},
        list(module.named_parameters()),
        take_step,
        lambda: {"figure": 0.4},
        folder=folder,
        seed=5,
        log=lambda line: None,
    )
    return module.weight.detach().clone(), len(taken)


def test_a_stage_that_is_interrupted_ends_with_the_same_bits(tmp_path):
    whole, _ = run_counting(tmp_path / "whole", counting_stage(9))
    with pytest.raises(KeyboardInterrupt):
        run_counting(tmp_path / "parts", counting_stage(9), stop_at=5)
    again, taken = run_counting(tmp_path / "parts", counting_stage(9))
    assert taken == 5  # the fifth step was not kept: 4 of 9 were done
    assert torch.equal(whole, again)
    assert run_counting(tmp_path / "parts", counting_stage(9))[1] == 0


def test_a_check_ends_a_bad_run_with_figure_and_remedy(tmp_path):
    plan = counting_stage(9, checks={3: ("figure", 0.5)})
    with pytest.raises(BadRunError, match=r"figure is 0\.400 after 3 steps and must be at least 0\.5; another --seed"):
        run_counting(tmp_path, plan)


@pytest.mark.slow
def test_two_runs_give_the_same_bits_and_the_model_loads_like_any_checkpoint(tmp_path):
    recipe = tiny_recipe()
    weights = []
    for name in ("one", "two"):
        model, tokenizer, figures = train(recipe, tmp_path / name, processes=1, log=lambda line: None)
        save_model(tmp_path / name / "model", model, tokenizer, recipe=recipe, figures=figures)
        weights.append((tmp_path / name / "model" / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]
    assert len(weights[0]) < 4_000_000
    load_model(ModelConfig(model=str(tmp_path / "one" / "model")))
