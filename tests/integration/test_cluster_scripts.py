"""The scripts of ``cluster/`` with a real Ray: the nightly submission over a growing archive, a Slurm allocation."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from cluster.local_nodes import local_nodes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ROOT = Path(__file__).resolve().parents[2]
SMALL = ("--set=execution.gpus_per_scorer=0", "--set=execution.num_decoders=1", "--num-scorers=1")
SMALL += ("--max-frames=128", "--frames-per-group=32")
BIN = Path(sys.executable).parent


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def summaries(tmp_path):
    def read():
        found = [json.loads(path.read_text()) for path in (tmp_path / "out").glob("runs/*/summary.json")]
        counted = ("exit_code", "num_ok", "num_skipped")
        return [tuple(run[name] for name in counted) for run in sorted(found, key=lambda run: run["started_at"])]

    return read


def test_the_cronjobs_command_submits_night_after_night(archive, model_folder, tmp_path, port, summaries):
    videos, manifest = tmp_path / "videos", tmp_path / "manifest.parquet"
    shutil.copytree(archive.parent / "videos", videos)
    cronjob = yaml.safe_load((ROOT / "cluster" / "nightly_cronjob.yaml").read_text())
    [container] = cronjob["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    places = {"s3://videos/manifest.parquet": manifest, "s3://videos/answers": tmp_path / "out"}
    places |= {"s3://models/Qwen2.5-VL-7B-Instruct": model_folder, "$(NIGHT)": "night", "/opt/adapttoken": ROOT}
    words = [*container["command"], *container["args"]]
    for there, here in places.items():
        words = [word.replace(there, str(here)) for word in words]
    words[words.index("python")] = sys.executable
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}", "RAY_AUTH_MODE": "token", "OMP_NUM_THREADS": "1"}
    environment["RAY_API_SERVER_ADDRESS"] = f"http://127.0.0.1:{port}"
    questions = [{"question_id": "a", "video": "videos/v000.mp4", "question": "What color is the star?"}]
    with local_nodes(num_nodes=1, cpus_per_node=2, dashboard_port=port):
        for new in ({"question_id": "b", "video": "videos/v001.mp4"}, {"question_id": "c", "video": "videos/v000.mp4"}):
            questions.append({**new, "question": "What color is the ring?"})
            pq.write_table(pa.Table.from_pylist(questions), manifest)
            done = subprocess.run([*words, *SMALL], env=environment, capture_output=True, text=True, timeout=600)
            assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    assert summaries() == [(0, 2, 0), (0, 1, 2)]


def test_a_slurm_allocation_answers_everything(archive, model_folder, tmp_path, summaries):
    """One node; Slurm's two programs are stand-ins, Ray and the job are real."""
    stand_ins = tmp_path / "bin"
    stand_ins.mkdir()
    srun = 'shift\nSLURM_NODEID=0 "$@" &\ntrap \'kill "$!"; wait\' TERM\nwait\n'
    for name, lines in (("srun", srun), ("scontrol", "echo 127.0.0.1\n")):
        (stand_ins / name).write_text(f"#!/usr/bin/env bash\n{lines}")
        (stand_ins / name).chmod(0o755)
    (tmp_path / ".venv").symlink_to(BIN.parent)
    for part in ("jobs", "actors", "cluster", "pipeline"):
        (tmp_path / part).symlink_to(ROOT / part)
    script = (ROOT / "cluster" / "slurm.sh").read_text()
    assert "--object-store-memory 25769803776" in script
    small = tmp_path / "slurm.sh"
    small.write_text(script.replace("--object-store-memory 25769803776", "--object-store-memory 200000000"))
    environment = os.environ | {"PATH": f"{stand_ins}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    environment |= {"SLURM_SUBMIT_DIR": str(tmp_path), "SLURM_JOB_ID": str(os.getpid()), "SLURM_JOB_NUM_NODES": "1"}
    environment |= {"SLURM_CPUS_PER_TASK": "2", "SLURM_GPUS_ON_NODE": "0", "SLURM_JOB_NODELIST": "here"}
    command = ["bash", str(small), str(archive), str(tmp_path / "out"), "--model", str(model_folder), *SMALL]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    assert summaries() == [(0, 6, 0)]
