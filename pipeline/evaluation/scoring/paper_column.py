"""When the paper's figure may stand beside ours: the whole set, without subtitles, in the benchmark's own wording."""

from pipeline.evaluation.scoring.evaluation import Evaluation
from pipeline.evaluation.scoring.paper import PaperFigure, paper_figure


def comparable_figure(item: Evaluation) -> PaperFigure | None:
    """The paper's figure for this model and method, where what was asked is what it asked."""
    return _figure(item) if _asks_the_same(item) else None


def notes_on_the_paper(item: Evaluation) -> list[str]:
    """Why its figure is not shown, and what M-Avg would be if tasks that were not asked counted as 0."""
    benchmark, label, overall, macro = item.answers.benchmark, item.answers.label, item.overall, item.macro
    notes = []
    if _figure(item) is not None and not _asks_the_same(item):
        whole, asked = " or ".join(map(str, benchmark.full_sizes)), overall.num_questions if overall else 0
        subtitles = " with subtitles" if item.with_subtitles else ""
        notes.append(
            f"{label}: the paper's figure is not shown: it is of all {whole} questions, without subtitles, worded "
            f"{benchmark.style!r}; this run is of {asked}{subtitles}, worded {item.answers.prompt_style!r}"
        )
    if macro and macro.num_values < benchmark.num_macro_values:
        over_all = macro.accuracy * macro.num_values / benchmark.num_macro_values
        notes.append(
            f"{label}: M-Avg is the mean of the {macro.num_values} tasks that were asked; lmms-eval divides by all "
            f"{benchmark.num_macro_values}: {100 * over_all:.1f} %"
        )
    return notes


def _figure(item: Evaluation) -> PaperFigure | None:
    answers = item.answers
    return paper_figure(answers.benchmark.name, model=answers.model, method=answers.method)


def _asks_the_same(item: Evaluation) -> bool:
    benchmark, overall = item.answers.benchmark, item.overall
    is_whole = overall is not None and overall.num_questions in benchmark.full_sizes
    return is_whole and not item.with_subtitles and item.answers.prompt_style == benchmark.style
