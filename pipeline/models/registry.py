"""The model families this project can drive: one row per ``model_type`` of a checkpoint's config.json.

Installed packages may offer more, as ``adapttoken.models``: a `Family` under the name of its ``model_type``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Protocol

from transformers import (
    Glm4vForConditionalGeneration,
    Glm4vMoeForConditionalGeneration,
    Glm46VForConditionalGeneration,
    InternVLForConditionalGeneration,
    LlavaOnevisionForConditionalGeneration,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3_5ForConditionalGeneration,
    Qwen3_5MoeForConditionalGeneration,
    Qwen3VLForConditionalGeneration,
    Qwen3VLMoeForConditionalGeneration,
)

from pipeline.models.adapter import Adapter
from pipeline.models.attention_probe import PROBED_ATTENTION
from pipeline.models.glm import prompt as glm_prompt
from pipeline.models.glm.glm4v import Glm4V
from pipeline.models.glm.layout import GlmLayout
from pipeline.models.interface import ModelLayout
from pipeline.models.internvl import internvl
from pipeline.models.internvl import prompt as internvl_prompt
from pipeline.models.internvl.internvl import InternVL
from pipeline.models.internvl.layout import InternVLLayout
from pipeline.models.llava import llava_onevision
from pipeline.models.llava.layout import LlavaLayout
from pipeline.models.llava.llava_onevision import LlavaOneVision
from pipeline.models.qwen import qwen2_5_vl, qwen3_vl
from pipeline.models.qwen.layout import QwenLayout
from pipeline.models.qwen.qwen2_5_vl import Qwen25VL
from pipeline.models.qwen.qwen3_5 import Qwen35
from pipeline.models.qwen.qwen3_layout import Qwen3Layout, Qwen35Layout
from pipeline.models.qwen.qwen3_vl import Qwen3VL
from pipeline.models.qwen.window_attention import WINDOW_ATTENTION
from pipeline.settings.plug_ins import PlugInError, check_own, describe_plug_in, load_plug_in, plug_in_names

_GROUP = "adapttoken.models"


class LayoutReader(Protocol):
    """Reads a transformers config of the family."""

    def __call__(self, config: Any) -> ModelLayout: ...  # noqa: D102


class AdapterBuilder(Protocol):
    """Puts a loaded checkpoint behind the interface; ``offers`` as in ``VideoModel``."""

    @property
    def offers(self) -> frozenset[str]: ...  # noqa: D102

    def __call__(self, model: Any, tokenizer: Any, *, name: str, revision: str) -> Adapter[Any]: ...  # noqa: D102


class PrefixReader(Protocol):
    """Reads what stands before a video from the tokenizer and its chat template, as the family's adapter does."""

    def __call__(self, tokenizer: Any) -> object: ...  # noqa: D102


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """How a family is loaded.

    Attributes:
        architecture: stock transformers class.
        attention: attention implementation of each sub-config.
        video_token: what the chat template puts where the video goes.
        read_prefix: ``ValueError`` for a tokenizer or template that its adapter cannot use.
        needs_processor_name: the tokenizer must know which stock processor the checkpoint was published with.
        answer_marks: what the model writes before and after an answer, which is no part of it.
    """

    architecture: Any
    attention: Mapping[str, str]
    read_layout: LayoutReader
    video_token: str
    read_prefix: PrefixReader
    build: AdapterBuilder
    needs_processor_name: bool = False
    answer_marks: tuple[str, str] = ("", "")


_TOWER_WITH_WINDOWS = MappingProxyType({"text_config": PROBED_ATTENTION, "vision_config": WINDOW_ATTENTION})
_STOCK_TOWER = MappingProxyType({"text_config": PROBED_ATTENTION, "vision_config": "sdpa"})

