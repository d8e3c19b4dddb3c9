"""Questions are answered one after the other, by one thread that owns the model and the videos in reach."""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa

from pipeline.manifest.questions import Question
from pipeline.results.keys import question_key, video_fingerprint
from pipeline.serving.asked import Ask, Tell, WithdrawnError
from pipeline.serving.video_session import Asker, VideoSession
from pipeline.uris import has_scheme

MAX_SESSIONS = 8
"""Videos whose decoding processes stay; how much of them is kept is another bound."""


class Desk:
    """Where questions wait for the model."""

    def __init__(self, askers: Sequence[Asker]) -> None:
        """Begin with nothing in reach.

        Args:
            askers: one per method; the first is the usual one.
        """
        self._askers: Mapping[str, Asker] = {asker.config.method: asker for asker in askers}
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="answers")
        self._sessions: OrderedDict[tuple[str, str, str], VideoSession] = OrderedDict()
        self._lock, self._num_open, self._num_asked = threading.Lock(), 0, 0

    @property
    def methods(self) -> list[str]:
        """What can be chosen."""
        return list(self._askers)

    @property
    def model(self) -> str:
        """The checkpoint that answers."""
        return next(iter(self._askers.values())).config.model.model

    def submit(self, ask: Ask, tell: Tell, is_withdrawn: threading.Event) -> "Future[pa.Table]":
        """Queue a question; its row comes, or what failed.

        Args:
            ask: the question.
            tell: see ``VideoSession.ask``, in another thread; first ``queued`` with how many are before it.
            is_withdrawn: ends the work soon after it is set; the answer is then a ``WithdrawnError``.

        Raises:
            ValueError: There is no such method.
        """
        if ask.method not in self._askers:
            raise ValueError(f"there is no method {ask.method!r} here, but {', '.join(self._askers)}")
        with self._lock:
            tell("queued", {"num_before": self._num_open})
            self._num_open += 1
            self._num_asked += 1
            future = self._pool.submit(self._answer, ask, self._num_asked, tell, is_withdrawn)
        future.add_done_callback(self._count_out)
        return future

    def close(self) -> None:
        """Begin nothing more, wait for what withdraws, and end the decoding processes."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._drop_all()

    def _count_out(self, _: "Future[pa.Table]") -> None:
        with self._lock:
            self._num_open -= 1

    def _answer(self, ask: Ask, number: int, tell: Tell, is_withdrawn: threading.Event) -> pa.Table:
        if is_withdrawn.is_set():
            raise WithdrawnError
        asker = self._askers[ask.method]
        uri = ask.video if has_scheme(ask.video) else str(Path(ask.video).absolute())
        reading = asker.config.reading
        fingerprint = video_fingerprint(uri, storage_options=asker.storage_options, allow_http=reading.allow_http)
        tell("began", {"video": uri})
        session = self._session(asker, uri, fingerprint)
        question = Question(
            question_id=f"asked-{number}", video=uri, text=ask.text.strip(), options=ask.options, row_index=number
        )
        key = question_key(fingerprint, question.text, question.options, asker.config_hash)
        session.check(question)
        is_sound = False
        try:
            row = session.ask(question, key=key, tell=tell, is_withdrawn=is_withdrawn)
            is_sound = True
        except WithdrawnError:
            is_sound = True
            raise
        finally:
            if not is_sound:  # nobody knows what state it is in; and memory may have run out
                self._drop_all()
        return row

    def _session(self, asker: Asker, uri: str, fingerprint: str) -> VideoSession:
        """The one that is kept, of the version that lies there now."""
        name = (asker.config.method, uri, fingerprint)
        for other in [one for one in self._sessions if one[:2] == name[:2] and one != name]:
            self._drop(other)
        if name not in self._sessions:
            while len(self._sessions) >= MAX_SESSIONS:
                self._drop(next(iter(self._sessions)))
            self._sessions[name] = VideoSession(asker, uri, fingerprint)
        self._sessions.move_to_end(name)
        return self._sessions[name]

    def _drop_all(self) -> None:
        while self._sessions:
            self._sessions.popitem()[1].close()

    def _drop(self, name: tuple[str, str, str]) -> None:
        self._sessions.pop(name).close()
