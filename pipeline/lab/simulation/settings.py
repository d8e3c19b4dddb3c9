"""What is simulated: the archive, the cluster, how long each stage takes, what a call to the coordinator costs."""

from dataclasses import dataclass, field

from pipeline.engine.sharding import count_shards
from pipeline.method.selectors.registry import get_selector
from pipeline.settings.config import ExecutionConfig, RunConfig, SamplingConfig

GIB = 1024**3
# One H200, Qwen2.5-VL-7B, 64 frames of 308 x 560: a 64th of the 2.3 (vision) and 6.5 PFLOP (prefill) of 4,096 frames
_GROUPS_OF_4096, _PFLOP_PER_S, _SHARE_OF_FLOOR = 64, 0.79, 0.6
_ENCODE_S = 2.3 / _GROUPS_OF_4096 / _PFLOP_PER_S / _SHARE_OF_FLOOR
_PREFILL_S = 6.5 / _GROUPS_OF_4096 / _PFLOP_PER_S / _SHARE_OF_FLOOR


def _check(is_valid: bool, name: str, value: object, allowed: str) -> None:
    if not is_valid:
        raise ValueError(f"{name} must be {allowed}, got {value!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class StageTimes:
    """Mean seconds of each stage; where they come from is in docs/simulation.md.

    Attributes:
        question_s: of one question about one prefilled group.
        fetch_s: frames of a worker's first group of a batch; those of the others are copied meanwhile.
        gather_s: one question's tokens from one scorer.
        answer_s: one final pass.
        probe_s: one video, beside ``demux_frame_s`` for each of its coded frames.
        decode_frame_s: each frame decoded, wanted or on the way; ``wanted_frame_s`` each one converted and handed on.
        spread: standard deviation of the logarithm of every stage's duration; 0 means always the mean.
    """

    encode_s: float = _ENCODE_S
    prefill_s: float = _PREFILL_S
    question_s: float = 0.01
    fetch_s: float = 0.01
    gather_s: float = 0.005
    answer_s: float = 0.3
    probe_s: float = 0.1
    demux_frame_s: float = 7e-6
    decode_frame_s: float = 0.33e-3
    wanted_frame_s: float = 0.70e-3
    spread: float = 0.1

    def __post_init__(self) -> None:
        for name in self.__slots__:
            _check(getattr(self, name) >= 0, f"times.{name}", getattr(self, name), "at least 0")


@dataclass(frozen=True, kw_only=True, slots=True)
class CoordinatorTimes:
    """What calls cost. A worker's call takes ``latency_s`` each way; the coordinator serves one call at a time.

    Attributes:
        call_s: of the coordinator's process per call, beside its decisions: transport, (de)serialising, event loop.
        record_s: the same per score, retention or piece of work that comes in or goes out.
        reference_s: the same per reference to an object: its owner is told who else knows it, and who no longer does.
        decision_s: CPU seconds per completion; None: as measured on the state machine while it decides, each call
            with its own.
        poll_s: seconds between the driver's requests for finished rows.
        long_poll_s: after which a waiting worker gets an empty batch and asks again; None: by the policy.
    """

    latency_s: float = 0.001
    call_s: float = 0.0019
    record_s: float = 20e-6
    reference_s: float = 77e-6
    decision_s: float | None = None
    poll_s: float = 0.2
    long_poll_s: float | None = None

    def __post_init__(self) -> None:
        for name in ("latency_s", "call_s", "record_s", "reference_s"):
            _check(getattr(self, name) >= 0, f"coordinator.{name}", getattr(self, name), "at least 0")
        is_valid = self.decision_s is None or self.decision_s >= 0
        _check(is_valid, "coordinator.decision_s", self.decision_s, "at least 0, or unset")
        _check(self.poll_s > 0, "coordinator.poll_s", self.poll_s, "positive")
        is_valid = self.long_poll_s is None or self.long_poll_s > 0
        _check(is_valid, "coordinator.long_poll_s", self.long_poll_s, "positive, or unset")


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulationSettings:
    """One run of the simulation.

    Attributes:
        num_frames: sampled frames per video, at two per second.
        frames_decoded_per_wanted: k, encoded frames per sampled frame.
        gop_frames: encoded frames from keyframe to keyframe.
        num_coordinators: each with its part of the videos; None: as jobs choose it.
        num_answerers: of the GPUs, for final passes only; without any the scorers run these too.
        decode_cores_per_gpu: each core is one decoder.
        num_stretches: pieces into which a decode pass is cut; None: as jobs do it.
        frame_buffer_bytes_per_gpu: decoded frames that wait to be scored.
        node_losses_per_hour: of each node, with all its workers.
        detection_s: from a node's loss to the coordinator's knowledge of it; ``return_s`` to its successor's start.
        mean_stop_groups: groups after which AdaptToken-Lite stops on average, were the video endless.
    """

    method: str = "adapttoken"
    num_videos: int = 100
    num_frames: int = 10_000
    num_questions: int = 4
    frames_decoded_per_wanted: int = 10
    gop_frames: int = 250
    num_gpus: int = 8
    num_coordinators: int | None = None
    num_answerers: int = 0
    decode_cores_per_gpu: float = 4.0
    gpus_per_node: int = 8
    groups_in_hand: int = 3
    num_stretches: int | None = None
    frame_buffer_bytes_per_gpu: int = 16 * GIB
    node_losses_per_hour: float = 0.0
    detection_s: float = 5.0
    return_s: float = 60.0
    mean_stop_groups: float = 21.0
    seed: int = 0
    times: StageTimes = field(default_factory=StageTimes)
    coordinator: CoordinatorTimes = field(default_factory=CoordinatorTimes)

    def __post_init__(self) -> None:
        counts = ("num_videos", "num_frames", "num_questions", "frames_decoded_per_wanted", "gop_frames", "num_gpus")
        for name in (*counts, "gpus_per_node", "groups_in_hand"):
            _check(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("decode_cores_per_gpu", "frame_buffer_bytes_per_gpu"):
            _check(getattr(self, name) > 0, name, getattr(self, name), "positive")
        for name in ("node_losses_per_hour", "detection_s", "return_s"):
            _check(getattr(self, name) >= 0, name, getattr(self, name), "at least 0")
        _check(self.mean_stop_groups >= 2, "mean_stop_groups", self.mean_stop_groups, "at least 2")
        is_valid = 0 <= self.num_answerers < self.num_gpus
        _check(is_valid, "num_answerers", self.num_answerers, f"at least 0 and below num_gpus ({self.num_gpus})")

    @property
    def num_scorers(self) -> int:
        """GPUs that score."""
        return self.num_gpus - self.num_answerers

    @property
    def num_decoders(self) -> int:
        """Decoder cores, at least one."""
        return max(1, round(self.decode_cores_per_gpu * self.num_gpus))

    @property
    def num_shards(self) -> int:
        """Coordinators, by the rule of the product."""
        config = self.run_config()
        can_stop = get_selector(config.method).can_stop
        return count_shards(config.execution, can_stop=can_stop, num_videos=self.num_videos)

    @property
    def group_s(self) -> float:
        """Mean seconds of one group with all questions."""
        return self.times.encode_s + self.times.prefill_s + self.num_questions * self.times.question_s

    def run_config(self) -> RunConfig:
        """The configuration that the real state machine gets."""
        return RunConfig(
            method=self.method,
            sampling=SamplingConfig(max_frames=self.num_frames),
            execution=ExecutionConfig(
                num_scorers=self.num_scorers,
                num_coordinators=self.num_coordinators,
                num_answerers=self.num_answerers,
                num_decoders=self.num_decoders,
                groups_in_hand=self.groups_in_hand,
                frame_buffer_bytes=self.frame_buffer_bytes_per_gpu * self.num_gpus,
                candidate_bytes=self.num_gpus * 8 * GIB,
            ),
        )
