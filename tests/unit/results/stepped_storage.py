"""A storage in memory that stops at each of its steps, before and after, to let a test kill or look."""

from contextlib import contextmanager

import fsspec
from fsspec.implementations.memory import MemoryFileSystem

from pipeline.results import atomic_files


class KilledError(BaseException):
    """Stands for SIGKILL: no handler of the program sees it."""


class SteppedFileSystem(MemoryFileSystem):
    protocol = "stepped"
    store = {}  # noqa: RUF012
    pseudo_dirs = [""]  # noqa: RUF012
    at_step = None
    """Called with (number of the step, what it is); None: no steps are counted."""
    num_steps = 0

    @classmethod
    def _strip_protocol(cls, path):
        return MemoryFileSystem._strip_protocol(path.removeprefix("stepped://"))

    def _stop(self, what):
        kind = type(self)
        if kind.at_step is None:
            return
        at_step, kind.at_step = kind.at_step, None  # what the test does at a step is no step
        try:
            at_step(kind.num_steps, what)
        finally:
            kind.at_step = at_step
            kind.num_steps += 1

    def find(self, path, *args, **kwargs):
        self._stop("before listing")
        return super().find(path, *args, **kwargs)

    def cat_file(self, path, *args, **kwargs):
        self._stop(f"before reading {path}")
        return super().cat_file(path, *args, **kwargs)

    def pipe_file(self, path, value, **kwargs):
        self._stop(f"before writing {path}")
        super().pipe_file(path, value, **kwargs)
        self._stop(f"after writing {path}")

    def rm_file(self, path):
        self._stop(f"before deleting {path}")
        super().rm_file(path)
        self._stop(f"after deleting {path}")


@contextmanager
def steps(at_step):
    """Call ``at_step(number, what)`` at every step; steps inside a locked change count, too."""
    SteppedFileSystem.at_step, SteppedFileSystem.num_steps = staticmethod(at_step), 0
    try:
        yield
    finally:
        SteppedFileSystem.at_step = None


def is_locked():
    """Whether the step lies within a change that other writers wait for."""
    return atomic_files._one_process.locked()


fsspec.register_implementation("stepped", SteppedFileSystem, clobber=True)
