"""Measures the structure of a checkout: rooms, floors, what the main job reaches, what one question enters.

The rooms are the folders and files of pipeline/, and actors, cluster, jobs. Nothing of the checkout is imported; with
--enter one question about a video of one group is answered in a process of its own, by the demo model.
"""

import argparse
import ast
import sys
import tempfile
from pathlib import Path

from pipeline.demo.archive import ArchiveSpec, write_archive
from pipeline.lab.house.entered import measure_entered
from pipeline.lab.house.floors import floor_of_each, split_arrows
from pipeline.lab.house.imports import Module, arrows, reachable, read_modules, room_of
from pipeline.lab.house.states import fields_by_state, outside_writes

_JOB, _STATE_NAME = "jobs.run", "video"
_PLAIN_LOOP = """
import sys
from pipeline import answer_video, load_video_model
model, config = load_video_model("demo", settings=["frames_per_group=256"])
print(answer_video(sys.argv[1], ["What color is the star?"], model=model, config=config)[0].answer)
"""


def main(arguments: list[str] | None = None) -> int:
    """Print one line per figure."""
    parser = argparse.ArgumentParser(prog="measure_house.py", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the checkout (default: the current folder)")
    parser.add_argument("--enter", action="store_true", help="also answer one question and count what it enters")
    options = parser.parse_args(arguments)
    root = options.root.resolve()
    modules = read_modules(root)
    for name, value in [*_rooms(modules), *_reach(modules), *_state(modules)]:
        print(f"{name:<58}{value}")
    if options.enter:
        for name, (files, functions) in _enter(root).items():
            print(f"{f'entered by {name}':<58}{files:,} files, {functions:,} functions")
    return 0


def _rooms(modules: dict[str, Module]) -> list[tuple[str, str]]:
    rooms = {room_of(name) for name, module in modules.items() if module.num_lines}
    down, up = split_arrows(arrows(modules))
    floors = floor_of_each(rooms, down)
    shown = "; ".join(sorted(f"{one} -> {need}" for one, need in up))
    return [
        ("rooms", f"{len(rooms)}"),
        ("floors", f"{max(floors.values())}"),
        ("arrows between rooms", f"{len(down) + len(up)}"),
        ("arrows that run back up", f"{len(up)}" + (f" ({shown})" if shown else "")),
    ]


def _reach(modules: dict[str, Module]) -> list[tuple[str, str]]:
    found = reachable(modules, _JOB)
    classes = [
        node
        for name in found
        for node in ast.walk(modules[name].tree)
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]
    lines, total = sum(modules[name].num_lines for name in found), sum(one.num_lines for one in modules.values())
    return [
        ("lines reachable from jobs/run.py", f"{lines:,} of {total:,}"),
        ("files reachable from it", f"{len(found)} of {len(modules)}"),
        ("public classes reachable from it", f"{len(classes)}"),
        ("Python files directly in jobs/", f"{sum(name.count('.') == 1 for name in modules if name[:5] == 'jobs.')}"),
    ]


def _state(modules: dict[str, Module]) -> list[tuple[str, str]]:
    states = fields_by_state(modules.values())
    largest = max(states, key=lambda name: len(states[name][1]))
    home, fields = states["VideoState"]
    writes = outside_writes(modules.values(), home=home, fields=fields, name=_STATE_NAME)
    return [
        ("fields of the engine's largest state", f"{len(states[largest][1])} ({largest})"),
        ("fields of VideoState", f"{len(fields)}"),
        ("other files that write to them", f"{len(writes)}, at {sum(writes.values())} places"),
    ]


def _enter(root: Path) -> dict[str, tuple[int, int]]:
    """One question about a video of one group: through the job, and through the plain loop where there is one."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder).resolve()
        manifest = write_archive(work / "archive", ArchiveSpec(num_frames=(132,), questions_per_video=1, seed=1))
        options = ["--manifest", str(manifest), "--output", str(work / "out"), "--model", "demo"]
        options += ["--set", "frames_per_group=256", "--executor", "serial"]
        found = {"one question about one group": measure_entered(root, root / "jobs" / "run.py", options, work=work)}
        if (root / "pipeline" / "passes" / "whole_video.py").exists():
            script = work / "loop.py"
            script.write_text(_PLAIN_LOOP)
            video = str(manifest.parent / "videos" / "v000.mp4")
            found["the same in the plain loop"] = measure_entered(root, script, [video], work=work)
        return found


if __name__ == "__main__":
    sys.exit(main())
