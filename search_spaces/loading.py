"""Reads spaces from YAML files: those of the catalog by name, anybody's own by path."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from search_spaces.constraints import Constraint
from search_spaces.dimensions import ChoiceDimension, Condition, Dimension, FloatDimension, IntegerDimension, Value
from search_spaces.errors import SpaceError, nearest
from search_spaces.space import Space, Tier

FIELDS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "float": (("low", "high", "default"), ("log", "step", "when")),
    "integer": (("low", "high", "default"), ("log", "step", "when")),
    "choice": (("choices", "default"), ("ordered", "when")),
}
"""Type of a dimension -> the keys it needs, the keys it may have."""

CLASSES: Mapping[str, Callable[..., Dimension]] = {
    "float": FloatDimension,
    "integer": IntegerDimension,
    "choice": ChoiceDimension,
}

LIMITS = ("at_least", "at_most")
"""Keys of a constraint."""

MAX_BYTES, MAX_DEPTH = 200_000, 20
"""Largest file and deepest nesting that are read: far beyond any space, and parsed within seconds."""


def catalog() -> tuple[str, ...]:
    """Names of the spaces that come with the package."""
    files = resources.files("search_spaces").joinpath("catalog").iterdir()
    return tuple(sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml")))


def load_space(name_or_path: str | Path) -> Space:
    """The space of that name in the catalog, or of that YAML file (recognised by its suffix or a separator).

    Raises:
        SpaceError: no such space, an unreadable file, or anything in it that breaks a rule.
    """
    word = str(name_or_path)
    is_path = isinstance(name_or_path, Path) or word.endswith((".yaml", ".yml")) or "/" in word or "\\" in word
    if is_path:
        path = Path(name_or_path).expanduser()
        return parse_space(_text(path), name=path.stem, source=str(path))
    if word not in catalog():
        raise SpaceError(
            f"Unknown space '{word}': the catalog has {', '.join(catalog())}, and a file of your own is given by its "
            f"path, as in ./{word}.yaml.{nearest(word, catalog())}"
        )
    file = resources.files("search_spaces").joinpath("catalog", f"{word}.yaml")
    return parse_space(file.read_text(encoding="utf-8"), name=word, source=f"{word}.yaml")


def parse_space(text: str, name: str, source: str) -> Space:
    """The space that a YAML text describes. source: what to call it in errors."""
    try:
        document = yaml.load(text, Loader=_StrictLoader)
        return _space(document, name)
    except (yaml.YAMLError, ValueError) as error:  # a ValueError from a date or number that YAML's types do not hold
        raise SpaceError(f"{source}: this is not plain YAML: {_where(error)}.") from None
    except SpaceError as error:
        raise SpaceError(f"{source}: {_sentence(str(error))}") from None


def dump_space(space: Space) -> str:
    """A YAML text that `parse_space` reads back as an equal space."""
    kinds = {cls: kind for kind, cls in CLASSES.items()}
    tiers = {
        tier.name: {
            dimension.name: {"type": kinds[type(dimension)], **_fields(dimension)} for dimension in tier.dimensions
        }
        for tier in space.tiers
    }
    document: dict[str, Any] = {"settings": dict(space.settings), "tiers": tiers}
    if space.constraints:
        limits = {each.name: asdict(each) for each in space.constraints}
        document["constraints"] = {
            name: {word: each[word] for word in LIMITS if each[word] is not None} for name, each in limits.items()
        }
    text: str = yaml.safe_dump(document, sort_keys=False)
    return text


def _fields(dimension: Dimension) -> dict[str, Any]:
    fields = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(dimension).items() if k != "name"}
    fields["when"] = {each.parent: list(each.values) for each in dimension.when}
    return fields if dimension.when else {k: v for k, v in fields.items() if k != "when"}


def _text(path: Path) -> str:
    """Raises SpaceError. Opened without waiting, because a pipe may never be written to."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise SpaceError(f"The space file {path} is no ordinary file; give the path of one.")
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise SpaceError(f"The space file {path} is larger than {MAX_BYTES:,} bytes, more than a space can need.")
        return raw.decode("utf-8-sig")
    except OSError as error:
        raise SpaceError(f"Cannot read the space file {path}: {error.strerror or error}.") from None
    except UnicodeDecodeError:
        raise SpaceError(f"The space file {path} is not UTF-8 text; save it as such.") from None


