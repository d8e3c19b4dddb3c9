"""Notices that Ray itself hangs or is gone: the head's GCS, or the raylet of this node. Workers are watched elsewhere.

A process that talks to a Ray that hangs waits for it inside calls that nothing breaks off, so a thread looks, and
whoever opened the session is told and ends the process. (A raylet that has died ends its driver by itself, without
a word.)
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray

from pipeline.own_time import MOST_STEP_S

SILENCE_S = 40.0
PERIOD_S = 3.0
LOCAL_RAY = {"health_check_period_ms": 2_000, "health_check_timeout_ms": 5_000, "health_check_failure_threshold": 4}
"""How a Ray that is started here finds a raylet that hangs: within 28 s instead of 65."""

REMEDY = (
    "What is committed stays. End what is left of Ray (ray stop --force), start it again if it was not started by this "
    "job (ray start --head …), and type the same command: it goes on from there"
)
_log = logging.getLogger("adapttoken.ray")


@dataclass(kw_only=True, slots=True, eq=False)
class RayHealth:
    """What is known of Ray, from answers of its head; pure, the clock is the caller's.

    Attributes:
        node_id: where this process is.
        asked_s: since when a question is open; None where none is.
        judged_s: of the last judgement. Where this process stood still since then, that was no silence of the head.
    """

    node_id: str
    asked_s: float | None = None
    judged_s: float | None = None
    is_node_lost: bool = False

    def ask(self, now_s: float) -> None:
        """The head is asked for its nodes."""
        self.asked_s = now_s

    def take_answer(self, nodes: Sequence[Any]) -> None:
        """It has answered."""
        self.asked_s = None
        own = [node for node in nodes if node["NodeID"] == self.node_id]
        self.is_node_lost = bool(own) and not own[0]["Alive"]

    def judge(self, now_s: float) -> str | None:
        """What is wrong, in words; None while nothing is. To be called every second."""
        paused_s = 0.0 if self.judged_s is None else max(0.0, now_s - self.judged_s - MOST_STEP_S)
        self.judged_s = now_s
        if self.asked_s is not None:
            self.asked_s = min(now_s, self.asked_s + paused_s)
        if self.is_node_lost:
            return "Ray's process on this node (raylet) hangs or has died"
        if self.asked_s is not None and now_s - self.asked_s > SILENCE_S:
            return f"Ray's head (GCS) has not answered for {SILENCE_S:g} s"
        return None


@contextmanager
def watch_ray(on_lost: Callable[[str], None]) -> Iterator[None]:
    """While open: call ``on_lost`` once, in another thread, with what is wrong and what to type; Ray is initialised."""
    health = RayHealth(node_id=ray.get_runtime_context().get_node_id())
    is_over = threading.Event()
    threading.Thread(target=_ask, args=(health, is_over), daemon=True, name="ray-watch-ask").start()
    threading.Thread(target=_judge, args=(health, is_over, on_lost), daemon=True, name="ray-watch-judge").start()
    try:
        yield
    finally:
        is_over.set()


def _ask(health: RayHealth, is_over: threading.Event) -> None:
    """A thread of its own: the call may never return."""
    while not is_over.wait(PERIOD_S):
        health.ask(time.monotonic())
        try:
            health.take_answer(ray.nodes())  # type: ignore[no-untyped-call]
        except (ray.exceptions.RayError, RuntimeError, ConnectionError) as error:
            _log.warning("Ray's head cannot be asked (%s)", type(error).__name__)  # the question stays open
            if is_over.wait(PERIOD_S):
                return


def _judge(health: RayHealth, is_over: threading.Event, on_lost: Callable[[str], None]) -> None:
    while not is_over.wait(1.0):
        finding = health.judge(time.monotonic())
        if finding is not None:
            on_lost(f"{finding}. {REMEDY}")
            return
