"""What attacks on whole jobs share: a place to run the command in, readers of its answers, a line per case."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pandas
import polars
import pyarrow as pa
import pyarrow.parquet as pq

from cluster.local_nodes import find_workers
from pipeline.demo.archive import ArchiveSpec, write_archive
from pipeline.results.rows import VOLATILE_COLUMNS
from pipeline.results.views import open_database
from tests.unit.models.tiny_checkpoint import save_tiny_checkpoint

ROOT = Path(__file__).resolve().parents[2]
FAST = ("--max-frames", "64", "--frames-per-group", "32", "--progress-every", "0")
SERIAL = (*FAST, "--executor", "serial")
_SPEC = ArchiveSpec(num_frames=(600,), questions_per_video=1, seed=11, needle_frames=(4, 16))
_JOB_S = 900.0
Rows = list[dict[str, Any]]


class Ended(NamedTuple):
    """How a command ended: exit code, what it printed, seconds in all, and whether what was to happen happened."""

    code: int
    log: str
    wall_s: float
    has_happened: bool


class Place:
    """A folder with a model, a video to copy and an output."""

    def __init__(self, folder: Path, *, seed: int = 0, num_frames: int = 600) -> None:
        self.folder, self.output, self.videos = folder, folder / "out", folder / "videos"
        self.manifest, self.model = folder / "manifest.parquet", folder / "model"
        folder.mkdir(parents=True, exist_ok=True)
        save_tiny_checkpoint(self.model, seed=seed)
        (self.model / "recipe.json").write_text("{}")  # makes the demo model's preset apply
        spec = replace(_SPEC, num_frames=(num_frames,))
        self.source = write_archive(folder / "source", spec).parent / "videos" / "v000.mp4"
        self.videos.mkdir()

    def add_videos(self, count: int) -> list[str]:
        """Copies of one video under names of their own; their addresses."""
        paths = [self.videos / f"v{number}.mp4" for number in range(count)]
        for path in paths:
            path.write_bytes(self.source.read_bytes())
        return [str(path) for path in paths]

    def ask(self, videos: list[str], *, questions: int = 2, **columns: Any) -> int:
        """Write the manifest; returns how many questions it has."""
        rows = [
            {
                "question_id": f"{number}-{at}",
                "video": video,
                "question": ("What color is the star?", "What color is the ring?")[at],
                "options": ["red", "blue"],
                **columns,
            }
            for number, video in enumerate(videos)
            for at in range(questions)
        ]
        pq.write_table(pa.Table.from_pylist(rows), self.manifest)
        return len(rows)

    def run(
        self,
        *extra: str,
        during: Callable[[int], bool] | None = None,
        options: tuple[str, ...] = SERIAL,
        environment: Mapping[str, str] | None = None,
    ) -> Ended:
        """The command in a process of its own.

        Args:
            extra: arguments beside manifest, output and model.
            during: called with the process's id, again and again until it says that it is done.
            options: how it runs.
            environment: beside this process's.
        """
        command = [sys.executable, str(ROOT / "jobs" / "run.py"), "--manifest", str(self.manifest)]
        command += ["--output", str(self.output), "--model", str(self.model), *options, *extra]
        own = command_environment() | dict(environment or {})
        began_s, has_happened = time.monotonic(), during is None
        with tempfile.TemporaryFile("w+") as log:
            process = subprocess.Popen(command, env=own, stdout=log, stderr=log)
            while process.poll() is None and time.monotonic() - began_s < _JOB_S:
                if during is not None and not has_happened:
                    has_happened = during(process.pid)
                time.sleep(0.1)
            if process.poll() is None:
                process.kill()
                process.wait()
            log.seek(0)
            ended = Ended(process.returncode, log.read(), time.monotonic() - began_s, has_happened)
        with (self.folder / "commands.log").open("a") as kept:
            kept.write(ended.log)
        return ended

    def num_files(self) -> int:
        """Of answers on record."""
        return len([*self.output.glob("answers/**/part-*.parquet")])

    def rows(self) -> Rows:
        """As the files hold them."""
        paths = sorted(self.output.glob("answers/**/part-*.parquet"))
        return [row for path in paths for row in pq.ParquetFile(path).read().to_pylist()]

    def rest(self) -> int:
        """How many rows the view ``failures`` has."""
        with open_database(str(self.output)) as database:
            return int(database.execute("SELECT count(*) FROM failures").fetchone()[0])


def command_environment() -> dict[str, str]:
    """For commands of this checkout, whatever is installed."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "RAY_AUTH_MODE": "disabled"}


