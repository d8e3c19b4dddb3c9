"""What a layer probe writes: a table, figures for JSON, and a preset that ``run.py --config`` reads."""

from dataclasses import asdict

from pipeline.demo.archive import ArchiveSpec
from pipeline.lab.layer_probe.hit_rates import LayerRate, LayerRates
from pipeline.results.tables import pipe_rows
from pipeline.settings.config import RunConfig

_HEADER = ("layer", "hit rate", "top token", "needle patches", "behind the best")


def format_rates(rates: LayerRates) -> str:
    """A Markdown table; the chosen layer is marked, the last line is chance."""
    rows = [_cells(rate, rates.reference_layer) for rate in rates.layers]
    rows.append(("chance", f"{rates.chance:.1%}", f"{rates.chance:.1%}", f"{rates.patch_chance:.1%}", ""))
    return "\n".join(pipe_rows(rows, header=_HEADER))


def describe_choice(rates: LayerRates) -> str:
    """One or two sentences: the layer, what it was measured on, and which layers it cannot be told from."""
    best = next(rate for rate in rates.layers if rate.layer == rates.reference_layer)
    close = [
        str(rate.layer)
        for rate in rates.layers
        if rate.layer != best.layer and rate.behind <= 2 * rate.behind_error + 1e-9
    ]
    told = f"; within two standard errors of it: layer {', '.join(close)}" if close else ""
    return (
        f"Layer {best.layer} of {len(rates.layers)}: {best.hit_rate:.1%} of the k most attended tokens show the needle "
        f"(k = tokens that do; chance {rates.chance:.1%}), over {rates.num_readings} groups, {rates.num_questions} "
        f"questions, {rates.num_videos} videos{told}."
    )


def to_figures(rates: LayerRates, *, model_revision: str, spec: ArchiveSpec, config: RunConfig) -> dict[str, object]:
    """Everything that was measured, and how, as plain values."""
    return {
        "model": config.model.model,
        "model_revision": model_revision,
        "dtype": config.model.dtype,
        "preset_layer": config.scoring.reference_layer,
        "query_tokens": config.scoring.query_tokens,
        "attention_reduce": config.scoring.attention_reduce,
        "sampling": asdict(config.sampling),
        "archive": asdict(spec),
        **asdict(rates),
    }


def format_preset(rates: LayerRates, *, model_revision: str, config: RunConfig) -> str:
    """YAML for ``--config``: the layer and how attention was reduced when it was chosen; the table as a comment."""
    model = "".join(character if character.isprintable() else "?" for character in config.model.model)
    comment = [
        f"Reference layer of {model} (revision {model_revision}), chosen by jobs/lab/probe_layer.py.",
        describe_choice(rates),
        "",
        *format_rates(rates).splitlines(),
    ]
    settings = {
        "reference_layer": rates.reference_layer,
        "query_tokens": config.scoring.query_tokens,
        "attention_reduce": config.scoring.attention_reduce,
    }
    lines = [f"# {line}".rstrip() for line in comment]
    lines += ["scoring:", *(f"  {name}: {value}" for name, value in settings.items())]
    return "\n".join(lines) + "\n"


def _cells(rate: LayerRate, chosen: int) -> tuple[str, ...]:
    is_chosen = rate.layer == chosen
    return (
        f"**{rate.layer}**" if is_chosen else str(rate.layer),
        f"{rate.hit_rate:.1%} ± {rate.error:.1%}",
        f"{rate.top_rate:.1%}",
        f"{rate.patch_rate:.1%}",
        "" if is_chosen else f"{rate.behind:.1%} ± {rate.behind_error:.1%}",
    )
