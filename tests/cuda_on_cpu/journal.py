"""What happened on the simulated machine: where the host waited, and what a real device would have got wrong."""

import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parents[2]
_OWN = ("pipeline", "actors")
_CALLERS = 2


@dataclass(kw_only=True, slots=True)
class Journal:
    """Waits by place, faults in order; ``num_kernels`` counts what was queued.

    Attributes:
        waits: (place, what the host waited for) -> how often.
        lines: place -> file and line of the last wait there, for who has to look.
    """

    waits: Counter[tuple[str, str]] = field(default_factory=Counter)
    lines: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    num_kernels: int = 0

    def wait(self, why: str) -> None:
        """The host stands still until the device has come as far as it has been told to go."""
        place, line = _where()
        self.waits[place, why] += 1
        self.lines[place] = line

    def fault(self, what: str) -> None:
        """On a real device this reads or writes the wrong numbers, at times."""
        self.faults.append(f"{what} at {_where()[1]}")


def _where() -> tuple[str, str]:
    """Innermost functions of the project (``Adapter.answer > Download.read``), and file and line of the last."""
    names: list[str] = []
    line, frame = "", sys._getframe(1)
    stock = ""
    current: FrameType | None = frame
    while current is not None and len(names) < _CALLERS:
        path = Path(current.f_code.co_filename)
        if "transformers" in path.parts and not names:
            stock = stock or f" > {path.stem}.{current.f_code.co_name}"
        if path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in _OWN:
            names.append(current.f_code.co_qualname.replace(".<locals>", "").removesuffix(".<genexpr>"))
            line = line or f"{path.relative_to(ROOT)}:{current.f_lineno}"
        current = current.f_back
    return " > ".join(reversed(names)) + stock, line + stock
