import numpy as np
import pytest
import torch

from pipeline.demo.scenes import COLORS, SHAPES, Appearance
from pipeline.lab.demo_training.architecture import build_demo_model, widen_vocabulary
from pipeline.lab.demo_training.batches import pack_examples
from pipeline.lab.demo_training.card import measure, save_model
from pipeline.lab.demo_training.curriculum import draw_style
from pipeline.lab.demo_training.examples import ClipStyle, ExampleMaker
from pipeline.lab.demo_training.packed_pass import answer_logits
from pipeline.lab.demo_training.patches import label_patches
from pipeline.lab.demo_training.question_text import TextMaker
from pipeline.lab.demo_training.recipe import Recipe
from pipeline.lab.demo_training.training import Trainer
from pipeline.lab.demo_training.vocabulary import LETTERS, build_tokenizer
from pipeline.models.loading import load_model
from pipeline.models.prompt import build_prompt
from pipeline.models.qwen.window_attention import WINDOW_ATTENTION
from pipeline.settings.config import ModelConfig


@pytest.fixture(scope="module")
def model(tokenizer):
    model = build_demo_model(tokenizer, seed=1)
    model.set_attn_implementation({"vision_config": WINDOW_ATTENTION, "text_config": "sdpa"})
    return model


def test_every_word_of_the_demo_is_one_known_token(tokenizer):
    for word in (*SHAPES, *COLORS, *LETTERS, "first", "last", "How", "many", "times", "3"):
        ids = tokenizer(word, add_special_tokens=False)["input_ids"]
        assert len(ids) == 1
        assert ids[0] != tokenizer.unk_token_id


