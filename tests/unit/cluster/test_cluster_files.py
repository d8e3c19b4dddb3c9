"""What deploys the project: every file is valid, every command in it is one that the project understands."""

import copy
import functools
import json
import operator
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import jsonschema
import pytest
import yaml
from packaging.requirements import Requirement
from ray.autoscaler._private.util import prepare_config, validate_config

from jobs.wiring.cli import build_parser
from jobs.wiring.configuration import resolve_config
from pipeline.settings.config import ExecutionConfig

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "cluster"
SCHEMA = json.loads(Path(__file__).with_name("manifest_schema.json").read_text())
KUBERNETES = ("ray_cluster.yaml", "ray_job.yaml", "nightly_cronjob.yaml", "pod_monitor.yaml")
SCRIPTS = sorted(FOLDER.glob("*.sh"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
COMMAND = re.compile(r"python jobs/run\.py (.+)")


def load(name):
    return yaml.safe_load((FOLDER / name).read_text())


def flatten(node):
    """All scalars of a YAML document; lists of strings as one command line, too."""
    if isinstance(node, dict):
        for value in node.values():
            yield from flatten(value)
    elif isinstance(node, list):
        if all(isinstance(item, str) for item in node):
            yield shlex.join(node)
        for item in node:
            yield from flatten(item)
    else:
        yield node


def commands():
    """(file, arguments) of each ``python jobs/run.py …``: in values, and in comments that say what to type."""
    for path in sorted(FOLDER.glob("*.yaml")):
        comments = [line for line in path.read_text().splitlines() if line.startswith("#")]
        for text in (*comments, *map(str, flatten(yaml.safe_load(path.read_text())))):
            found = COMMAND.search(text)
            if found:
                yield path.name, shlex.split(found.group(1))


def worker_groups():
    yield load("ray_cluster.yaml")["spec"]
    yield load("ray_job.yaml")["spec"]["rayClusterSpec"]


def containers(node):
    if isinstance(node, dict):
        yield from node.get("containers", ())
        for value in node.values():
            yield from containers(value)
    elif isinstance(node, list):
        for item in node:
            yield from containers(item)


def to_bytes(quantity):
    return int(quantity.removesuffix("Gi")) * 1024**3


@pytest.mark.parametrize("name", KUBERNETES)
def test_a_kubernetes_file_uses_only_fields_that_exist(name):
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(load(name), SCHEMA)


def fields(node, path=()):
    """Path of every field that Kubernetes knows by name: what stands below labels and the like may have any name."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        if isinstance(node, dict):
            yield (*path, key)
        if key not in ("rayStartParams", "labels"):
            yield from fields(value, (*path, key))


@pytest.mark.parametrize("name", KUBERNETES)
def test_no_field_of_a_kubernetes_file_can_be_misspelt(name):
    manifest, schema = load(name), jsonschema.Draft202012Validator(SCHEMA)
    for *path, key in fields(manifest):
        damaged = copy.deepcopy(manifest)
        node = functools.reduce(operator.getitem, path, damaged)
        node[f"{key}s"] = node.pop(key)
        assert not schema.is_valid(damaged), (path, key)


def test_every_yaml_file_is_checked_by_one_of_the_tests():
    assert {path.name for path in FOLDER.glob("*.yaml")} == {*KUBERNETES, "launcher.yaml"}


def test_rays_own_launcher_accepts_its_file_and_starts_with_the_head_alone():
    config = prepare_config(load("launcher.yaml"))
    validate_config(config)
    workers = config["available_node_types"]["gpu_spot"]
    assert (workers["min_workers"], workers["max_workers"], workers["resources"]["GPU"]) == (0, 8, 1)
    assert workers["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert config["available_node_types"]["head"]["resources"]["CPU"] == 0


def test_there_are_commands_in_every_file_that_runs_the_job():
    found = [name for name, _ in commands()]
    assert {name: found.count(name) for name in found} == {
        "launcher.yaml": 1,
        "nightly_cronjob.yaml": 1,
        "ray_cluster.yaml": 1,
        "ray_job.yaml": 1,
    }


@pytest.mark.parametrize(("name", "arguments"), list(commands()))
def test_a_command_parses_and_its_settings_exist(name, arguments, monkeypatch):
    options = build_parser().parse_args([*arguments, "--model", "demo"])
    assert options.manifest
    assert options.output.startswith("s3://")
    config, _ = resolve_config(options)
    assert config.execution.gpus_per_scorer == 1
    groups = {"ray_job.yaml": load("ray_job.yaml")["spec"]["rayClusterSpec"]}.get(
        name, load("ray_cluster.yaml")["spec"]
    )
    [group] = groups["workerGroupSpecs"]
    assert config.execution.num_scorers == group["maxReplicas"]
    assert config.execution.num_decoders + config.execution.num_scorers <= 16 * group["maxReplicas"]


@pytest.mark.parametrize("spec", list(worker_groups()))
def test_a_head_announces_what_its_worker_group_may_grow_to(spec):
    [group] = spec["workerGroupSpecs"]
    [head] = containers(spec["headGroupSpec"])
    command = head["lifecycle"]["postStart"]["exec"]["command"]
    params = group["rayStartParams"]
    assert command[1] == "/opt/adapttoken/cluster/announce_limits.sh"
    assert command[2:] == [str(group["maxReplicas"]), params["num-cpus"], params["num-gpus"]]


def test_the_launchers_head_announces_the_same_way():
    config = load("launcher.yaml")
    workers = config["available_node_types"]["gpu_spot"]
    sizes = [workers["max_workers"], workers["resources"]["CPU"], workers["resources"]["GPU"]]
    expected = f"bash /opt/adapttoken/cluster/announce_limits.sh {' '.join(map(str, sizes))}"
    assert config["head_start_ray_commands"][-1] == expected
    assert config["max_workers"] == workers["max_workers"]


@pytest.mark.parametrize("spec", list(worker_groups()))
def test_a_worker_has_the_memory_that_its_processes_and_frames_take(spec):
    """Frames within the object store, a copy of the model while it loads, each decoder at its bound's half."""
    [group] = spec["workerGroupSpecs"]
    [worker] = containers(group)
    store = int(group["rayStartParams"]["object-store-memory"])
    memory = to_bytes(worker["resources"]["limits"]["memory"])
    assert store >= ExecutionConfig().frame_room_bytes * 5 // 4
    assert memory - store >= 16 * 1024**3 + 7 * 4 * 1024**3
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == group["rayStartParams"]["num-gpus"]
    [scratch] = group["template"]["spec"]["volumes"]
    assert to_bytes(scratch["emptyDir"]["sizeLimit"]) == to_bytes(worker["resources"]["limits"]["ephemeral-storage"])


def test_the_launchers_containers_have_the_shared_memory_that_the_object_store_takes():
    config = load("launcher.yaml")
    start = config["worker_start_ray_commands"][-1]
    store = int(re.search(r"--object-store-memory=(\d+)", start).group(1))
    [shm] = [option for option in config["docker"]["worker_run_options"] if option.startswith("--shm-size=")]
    assert int(shm.removeprefix("--shm-size=").removesuffix("g")) * 1024**3 > store


def test_versions_are_the_same_everywhere_and_within_the_projects_ranges():
    dockerfile = (FOLDER / "Dockerfile").read_text()
    [ray_version] = re.findall(r"^ARG RAY_VERSION=(\S+)$", dockerfile, re.MULTILINE)
    [ray_range] = [Requirement(text) for text in PROJECT["dependencies"] if Requirement(text).name == "ray"]
    assert ray_range.specifier.contains(ray_version)
    assert {spec["rayVersion"] for spec in worker_groups()} == {ray_version}
    [python_version] = re.findall(r"^FROM python:(\d+\.\d+)-", dockerfile, re.MULTILINE)
    assert PROJECT["requires-python"] == f">={python_version}"
    images = {c["image"] for name in KUBERNETES for c in containers(load(name))}
    images.add(load("launcher.yaml")["docker"]["image"])
    images |= set(re.findall(r"^#.* -t (\S+) ", dockerfile, re.MULTILINE))
    assert images == {f"registry.example.com/{PROJECT['name']}:{PROJECT['version']}"}


def test_the_cronjob_finds_the_head_and_the_token_of_the_cluster():
    name = load("ray_cluster.yaml")["metadata"]["name"]
    [submit] = containers(load("nightly_cronjob.yaml"))
    env = {entry["name"]: entry.get("value") or entry["valueFrom"] for entry in submit["env"]}
    assert env["RAY_API_SERVER_ADDRESS"] == f"http://{name}-head-svc:8265"
    assert env["RAY_AUTH_TOKEN"] == {"secretKeyRef": {"name": name, "key": "auth_token"}}
    assert env["RAY_AUTH_MODE"] == load("ray_cluster.yaml")["spec"]["authOptions"]["mode"]


def test_what_the_image_copies_is_not_ignored_and_nothing_else_comes_along():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    assert allowed == {
        "README.md",
        "pyproject.toml",
        "setup.py",
        "adapttoken.py",
        *(package.rstrip("*") for package in packages),
    }
    assert all((ROOT / name).exists() for name in allowed)


def test_the_image_installs_what_the_project_asks_for():
    """The line that turns pyproject.toml into requirements, run for real."""
    [code] = re.findall(r'python -c "(import tomllib.*?)" ', (FOLDER / "Dockerfile").read_text())
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == PROJECT["dependencies"]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_sound_shell(path):
    subprocess.run(["bash", "-n", path], check=True)
    shellcheck = Path(sys.executable).with_name("shellcheck")
    found = subprocess.run([shellcheck, path], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")
    assert os.access(path, os.X_OK)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_without_its_arguments_says_how_it_is_used(path):
    done = subprocess.run(["bash", path], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "usage: " in done.stderr
