"""Times as people read them."""


def format_clock(seconds: float) -> str:
    """``3725.5 -> 1:02:05``."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
