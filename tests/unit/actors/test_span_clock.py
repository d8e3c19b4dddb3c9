"""A stage begins when its first piece is handed out and ends when its last one is reported."""

from actors.span_clock import SpanClock
from pipeline.engine.messages.keys import Stage, WorkKey
from pipeline.engine.messages.stage_seconds import StageSeconds
from pipeline.engine.messages.work import Cancelled, Completion


def key(stage, index=0, video=7):
    return WorkKey(video_id=video, attempt=0, stage=stage, index=index)


def done(stage, index=0, video=7, **seconds):
    return Completion(key=key(stage, index, video), result=Cancelled(), seconds=StageSeconds(**seconds))


def test_pieces_of_one_stage_are_one_span():
    times = iter([10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 16.0])
    clock = SpanClock(now_s=lambda: next(times))
    clock.note_given([key(Stage.DECODE, 0), key(Stage.DECODE, 1), key(Stage.DECODE, 0, video=8)])  # 10
    clock.note_done([done(Stage.DECODE, 0, decode_s=0.5)])  # 11
    clock.note_given([key(Stage.SCORE)])  # 12
    clock.note_done([done(Stage.DECODE, 1, decode_s=0.25)])  # 13
    clock.note_done([done(Stage.SCORE, score_s=1.0, scorer_wait_s=9.0)])  # 14
    clock.note_given([key(Stage.GATHER), key(Stage.ANSWER)])  # 15
    clock.note_done([done(Stage.GATHER, answer_s=0.1), done(Stage.ANSWER, answer_s=0.2)])  # 16
    found = [(s.stage, s.start_s, s.end_s, s.num_pieces, round(s.busy_s, 6)) for s in clock.take(7)]
    assert found == [("decode", 10, 13, 2, 0.75), ("score", 12, 14, 1, 1.0), ("answer", 15, 16, 2, 0.3)]


def test_what_is_reported_of_a_video_that_has_ended_is_forgotten():
    clock = SpanClock()
    clock.note_given([key(Stage.SCORE)])
    assert len(clock.take(7)) == 1
    clock.note_done([done(Stage.SCORE)])
    assert clock.take(7) == ()
    assert not clock._videos
