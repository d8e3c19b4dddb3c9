"""Makes an archive with a seed of its own, answers it with every method, and prints the scoreboard."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from jobs import run
from pipeline.demo.archive import ArchiveSpec, write_archive
from pipeline.lab.demo_training.scoreboard import MethodScore, format_scoreboard, score_method
from pipeline.results.finished import read_answers

METHODS = ("adapttoken", "adapttoken-lite", "equal-quota", "uniform")


def main(arguments: list[str] | None = None) -> int:
    """Resumable: finished videos and answers are kept; the same command goes on."""
    parser = argparse.ArgumentParser(prog="score_demo.py", description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder for archive/, one folder per method, scores")
    parser.add_argument("--model", default="demo", help="which the archive is asked of (default: demo)")
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--num-videos", type=int, default=34)
    parser.add_argument("--num-frames", type=int, default=10_000)
    parser.add_argument("--questions-per-video", type=int, default=6)
    parser.add_argument("--seed", type=int, default=77_001)
    options, passed_on = parser.parse_known_args(arguments)
    spec = ArchiveSpec(
        num_frames=(options.num_frames,) * options.num_videos,
        questions_per_video=options.questions_per_video,
        seed=options.seed,
    )
    manifest = write_archive(options.output / "archive", spec)
    scores: list[MethodScore] = []
    for method in options.methods:
        output = str(options.output / method)
        settings = ["--model", options.model, "--method", method, *passed_on]
        code = run.main(["--manifest", str(manifest), "--output", output, *settings])
        if code not in (run.EXIT_OK, run.EXIT_FAILURES):
            return code
        scores.append(score_method(method, read_answers(output).to_pylist()))
        print(format_scoreboard(scores[-1:]), flush=True)
    (options.output / "scores.json").write_text(json.dumps([asdict(score) for score in scores], indent=2) + "\n")
    print(format_scoreboard(scores))
    return run.EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
