"""What one check found, and the whole examination."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from pipeline.failures import FailureClass, PipelineError


class Verdict(StrEnum):
    """How a check ended; only ``FAILED`` makes the examination fail."""

    OK = "ok"
    FAILED = "failed"
    NOTE = "note"


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One line of the examination.

    Attributes:
        name: what was looked at.
        found: one line, with numbers.
        remedy: what to do about it; empty unless it failed.
    """

    name: str
    verdict: Verdict
    found: str
    remedy: str = ""

    def as_line(self) -> str:
        """For the terminal."""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{self.verdict.value:<7} {self.name}: {self.found}{remedy}"


@dataclass(kw_only=True, slots=True)
class Examination:
    """All checks in their order, and facts for the card: heading → lines."""

    model: str
    checks: list[Check] = field(default_factory=list)
    facts: dict[str, Sequence[tuple[str, str]]] = field(default_factory=dict)

    @property
    def has_passed(self) -> bool:
        """Whether nothing failed."""
        return all(check.verdict is not Verdict.FAILED for check in self.checks)

    def add(self, name: str, *, is_ok: bool | None, found: str, remedy: str = "") -> None:
        """One more check; None is a note."""
        verdict = Verdict.NOTE if is_ok is None else Verdict.OK if is_ok else Verdict.FAILED
        remedy = remedy if verdict is Verdict.FAILED else ""
        self.checks.append(Check(name=name, verdict=verdict, found=" ".join(found.split()), remedy=remedy))

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """What goes wrong inside is a failed check, and the examination goes on after it."""
        try:
            yield
        except PipelineError as error:
            problem, _, remedy = error.message.partition("; ")
            self.add(name, is_ok=False, found=f"{error.failure_class.value}: {problem}", remedy=remedy or _REMEDY)
        except MemoryError as error:
            self.add(name, is_ok=False, found=f"{FailureClass.OUT_OF_MEMORY.value}: {error}", remedy=_SMALLER)
        except (RuntimeError, ValueError, OSError, TypeError, LookupError, AssertionError, ArithmeticError) as error:
            remedy = _SMALLER if "out of memory" in str(error) else _REMEDY
            self.add(name, is_ok=False, found=f"{type(error).__name__}: {error}", remedy=remedy)


_SMALLER = "lower scoring.question_batch or scoring.encode_patches, use more GPUs or a smaller checkpoint"
_REMEDY = "send this card to the developers, with the last lines of the terminal"
