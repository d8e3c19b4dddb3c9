"""Which files of an output folder can be read, for when one of them cannot; what is left out is said."""

import json
import logging

from pipeline.results.part_files import AnswersFolder
from pipeline.results.summary import is_summary
from pipeline.uris import strip_secrets

_LOG = logging.getLogger("adapttoken.results")


def sound_parts(folder: AnswersFolder) -> list[str]:
    """Result files that can be read, relative to the output folder.

    Raises:
        ValueError: None can.
    """
    sound: list[str] = []
    for part in folder.list_parts():
        try:
            folder.read_part(part, ["question_key"])
            sound.append(part.path)
        except FileNotFoundError:
            continue
        except ValueError as error:
            _LOG.warning("%s. It is left out, and so is what is committed from now on", error)
    if not sound:
        raise ValueError(f"no result file under {strip_secrets(folder.path)} can be read")
    return [path.removeprefix(f"{_root(folder)}/") for path in sound]


def sound_summaries(folder: AnswersFolder) -> list[str]:
    """Runs' ``summary.json`` that say what a run would say, relative to the output folder."""
    sound: list[str] = []
    for path in sorted(folder.filesystem.find(f"{_root(folder)}/runs", maxdepth=2)):
        if path.rpartition("/")[2] != "summary.json":
            continue
        try:
            is_sound = is_summary(json.loads(folder.filesystem.cat_file(path)))
        except (ValueError, RecursionError):
            is_sound = False
        if is_sound:
            sound.append(path)
        else:
            _LOG.warning("%s is no summary of a run: the view runs leaves it out", strip_secrets(path))
    return [path.removeprefix(f"{_root(folder)}/") for path in sound]


def _root(folder: AnswersFolder) -> str:
    return folder.path.removesuffix("/answers")