_QWEN2_5_VL = Family(
    architecture=Qwen2_5_VLForConditionalGeneration,
    attention=_TOWER_WITH_WINDOWS,
    read_layout=QwenLayout.from_config,
    video_token=qwen2_5_vl.VIDEO_TOKEN,
    read_prefix=qwen2_5_vl.read_prefix,
    build=Qwen25VL,
)
_QWEN3_VL = Family(
    architecture=Qwen3VLForConditionalGeneration,
    attention=_TOWER_WITH_WINDOWS,
    read_layout=Qwen3Layout.from_config,
    video_token=qwen3_vl.VIDEO_TOKEN,
    read_prefix=qwen3_vl.read_prefix,
    build=Qwen3VL,
)
_QWEN3_5 = replace(
    _QWEN3_VL,
    architecture=Qwen3_5ForConditionalGeneration,
    read_layout=Qwen35Layout.from_config,
    build=Qwen35,
)
_INTERNVL = Family(
    architecture=InternVLForConditionalGeneration,
    attention=_STOCK_TOWER,
    read_layout=InternVLLayout.from_config,
    video_token=internvl_prompt.VIDEO_TOKEN,
    read_prefix=internvl.read_prefix,
    build=InternVL,
)
_GLM4V = Family(
    architecture=Glm4vForConditionalGeneration,
    attention=_TOWER_WITH_WINDOWS,
    read_layout=GlmLayout.from_config,
    video_token=glm_prompt.VIDEO_TOKEN,
    read_prefix=glm_prompt.read_prefix,
    build=Glm4V,
    needs_processor_name=True,
    answer_marks=glm_prompt.ANSWER_MARKS,
)
_LLAVA_ONEVISION = Family(
    architecture=LlavaOnevisionForConditionalGeneration,
    attention=_STOCK_TOWER,
    read_layout=LlavaLayout.from_config,
    video_token=llava_onevision.VIDEO_TOKEN,
    read_prefix=llava_onevision.read_prefix,
    build=LlavaOneVision,
)


def check_offers(family: str, wanted: Mapping[str, bool], *, method: str) -> None:
    """Refuse a method whose rule wants to see what a family does not tell.

    Raises:
        ValueError: So it is; names families that do.
    """
    offers = FAMILIES[family].build.offers if family in FAMILIES else frozenset()
    missing = sorted(name for name, is_wanted in wanted.items() if is_wanted and name not in offers)
    if missing and family in FAMILIES:
        able = [name for name, one in FAMILIES.items() if {*missing} <= one.build.offers]
        raise ValueError(
            f"method {method!r} looks at {', '.join(missing)}, which {family} does not tell; use another method, or a "
            f"checkpoint of {', '.join(able)}"
        )


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "qwen2_5_vl": _QWEN2_5_VL,
        "qwen3_vl": _QWEN3_VL,
        "qwen3_vl_moe": replace(_QWEN3_VL, architecture=Qwen3VLMoeForConditionalGeneration),
        "qwen3_5": _QWEN3_5,
        "qwen3_5_moe": replace(_QWEN3_5, architecture=Qwen3_5MoeForConditionalGeneration),
        "internvl": _INTERNVL,
        "glm4v": _GLM4V,
        "glm4v_moe": replace(_GLM4V, architecture=Glm4vMoeForConditionalGeneration),
        "glm46v": replace(_GLM4V, architecture=Glm46VForConditionalGeneration),
        "llava_onevision": _LLAVA_ONEVISION,
    }
)


def known_families() -> list[str]:
    """Every ``model_type`` that can be loaded, those of installed packages included; imports none of them."""
    return sorted(FAMILIES.keys() | plug_in_names(_GROUP))


def get_family(model_type: str) -> Family:
    """The row of one of ``known_families``.

    Raises:
        PlugInError: Two packages offer it, or the one that does is broken.
    """
    if model_type in FAMILIES:
        check_own(_GROUP, model_type)
        return FAMILIES[model_type]
    found = load_plug_in(_GROUP, model_type)
    if not isinstance(found, Family):
        package = describe_plug_in(_GROUP, model_type)
        raise PlugInError(f"model family {model_type!r} of {package} is no adapttoken.Family, but {found!r}; update it")
    return found
