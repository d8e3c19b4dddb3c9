"""One video in reach of further questions: planned once, its frames and prefixes kept as far as there is room."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.failures import PipelineError
from pipeline.manifest.questions import Question
from pipeline.method.selectors.registry import can_stop_early, get_selector
from pipeline.models.interface import VideoModel
from pipeline.models.question_tokenizer import QuestionTokenizer
from pipeline.passes.group_pass import ScoredGroup
from pipeline.passes.video_answer import VideoAnswer
from pipeline.passes.whole_video import answer_groups
from pipeline.planning.question_check import check_questions
from pipeline.planning.video_plan import VideoPlan, plan_video
from pipeline.results.schema import results_table
from pipeline.serving.answer_row import WorkDone, answer_row
from pipeline.serving.asked import Tell, WithdrawnError
from pipeline.serving.remembering_model import RememberingModel
from pipeline.serving.room import Room
from pipeline.settings.config import RunConfig
from pipeline.uris import StorageOptions, strip_secrets
from pipeline.video.decode import DecodedFrames
from pipeline.video.decode_plan import DecodePass
from pipeline.video.frame_store.reading import FrameReader
from pipeline.video.isolated import IsolatedReader
from pipeline.video.sources import local_video

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Asker:
    """What all sessions of a method have in common.

    Attributes:
        run_id: that the rows carry.
        frames: room for decoded frames, on the host; ``tensors``: for features and prefixes, on the model's device.
    """

    model: VideoModel
    tokenizer: QuestionTokenizer
    config: RunConfig
    config_hash: str
    run_id: str
    frames: Room
    tensors: Room
    storage_options: StorageOptions = field(default=None, repr=False)


class VideoSession:
    """One version of one video under one method. For one thread; ``close`` ends its decoding process."""

    def __init__(self, asker: Asker, uri: str, fingerprint: str) -> None:
        """Read the video's timeline and plan it.

        Raises:
            PipelineError: It cannot be read or planned.
        """
        self._asker, self._uri, self._fingerprint = asker, uri, fingerprint
        self._holder = f"{asker.config.method} {fingerprint}"
        self._kept: dict[int, DecodedFrames] = {}
        self._bad_frames: set[int] = set()
        config = asker.config
        with ExitStack() as stack:
            path = stack.enter_context(
                local_video(uri, reading=config.reading, storage_options=asker.storage_options, fingerprint=fingerprint)
            )
            reader = IsolatedReader(config.reading, max_bad_frames_share=config.sampling.max_bad_frames_share)
            stack.callback(reader.close)
            self.plan: VideoPlan = plan_video(
                reader.probe(path), layout=asker.model, selector=get_selector(config.method), config=config
            )
            self._reader = FrameReader(reader, config.frame_store, asker.storage_options)
            asker.frames.enter(self._holder, self._kept.clear)
            self._model = RememberingModel(asker.model, asker.tensors, self._holder)
            asker.tensors.enter(self._holder, self._model.forget)
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Keep nothing."""
        self._kept.clear()
        self._model.forget()
        self._asker.frames.leave(self._holder)
        self._asker.tensors.leave(self._holder)
        self._stack.close()

    def ask(self, question: Question, *, key: str, tell: Tell, is_withdrawn: threading.Event) -> pa.Table:
        """Answer one question; returns its row.

        Args:
            question: about this video.
            key: of the row.
            tell: told ``planned``, ``reading`` for each stretch of the video, ``scored`` for each group, ``answering``.
            is_withdrawn: looked at before each group and each stretch.

        Raises:
            WithdrawnError: It was set.
            PipelineError: The video cannot be read.
        """
        config, work, started_s = self._asker.config, WorkDone(), time.perf_counter()
        self._asker.frames.enter(self._holder, self._kept.clear)
        self._asker.tensors.enter(self._holder, self._model.forget)
        tell("planned", self._describe_plan())

        def note(answers: Sequence[VideoAnswer], scored: ScoredGroup) -> None:
            work.add(scored)
            tell("scored", self._describe_score(answers[0], started_s))
            if answers[0].has_stopped or len(answers[0].scores) == len(self.plan.groups):
                tell("answering", {"has_stopped": answers[0].has_stopped})

        (answer,) = answer_groups(
            self.plan,
            self._frames(work, tell, is_withdrawn),
            (question,),
            model=cast(VideoModel, self._model),
            config=config,
            bad_frames=self._bad_frames,
            stage=work.stage,
            note=note,
        )
        work.total_s = time.perf_counter() - started_s
        row = answer_row(
            answer,
            self.plan,
            work,
            question_key=key,
            fingerprint=self._fingerprint,
            config=config,
            model=self._asker.model,
            config_hash=self._asker.config_hash,
            run_id=self._asker.run_id,
            finished_at=datetime.now(UTC),
        )
        return results_table([row], pa.table({}))

    def check(self, question: Question) -> None:
        """Refuse what the model cannot be asked.

        Raises:
            PipelineError: It is too long, has too many options, or cannot be written in tokens.
        """
        checked = check_questions(
            (question,),
            self.plan,
            tokenizer=self._asker.tokenizer,
            layout=self._asker.model,
            config=self._asker.config,
        )
        for failure in checked.refused.values():
            raise PipelineError(failure.failure_class, failure.message)

    def _frames(self, work: WorkDone, tell: Tell, is_withdrawn: threading.Event) -> Iterator[npt.NDArray[np.uint8]]:
        """Each group's frames in visiting order, decoded where they are not kept; whoever withdraws ends it."""
        for number, reading in enumerate(self.plan.passes):
            decoded, wanted = None, reading.frame_indices
            for position in reading.group_positions:
                if is_withdrawn.is_set():
                    raise WithdrawnError
                if decoded is None:
                    decoded = self._kept.get(number) or self._decode(reading, work, tell, is_withdrawn)
                    self._keep(number, decoded)
                    work.note_reading(decoded)
                self._model.position = position
                yield decoded.frames[np.searchsorted(wanted, self.plan.group_frames(position))]

    def _decode(self, reading: DecodePass, work: WorkDone, tell: Tell, is_withdrawn: threading.Event) -> DecodedFrames:
        """One reading of the video, stretch by stretch, so that nobody waits long for its end."""
        decoder, height_width = self._asker.config.sampling.decoder, self.plan.decode_size
        parts: list[DecodedFrames] = []
        for number, stretch in enumerate(reading.stretches):
            if is_withdrawn.is_set():
                raise WithdrawnError
            tell("reading", {"num_read": number, "num_stretches": len(reading.stretches)})
            with work.stage("decode"):
                part = self._reader.decode(
                    self.plan.probe,
                    stretch.frame_indices,
                    size=height_width,
                    backend=decoder,
                    fingerprint=self._fingerprint,
                    uri=strip_secrets(self._uri),
                )
            self._bad_frames.update(int(stretch.frame_indices[row]) for row in part.bad_frames)
            parts.append(part)
        work.num_passes += 1
        work.num_frames_decoded += sum(part.num_frames_decoded for part in parts)
        return DecodedFrames(
            frames=parts[0].frames if len(parts) == 1 else np.concatenate([part.frames for part in parts]),
            decoder="+".join(sorted({part.decoder for part in parts})),
            num_frames_decoded=0,
            sandbox=parts[-1].sandbox,
        )

    def _keep(self, number: int, decoded: DecodedFrames) -> None:
        if number not in self._kept and self._asker.frames.take(self._holder, decoded.frames.nbytes):
            self._kept[number] = decoded

    def _describe_plan(self) -> Json:
        plan, stopping = self.plan, self._asker.config.stopping
        return {
            "duration_s": plan.probe.duration_s,
            "num_groups": len(plan.groups),
            "num_frames": plan.sample.num_frames,
            "num_kept": self._model.num_prefixes,
            "stop_entropy": stopping.stop_entropy if can_stop_early(self._asker.config.method) else None,
        }

    def _describe_score(self, answer: VideoAnswer, started_s: float) -> Json:
        visit = len(answer.scores)
        score, patches = answer.scores[-1], self.plan.groups[visit - 1]
        return {
            "visit": visit,
            "group_index": score.group_index,
            "entropy": score.entropy if np.isfinite(score.entropy) else None,
            "response": score.response,
            "starts_s": [round(float(start_s), 3) for start_s in self.plan.patch_times_s[patches]],
            "seconds": time.perf_counter() - started_s,
        }
