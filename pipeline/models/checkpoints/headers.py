"""What the heads of safetensors files say: which tensors there are, of which type and size. No weights are read."""

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.models.checkpoints.files import INDEX_FILE, ExplainErrors

_LENGTH_BYTES = 8


class StoredTensor(NamedTuple):
    """One tensor of a file.

    Attributes:
        dtype: as safetensors writes it, such as BF16, F8_E4M3 or I32.
        shape: as stored.
        num_bytes: as stored.
    """

    dtype: str
    shape: tuple[int, ...]
    num_bytes: int

    @property
    def num_elements(self) -> int:
        """Product of the shape."""
        return math.prod(self.shape)


def read_headers(name: str, folder: Path) -> dict[str, StoredTensor]:
    """Every tensor of a folder's files, by name.

    Raises:
        PipelineError: Class ``model``: a file is cut short or no safetensors file.
    """
    tensors: dict[str, StoredTensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with ExplainErrors(name, f"has a damaged file {path.name}", "copy that file again"):
            tensors |= read_header(path)
    return tensors


def read_header(path: Path) -> dict[str, StoredTensor]:
    """The tensors of one file.

    Raises:
        ValueError: It is cut short, or no safetensors file.
    """
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        if not 0 < length <= size_bytes - _LENGTH_BYTES:
            raise ValueError("it is cut short, or no safetensors file")
        header: dict[str, Any] = json.loads(file.read(length))
    header.pop("__metadata__", None)
    tensors = {
        key: StoredTensor(entry["dtype"], tuple(entry["shape"]), entry["data_offsets"][1] - entry["data_offsets"][0])
        for key, entry in header.items()
    }
    ends = (entry["data_offsets"][1] for entry in header.values())
    expected = _LENGTH_BYTES + length + max(ends, default=0)
    if size_bytes != expected:
        raise ValueError(f"it has {size_bytes} bytes, its head says {expected}")
    return tensors


def stored_names(folder: Path) -> tuple[set[str], int | None] | None:
    """Names of all tensors and their bytes in sum, from the index alone; None where there is no readable one."""
    path = folder / INDEX_FILE
    if not path.is_file():
        return None
    index = json.loads(path.read_text(encoding="utf-8"))
    total = index.get("metadata", {}).get("total_size")
    return set(index["weight_map"]), int(total) if total else None