class _StrictLoader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice, aliases and deep nesting, and reads 1e-3 as a number (YAML 1.2), not
    as a word (1.1)."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]  # untyped in PyYAML's stubs
            raise SpaceError(f"aliases are not taken (line {event.start_mark.line + 1}); write the value")
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise SpaceError(f"it is nested deeper than {MAX_DEPTH} levels")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        for key, count in keys.items():
            if count > 1:
                raise SpaceError(f"the key '{key}' is given twice (line {node.start_mark.line + 1} and below)")
        return super().construct_mapping(node, deep)


_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+"), list("-+0123456789")
)


def _space(document: object, name: str) -> Space:
    top = _mapping(document, "the file")
    _check_keys("the file", top, required=("tiers",), optional=("settings", "constraints"))
    settings = _mapping(top.get("settings", {}), "settings")
    tiers = _mapping(top["tiers"], "tiers")
    return Space(
        name=name,
        settings={str(key): _setting(str(key), value) for key, value in settings.items()},
        tiers=tuple(_tier(str(tier), body) for tier, body in tiers.items()),
        constraints=tuple(
            _constraint(str(key), body) for key, body in _mapping(top.get("constraints", {}), "constraints").items()
        ),
    )


def _constraint(name: str, body: object) -> Constraint:
    """`name: 200000` is `name: {at_most: 200000}`."""
    if not isinstance(body, Mapping):
        return Constraint(name, at_most=body)  # type: ignore[arg-type]  # checked there
    _check_keys(f"constraints: {name}", body, required=(), optional=LIMITS)
    return Constraint(name, **body)


def _tier(name: str, body: object) -> Tier:
    dimensions = _mapping(body or {}, f"tiers.{name}")
    return Tier(name, tuple(_dimension(name, str(key), value) for key, value in dimensions.items()))


def _dimension(tier: str, name: str, body: object) -> Dimension:
    place = f"tiers.{tier}: {name}"
    fields = dict(_mapping(body, place))
    kind = fields.pop("type", None)
    if kind not in FIELDS:
        raise SpaceError(f"{place}: type must be one of {', '.join(FIELDS)}, not {kind!r}.{nearest(str(kind), FIELDS)}")
    required, optional = FIELDS[kind]
    _check_keys(place, fields, required, optional, allowed_beside=("type",))
    if kind == "choice":
        if not isinstance(fields["choices"], list):
            raise SpaceError(f"{place}: choices must be a list, not {fields['choices']!r}")
        fields["choices"] = tuple(fields["choices"])
        if not isinstance(fields.get("ordered", False), bool):
            raise SpaceError(f"{place}: ordered must be true or false, not {fields['ordered']!r}")
    if "when" in fields:
        fields["when"] = _when(f"{place}: when", fields["when"])
    try:
        return CLASSES[kind](name=name, **fields)
    except SpaceError as error:
        raise SpaceError(f"tiers.{tier}: {error}") from None


def _when(place: str, body: object) -> tuple[Condition, ...]:
    """`{model.kind: gru}` is `{model.kind: [gru]}`."""
    listed = {str(key): value if isinstance(value, list) else [value] for key, value in _mapping(body, place).items()}
    for parent, values in listed.items():
        for value in values:
            if not isinstance(value, bool | int | float | str):
                raise SpaceError(f"{place}: {parent} must be a value or a list of values, not {value!r}")
    return tuple(Condition(parent, tuple(values)) for parent, values in listed.items())


def _setting(key: str, value: object) -> Value:
    if not isinstance(value, bool | int | float | str):
        raise SpaceError(f"settings: {key} must be a number, a word or true/false, not {value!r}")
    return value


def _mapping(value: object, place: str) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        kind = "nothing" if value is None else f"a {type(value).__name__}"
        raise SpaceError(f"{place} must hold keys with values, not {kind}")
    return value


def _check_keys(
    place: str,
    found: Mapping[Any, Any],
    required: Iterable[str],
    optional: Iterable[str],
    allowed_beside: Iterable[str] = (),
) -> None:
    known = [*allowed_beside, *required, *optional]
    for key in found:
        if key not in known:
            raise SpaceError(f"{place}: unknown key '{key}'; known are {', '.join(known)}.{nearest(str(key), known)}")
    for key in required:
        if key not in found:
            raise SpaceError(f"{place}: the key '{key}' is missing")


def _where(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"{error.problem} (line {error.problem_mark.line + 1})"
    return str(error).splitlines()[0]


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?")) else f"{text}."
