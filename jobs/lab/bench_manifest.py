"""How soon a huge manifest's first group is scored, and what the driver holds: planning measured at its real size.

Makes a manifest of ``--rows`` questions about ``--videos`` files (links to one small real video), plans it as
``run.py`` does, and starts coordinator and decoder in a second process, as Ray would, until a scorer gets a group.
"""

import argparse
import json
import os
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.demo.archive import ArchiveSpec, write_archive
from pipeline.manifest.reading import read_manifest
from pipeline.planning.job_plan import plan_job
from pipeline.results.committer import AnswerCommitter
from pipeline.results.rows import RunStamp
from pipeline.settings.config import ModelConfig
from pipeline.settings.presets import preset_for
from pipeline.settings.reading import config_hash

if TYPE_CHECKING:
    from actors.builders import Job
    from pipeline.engine.messages.work import Completion

_OPTIONS = ["a small red boat", "a blue bicycle", "nothing of the kind", "a green umbrella"]
_Value = TypeVar("_Value")


@dataclass
class Clock:
    """Seconds by step, in the order of the steps."""

    seconds: dict[str, float] = field(default_factory=dict)

    def time(self, step: str, work: Callable[[], _Value]) -> _Value:
        """Do one step."""
        started = time.monotonic()
        value = work()
        self.seconds[step] = time.monotonic() - started
        return value


def main(arguments: list[str] | None = None) -> int:
    """Measure once; prints seconds by step and peak memory of both processes."""
    parser = argparse.ArgumentParser(prog="bench_manifest.py", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--videos", type=int, default=100_000)
    parser.add_argument("--output", type=Path, help="JSON file")
    parser.add_argument("--dispatch", help=argparse.SUPPRESS)  # the second process: a pickled job
    options = parser.parse_args(arguments)
    if options.dispatch:
        return _dispatch(Path(options.dispatch))
    with tempfile.TemporaryDirectory(prefix="bench-manifest-") as folder:
        manifest = write_input(Path(folder), num_rows=options.rows, num_videos=options.videos)
        figures = _measure(manifest, Path(folder))
    figures |= {"num_rows": options.rows, "num_videos": options.videos}
    print(json.dumps(figures, indent=2))
    if options.output:
        options.output.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def write_input(folder: Path, *, num_rows: int, num_videos: int) -> Path:
    """The manifest, its rows spread over the videos, and the links that it names; returns its path."""
    archive = write_archive(folder / "real", ArchiveSpec(num_frames=(600,), questions_per_video=1, seed=4_711))
    target = next((archive.parent / "videos").glob("*.mp4"))
    (folder / "videos").mkdir()
    for video in range(num_videos):
        os.symlink(target, folder / "videos" / f"v{video:07d}.mp4")
    rows = range(num_rows)
    table = pa.table(
        {
            "question_id": [f"question-{row:08d}" for row in rows],
            "video": [f"videos/v{row % num_videos:07d}.mp4" for row in rows],
            "question": [f"What does the person carry when passing camera {row}?" for row in rows],
            "options": pa.array([_OPTIONS if row % 4 else None for row in rows], pa.list_(pa.string())),
            "site": [f"site-{row % 97}" for row in rows],
            "level": pa.array([row % 5 for row in rows], pa.int32()),
        }
    )
    pq.write_table(table, folder / "manifest.parquet")
    return folder / "manifest.parquet"


def _measure(manifest_path: Path, folder: Path) -> dict[str, object]:
    from actors.builders import Job
    from jobs.wiring.model_source import load_configured_model, load_tokenizer
    from pipeline.models.loading import describe_model

    clock, started, cpu_before_s = Clock(), time.monotonic(), time.process_time()
    identity = describe_model(ModelConfig(model="demo"))
    config = preset_for("demo", num_layers=identity.layout.num_layers, is_demo=True)
    stamp = RunStamp(
        run_id="bench",
        method=config.method,
        model="demo",
        model_revision=identity.revision,
        config_hash=config_hash(config, model_revision=identity.revision),
    )
    manifest = clock.time("read_manifest_s", lambda: read_manifest(str(manifest_path)))
    plan = clock.time("plan_job_s", lambda: plan_job(manifest, stamp=stamp, output_uri=str(folder / "out")))
    _committer = clock.time("build_committer_s", lambda: AnswerCommitter(manifest, output_uri=str(folder / "out")))
    job = Job(
        tasks=plan.tasks,
        num_videos=len(plan.tasks),
        config=config,
        layout=identity.layout,
        tokenizer=load_tokenizer(config),
        stamp=stamp,
        load_model=load_configured_model,
    )
    content = clock.time("pickle_s", lambda: pickle.dumps(job, protocol=5))
    (folder / "job.pickle").write_bytes(content)
    command = [sys.executable, "-m", "jobs.lab.bench_manifest", "--dispatch", str(folder / "job.pickle")]
    said = clock.time(
        "coordinator_process_s", lambda: subprocess.run(command, capture_output=True, check=True, text=True)
    )
    return {
        "until_first_group_s": time.monotonic() - started,
        "driver_cpu_s": time.process_time() - cpu_before_s,
        "driver_peak_bytes": _peak_bytes(),
        "pickled_tasks_bytes": len(content),
        "steps": clock.seconds | json.loads(said.stdout),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _dispatch(path: Path) -> int:
    """What a coordinator and a decoder do until a scorer is given its first group."""
    from actors.builders import build_decode_worker
    from actors.local_store import LocalStore
    from pipeline.engine.job_state import JobState
    from pipeline.engine.messages.keys import Role
    from pipeline.engine.messages.work import ScoreWork

    clock = Clock()
    job: Job = clock.time("unpickle_s", lambda: pickle.loads(path.read_bytes()))
    coordinator = clock.time("build_coordinator_s", lambda: JobState(job.tasks, config=job.config))
    store = LocalStore(memory_bytes=job.config.execution.frame_memory_bytes)
    decoder = build_decode_worker(job, store)
    completions: list[Completion] = []
    started = time.monotonic()
    while True:
        completions = decoder.run_batch(coordinator.exchange(f"{Role.DECODER}-0", completions))
        work = coordinator.exchange(f"{Role.SCORER}-0", ()).work
        if any(isinstance(one, ScoreWork) for one in work):
            break
    decoder.close()
    clock.seconds["probe_and_decode_s"] = time.monotonic() - started
    print(
        json.dumps(clock.seconds | {"coordinator_cpu_s": time.process_time(), "coordinator_peak_bytes": _peak_bytes()})
    )
    return 0


def _peak_bytes() -> int:
    """Peak resident memory of this process alone; what ``getrusage`` says on Linux includes its parent's."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    sys.exit(main())
