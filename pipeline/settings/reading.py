"""Settings from YAML files and ``--set key=value``, and what identifies them: dictionary and hash."""

import dataclasses
import difflib
import hashlib
import json
import math
import re
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import fsspec
import yaml

from pipeline.settings.config import RunConfig
from pipeline.uris import StorageOptions, strip_secrets

_SECTIONS: dict[str, type] = {name: hint for name, hint in get_type_hints(RunConfig).items() if hint is not str}
_TYPES: dict[str, Any] = {"method": str} | {
    f"{section}.{name}": hint for section, cls in _SECTIONS.items() for name, hint in get_type_hints(cls).items()
}
_KEY_OF_LEAF: dict[str, str] = {key.rpartition(".")[2]: key for key in _TYPES}

_ADDED = (("budget", "keep_ratio", None), ("scoring", "prompt_style", "plain"))
"""Settings that came later, and the value that changes nothing."""

# YAML 1.1 reads 1e-3 (no dot) as text.
_EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")


def setting_keys() -> tuple[str, ...]:
    """Every setting as ``section.field``, and ``method``."""
    return tuple(_TYPES)


def load_config(
    base: RunConfig, *, yaml_uri: str | None = None, sets: Sequence[str] = (), storage_options: StorageOptions = None
) -> RunConfig:
    """Change a preset by a YAML file, then by ``key=value`` pairs; later ones win, the result is checked once.

    Example: ``load_config(base, sets=["token_budget=512", "sampling.sample_fps=1"])``.

    Raises:
        ValueError: Unknown key, wrong type, value out of range, or a file that is not a YAML mapping.
    """
    changes = _canonical(_read_yaml(yaml_uri, storage_options)) if yaml_uri is not None else {}
    for pair in sets:
        changes.update(_canonical(_parse_pair(pair)))
    return _replace(base, changes)


def apply_overrides(config: RunConfig, overrides: Mapping[str, object]) -> RunConfig:
    """Change settings by ``section.field``, by bare field name, or by nested section.

    Raises:
        ValueError: Unknown key (names the nearest), a setting given twice, wrong type or value out of range.
    """
    return _replace(config, _canonical(overrides))


def to_dict(config: RunConfig) -> dict[str, object]:
    """All settings as plain values, nested by section, for ``config.yaml``."""
    return dataclasses.asdict(config)


