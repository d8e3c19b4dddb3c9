"""How wide what is printed may be."""

import shutil
import sys


def measure_width() -> int | None:
    """Columns of the terminal; a file or another program gets everything."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
