"""One group through the scorer, and bought tokens through the answerer, against values worked out by hand."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.answerer import AnswererActor
from actors.local_store import LocalStore
from actors.scorer import ScorerActor
from actors.worker import ModelWorker
from pipeline.engine.messages.keys import WorkKey
from pipeline.engine.messages.work import AnswerWork, Batch, Completion, GatherWork, Retention, ScoreDone, ScoreWork
from pipeline.failures import FailureClass, PipelineError
from pipeline.manifest.questions import Question
from pipeline.method.removal import remove_redundant
from pipeline.method.selectors.base import GroupScore
from pipeline.method.selectors.registry import get_selector
from pipeline.models.interface import FrameGeometry
from pipeline.passes.candidates import CandidatePiece, GroupCandidates
from pipeline.passes.final_pass import answer_question
from pipeline.passes.group_pass import assemble_frames, score_group
from pipeline.passes.group_vote import answer_by_vote
from pipeline.passes.records import FinalInput, GroupInput
from pipeline.passes.token_record import unpack_tokens
from pipeline.settings.config import BudgetConfig, RunConfig, SamplingConfig, ScoringConfig

GEOMETRY = FrameGeometry(height=2, width=4, token_rows=1, token_columns=2)
QUESTIONS = tuple(
    Question(question_id=str(i), video="v", text="?", options=options, row_index=i)
    for i, options in enumerate([("x", "y"), None, ("x", "y")])
)


def key(stage, index=0):
    return WorkKey(video_id=3, attempt=1, stage=stage, index=index)


def frames(*values):
    return np.repeat(np.array(values, dtype=np.uint8), 2 * 4 * 3).reshape(len(values), 2, 4, 3)


def group_input(batches=((0, 1), (2,)), **changes):
    return GroupInput(
        group_index=9, geometry=GEOMETRY, patches=np.array([4, 8]), questions=QUESTIONS, batches=batches, **changes
    )


def score_work(bundles=(), **changes):
    return ScoreWork(key=key("score", 5), frames=tuple(bundles), group=group_input(**changes))


def final_input(*, final_budget=None, question=0):
    return FinalInput(
        question=QUESTIONS[question],
        final_budget=final_budget,
        geometry=GEOMETRY,
        patch_times_s=np.arange(20) * 1.0,
        duration_s=20.0,
    )


def answer_work(pieces=(), *, question=0, **changes):
    final = final_input(question=question, **changes)
    return AnswerWork(key=key("answer", question), pieces=tuple(pieces), final=final)


def piece(position, patches, tokens, scores):
    features = np.stack([np.array(patches), np.array(tokens)], axis=1).astype(np.float32)
    return CandidatePiece(
        position=position,
        patch_K=np.array(patches, dtype=np.int64),
        token_K=np.array(tokens, dtype=np.int64),
        score_K=np.array(scores, dtype=np.float32),
        bits_KD=features,
    )


@given(data=st.data(), num_frames=st.integers(1, 12))
@settings(deadline=None, max_examples=50)
def test_stretches_fill_a_group_slot_by_slot_in_any_order(data, num_frames):
    values = [data.draw(st.integers(0, 3)) for _ in range(num_frames)]  # slots that show the same frame share its row
    owner = [data.draw(st.integers(0, 2)) for _ in range(num_frames)]
    bundles = []
    for stretch in data.draw(st.permutations(sorted(set(owner)))):
        slots = np.array([slot for slot in range(num_frames) if owner[slot] == stretch])
        shown, rows = np.unique([values[slot] for slot in slots], return_inverse=True)
        bundles.append((slots, rows, frames(*shown)))
    assert assemble_frames(bundles, num_frames=num_frames).tolist() == frames(*values).tolist()


def test_a_group_that_lacks_a_stretch_is_a_bug_that_shows():
    with pytest.raises(AssertionError, match="before its last stretch"):
        assemble_frames([(np.array([0]), np.array([0]), frames(1))], num_frames=2)


def test_a_group_is_encoded_and_prefilled_once_and_scored_in_its_micro_batches(fake_model):
    model = fake_model()
    scored = score_group(model, frames(10, 11, 20, 21), group_input(), RunConfig())
    assert (model.encoded, model.prefilled, [len(batch) for batch in model.batches]) == (1, 1, [2, 1])
    assert {i: (s.group_index, s.certainty, s.response, s.num_tokens) for i, s in scored.scores.items()} == {
        0: (9, -0.25, "B", 4),
        1: (9, -0.25, "b text", 4),
        2: (9, -0.25, "B", 4),
    }
    assert scored.candidates.ranked[0].tolist() == [3, 2, 1, 0]
    assert scored.was_prefilled is True


@pytest.mark.parametrize(("rung", "patches", "batches"), [(0, 3, [3, 3]), (1, 1, [2, 1, 2, 1]), (5, 1, [1] * 6)])
def test_each_rung_of_the_memory_ladder_halves_the_batches(fake_model, rung, patches, batches):
    seen = []

    class Model(fake_model):
        def encode(self, frames_FHW3, geometry, *, batch_patches):
            seen.append(batch_patches)
            return super().encode(frames_FHW3, geometry, batch_patches=batch_patches)

    model, config = Model(), RunConfig(scoring=ScoringConfig(question_batch=4, encode_patches=3))
    questions = tuple(replace(QUESTIONS[0], question_id=str(i), row_index=i) for i in range(6))
    group = group_input(batches=((0, 1, 2), (3, 4, 5)), rung=rung)._replace(questions=questions)
    scored = score_group(model, frames(10, 11, 20, 21), group, config)
    assert seen == [patches]
    assert [len(batch) for batch in model.batches] == batches
    assert sorted(scored.scores) == list(range(6))


def test_a_question_asked_apart_leaves_the_others_their_place_without_reading_them(fake_model):
    class Model(fake_model):
        def build_question(self, question, options, *, response_tokens):
            if options is not None:
                raise RuntimeError("a question that is not asked was read")
            return replace(
                super().build_question(question, options, response_tokens=response_tokens), suffix_ids=(7, 8)
            )

    model, group = Model(), group_input(only=(1,), question_tokens=(3, 2, 4))
    scored = score_group(model, frames(10, 11, 20, 21), group, RunConfig())
    assert model.batches == [((0, 0, 0), (7, 8))]  # the second micro-batch holds nobody who is asked
    assert sorted(scored.scores) == sorted(scored.candidates.ranked) == [1]


def test_a_bfloat16_token_travels_as_its_own_bits():
    features = torch.randn(4, 6, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16)
    held = GroupCandidates.build(
        features, patches=np.array([0, 1]), tokens_per_patch=2, scores={0: np.array([4, 1, 3, 2], dtype=np.float32)}
    )
    bought = held.take(0, 2, position=0)
    assert bought.bits_KD.nbytes == 2 * 6 * 2
    assert bought.features().dtype is torch.bfloat16
    assert torch.equal(bought.features(), features[[0, 2]])


def test_methods_without_scores_only_encode(fake_model):
    model = fake_model()
    scored = score_group(model, frames(10, 11, 20, 21), group_input(), RunConfig(method="uniform"))
    assert (model.encoded, model.prefilled, model.batches, scored.was_prefilled) == (1, 0, [], False)
    assert {score.certainty for score in scored.scores.values()} == {0.0}


def test_output_that_is_no_distribution_is_the_models_failure(fake_model):
    with pytest.raises(PipelineError, match=r"group 9.*model\.dtype=float32") as caught:
        score_group(fake_model(entropy=float("nan")), frames(1, 1, 1, 1), group_input(), RunConfig())
    assert caught.value.failure_class is FailureClass.MODEL
    with pytest.raises(PipelineError, match="final pass gave no distribution") as caught:
        answer_question(fake_model(entropy=float("inf")), [piece(0, [1], [0], [1])], final_input(), RunConfig())
    assert caught.value.failure_class is FailureClass.MODEL


@given(seed=st.integers(0, 2**32), num_groups=st.integers(1, 4))
@settings(deadline=None, max_examples=40)
def test_pieces_merge_in_temporal_then_row_column_order_whatever_their_order(fake_model, seed, num_groups):
    rng = random.Random(seed)
    places = rng.sample([(patch, token) for patch in range(20) for token in range(2)], 12)
    groups = [[] for _ in range(num_groups)]
    for patch, token in places:
        groups[patch % num_groups].append((patch, token))
    pieces = [piece(g, *zip(*held, strict=True), [0.5] * len(held)) for g, held in enumerate(groups) if held]
    rng.shuffle(pieces)
    model = fake_model()
    done = answer_question(model, pieces, final_input(), RunConfig())
    tokens = model.answered[0][0]
    assert list(zip(tokens.patch_K.tolist(), tokens.column_K.tolist(), strict=True)) == sorted(places)
    assert tokens.features_KD.tolist() == [[float(patch), float(token)] for patch, token in sorted(places)]
    assert tokens.time_s_K.tolist() == [float(patch) for patch, _ in sorted(places)]
    assert set(tokens.row_K.tolist()) == {0}
    assert done.kept == {g: len(held) for g, held in enumerate(groups) if held}


def test_only_the_budget_reaches_the_final_pass_and_kept_tokens_are_counted_by_group(fake_model):
    pieces = [piece(0, [0, 0, 6], [0, 1, 0], [0.9, 0.8, 0.1]), piece(2, [1, 1, 7], [0, 1, 1], [0.2, 0.3, 0.4])]
    order = sorted(range(6), key=lambda i: ([0, 0, 6, 1, 1, 7][i], [0, 1, 0, 0, 1, 1][i]))
    features = torch.tensor(np.concatenate([p.bits_KD for p in pieces])[order])
    scores = torch.tensor(np.concatenate([p.score_K for p in pieces])[order])
    kept = remove_redundant(features, features[:, 0].double(), scores, keep=4, proximity_s=10.0).tolist()
    model = fake_model()
    done = answer_question(model, pieces, final_input(final_budget=4), RunConfig(budget=BudgetConfig(token_budget=4)))
    assert model.answered[0][0].features_KD.tolist() == features[kept].tolist()
    assert sum(done.kept.values()) == 4
    position = [0 if int(features[i, 0]) in (0, 6) else 2 for i in kept]
    assert done.kept == {p: position.count(p) for p in set(position)}


def test_the_answer_carries_letter_probabilities_entropy_and_evidence(fake_model):
    model = fake_model()
    done = answer_question(model, [piece(0, [2, 3, 9], [0, 0, 0], [1, 1, 1])], final_input(), RunConfig())
    assert (done.answer, done.answer_text, done.option_probabilities) == ("B", "b text", (0.25, 0.75))
    assert (done.answer_entropy, done.letter_share) == (0.25, 0.875)
    spans = [(span.start_s, span.end_s, span.weight, span.num_tokens) for span in done.evidence]
    assert spans == [(2.0, 4.0, 0.5, 2), (9.0, 10.0, 0.5, 1)]  # attention 1 + 2, and 3
    kept = unpack_tokens(done.tokens)
    assert [(record["patch"], record["token"], record["weight"]) for record in kept] == [
        (2, 0, pytest.approx(1 / 6, rel=2**-8)),
        (3, 0, pytest.approx(2 / 6, rel=2**-8)),
        (9, 0, 0.5),
    ]
    assert model.answered[0][1:] == ("absolute", 1.0, 16, "mean")
    open_done = answer_question(model, [piece(0, [2], [0], [1])], final_input(question=1), RunConfig())
    assert (open_done.answer, open_done.option_probabilities, open_done.letter_share) == ("b text", None, None)
    assert model.answered[1][3] == 64


def test_a_scorer_hands_out_the_best_tokens_and_an_answerer_of_another_process_uses_them(fake_model):
    config = RunConfig(sampling=SamplingConfig(sample_fps=1.0), scoring=ScoringConfig(question_batch=2))
    model, store = fake_model(), LocalStore(memory_bytes=2**30)
    scorer, answerer = ScorerActor(model, store, config), AnswererActor(model, store, config)
    bundle = store.put({5: (np.arange(4), np.array([0, 1, 2, 2]), frames(10, 11, 20))})
    done = scorer.score(score_work([bundle]))
    assert done.key == key("score", 5)
    assert done.seconds.total_s > 0
    pieces = scorer.gather(GatherWork(key=key("gather", 2), bought={5: 3})).result.pieces
    gathered = store.get(pieces)
    assert [(p.position, p.patch_K.tolist(), p.token_K.tolist()) for p in gathered] == [(5, [4, 8, 8], [1, 0, 1])]
    assert gathered[0].features().tolist() == [[10.0, 1.0], [20.0, 0.0], [20.0, 1.0]]
    answer = answerer.answer(answer_work([pieces], question=2))
    assert (answer.result.final.answer, answer.result.final.kept) == ("B", {5: 3})
    assert model.answered[0][2] == 2.0  # seconds per patch at one frame per second


def test_a_scorer_drops_what_is_no_longer_needed_of_this_attempt_only(fake_model):
    store = LocalStore(memory_bytes=2**30)
    scorer = ScorerActor(fake_model(), store, RunConfig())
    bundle = store.put({5: (np.arange(4), np.arange(4), frames(1, 2, 3, 4))})
    scorer.score(score_work([bundle], batches=((0,),)))
    assert scorer.num_candidate_tokens == 4
    other = Retention(video_id=3, attempt=2, question=0, limits={5: 1})
    scorer.retain(other)
    assert scorer.num_candidate_tokens == 4
    scorer.retain(Retention(video_id=3, attempt=1, question=0, limits={5: 1}))
    assert scorer.num_candidate_tokens == 1
    scorer.release(4)
    assert scorer.num_candidate_tokens == 1
    scorer.release(3)
    assert scorer.num_candidate_tokens == 0


class QueueingScorer:
    """Says what is queued and what is waited for; group 7 cannot be queued while another is under way."""

    can_queue = True

    def __init__(self):
        self.log, self.open = [], 0

    def launch(self, work):
        if work.key.index == 7 and self.open:
            raise torch.OutOfMemoryError("two groups are too much")
        self.open += 1
        self.log.append(f"queue {work.key.index}")
        return work

    def finish(self, queued):
        self.open -= 1
        self.log.append(f"read {queued.key.index}")
        return Completion(key=queued.key, result=ScoreDone(scores={}, was_prefilled=True))

    def expect(self, works, ahead):
        pass

    def close(self):
        pass

    def mark_idle(self):
        self.log.append("idle")


def score_works(*positions):
    return tuple(score_work()._replace(key=key("score", position)) for position in positions)


@pytest.mark.parametrize(
    ("batches", "log"),
    [
        ([(1,), ()], ["queue 1", "read 1", "idle"]),
        ([(1, 2, 3), ()], ["queue 1", "queue 2", "read 1", "queue 3", "read 2", "read 3", "idle"]),
        ([(1, 7, 2), ()], ["queue 1", "read 1", "queue 7", "queue 2", "read 7", "read 2", "idle"]),
        (
            [(1,), (2,), (3, 4), ()],
            [*["queue 1", "queue 2", "read 1", "queue 3", "read 2", "queue 4", "read 3", "read 4", "idle"]],
        ),
        ([(1,), (7,), (2,), ()], ["queue 1", "read 1", "queue 7", "queue 2", "read 7", "read 2", "idle"]),
    ],
)
def test_the_next_group_is_queued_before_the_scores_of_the_one_before_are_read_across_batches_too(batches, log):
    scorer = QueueingScorer()
    worker = ModelWorker(lambda: (scorer, None))
    completions = []
    for positions in batches:
        completions += worker.run_batch(Batch(work=score_works(*positions)))
    assert scorer.log == log
    given = [position for positions in batches for position in positions]
    assert [(done.key.index, type(done.result)) for done in completions] == [(g, ScoreDone) for g in given]
    assert worker.run_batch(Batch()) == []


def test_a_group_that_cannot_be_queued_at_all_is_reported_and_not_held_back():
    scorer = QueueingScorer()
    scorer.open = 1  # something else takes the memory
    worker = ModelWorker(lambda: (scorer, None))
    (failed,) = worker.run_batch(Batch(work=score_works(7)))
    assert failed.result.failure_class is FailureClass.OUT_OF_MEMORY
    assert worker.run_batch(Batch()) == []


def test_what_is_held_back_for_one_coordinator_is_not_reported_to_the_next():
    scorer = QueueingScorer()
    worker = ModelWorker(lambda: (scorer, None))
    assert worker.run_batch(Batch(work=score_works(1))) == []
    worker.start_over()
    assert worker.run_batch(Batch()) == []


def test_a_vote_of_groups_has_the_mean_of_what_their_letters_have():
    def share_of(*shares):
        scores = [
            GroupScore(group_index=index, certainty=-1.0, response="A", num_tokens=0, letter_share=share)
            for index, share in enumerate(shares)
        ]
        return answer_by_vote(get_selector("entropy-vote"), scores, QUESTIONS[0]).letter_share

    assert (share_of(0.25, 0.75), share_of(None, 0.25), share_of(None)) == (0.5, 0.25, None)


def test_a_groups_score_says_what_the_letters_have(fake_model):
    scored = score_group(fake_model(), frames(10, 11, 20, 21), group_input(), RunConfig())
    assert {index: score.letter_share for index, score in scored.scores.items()} == {0: 0.875, 1: None, 2: 0.875}
