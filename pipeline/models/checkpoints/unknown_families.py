"""What to do about a checkpoint of a family that is not known here: the nearest one that works."""

from collections.abc import Collection
from pathlib import Path

from pipeline.failures import PipelineError
from pipeline.models.checkpoints.files import model_error

ORIGINAL_INTERNVL = "internvl_chat"
_EXAMPLES = "Qwen/Qwen2.5-VL-7B-Instruct, Qwen/Qwen3-VL-8B-Instruct or OpenGVLab/InternVL3-8B-hf"
_ONE_OF = f"give one of a family known here, such as {_EXAMPLES}"
_LLAVA, _QWEN = "llava-hf/llava-onevision-qwen2-7b-ov-hf", "Qwen/Qwen2.5-VL-7B-Instruct"
_NO_CLASS = "which transformers has no class for (its code would have to be run, which never happens here)"
# ``model_type`` -> what it is, and what to do instead
_KNOWN_ABOUT = {
    "llava_qwen": (
        f"of LLaVA-Video and the original LLaVA-OneVision, {_NO_CLASS}",
        f"give the latter as converted for transformers, such as {_LLAVA}, or for LLaVA-Video {_QWEN}",
    ),
    "llava_next_video": ("of LLaVA-NeXT-Video", f"give its successor, such as {_LLAVA}"),
    "llava_next": ("of LLaVA-NeXT, which was trained on single pictures", f"give its successor, such as {_LLAVA}"),
    "llava": ("of LLaVA, which was trained on single pictures", f"give its successor, such as {_LLAVA}"),
    "chatglm": (
        f"of GLM-4V-9B and older GLM models, {_NO_CLASS}",
        "give its successor, such as zai-org/GLM-4.6V-Flash",
    ),
    "glm4_moe": ("of a text model, which sees no video", "give zai-org/GLM-4.5V"),
    "videollama3_qwen2": (f"of the original VideoLLaMA3, {_NO_CLASS}", _ONE_OF),
    "minicpmv": (f"of MiniCPM-V, {_NO_CLASS}", _ONE_OF),
    "qwen2_vl": ("of Qwen2-VL, whose times are coarser", "give its successor, such as Qwen/Qwen2.5-VL-7B-Instruct"),
    "qwen2_5_omni": ("of Qwen2.5-Omni", "give the vision model, such as Qwen/Qwen2.5-VL-7B-Instruct"),
    "qwen3_omni_moe": ("of Qwen3-Omni", "give the vision model, such as Qwen/Qwen3-VL-30B-A3B-Instruct"),
    "qwen2": ("of a text model, which sees no video", "give Qwen/Qwen2.5-VL-7B-Instruct"),
    "qwen3": ("of a text model, which sees no video", "give Qwen/Qwen3-VL-8B-Instruct"),
    "qwen3_5_text": ("of a text model, which sees no video", "give the whole checkpoint, such as Qwen/Qwen3.5-9B"),
    "internlm2": ("of a text model, which sees no video", "give OpenGVLab/InternVL3-8B-hf"),
    "llama": ("of a text model, which sees no video", _ONE_OF),
}


def unknown_family(name: str, family: object, known: Collection[str]) -> PipelineError:
    """Class ``model``, with what is known and the nearest checkpoint that works.

    Args:
        name: checkpoint as given.
        family: ``model_type`` of its configuration.
        known: families that can be loaded.
    """
    what, remedy = "", _ONE_OF
    if family == ORIGINAL_INTERNVL:
        folder = name if Path(name).is_dir() else "FOLDER"
        what = ", InternVL as its authors publish it, with code of its own that is never run here"
        remedy = (
            f'convert its folder once with "adapttoken convert-internvl {folder} OUTPUT" and give OUTPUT, or give the '
            "checkpoint of the same size whose name ends in -hf, such as OpenGVLab/InternVL3-8B-hf"
        )
    elif isinstance(family, str) and family in _KNOWN_ABOUT:
        what, remedy = _KNOWN_ABOUT[family]
        what = f", that {what}"
    families = ", ".join(sorted(known))
    return model_error(name, f"is of the family {family!r}{what}", f"{remedy} (known here: {families})")
