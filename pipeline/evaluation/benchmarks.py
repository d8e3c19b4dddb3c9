"""What tells the benchmarks apart once their questions are in a manifest: letters, categories, how they average."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Benchmark:
    """One benchmark.

    Attributes:
        name: value of the manifest column ``benchmark``.
        categories: manifest columns by which accuracy is broken down; one value per question.
        labels: a manifest column with a list of values; a question counts in each of them.
        macro_category: category whose accuracies the benchmark's own headline averages; None: over questions.
        split_category: category that ``--split`` means.
        has_subtitles: whether subtitle files exist for it.
    """

    name: str
    title: str
    categories: tuple[str, ...]
    labels: str | None = None
    macro_category: str | None = None
    split_category: str
    has_subtitles: bool = False


_ALL = (
    Benchmark(
        name="videomme",
        title="VideoMME",
        categories=("duration_group", "domain", "sub_category", "task_type"),
        split_category="duration_group",
        has_subtitles=True,
    ),
    Benchmark(
        name="longvideobench",
        title="LongVideoBench",
        categories=("duration_group", "question_category", "level", "topic_category"),
        split_category="duration_group",
        has_subtitles=True,
    ),
    Benchmark(
        name="lvbench",
        title="LVBench",
        categories=("video_type",),
        labels="question_types",
        split_category="video_type",
    ),
    Benchmark(
        name="mlvu-dev",
        title="MLVU dev",
        categories=("task_type",),
        macro_category="task_type",
        split_category="task_type",
    ),
    Benchmark(
        name="mlvu-test",
        title="MLVU test",
        categories=("task_type",),
        macro_category="task_type",
        split_category="task_type",
    ),
)

BENCHMARKS: Mapping[str, Benchmark] = {benchmark.name: benchmark for benchmark in _ALL}

ARCHIVE = Benchmark(
    name="", title="archive", categories=("kind", "num_frames_asked", "distractor_density"), split_category="kind"
)
"""Stands for the project's own archives, whose manifests name no benchmark."""


def find_benchmark(name: str | None) -> Benchmark:
    """The benchmark of a manifest row; `ARCHIVE` when it names none.

    Raises:
        ValueError: The name is unknown.
    """
    if not name:
        return ARCHIVE
    if name not in BENCHMARKS:
        raise ValueError(f"benchmark must be one of {', '.join(BENCHMARKS)}, got {name!r}: correct column benchmark")
    return BENCHMARKS[name]
