"""README's way from a demo to a cluster, as it is typed: a head, a token, a submitted job; and a plan that looks."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
SMALL = ("--executor", "ray", "--max-frames", "128", "--frames-per-group", "32", "--limit", "1")


def free_ports(number):
    """Below those that Ray gives to its workers (10002 to 19999), or above."""
    found = []
    while len(found) < number:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
        if port > 20_000 and port not in found:
            found.append(port)
    return found


@pytest.fixture(scope="module")
def lines():
    """What README says to type between demo and job."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"((?:^    .*\n)*^    ray start --head\n(?:^    .*\n)*)", text, flags=re.MULTILINE)
    return [line.strip() for line in block.splitlines()]


@pytest.fixture(scope="module")
def shell(lines, tmp_path_factory):
    """Runs lines in a home where a local run has left a token, beside a head that was started as README says."""
    home = tmp_path_factory.mktemp("home")
    dashboard, client, agent = free_ports(3)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"HOME": str(home), "PATH": f"{BIN}:{environment['PATH']}", "OMP_NUM_THREADS": "1"}
    environment |= {"RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{dashboard}", "PYTHONPATH": str(ROOT)}

    def run(line, *, is_ok=True):
        done = subprocess.run(["bash", "-c", line], cwd=ROOT, env=environment, capture_output=True, text=True)
        if is_ok:
            assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-3_000:]
        return done

    before, after = lines[: lines.index("ray start --head")], lines[lines.index("ray start --head") + 1 :]
    run("RAY_AUTH_MODE=token ray get-auth-token --generate")  # as a local run leaves it
    preamble = "; ".join(before)
    other_ports = f"--port=0 --dashboard-port={dashboard} --ray-client-server-port={client}"
    other_ports += f" --dashboard-agent-listen-port={agent} --temp-dir=/tmp/ray-{os.getpid()}"
    start = f"{preamble}; exec ray start --head --block --num-cpus=2 --object-store-memory=400000000 {other_ports}"
    head = subprocess.Popen(
        ["bash", "-c", start], env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    address = next(found[1] for line in head.stdout if (found := re.search(r"--address='([\d.:]+)'", line)))
    try:
        yield run, preamble, after, address
    finally:
        os.killpg(head.pid, signal.SIGTERM)
        time.sleep(3)
        os.killpg(head.pid, signal.SIGKILL) if head.poll() is None else None


def test_a_job_is_submitted_as_the_readme_says(shell, archive, model_folder, tmp_path):
    run, preamble, (submit,), _ = shell
    ours = submit.replace("s3://bucket/videos.parquet", str(archive)).replace("s3://bucket/answers", str(tmp_path))
    ours = ours.replace("Qwen/Qwen2.5-VL-7B-Instruct", str(model_folder)).replace("python ", f"{sys.executable} ")
    assert ours.startswith("ray job submit --working-dir . -- ")
    said = run(f"{preamble}; {ours} {' '.join(SMALL)}").stdout
    assert "1 answered, 0 failed" in said
    assert "succeeded" in said


def test_a_plan_and_a_run_that_join_it_see_it(shell, archive, model_folder, tmp_path):
    run, preamble, _, address = shell
    words = f"--manifest {archive} --output {tmp_path} --model {model_folder} {' '.join(SMALL)} --address {address}"
    planned = run(f"{preamble}; {sys.executable} jobs/run.py {words} --plan")
    assert "planned for the running cluster (1 nodes, 2 CPUs, 0 GPUs)" in planned.stderr
    refused = run(f"{preamble}; {sys.executable} jobs/run.py {words} --plan --set gpus_per_scorer=1", is_ok=False)
    assert (refused.returncode, "on the running cluster: 1 model processes" in refused.stderr) == (2, True)
    assert "1 answered, 0 failed" in run(f"{preamble}; {sys.executable} jobs/run.py {words}").stdout


def test_without_the_token_the_one_line_to_type_is_said(shell, archive, model_folder, tmp_path):
    run, _, _, address = shell
    words = f"--manifest {archive} --output {tmp_path} --model {model_folder} {' '.join(SMALL)} --address {address}"
    done = run(f"export RAY_AUTH_MODE=disabled; {sys.executable} jobs/run.py {words} --plan", is_ok=False)
    assert done.returncode == 2, done.stderr[-2_000:]
    (line,) = [line for line in done.stderr.splitlines() if " ERROR " in line]
    assert "export RAY_AUTH_MODE=token" in line
