"""What the engine hands to the adapter: times of patches, and features whose first columns alone judge redundancy."""

import numpy as np
import pytest
import torch

from pipeline.engine.messages.work import AnswerWork, ScoreWork
from pipeline.manifest.questions import Question
from pipeline.method.removal import remove_redundant
from pipeline.passes.final_pass import answer_question
from pipeline.passes.group_pass import score_group
from pipeline.passes.records import FinalInput, GroupInput
from pipeline.settings.config import BudgetConfig, RunConfig, SamplingConfig, ScoringConfig
from tests.unit.engine.fakes import World, make_config, make_probe, make_tasks

FINAL_BUDGET = 5
PATCHES = np.array([70, 71, 75])


@pytest.fixture(scope="module")
def config(case):
    return RunConfig(
        sampling=SamplingConfig(sample_fps=2.0),
        scoring=ScoringConfig(reference_layer=case.layer),
        budget=BudgetConfig(token_budget=FINAL_BUDGET, proximity_s=1e6),
    )


@pytest.fixture(scope="module")
def question():
    return Question(question_id="q", video="v", text="Which?", options=("red", "blue"), row_index=0)


@pytest.fixture(scope="module")
def patch_centers_s(case):
    centers_s = np.full(80, np.nan)
    centers_s[PATCHES] = case.centers_s
    return centers_s


@pytest.fixture(scope="module")
def scored(case, config, question, patch_centers_s):
    group = GroupInput(
        group_index=0,
        geometry=case.geometry,
        patches=PATCHES,
        questions=(question,),
        batches=((0,),),
        patch_centers_s=patch_centers_s[PATCHES],
    )
    return score_group(case.adapter, case.frames, group, config)


def test_a_group_is_scored_at_its_presentation_times(case, scored):
    prompt = case.adapter.build_question("Which?", ("red", "blue"), response_tokens=1)
    output = case.stock_run(("Which?", ("red", "blue")))
    weights = output.weights_ARN.amax(dim=(0, 1))
    assert scored.candidates.scores[0] == pytest.approx(weights.numpy(), abs=2e-5)
    likeliest = int(output.logits_V[list(prompt.option_ids)].argmax())
    assert scored.scores[0].response == "AB"[likeliest]


def test_redundancy_is_judged_by_merged_features_alone_and_all_columns_reach_the_final_pass(
    case, config, question, scored, patch_centers_s, monkeypatch
):
    given = []
    answer = case.adapter.answer
    monkeypatch.setattr(
        case.adapter, "answer", lambda tokens, *args, **kw: given.append(tokens) or answer(tokens, *args, **kw)
    )
    piece = scored.candidates.take(0, case.num_tokens, position=0)
    times_s = np.arange(80) * 1.0
    final = FinalInput(
        question=question,
        final_budget=FINAL_BUDGET,
        geometry=case.geometry,
        patch_times_s=times_s,
        duration_s=80.0,
        patch_centers_s=patch_centers_s,
    )
    done = answer_question(case.adapter, [piece], final, config)

    def kept_by(columns):
        return remove_redundant(
            piece.features()[:, :columns],
            torch.from_numpy(times_s[piece.patch_K]),
            torch.from_numpy(piece.score_K),
            keep=FINAL_BUDGET,
            proximity_s=1e6,
        ).tolist()

    kept = kept_by(case.adapter.similarity_dim)
    assert kept != kept_by(piece.bits_KD.shape[1])  # or the test would not tell
    (tokens,) = given
    assert tokens.features_KD.tolist() == piece.features()[kept].tolist()
    assert tokens.features_KD.shape[1] > case.adapter.similarity_dim
    assert tokens.center_s_K.tolist() == patch_centers_s[piece.patch_K[kept]].tolist()
    assert tokens.geometry == case.geometry
    assert done.answer in ("A", "B")


def test_the_plan_gives_every_group_and_every_answer_the_mean_time_of_its_patches():
    num_frames = 37  # two frames per second; the last one fills its patch twice
    world = World(make_config(), make_tasks(), probes={"v0": make_probe(num_frames)})
    world.run()
    expected = np.array([patch + 0.25 for patch in range(18)] + [18.0])
    groups = [work for _, work in world.done if isinstance(work, ScoreWork)]
    answers = [work for _, work in world.done if isinstance(work, AnswerWork)]
    assert len(groups) == 5
    assert len(answers) == 2
    for work in groups:
        assert work.group.patch_centers_s.tolist() == expected[work.group.patches].tolist()
    for answer in answers:
        assert answer.final.patch_centers_s.tolist() == expected.tolist()
