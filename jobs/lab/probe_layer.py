"""Shows short needles in long videos to a model, measures which layer's attention finds them, and writes a preset."""

import argparse
import json
import sys
from pathlib import Path

from jobs.wiring.cli import build_parser
from jobs.wiring.logs import configure_logging
from pipeline.demo.archive import ArchiveSpec, write_archive
from pipeline.failures import PipelineError
from pipeline.lab.layer_probe.hit_rates import LayerRates, NeedleReading, rate_layers
from pipeline.lab.layer_probe.report import describe_choice, format_preset, format_rates, to_figures
from pipeline.settings.config import RunConfig

EXIT_OK, EXIT_USAGE = 0, 2


def main(arguments: list[str] | None = None) -> int:
    """Resumable: finished videos of the same options are kept; the same command measures again."""
    options = _build_parser().parse_args(arguments)
    configure_logging("warning")
    sets = [part for pair in options.sets for part in ("--set", pair)]
    from jobs.wiring.configuration import resolve_config

    config_file = ["--config", options.config] if options.config else []
    try:
        config, _ = resolve_config(build_parser().parse_args(["--demo", "--model", options.model, *config_file, *sets]))
        spec = ArchiveSpec(
            num_frames=(options.num_frames,) * options.num_videos,
            questions_per_video=options.questions_per_video,
            seed=options.seed,
            sample_fps=config.sampling.sample_fps,
        )
        rates, revision = _measure(config, spec, options)
    except (ValueError, OSError, PipelineError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USAGE
    figures = to_figures(rates, model_revision=revision, spec=spec, config=config)
    (options.output / "layers.json").write_text(json.dumps(figures, indent=2) + "\n")
    preset = options.output / "preset.yaml"
    preset.write_text(format_preset(rates, model_revision=revision, config=config), encoding="utf-8")
    if options.plot:
        _draw(rates, options.plot)
    print(format_rates(rates))
    print(describe_choice(rates))
    print(f"{preset}: use it with run.py --model {options.model} --config {preset}")
    return EXIT_OK


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="probe_layer.py", description=__doc__, allow_abbrev=False)
    parser.add_argument("--model", default="demo", help="demo, a folder, or a Hugging Face hub id (default: demo)")
    parser.add_argument("--output", type=Path, required=True, help="folder for archive/, layers.json and preset.yaml")
    parser.add_argument("--plot", type=Path, help="PNG to write: hit rate by layer")
    parser.add_argument("--num-videos", type=int, default=4, help="at least 2: the error is clustered by video")
    parser.add_argument("--num-frames", type=int, default=1_000, help="sampled frames per video (default: 1,000)")
    parser.add_argument("--questions-per-video", type=int, default=4)
    parser.add_argument("--groups-per-question", type=int, help="at most so many groups with its needle (default: all)")
    parser.add_argument("--seed", type=int, default=55_001)
    parser.add_argument("--config", help="YAML file with the sections of pipeline/settings/config.py, as for run.py")
    parser.add_argument("--set", dest="sets", action="append", default=[], metavar="KEY=VALUE", help="any setting")
    return parser


def _measure(config: RunConfig, spec: ArchiveSpec, options: argparse.Namespace) -> tuple[LayerRates, str]:
    if len(spec.num_frames) < 2:
        raise ValueError(f"--num-videos must be at least 2, got {len(spec.num_frames)}")
    if options.groups_per_question is not None and options.groups_per_question < 1:
        raise ValueError(f"--groups-per-question must be at least 1, got {options.groups_per_question}")
    from jobs.wiring.model_source import load_configured_model
    from pipeline.lab.layer_probe.measure import read_video

    manifest = write_archive(options.output / "archive", spec)
    model = load_configured_model(config)
    readings: list[NeedleReading] = []
    for video, num_frames in enumerate(spec.num_frames):
        readings += read_video(
            model, manifest, spec, config, video=video, groups_per_question=options.groups_per_question
        )
        print(f"{video + 1}/{len(spec.num_frames)} videos of {num_frames} frames", file=sys.stderr)
    return rate_layers(readings), model.revision


def _draw(rates: LayerRates, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    layers = [rate.layer for rate in rates.layers]
    hits, errors = ([100 * getattr(rate, name) for rate in rates.layers] for name in ("hit_rate", "error"))
    figure, axis = plt.subplots(figsize=(7, 3.4), layout="constrained")
    arms = [
        [min(error, hit) for hit, error in zip(hits, errors, strict=True)],
        [min(error, 100 - hit) for hit, error in zip(hits, errors, strict=True)],
    ]
    axis.errorbar(layers, hits, yerr=arms, marker="o", color="#0072B2", capsize=3)
    best = layers.index(rates.reference_layer)
    axis.plot(layers[best], hits[best], "o", color="#D55E00", markersize=9, zorder=3)
    axis.axhline(100 * rates.chance, color="0.4", linestyle=":", linewidth=1)
    axis.annotate("chance", (layers[0], 100 * rates.chance), xytext=(0, 3), textcoords="offset points", fontsize=9)
    axis.set(xlabel="layer", ylabel="needle hit rate, %", ylim=(0, None))
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set_title(
        f"{rates.num_questions} questions, {rates.num_videos} videos; chosen: layer {rates.reference_layer}",
        fontsize=10,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    sys.exit(main())
