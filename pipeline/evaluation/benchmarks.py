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
        full_sizes: how many questions the whole set has, as imported from each layout.
        num_macro_values: values of ``macro_category`` in the whole set.
        style: its own wording; see ``scoring.prompt_style``.
    """

    name: str
    title: str
    categories: tuple[str, ...]
    labels: str | None = None
    macro_category: str | None = None
    split_category: str
    has_subtitles: bool = False
    full_sizes: tuple[int, ...] = ()
    num_macro_values: int = 0
    style: str = "plain"


_ALL = (
    Benchmark(
        name="videomme",
        title="VideoMME",
        categories=("duration_group", "domain", "sub_category", "task_type"),
        split_category="duration_group",
        has_subtitles=True,
        full_sizes=(2_700,),
        style="videomme",
    ),
    Benchmark(
        name="longvideobench",
        title="LongVideoBench",
        categories=("duration_group", "question_category", "level", "topic_category"),
        split_category="duration_group",
        has_subtitles=True,
        full_sizes=(1_337,),
    ),
    Benchmark(
        name="lvbench",
        title="LVBench",
        categories=("video_type",),
        labels="question_types",
        split_category="video_type",
        full_sizes=(1_549,),
        style="lvbench",
    ),
    Benchmark(
        name="mlvu-dev",
        title="MLVU dev",
        categories=("task_type",),
        macro_category="task_type",
        split_category="task_type",
        full_sizes=(2_172, 2_174),
        num_macro_values=7,
        style="mlvu",
    ),
    Benchmark(
        name="mlvu-test",
        title="MLVU test",
        categories=("task_type",),
        macro_category="task_type",
        split_category="task_type",
        full_sizes=(502,),
        num_macro_values=11,
        style="mlvu",
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
