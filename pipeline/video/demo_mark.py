"""The mark that the project's makers of videos leave in a file's metadata: it goes wherever the file goes."""

from typing import Any

_TAG, _MARK = "comment", "AdaptToken demo video"


def mark_demo_video(container: Any) -> None:
    """Mark a PyAV container that is about to be written."""
    container.metadata[_TAG] = _MARK


def is_demo_video(container: Any) -> bool:
    """Whether an open PyAV container was made here; Matroska writes the tag's name in capitals."""
    return any(name.lower() == _TAG and value == _MARK for name, value in container.metadata.items())