def config_hash(config: RunConfig, *, model_revision: str | None) -> str:
    """Identify everything that changes answers: all settings but ``execution``, ``reading`` and a lossless store.

    Args:
        config: The resolved settings.
        model_revision: What the loaded weights call themselves (commit or content hash). It then stands for the
            model, however its path was spelled; without it path and requested revision do.

    Returns:
        16 hexadecimal digits.
    """
    settings = to_dict(apply_overrides(config, to_dict(config)))  # once more through the types: 2 and 2.0 are one
    del settings["execution"], settings["reading"], settings["frame_store"]
    if config.frame_store.quality != "lossless":
        settings["frame_store"] = {"quality": config.frame_store.quality}
    identity = [model_revision] if model_revision is not None else [config.model.model, config.model.revision]
    for section, name, unset in _ADDED:  # rows that were written before there was this setting keep their keys
        if getattr(getattr(config, section), name) == unset:
            settings[section] = {key: value for key, value in _section(settings, section) if key != name}
    model: dict[str, object] = {"identity": identity, "dtype": config.model.dtype}
    if config.model.quantization != "off":  # rows that were written before there was this setting keep their keys
        model["quantization"] = config.model.quantization
    settings["model"] = model
    canonical = json.dumps(settings, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _section(settings: Mapping[str, object], name: str) -> Iterator[tuple[str, object]]:
    section = settings[name]
    assert isinstance(section, Mapping)
    yield from section.items()


def _read_yaml(uri: str, storage_options: StorageOptions) -> Mapping[str, object]:
    try:
        filesystem, path = fsspec.core.url_to_fs(uri, **(storage_options or {}))
        content = yaml.safe_load(filesystem.cat_file(path))
    except OSError as error:
        reason = f"config file {strip_secrets(uri)} cannot be read ({type(error).__name__}): check the path"
        raise ValueError(reason) from error
    except yaml.YAMLError as error:
        raise ValueError(f"config file {strip_secrets(uri)} is not YAML: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        shape = type(content).__name__
        raise ValueError(f"config file {strip_secrets(uri)} must hold a mapping of settings, got {shape}: {_example()}")
    return content


def _parse_pair(pair: str) -> dict[str, object]:
    """``key=value`` with the value read as YAML; a setting that is text keeps its spelling (a commit of digits)."""
    key, separator, text = pair.partition("=")
    if not separator or not key.strip():
        raise ValueError(f"--set takes key=value, got {pair!r}: {_example()}")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"--set {key}: the value {text!r} is not YAML: {error}") from error
    hint = _TYPES.get(_KEY_OF_LEAF.get(key.strip(), key.strip()))
    is_text = hint is str or (hint is not None and str in get_args(hint))
    return {key.strip(): text if is_text and value is not None and not isinstance(value, str) else value}


def _example() -> str:
    return "write for example budget.token_budget=512 or token_budget: 512"


def _canonical(overrides: Mapping[str, object]) -> dict[str, object]:
    """Settings by ``section.field``, unknown and repeated ones refused."""
    changes: dict[str, object] = {}
    for name, value in _flatten(overrides):
        key = name if name in _TYPES else _KEY_OF_LEAF.get(name)
        if key is None:
            raise ValueError(f"unknown setting {name!r}; did you mean {_nearest(name)!r}?")
        if key in changes:
            raise ValueError(f"setting {key!r} is given twice, as {changes[key]!r} and {value!r}: keep one")
        changes[key] = value
    return changes


def _flatten(overrides: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for name, value in overrides.items():
        if name in _SECTIONS and isinstance(value, Mapping):
            yield from ((f"{name}.{field}", field_value) for field, field_value in value.items())
        elif name in _SECTIONS and name not in _KEY_OF_LEAF:
            raise ValueError(f"{name!r} is a section of settings, got {value!r}: {_example()}")
        else:
            yield str(name), value


def _nearest(name: str) -> str:
    leaf = name.rpartition(".")[2]
    if leaf in _KEY_OF_LEAF:
        return _KEY_OF_LEAF[leaf]
    candidates = [*_TYPES] if "." in name else [*_KEY_OF_LEAF, *_SECTIONS]
    return difflib.get_close_matches(name, candidates, n=1, cutoff=0.0)[0]


def _replace(config: RunConfig, changes: Mapping[str, object]) -> RunConfig:
    """A new config; each section is built, and so checked, once."""
    by_section: dict[str, dict[str, Any]] = {}
    for key, value in changes.items():
        section, _, name = key.rpartition(".")
        by_section.setdefault(section, {})[name] = _checked(key, value)
    sections = {
        section: dataclasses.replace(getattr(config, section), **fields)
        for section, fields in by_section.items()
        if section
    }
    return dataclasses.replace(config, **sections, **by_section.get("", {}))


def _checked(key: str, value: object) -> object:
    """The value in the type of its setting.

    Raises:
        ValueError: Not of that type. An integer is a float; a bool is neither.
    """
    hint = _TYPES[key]
    if get_origin(hint) is Literal:
        if value is False and "off" in get_args(hint):
            return "off"  # YAML reads the bare word as a truth value
        if isinstance(value, str) and value in get_args(hint):
            return value
        allowed = "one of " + ", ".join(map(repr, get_args(hint)))
        meant = difflib.get_close_matches(str(value).lower(), get_args(hint), n=1)
        if meant:
            raise ValueError(f"{key} must be {allowed}, got {value!r}; did you mean {meant[0]!r}?")
    elif get_origin(hint) in (Union, types.UnionType):
        kind = next(member for member in get_args(hint) if member is not types.NoneType)
        if value is None or (type(value) is kind and kind is not float):
            return value
        if kind is float and math.isfinite(_as_float(value)):
            return _as_float(value)
        allowed = {str: "text or null (quote it)", int: "a whole number or null", float: "a number or null"}[kind]
    elif hint is float:
        number = _as_float(value)
        if math.isfinite(number):
            return number
        allowed = "a finite number"
    else:
        if isinstance(value, hint) and isinstance(value, bool) == (hint is bool):
            return value
        allowed = {int: "a whole number", bool: "true or false", str: "text (quote it)"}[hint]
    raise ValueError(f"{key} must be {allowed}, got {value!r}")


def _as_float(value: object) -> float:
    """The value as a float; infinite when it is no number."""
    is_exponent = isinstance(value, str) and _EXPONENT.fullmatch(value) is not None
    if isinstance(value, bool) or not (isinstance(value, int | float) or is_exponent):
        return math.inf
    try:
        return float(value)  # type: ignore[arg-type]
    except OverflowError:
        return math.inf