def test_answers_read_like_sentences(tokenizer):
    ids = tokenizer("The star is red.<|im_end|>", add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "The star is red."


def test_labels_follow_the_timeline_frame_by_frame():
    appearance = Appearance(
        shape="star",
        color="red",
        start_frame=3,
        end_frame=6,
        side_px=60,
        left_px=0.0,
        top_px=0.0,
        velocity_x=0.0,
        velocity_y=0.0,
    )
    labels = label_patches([appearance], num_patches=5)
    assert labels["shape_N"].tolist() == [-1, SHAPES.index("star"), SHAPES.index("star"), -1, -1]
    assert labels["shows_NK"].tolist() == [
        [False] * 4,
        [True, False, False, False],
        [True, False, False, False],
        [False] * 4,
        [False] * 4,
    ]


def test_the_pool_is_decoded_video_at_the_models_size(pool):
    assert pool.frames_NFHW3.shape == (400, 2, 56, 56, 3)
    assert 0.3 < (pool.shape_N >= 0).mean() < 0.6
    shown = pool.frames_NFHW3[pool.shape_N >= 0].astype(float)
    assert shown.std() > 20  # pictures, not padding


@pytest.mark.parametrize("stage", [0.0, 0.2, 0.6, 0.8, 1.0, 2.0])
def test_answers_in_examples_agree_with_what_the_kept_tokens_show(pool, tokenizer, stage):
    rng = np.random.default_rng(0)
    maker = ExampleMaker(pool, TextMaker(tokenizer), num_questions=3)
    colors = dict(zip(tokenizer.convert_tokens_to_ids(list(COLORS)), COLORS, strict=True))
    checked = 0
    for _ in range(25):
        example = maker.make(rng, draw_style(rng, stage=stage))
        visible = {}
        for token in example.token_index_N:
            patch = example.patches[token // 4]
            if pool.shows_NK[patch, token % 4]:
                visible[SHAPES[pool.shape_N[patch]]] = list(COLORS)[pool.color_N[patch]]
        for number in (1, 2, 3):
            text = tokenizer.decode(example.text_ids[example.text_segment == number])
            shape = next((shape for shape in SHAPES if f" {shape}?" in text), None)
            positions = np.flatnonzero(example.text_segment == number)
            targets = [t for t in example.targets if t.position in positions and t.weight == 1]
            if shape is None or len(targets) != 1:
                continue
            checked += 1
            said = [
                colors.get(i) or text.split(f"{tokenizer.decode([i])}. ")[1].split()[0] for i in targets[0].token_ids
            ]
            assert said == [visible[shape]] if shape in visible else len(said) >= 4
    assert checked > 20


@pytest.mark.parametrize(
    ("question", "options"),
    [
        ("What color is the star?", None),
        ("What is the last color of the star?", ("red", "blue", "cyan", "green")),
        ("How many times does the ring appear?", ("3", "1", "2")),
    ],
)
def test_questions_are_worded_as_the_model_is_asked(tokenizer, question, options):
    asked = build_prompt(tokenizer, video_token="<|video_pad|>", question=question, options=options)
    text = TextMaker(tokenizer)
    assert text.suffix(question, options) == asked.suffix_ids
    assert text.prefix_ids == asked.prefix_ids


def test_packed_questions_are_blind_to_each_other(pool, tokenizer, model):
    style = ClipStyle(num_patches=3, num_tokens=12, max_appearances=2, max_patches_each=1, max_gap=1, open_share=0.5)
    text = TextMaker(tokenizer)
    maker = ExampleMaker(pool, text, num_questions=3)
    example = maker.make(np.random.default_rng(4), style)
    visual = torch.randn(1, 12, 128)

    def logits_of(examples):
        batch = pack_examples(
            examples, prefix_ids=text.prefix_ids, video_token_id=7, pad_id=0, vocab_size=len(tokenizer)
        )
        with torch.no_grad():
            return answer_logits(model, batch, visual)

    packed = logits_of([example])
    alone = []
    for number in (1, 2, 3):
        inside = np.flatnonzero(example.text_segment == number)
        own = [t for t in example.targets if t.position in inside]
        moved = tuple(type(t)(position=t.position - inside[0], token_ids=t.token_ids, weight=t.weight) for t in own)
        single = type(example)(
            patches=example.patches,
            token_index_N=example.token_index_N,
            temporal_N=example.temporal_N,
            text_ids=example.text_ids[inside],
            text_segment=np.ones(len(inside), dtype=int),
            text_offset=example.text_offset[inside],
            targets=moved,
            shown_N=example.shown_N,
            evidence_QN=example.evidence_QN[number - 1 : number],
        )
        alone.append(logits_of([single]))
    torch.testing.assert_close(packed, torch.cat(alone), atol=1e-4, rtol=0)


def test_widening_keeps_every_known_word_and_its_row():
    few, all_words = build_tokenizer(knows_events=False), build_tokenizer()
    assert all_words.get_vocab().items() > few.get_vocab().items()
    models = [build_demo_model(few, seed=1) for _ in range(2)]
    for model in models:
        widen_vocabulary(model, all_words, seed=5)
    known, rows = len(few), models[0].lm_head.weight
    assert rows.shape == models[0].get_input_embeddings().weight.shape == (len(all_words), 128)
    assert models[0].config.text_config.vocab_size == len(all_words)
    assert torch.equal(rows[:known], build_demo_model(few, seed=1).lm_head.weight)
    assert torch.equal(rows, models[1].lm_head.weight)
    assert models[0].get_input_embeddings().weight[known:].detach().std() == pytest.approx(0.5, rel=0.1)
    assert rows[known:].detach().std() == pytest.approx(0.06, rel=0.1)
    with pytest.raises(ValueError, match=f"at least the model's {len(all_words)} words, it knows {known}"):
        widen_vocabulary(models[0], few, seed=5)


def test_every_stage_trains_and_the_saved_model_loads_like_any_checkpoint(noise_pool, tokenizer, tmp_path):
    few_words = build_tokenizer(knows_events=False)
    model = build_demo_model(few_words, seed=2)
    model.set_attn_implementation({"vision_config": WINDOW_ATTENTION, "text_config": "sdpa"})
    recipe = Recipe(
        seed=0,
        vision_steps=3,
        frozen_steps=2,
        joint_steps=2,
        polish_steps=1,
        glimpse_steps=2,
        event_steps=3,
        practice_steps=1,
        drill_steps=1,
        rehearsal_steps=2,
        settle_steps=2,
        review_steps=2,
        finish_steps=1,
        encore_steps=1,
        event_videos=1,
        clips_per_batch=3,
        joint_clips_per_batch=2,
        num_questions=2,
    )
    lines = []
    trainer = Trainer(model, few_words, noise_pool, recipe, lines.append)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    trainer.train_vision()
    assert not torch.equal(before["model.visual.merger.mlp.2.weight"], model.model.visual.merger.mlp[2].weight)
    assert torch.equal(before["lm_head.weight"], model.lm_head.weight)
    trainer.train_frozen()
    assert not torch.equal(before["lm_head.weight"], model.lm_head.weight)
    trainer.train_joint()
    trainer.train_polish()
    widen_vocabulary(model, tokenizer, seed=0)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    trainer = Trainer(model, tokenizer, noise_pool, recipe, lines.append)
    trainer.train_glimpse()
    trainer.train_events()
    trainer.train_practice()
    trainer.train_drill()
    trainer.train_rehearsal()
    first = tokenizer.convert_tokens_to_ids("first")
    assert not torch.equal(before["lm_head.weight"][first], model.lm_head.weight[first])
    assert torch.equal(before["model.visual.merger.mlp.2.weight"], model.model.visual.merger.mlp[2].weight)
    trainer.train_settle()
    assert not torch.equal(before["model.visual.merger.mlp.2.weight"], model.model.visual.merger.mlp[2].weight)
    trainer.train_review()
    trainer.train_finish()
    trainer.train_encore()
    assert [line.split(" loss")[0] for line in lines][-11:] == [
        "joint step 2/2",
        "polish step 1/1",
        "glimpse step 2/2",
        "events step 3/3",
        "practice step 1/1",
        "drill step 1/1",
        "rehearsal step 2/2",
        "settle step 2/2",
        "review step 2/2",
        "finish step 1/1",
        "encore step 1/1",
    ]
    save_model(tmp_path, model, tokenizer, recipe=recipe, measurements=measure(trainer, num_batches=8))
    loaded = load_model(ModelConfig(model=str(tmp_path), dtype="float32"))
    assert (loaded.num_layers, loaded.frames_per_patch) == (4, 2)
    assert "falsely certain" in (tmp_path / "README.md").read_text()
