"""Numbers of things as people write them."""


def counted(number: int, one: str, many: str | None = None) -> str:
    """``(1, "question") -> 1 question``, ``(1200, "question") -> 1,200 questions``, ``(2, "entry", "entries")``."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
