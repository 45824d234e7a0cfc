"""Turns what the user typed into a frozen `SearchConfig`: the only importer of hydra in this package.

Order, later wins: the defaults of the configuration classes, the space's own settings, a `--config` file, overrides.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from hpo.domain.config import SearchConfig
from hpo.domain.errors import UsageError, nearest
from search_spaces import Space, load_space
from trainer.settings import first_problem, flatten, merge, quoted, read, sections, verbatim

OPEN_KEYS = ("sampler.options", "pruner.options")
"""Mappings whose keys are Optuna's, not ours: any key may be added below them."""

TEXTS = ("study", "space", "trainer.data.source")
"""Settings that are taken letter by letter."""

FOLLOWS = {"trainer.train.monitor": "objective", "trainer.train.seed": "seed"}
"""Trainer settings that the search derives from its own."""


def load(overrides: Sequence[str], file: Path | None = None) -> tuple[SearchConfig, Space]:
    """The configuration and its space.

    Args:
        overrides: Hydra overrides such as `trials=40` or `trainer.model.kind=mlp`.
        file: YAML with any part of the configuration, applied below the overrides.

    Raises:
        UsageError: an unknown key, a value of the wrong kind. InputError: an unreadable file. SpaceError: an unusable
            space.
    """
    defaults = SearchConfig().model_dump(mode="json")
    given = read(file) if file else {}
    _refuse_unknown(flatten(given), defaults, str(file))
    keys = _keys_of(overrides)
    _refuse_unknown(keys, defaults, "the command line")
    first = _compose(merge(defaults, given), overrides)
    space = load_space(_named_space(first))
    _refuse_overruled(keys, flatten(defaults), flatten(first), space)
    settings = _nest({f"trainer.{key}": value for key, value in space.settings.items()})
    composed = _compose(merge(merge(defaults, settings), given), overrides)
    composed["space"] = _named_space(composed)
    composed["trainer"]["data"]["source"] = _absolute(composed["trainer"]["data"]["source"])
    composed["trainer"]["train"]["monitor"] = composed["objective"]
    return _validated(composed), space


def changed(config: SearchConfig, overrides: Sequence[str]) -> SearchConfig:
    """A configuration with overrides applied. UsageError as in `load`."""
    base = config.model_dump(mode="json")
    _refuse_unknown(_keys_of(overrides), base, "the command line")
    return _validated(_compose(base, overrides))


def as_overrides(settings: Mapping[str, Any]) -> list[str]:
    """Nested settings as overrides, one `key=value` each, as `trainer` takes them: without a space, unless a text
    has one, so that a shell may split them."""
    return [f"{name}={_as_value(value)}" for name, value in flatten(settings).items()]


def _as_value(value: Any) -> str:
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_as_value(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_as_value, value)) + "]"
    return json.dumps(value)


def _validated(values: Mapping[str, Any]) -> SearchConfig:
    try:
        return SearchConfig.model_validate(values)
    except ValidationError as error:
        place, said = first_problem(error)
        variable = {"trials": " (HPO_TRIALS)", "study": " (HPO_STUDY)", "worker.num_workers": " (HPO_WORKERS)"}
        raise UsageError(f"{said}{variable.get(place, '')}.") from None


def _compose(base: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    ConfigStore.instance().store(name="search", node=dict(base))
    GlobalHydra.instance().clear()
    try:
        with initialize(config_path=None, version_base="1.3"):
            config = compose("search", overrides=[_opened(override) for override in overrides])
            resolved = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise UsageError(f"The overrides {list(overrides)} do not compose: {_first_line(error)}.") from None
    assert isinstance(resolved, dict)
    return {str(key): value for key, value in resolved.items()}


def _opened(override: str) -> str:
    bare = override.lstrip("+")
    return f"++{bare}" if bare.startswith(tuple(f"{name}." for name in OPEN_KEYS)) else verbatim(override, TEXTS)


def _keys_of(overrides: Sequence[str]) -> list[str]:
    parser = OverridesParser.create()
    keys = []
    for text in overrides:
        try:
            override = parser.parse_override(verbatim(text, TEXTS))
        except HydraException as error:
            raise UsageError(
                f"'{text}' is not an override ({_first_line(error)}); write key=value, and quote values with "
                "spaces or punctuation as key='\"value\"'."
            ) from None
        if override.is_delete() or override.is_sweep_override():
            raise UsageError(f"'{text}': deleting keys and sweeps are not supported here; write key=value.")
        keys.append(override.key_or_group)
    return keys


def _refuse_unknown(keys: Iterable[str], known: Mapping[str, Any], where: str) -> None:
    flat = set(flatten(known)) | set(sections(known))
    for key in keys:
        if key in flat or key.startswith(tuple(f"{name}." for name in OPEN_KEYS)):
            continue
        last = {name.rsplit(".", 1)[-1]: name for name in sorted(flat)}
        hint = nearest(key, flat) or (f" Did you mean '{last[key]}'?" if key in last else "")
        raise UsageError(f"Unknown setting '{key}' on {where}: `hpo config` prints all there are.{hint}")


def _refuse_overruled(
    keys: Sequence[str], defaults: Mapping[str, Any], values: Mapping[str, Any], space: Space
) -> None:
    """Refuse settings that the search sets itself. In a file they may stand with their default, as in a printed one.

    keys: what the command line names. values: the flat settings with file and command line applied to the defaults.
    """
    changed = [key for key, value in values.items() if key in defaults and defaults[key] != value]
    searched = {f"trainer.{dimension.name}" for dimension in space.dimensions}
    for key in (*keys, *changed):
        if key in searched:
            raise UsageError(
                f"'{key}' is searched by the space '{space.name}', whose values would overrule it; change its range "
                "in a space file of your own (--space FILE), or take it out there to fix it."
            )
        if key in FOLLOWS and (key in keys or values[key] != values[FOLLOWS[key]]):
            raise UsageError(f"'{key}' follows '{FOLLOWS[key]}' in a search; write {FOLLOWS[key]}=... instead.")


def _named_space(config: Mapping[str, Any]) -> str:
    name = str(config["space"])
    return _absolute(name) if Path(name).suffix in {".yaml", ".yml"} else name


def _absolute(source: str) -> str:
    return source if source.startswith("planted:") else str(Path(source).expanduser().absolute())


def _nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        *path, last = name.split(".")
        place = nested
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    return nested


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")
