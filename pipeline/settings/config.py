"""Every setting of a run, in sections; each default is design.md's. Reading YAML and ``--set`` is in ``reading``."""

from dataclasses import dataclass, field
from typing import Literal

from pipeline.settings.checks import check, check_nvdec
from pipeline.settings.sources import FrameStoreConfig, ReadingConfig

LEAST_FRAME_BUFFER_BYTES = 8 * 1024**3


DEMO_MODEL = "demo"
"""The toy model of this project, by the name that asks for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingConfig:
    """Which frames are read, at which size, and how they are grouped."""

    sample_fps: float = 2.0
    max_frames: int = 10_000
    seek: Literal["exact", "keyframe"] = "exact"
    snap_tolerance_s: float = 0.25
    resize: Literal["decode", "model"] = "decode"
    decoder: Literal["auto", "decord", "nvdec", "pyav", "torchcodec"] = "auto"
    min_pixels: int = 128 * 28 * 28
    max_pixels: int = 308 * 560
    frames_per_group: int = 64
    grouping: Literal["interleaved", "contiguous"] = "interleaved"
    max_bad_frames_share: float = 0.05

    def __post_init__(self) -> None:
        check(self.sample_fps > 0, "sampling.sample_fps", self.sample_fps, "positive")
        check(self.max_frames >= 1, "sampling.max_frames", self.max_frames, "at least 1")
        check(self.seek in ("exact", "keyframe"), "sampling.seek", self.seek, "'exact' or 'keyframe'")
        half_interval_s = 0.5 / self.sample_fps
        check(
            self.seek == "exact" or 0 <= self.snap_tolerance_s <= half_interval_s,
            "sampling.snap_tolerance_s",
            self.snap_tolerance_s,
            f"between 0 and half the sampling interval ({half_interval_s} s)",
        )
        check(self.resize in ("decode", "model"), "sampling.resize", self.resize, "'decode' or 'model'")
        allowed = ("auto", "decord", "nvdec", "pyav", "torchcodec")
        check(self.decoder in allowed, "sampling.decoder", self.decoder, f"one of {', '.join(allowed)}")
        check(self.min_pixels >= 1, "sampling.min_pixels", self.min_pixels, "positive")
        check(self.max_pixels >= self.min_pixels, "sampling.max_pixels", self.max_pixels, ">= sampling.min_pixels")
        check(
            self.frames_per_group >= 2 and self.frames_per_group % 2 == 0,
            "sampling.frames_per_group",
            self.frames_per_group,
            "an even number of at least 2",
        )
        groupings = ("interleaved", "contiguous")
        check(self.grouping in groupings, "sampling.grouping", self.grouping, "'interleaved' or 'contiguous'")
        check(
            0 <= self.max_bad_frames_share < 1, "sampling.max_bad_frames_share", self.max_bad_frames_share, "in [0, 1)"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoringConfig:
    """How a group is judged: attention rank of its tokens, entropy of its response.

    Attributes:
        certainty_share: of the response's tokens, the least certain ones, whose mean entropy counts; at least one.
        entropy_over: what it is taken over; ``options`` are their letters, renormalised (open questions: vocabulary).
        prompt_style: how multiple choice is worded: ours, or as a benchmark's published set-up has it.
    """

    reference_layer: int = 20
    query_tokens: Literal["text", "last-token"] = "text"
    attention_reduce: Literal["max", "mean"] = "max"
    response_tokens: int = 64
    certainty_share: float = 0.1
    entropy_over: Literal["vocabulary", "options"] = "vocabulary"
    question_batch: int = 8
    encode_patches: int = 32
    prompt_style: Literal["plain", "videomme", "lvbench", "mlvu"] = "plain"

    def __post_init__(self) -> None:
        check(self.reference_layer >= 0, "scoring.reference_layer", self.reference_layer, "at least 0")
        styles = ("plain", "videomme", "lvbench", "mlvu")
        check(self.prompt_style in styles, "scoring.prompt_style", self.prompt_style, f"one of {', '.join(styles)}")
        either = {"query_tokens": ("text", "last-token"), "attention_reduce": ("max", "mean")}
        for name, (one, other) in (either | {"entropy_over": ("vocabulary", "options")}).items():
            value = getattr(self, name)
            check(value in (one, other), f"scoring.{name}", value, f"{one!r} or {other!r}")
        check(self.response_tokens >= 1, "scoring.response_tokens", self.response_tokens, "at least 1")
        check(0 < self.certainty_share <= 1, "scoring.certainty_share", self.certainty_share, "in (0, 1]")
        check(self.question_batch >= 1, "scoring.question_batch", self.question_batch, "at least 1")
        check(self.encode_patches >= 1, "scoring.encode_patches", self.encode_patches, "at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class BudgetConfig:
    """The one global token budget and how groups share it.

    Attributes:
        keep_ratio: for methods that thin every frame: share of its tokens that a patch keeps, and so how many patches
            the budget holds. None: of all patches as many tokens each as the budget allows.
    """

    token_budget: int = 7_040
    over_select: float = 1.1
    tau: float = 2.0
    proximity_s: float = 10.0
    keep_ratio: float | None = None

    def __post_init__(self) -> None:
        check(self.token_budget >= 1, "budget.token_budget", self.token_budget, "at least 1")
        check(self.over_select >= 1, "budget.over_select", self.over_select, "at least 1")
        check(self.tau > 0, "budget.tau", self.tau, "positive")
        check(self.proximity_s > 0, "budget.proximity_s", self.proximity_s, "positive")
        ratio = self.keep_ratio
        check(ratio is None or 0 < ratio <= 1, "budget.keep_ratio", ratio, "above 0 and at most 1, or null")


@dataclass(frozen=True, kw_only=True, slots=True)
class StoppingConfig:
    """AdaptToken-Lite: when a question needs no further group."""

    confident_groups: int = 2
    stop_entropy: float = 0.2

    def __post_init__(self) -> None:
        check(self.confident_groups >= 1, "stopping.confident_groups", self.confident_groups, "at least 1")
        check(self.stop_entropy >= 0, "stopping.stop_entropy", self.stop_entropy, "at least 0 nats")


@dataclass(frozen=True, kw_only=True, slots=True)
class AnsweringConfig:
    """The final pass.

    Attributes:
        positions: of kept tokens: ``absolute`` from presentation time, ``compact`` close together, ``patch-index`` as
            in the whole sampled clip, text behind its end. Families whose positions tell no time keep their order.
    """

    positions: Literal["absolute", "compact", "patch-index"] = "absolute"
    answer_tokens: int = 16
    allow_long_context: bool = False

    def __post_init__(self) -> None:
        allowed = ("absolute", "compact", "patch-index")
        check(self.positions in allowed, "answering.positions", self.positions, f"one of {', '.join(allowed)}")
        check(self.answer_tokens >= 1, "answering.answer_tokens", self.answer_tokens, "at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """Which checkpoint, in which arithmetic.

    Attributes:
        model: ``demo``, a folder, a hub id or ``s3://bucket/prefix``.
        revision: of a hub id a branch, tag or commit; else the revision that an earlier run recorded, as a check.
        attention: of the vision tower; ``auto`` takes the ``flash_attn`` package where it is installed.
        fusion: of norms, rotary positions and activations; ``auto``: on a GPU, each where it has been found exact.
        quantization: while loading, of linear layers in tower blocks and decoder layers; ``fp8`` changes answers a
            little, and takes a GPU of compute capability 8.9 or more.
    """

    model: str = DEMO_MODEL
    revision: str | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    attention: Literal["auto", "sdpa"] = "auto"
    fusion: Literal["auto", "off"] = "auto"
    quantization: Literal["off", "fp8"] = "off"

    def __post_init__(self) -> None:
        check(bool(self.model), "model.model", self.model, "'demo', a folder, a hub id or s3://bucket/prefix")
        check(self.attention in ("auto", "sdpa"), "model.attention", self.attention, "'auto' or 'sdpa'")
        check(self.fusion in ("auto", "off"), "model.fusion", self.fusion, "'auto' or 'off'")
        check(self.quantization in ("off", "fp8"), "model.quantization", self.quantization, "'off' or 'fp8'")
        allowed = ("auto", "float32", "bfloat16", "float16")
        check(self.dtype in allowed, "model.dtype", self.dtype, f"one of {', '.join(allowed)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutionConfig:
    """Where and how wide it runs. Nothing here changes an answer, so nothing here enters ``config_hash``.

    Attributes:
        frame_buffer_bytes: decoded frames that wait to be scored, all videos together. None: half of the object stores
            of the cluster's nodes, 8 GiB at least.
        frame_memory_bytes: how many of them wait in memory; the rest lies on node-local disk. A Ray that this job
            starts gets an object store of this size; on a cluster the object stores are the cluster's own.
        candidate_bytes: features of tokens that may still be bought, all scorers together.
        num_scorers: wanted; ``min_scorers`` are enough to begin and to go on, the others join when there is room. None:
            as many as the machines' GPUs hold, on the CPU ``min_scorers``.
        num_decoders: None: beside each scorer with a GPU as many as its share of the CPUs keeps busy, on the CPU one.
        gpus_per_scorer: None: 1 where there are any; 0: the CPU, whatever there is.
        num_coordinators: each has its part of the videos; None: one per 32 scorers, or 20 where questions stop early,
            with four videos each at least.
        num_answerers: processes for final passes only; None lets the plan decide, 0 leaves them to the scorers.
        groups_in_hand: groups a scorer is given at once; None: 3 on a GPU, where the next pass is queued and its frames
            copied while one runs, else 1.
        score_timeout_s: most wall seconds for what a scorer or answerer was given, then its process is replaced; once
            such work has been done in a run, ten times the slowest, at least 30 s.
        coordinator_timeout_s: most wall seconds for an answer of the coordinator, then another takes its place.
        max_attempts: for one piece of work within a run; after a failure each waits twice as long as the one before.
        max_runs: that try a question which failed by circumstance (storage, a dead worker); then its failure stands.
    """

    num_scorers: int | None = None
    min_scorers: int = 1
    num_coordinators: int | None = None
    num_answerers: int | None = None
    num_decoders: int | None = None
    gpus_per_scorer: float | None = None
    torch_threads: int = 1
    videos_in_flight: int = 2
    groups_in_hand: int | None = None
    frame_buffer_bytes: int | None = None
    frame_memory_bytes: int = 2 * 1024**3
    candidate_bytes: int = 16 * 1024**3
    score_timeout_s: float = 1_800.0
    coordinator_timeout_s: float = 30.0
    max_attempts: int = 6
    max_runs: int = 5

    def __post_init__(self) -> None:
        at_least_1 = ("min_scorers", "torch_threads", "videos_in_flight")
        for name in (*at_least_1, "max_attempts", "max_runs", "candidate_bytes"):
            check(getattr(self, name) >= 1, f"execution.{name}", getattr(self, name), "at least 1")
        num_scorers = self.num_scorers
        check(num_scorers is None or num_scorers >= 1, "execution.num_scorers", num_scorers, "at least 1, or unset")
        most = f"at most execution.num_scorers ({num_scorers})"
        is_enough = num_scorers is None or self.min_scorers <= num_scorers
        check(is_enough, "execution.min_scorers", self.min_scorers, most)
        in_hand = self.groups_in_hand
        check(in_hand is None or in_hand >= 1, "execution.groups_in_hand", in_hand, "at least 1, or unset")
        decoders = self.num_decoders
        check(decoders is None or decoders >= 1, "execution.num_decoders", decoders, "at least 1, or unset")
        shards = self.num_coordinators
        check(shards is None or shards >= 1, "execution.num_coordinators", shards, "at least 1, or unset")
        check((self.num_answerers or 0) >= 0, "execution.num_answerers", self.num_answerers, "at least 0, or unset")
        for name in ("score_timeout_s", "coordinator_timeout_s"):
            check(getattr(self, name) > 0, f"execution.{name}", getattr(self, name), "positive")
        gpus = self.gpus
        is_whole = gpus <= 1 or gpus == int(gpus)
        allowed = "a share of one GPU, a whole number, or unset"
        check(gpus >= 0 and is_whole, "execution.gpus_per_scorer", gpus, allowed)
        buffer = self.frame_buffer_bytes
        check(buffer is None or buffer >= 1, "execution.frame_buffer_bytes", buffer, "positive, or unset")
        least = 128 * 1024**2
        check(self.frame_memory_bytes >= least, "execution.frame_memory_bytes", self.frame_memory_bytes, f">= {least}")

    @property
    def scorers(self) -> int:
        """``num_scorers``; before the machines have been looked at, the fewest."""
        return self.min_scorers if self.num_scorers is None else self.num_scorers

    @property
    def decoders(self) -> int:
        """``num_decoders``; before the machines have been looked at, one."""
        return self.num_decoders or 1

    @property
    def frame_room_bytes(self) -> int:
        """``frame_buffer_bytes``; before the machines have been looked at, the least."""
        return LEAST_FRAME_BUFFER_BYTES if self.frame_buffer_bytes is None else self.frame_buffer_bytes

    @property
    def gpus(self) -> float:
        """``gpus_per_scorer``; before the machines have been looked at, none."""
        return self.gpus_per_scorer or 0.0

    @property
    def groups_per_call(self) -> int:
        """Groups that a scorer is given at once."""
        return self.groups_in_hand or (3 if self.gpus else 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """One run. ``execution`` and ``reading`` never change an answer; every other section does.

    Of ``frame_store`` only ``quality=high`` does.
    """

    method: str = "adapttoken"
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    scoring: ScoringConfig = field(default_factory=ScoringConfig)
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    stopping: StoppingConfig = field(default_factory=StoppingConfig)
    answering: AnsweringConfig = field(default_factory=AnsweringConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    execution: ExecutionConfig = field(default_factory=ExecutionConfig)
    reading: ReadingConfig = field(default_factory=ReadingConfig)
    frame_store: FrameStoreConfig = field(default_factory=FrameStoreConfig)

    def __post_init__(self) -> None:
        if self.sampling.decoder == "nvdec":
            check_nvdec(self.reading.sandbox, self.frame_store.uri, self.execution.gpus_per_scorer)
