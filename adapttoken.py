"""AdaptToken on Ray from Python: questions about very long videos.

    import adapttoken

    found = adapttoken.answer("film.mp4", "How many riders are there?", model="Qwen/Qwen2.5-VL-7B-Instruct")
    print(found.answer, found.entropy, found.evidence[0].start_s)
    table = adapttoken.run("videos.parquet", model="Qwen/Qwen2.5-VL-7B-Instruct", output="answers")

``answer`` works in this process; ``run`` is the whole job, on Ray. Importing this costs nothing; torch comes with the
first call. ``answer_video`` and ``load_video_model`` are for many questions about a video, and for a model in hand;
what packages need that add a method or a family of models (docs/plug_ins.md) is here, too, under the names of `_PARTS`.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from jobs.main import main
from jobs.wiring.version import project_version
from pipeline import answer_video, load_video_model

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline.models.interface import VideoModel
    from pipeline.passes.video_answer import VideoAnswer
    from pipeline.settings.config import RunConfig

__all__ = ["answer", "answer_video", "load_video_model", "main", "run"]
__version__ = project_version()
_PARTS = {
    "AdaptToken": "pipeline.method.selectors.adapttoken",
    "PlainSelector": "pipeline.method.selectors.plain",
    "GroupScore": "pipeline.method.selectors.base",
    "Selector": "pipeline.method.selectors.base",
    "FAMILIES": "pipeline.models.registry",
    "Family": "pipeline.models.registry",
}


def __getattr__(name: str) -> Any:
    """One of `_PARTS`, imported now."""
    if name not in _PARTS:
        raise AttributeError(f"module 'adapttoken' has no attribute {name!r}")
    return getattr(import_module(_PARTS[name]), name)


def answer(
    video: str,
    question: str,
    options: Sequence[str] | None = None,
    *,
    model: str,
    method: str = "adapttoken",
    settings: Sequence[str] = (),
    start_s: float | None = None,
    end_s: float | None = None,
    transcript: str | None = None,
) -> "VideoAnswer":
    """Ask one question about one video file, in this process; the model stays loaded for the next call.

    Args:
        video: path of the file.
        question: open, or with ``options`` to choose from.
        options: at least two texts; the answer is then the letter of one.
        model: a folder, a hub id, an address of a store, or ``demo``.
        method: as ``--method`` of ``adapttoken run``.
        settings: ``key=value`` pairs, as ``--set`` takes them.
        start_s: only ``[start_s, end_s)`` is looked at, in seconds; both may be left out.
        end_s: see there.
        transcript: what is said: text, or the path of an ``.srt`` or ``.vtt`` file.

    Raises:
        PipelineError: Video or model cannot be used; says which, and what to do.
        ValueError: The question, the method or a setting cannot be used.
    """
    loaded, config = _load(model, method, tuple(settings))
    asked = [question if options is None else (question, options)]
    (found,) = answer_video(
        video, asked, model=loaded, config=config, start_s=start_s, end_s=end_s, transcript=transcript
    )
    return found


def run(
    manifest: Any,
    *,
    model: str,
    output: str | None = None,
    method: str | None = None,
    settings: Sequence[str] = (),
    executor: str = "ray",
    storage_options: Mapping[str, object] | None = None,
    arguments: Sequence[str] = (),
    log_level: str = "warning",
) -> "pa.Table":
    """Answer a manifest as ``adapttoken run`` does; called again with the same ``output`` it does only what is missing.

    Args:
        manifest: path or address of a file, a folder or a pattern, or a list of these; or its rows: dictionaries, a
            ``pyarrow.Table`` or a pandas ``DataFrame``.
        model: a folder, a hub id, an address of a store, or ``demo``.
        output: folder or address that receives ``answers/`` and ``runs/``; None keeps nothing but what is returned.
        method: as ``--method``.
        settings: ``key=value`` pairs, as ``--set`` takes them.
        executor: ``ray``, or ``serial``: in this process.
        storage_options: keyword arguments of the fsspec file system.
        arguments: further options of ``adapttoken run``, such as ``["--limit", "10"]``.
        log_level: of what is written to stderr.

    Returns:
        One row per question of the manifest, in the columns of docs/columns.md; those that failed have the status
        ``failed``, and a Python warning counts them.

    Raises:
        ValueError: Manifest, model or a setting cannot be used; nothing was started.
        RuntimeError: The job itself failed; what was committed to ``output`` stays.
        KeyboardInterrupt: It was interrupted.
    """
    from jobs.wiring.from_python import run_manifest

    command = ["--model", model, "--executor", executor, "--log-level", log_level, "--progress-every", "0", *arguments]
    if method is not None:
        command += ["--method", method]
    for setting in settings:
        command += ["--set", setting]
    return run_manifest(manifest, command, output=output, storage_options=storage_options)


@lru_cache(maxsize=1)  # a second model may not have room beside the first
def _load(model: str, method: str, settings: tuple[str, ...]) -> "tuple[VideoModel, RunConfig]":
    return load_video_model(model, method=method, settings=settings)
