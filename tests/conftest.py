"""How the tests share the processors: the whole suite runs in two processes, a part of it in one (`-n` overrides).

A file stays in one process, for its fixtures; so do all files that share one Ray. `pytest -m gpu` looks into no other
folder: a machine with a GPU need not have what the other tests import.
"""

import os

import pytest
from xdist.scheduler import LoadScopeScheduling


class FileScheduling(LoadScopeScheduling):
    def _split_scope(self, nodeid):
        path = nodeid.split("::", 1)[0]
        return "ray" if '"ray_cluster"' in (self.config.rootpath / path).read_text() else path


def pytest_ignore_collect(collection_path, config):
    is_other = collection_path.parent == config.rootpath / "tests" and collection_path.is_dir()
    return True if is_other and config.option.markexpr == "gpu" and collection_path.name != "gpu" else None


def pytest_xdist_auto_num_workers(config):
    is_whole_suite = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    return min(2, os.cpu_count() or 1) if is_whole_suite else 0


def pytest_xdist_make_scheduler(config, log):
    return FileScheduling(config, log)
