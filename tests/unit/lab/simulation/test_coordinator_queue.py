import pytest

from pipeline.lab.simulation.coordinator_queue import CoordinatorQueue
from pipeline.lab.simulation.messages import Load
from pipeline.lab.simulation.settings import CoordinatorTimes


def make_queue(*, call_s=0.0, record_s=0.0, reference_s=0.0, decision_s=0.0) -> CoordinatorQueue:
    return CoordinatorQueue(
        CoordinatorTimes(call_s=call_s, record_s=record_s, reference_s=reference_s, decision_s=decision_s)
    )


def test_calls_are_served_one_at_a_time_in_order_of_arrival():
    queue = make_queue(call_s=1.0)
    sent_s = [queue.serve(arrival_s, lambda: None)[1] for arrival_s in (0.0, 0.25, 0.5, 10.0)]
    assert sent_s == [1.0, 2.0, 3.0, 11.0]
    assert queue.busy_s == 4.0
    assert queue.waited_s == 0.75 + 1.5
    assert queue.longest_wait_s == 1.5
    assert queue.num_calls == 4


def test_completions_records_references_and_the_reply_take_their_share():
    queue = make_queue(call_s=1.0, record_s=0.25, reference_s=2.0, decision_s=0.5)
    reply, decided_s = queue.serve(2.0, lambda: "work", num_completions=3, load=Load(2, 1))
    assert (reply, decided_s) == ("work", 2.0 + 1.0 + 2 * 0.25 + 2.0 + 3 * 0.5)
    assert queue.send(Load(4, 3)) == decided_s + 4 * 0.25 + 3 * 2.0
    assert queue.busy_s == 12.0
    assert queue.num_completions == 3
    assert queue.decision_s == 1.5


def test_a_decision_for_a_waiting_worker_is_no_call():
    queue = make_queue(call_s=1.0, decision_s=0.5)
    queue.serve(0.0, lambda: None)
    assert queue.decide(0.0, lambda: None, num_completions=2)[1] == 2.0
    assert (queue.num_calls, queue.num_decisions) == (1, 2)


def test_unset_decision_seconds_are_those_that_the_decision_takes():
    queue = CoordinatorQueue(CoordinatorTimes(call_s=0.0, record_s=0.0, reference_s=0.0, decision_s=None))
    queue.serve(0.0, lambda: sum(range(200_000)))
    assert 1e-4 < queue.busy_s < 1.0
    assert queue.busy_s == queue.decision_s == queue.free_at_s


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"latency_s": -1.0}, r"coordinator.latency_s must be at least 0, got -1.0"),
        ({"decision_s": -0.1}, r"coordinator.decision_s must be at least 0, or unset, got -0.1"),
        ({"poll_s": 0.0}, r"coordinator.poll_s must be positive, got 0.0"),
    ],
)
def test_costs_out_of_range_are_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        CoordinatorTimes(**changed)
