"""Attack: a checkpoint whose chat template hangs, explodes or digs, or whose configuration lies about its layers.

    python tests/attacks/chat_templates.py

Each is given to ``adapttoken run --plan`` in a process of its own, which must end within 60 s of computing (240 s in
all, for machines that have other work) with exit code 1 and one line that names the model. Prints how each ended, in
how many seconds, and how many it computed; exits 0 when all hold. Before templates had a process of their own, the
loops hung for ever, the exploding text held its process for 44 s and 6.5 GB, the long padding for 56 s and 8 GB
(without a limit of memory: for ever), and 100,000 layers hung; the others were one line already.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)] if str(ROOT) not in sys.path else []

DEADLINE_S, WALL_S = 60.0, 240.0
HOSTILE = {
    "loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}{% endfor %}"
    "{% endfor %}",
    "exploding text": "{% set t = namespace(x='ha') %}{% for i in range(40) %}{% set t.x = t.x + t.x %}{% endfor %}"
    "{{ t.x }}",
    "much text": "{% for i in range(99999) %}{{ 'ha' * 50 }}{% endfor %}",
    "long padding": "{{ '%2000000000d' % 1 }}{{ '%2000000000d' % 1 }}",
    "huge range": "{{ range(10 ** 12) | list }}",
    "recursion": "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
    "attribute walk": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "attributes by name": "{{ messages | map(attribute='__class__.__mro__') | list }}",
    "format walk": "{{ '{0.__class__.__init__.__globals__}'.format(messages) }}",
    "nesting": "{{ " + "(" * 3000 + ")" * 3000 + " }}",
}
NUM_LAYERS = (3, 5, 0, -1, 1_000_000)


def write_checkpoint(folder: Path) -> None:
    """A tiny one that works."""
    from tests.unit.models.tiny_checkpoint import save_tiny_checkpoint

    save_tiny_checkpoint(folder)


def change_layers(folder: Path, count: int) -> None:
    """Let the configuration say another number of layers, and nothing of their types."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for part in (config, config.get("text_config", {})):
        part.pop("layer_types", None)
        if "num_hidden_layers" in part:
            part["num_hidden_layers"] = count
    path.write_text(json.dumps(config))


def plan(checkpoint: Path, manifest: Path) -> tuple[str, float, float]:
    """How planning ends: ``one line``, or what else came; in how many seconds, and how many of them it computed."""
    started, computed = time.monotonic(), _computed_s()
    arguments = ["--manifest", manifest, "--output", manifest.parent / "out", "--model", checkpoint, "--plan"]
    command = [sys.executable, str(ROOT / "jobs" / "run.py"), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=WALL_S, env=environment)
    except subprocess.TimeoutExpired:
        return "hangs", time.monotonic() - started, _computed_s() - computed
    took_s, computed_s = time.monotonic() - started, _computed_s() - computed
    return _judge(done, checkpoint, computed_s), took_s, computed_s


def _computed_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _judge(done: subprocess.CompletedProcess[str], checkpoint: Path, computed_s: float) -> str:
    errors = [line for line in done.stderr.splitlines() if " ERROR " in line]
    if "Traceback" in done.stderr:
        return "traceback"
    if done.returncode != 1 or len(errors) != 1 or str(checkpoint) not in errors[0]:
        return f"exit {done.returncode}: {done.stderr.strip()[-200:]}"
    return "one line" if computed_s < DEADLINE_S else "one line, too late"


def main() -> int:
    """Exit 0 when each ends with one line."""
    outcomes = {}
    with tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder) / "m.csv"
        manifest.write_text("question_id,video,question\nq,v.mp4,What?\n")
        attacks = [(name, None) for name in HOSTILE] + [(f"{count} layers", count) for count in NUM_LAYERS]
        for number, (name, count) in enumerate(attacks):
            checkpoint = Path(folder) / f"checkpoint{number}"
            write_checkpoint(checkpoint)
            if count is None:
                (checkpoint / "chat_template.jinja").write_text(HOSTILE[name])
            else:
                change_layers(checkpoint, count)
            outcomes[name], took_s, computed_s = plan(checkpoint, manifest)
            print(f"{name:20} {outcomes[name]} ({took_s:.0f} s, {computed_s:.0f} of them computing)", flush=True)
    num_held = list(outcomes.values()).count("one line")
    print(f"{num_held} of {len(outcomes)} end with one line")
    return int(num_held != len(outcomes))


if __name__ == "__main__":
    sys.exit(main())