READERS: dict[str, Callable[[Path], list[str]]] = {
    "pandas": lambda output: pandas.read_parquet(output / "answers", columns=["question_id"])["question_id"].tolist(),
    "Polars": lambda output: polars.read_parquet(output / "answers/**/*.parquet", columns=["question_id"])[
        "question_id"
    ].to_list(),
    "DuckDB": lambda output: _column(duckdb.connect(), f"read_parquet('{output}/answers/**/*.parquet')"),
    "the view": lambda output: _column(open_database(str(output)), "answers"),
}


def _column(database: Any, source: str) -> list[str]:
    with database:
        return [name for (name,) in database.execute(f"SELECT question_id FROM {source}").fetchall()]


def read_by_all(output: Path, num_questions: int) -> list[str]:
    """What is wrong with what readers see: each has to see every question once."""
    findings = []
    for name, read in READERS.items():
        seen = Counter(read(output))
        if len(seen) != num_questions or max(seen.values()) > 1:
            findings.append(f"{name}: {seen.total()} rows for {len(seen)} of {num_questions} questions")
    return findings


def expect(ended: Ended, code: int, *words: str, what: str = "the command") -> list[str]:
    """What is wrong with how a command ended."""
    findings = [] if ended.has_happened else [f"{what}: the attack never came to pass"]
    if ended.code != code:
        findings.append(f"{what}: exit code {ended.code} instead of {code}")
    if "Traceback" in ended.log:
        findings.append(f"{what}: a traceback")
    findings += [f"{what}: does not say {one!r}" for one in words if one not in ended.log]
    if findings:
        findings.append("\n".join(f"    | {line}" for line in ended.log.splitlines()[-10:]))
    return findings


def all_answered(place: Place, num_questions: int) -> list[str]:
    """What is wrong where everything should have been answered once."""
    left = place.rest()
    return read_by_all(place.output, num_questions) + ([f"{left} failures left"] if left else [])


def stable(rows: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """By question, without what load may change."""
    return {row["question_id"]: {name: row[name] for name in row if name not in VOLATILE_COLUMNS} for row in rows}


def ray_processes(program: str, driver: int) -> list[int]:
    """Ray's own of a driver by their program (``raylet``, ``gcs_server``), or its workers by their title."""
    own = {pid: name for pid, parent, name in _processes() if parent == driver}
    if program in ("raylet", "gcs_server"):
        return [pid for pid, name in own.items() if name == program]
    return sorted(find_workers(program, raylets={pid for pid, name in own.items() if name == "raylet"}))


def _processes() -> Iterator[tuple[int, int, str]]:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            pid, _, rest = stat.read_text().partition(" (")
            program, _, fields = rest.rpartition(") ")
            yield int(pid), int(fields.split()[1]), program


def run_cases(cases: Mapping[str, Callable[[Path], list[str]]], description: str | None) -> int:
    """Run those named on the command line, or all; a line each, then the figure. Returns the exit code."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="CASE", help=f"of {', '.join(cases)}; default: all")
    parser.add_argument("--json", metavar="FILE", help="case -> what was wrong")
    parser.add_argument("--keep", metavar="FOLDER", help="where each case's folder stays, with commands.log")
    options = parser.parse_args()
    names = options.names or [*cases]
    if unknown := [name for name in names if name not in cases]:
        parser.error(f"{unknown[0]!r} is none of {', '.join(cases)}")
    found = {}
    for name in names:
        began_s = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="attack-") as folder:
            found[name] = cases[name](Path(options.keep or folder) / name)
        verdict = "holds" if not found[name] else "\n    ".join(["fell:", *found[name]])
        print(f"{name:32} {time.monotonic() - began_s:5.0f} s   {verdict}", flush=True)
    num_fell = sum(map(bool, found.values()))
    print(f"{num_fell} of {len(found)} cases fell", flush=True)
    if options.json:
        Path(options.json).write_text(json.dumps(found))
    return int(num_fell > 0)
