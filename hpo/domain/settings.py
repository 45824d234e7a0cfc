"""Settings as plain nested mappings: read from a file, laid over one another, named by dots."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from hpo.domain.errors import UsageError

if TYPE_CHECKING:
    from pydantic import ValidationError


MAX_BYTES, MAX_DEPTH = 200_000, 20
"""Largest file and deepest nesting that are read: far beyond all settings, and parsed within seconds."""


_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


class _PlainLoader(yaml.SafeLoader):
    """Safe YAML without aliases, of which a few lines can stand for millions, and without deep nesting."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]  # untyped in PyYAML's stubs
            raise yaml.YAMLError(f"aliases are not taken (line {event.start_mark.line + 1}); write the value")
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise yaml.YAMLError(f"it is nested deeper than {MAX_DEPTH} levels")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def read(file: Path) -> dict[str, Any]:
    """The mapping in a YAML or JSON file. Raises UsageError where it cannot be read or holds something else."""
    try:
        with file.open("rb") as opened:
            raw = opened.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise UsageError(f"{file} is larger than {MAX_BYTES:,} bytes, more than all settings can need.")
        values = yaml.load(raw.decode("utf-8-sig"), Loader=_PlainLoader)  # JSON is YAML
    except OSError as error:
        raise UsageError(f"cannot read the configuration file {file}: {error.strerror}.") from None
    except (yaml.YAMLError, ValueError) as error:  # the latter: no UTF-8, or a date or number that YAML does not hold
        raise UsageError(f"{file} is neither YAML nor JSON: {str(error).splitlines()[0]}.") from None
    if not isinstance(values, dict):
        raise UsageError(f"{file} must hold a mapping of settings, not a {type(values).__name__}.")
    return values


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Leaves by dotted name; an empty mapping is a leaf."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        flat |= flatten(value, f"{name}.") if isinstance(value, Mapping) and value else {name: value}
    return flat


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `flatten`."""
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        *path, last = name.split(".")
        place = nested
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    return nested


def sections(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Dotted names of the mappings within."""
    names = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            names += [f"{prefix}{key}", *sections(value, f"{prefix}{key}.")]
    return names


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """base with what over says in place of it, section by section."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def without(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """values less one dotted setting."""
    section, _, rest = name.partition(".")
    if not rest:
        return {key: value for key, value in values.items() if key != section}
    return {key: without(value, rest) if key == section else value for key, value in values.items()}


def quoted(value: str) -> str:
    """A text as the value of a Hydra override, whatever characters it holds."""
    # In Hydra's grammar a backslash is one, unless it stands before a quote.
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", value)
    escaped = re.sub(r"(\\+)\Z", r"\1\1", escaped)
    return f"'{escaped}'"


def verbatim(override: str, names: Collection[str]) -> str:
    """The override, its value quoted if the setting is one of names, whose values are texts: of any punctuation, and
    also `null` and `2026`. One that comes quoted stays as it is."""
    name, _, value = override.partition("=")
    return f"{name}={quoted(value)}" if name in names and value[:1] not in ("'", '"') else override


def first_problem(error: ValidationError, prefix: str = "") -> tuple[str, str]:
    """The dotted place of a validation's first problem ('' for the whole), and what it is, without a full stop."""
    problem = error.errors()[0]
    place = ".".join(str(part) for part in problem["loc"])
    shown = f"{prefix}{place}={problem['input']}: " if place and not isinstance(problem["input"], Mapping) else ""
    return place, shown + problem["msg"].removeprefix("Value error, ").rstrip(".")


def seconds_of(text: str) -> float | None:
    """Seconds of a time as people write it: `90s`, `30m`, `8h`, `2d`, or a plain number of seconds. None: it is written
    otherwise."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    return float(match[1]) * _SECONDS[match[2]] if match else None
