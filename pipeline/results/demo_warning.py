"""What is said where the demo model was asked about a video that it was not made for: in rows, log and report."""

from collections.abc import Iterable, Sequence

DEMO_MODEL_WARNING = (
    "answered by the demo model, a toy that knows only the shapes and colours of the demo's own videos, and this is "
    "none of them; name a real checkpoint with --model, such as Qwen/Qwen2.5-VL-7B-Instruct"
)


def count_demo_warnings(warnings: Iterable[Sequence[str] | None]) -> int:
    """How many rows carry it, of the ``warnings`` of each."""
    return sum(DEMO_MODEL_WARNING in (of_row or ()) for of_row in warnings)
