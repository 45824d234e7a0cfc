"""Turns what the user typed into a frozen `SearchConfig`: with `overrides` the only importer of hydra in this package.

Order, later wins: the defaults of the configuration classes, the space's own settings, a `--config` file, choices from
groups, single settings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from hpo.cli.overrides import grouped, parsed, swept
from hpo.domain.campaign import DEFAULT_TRAINABLE
from hpo.domain.config import SearchConfig
from hpo.domain.errors import UsageError, nearest
from hpo.domain.metric import check_objective
from hpo.domain.settings import first_problem, flatten, merge, nest, quoted, read, sections, verbatim
from hpo.domain.trainable import Trainable
from hpo.engine.binding import complete
from hpo.trainable.loading import load_trainable
from search_spaces import Space, load_space

OPEN_KEYS = ("sampler.options", "pruner.options", "worker.ray")
"""Mappings whose keys are Optuna's or Ray's, not ours: any key may be added below them."""

TEXTS = ("study", "space", "trainable", "worker.sbatch")
"""Settings that are taken letter by letter, beside the trainable's source."""


def load(overrides: Sequence[str], file: Path | None = None, data: str | None = None) -> tuple[SearchConfig, Space]:
    """The configuration and its space.

    Args:
        overrides: Hydra overrides such as `trials=40`, `trainer.model.kind=mlp` or `trainer/model=mlp`.
        file: YAML with any part of the configuration, applied below the overrides.
        data: the trainable's source, instead of an override.

    Raises:
        UsageError: an unknown key, a value of the wrong kind, an unreadable file, a metric that the trainable does not
            have. SpaceError: an unusable space.
    """
    overrides = [text.lstrip("+") for text in overrides]
    given = read(file) if file else {}
    trainable = load_trainable(_last(overrides, "trainable") or str(given.get("trainable", DEFAULT_TRAINABLE)))
    texts = _texts(trainable)
    overrides, picked = grouped([*overrides, *_source_override(trainable, overrides, data)], trainable, texts)
    in_file, given = given, merge(given, picked)
    keys = _keys_of(overrides, texts)
    named = _last(overrides, "space") or given.get("space", SearchConfig().space)
    space = load_space(_named_space({"space": named}))
    settings = nest({f"trainer.{key}": value for key, value in space.settings.items()})
    defaults = _defaults(trainable, _bringing(trainable, flatten(merge(settings, given)), overrides))
    _refuse_unknown(flatten(in_file), defaults, str(file))
    _refuse_unknown(flatten(picked), defaults, "a chosen group")
    _refuse_unknown(keys, defaults, "the command line")
    first = _compose(merge(defaults, given), overrides, texts)
    _refuse_overruled(trainable, keys, flatten(_defaults(trainable, {})), flatten(first), space)
    composed = _compose(merge(merge(defaults, settings), given), overrides, texts)
    composed["space"] = _named_space(composed)
    composed["trainer"] = _settled(trainable, composed)
    config = _validated(composed)
    if config.epochs is None:
        return config, space
    if _last(overrides, "trials") is not None or "trials" in given:
        raise UsageError("trials and epochs are two budgets; give one of them (HPO_TRIALS or HPO_EPOCHS).")
    from hpo.usecases.budget import planned

    return planned(config), space


def _defaults(trainable: Trainable[Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Every setting there is with its default. given: those of the trainable's that bring others."""
    settings = _parsed(trainable, given)
    return {
        **SearchConfig().model_dump(mode="json"),
        "trainable": trainable.name,
        "objective": trainable.metrics(settings)[0].name,
        "trainer": trainable.plain(settings),
    }


def _settled(trainable: Trainable[Any], composed: Mapping[str, Any]) -> dict[str, Any]:
    """The trainable's settings with its source where every process finds it, and the objective as it knows it."""
    flat, objective = flatten(composed["trainer"]), composed["objective"]
    for name in trainable.path_settings:
        if flat.get(name) is not None:
            flat[name] = trainable.resolve_source(str(flat[name]))
    flat |= {name: objective for name, source in trainable.follows.items() if source == "objective"}
    settings = _parsed(trainable, flat)
    check_objective(objective, trainable.name, trainable.metrics(settings))
    return trainable.plain(settings)


def _parsed(trainable: Trainable[Any], flat: Mapping[str, Any]) -> Any:
    try:
        return trainable.parse(nest(flat))
    except ValidationError as error:
        raise UsageError(f"{first_problem(error, 'trainer.')[1]}.") from None


def _bringing(
    trainable: Trainable[Any], given: Mapping[str, Any], overrides: Sequence[str], prefix: str = "trainer."
) -> dict[str, Any]:
    """The trainable's settings that bring others, as they are given. given: flat, below the overrides."""
    found = {name: _last(overrides, prefix + name) or given.get(prefix + name) for name in trainable.brings}
    return {name: value for name, value in found.items() if value is not None}


def _source_override(trainable: Trainable[Any], overrides: Sequence[str], data: str | None) -> list[str]:
    if data is None:
        return []
    if trainable.source is None:
        raise UsageError(f"--data: the trainable '{trainable.name}' does not say which of its settings names its data.")
    key = f"trainer.{trainable.source}"
    if _last(overrides, key) is not None:
        raise UsageError(f"--data and {key}=... are the same setting; give one of them.")
    return [f"{key}={quoted(data)}"]


def _last(overrides: Sequence[str], key: str) -> str | None:
    """The value that a setting is given last."""
    given = [text.partition("=")[2] for text in overrides if text.partition("=")[0] == key]
    return given[-1].strip("'\"") if given else None


def multirun(overrides: Sequence[str]) -> dict[str, list[str]]:
    """Each run of a multirun by the name of its campaign: `night-seed-0` for `study=night seed=0,1,2`. UsageError where
    nothing varies, or two would be called alike."""
    trainable = load_trainable(_last(overrides, "trainable") or DEFAULT_TRAINABLE)
    found: dict[str, list[str]] = {}
    for run in swept(overrides, _texts(trainable)):
        given = {key: value.strip("'\"") for key, value, _ in run}
        tail = [f"{re.split('[./]', key)[-1]}-{given[key]}" for key, _, varies in run if varies and key != "study"]
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join([given.get("study", SearchConfig().study), *tail]))
        if name in found:
            raise UsageError(f"--multirun: two campaigns would be called '{name}'; name each value once.")
        found[name] = [*(f"{key}={value}" for key, value, _ in run if key != "study"), f"study={name}"]
    return found


def _texts(trainable: Trainable[Any]) -> tuple[str, ...]:
    return (*TEXTS, *(f"trainer.{name}" for name in trainable.path_settings))


def trainable_settings(name: str, overrides: Sequence[str]) -> tuple[Trainable[Any], dict[str, Any]]:
    """A trainable and its complete settings. overrides: of its settings, without `trainer.`. UsageError as `load`."""
    trainable = load_trainable(name)
    defaults = trainable.plain(_parsed(trainable, _bringing(trainable, {}, overrides, prefix="")))
    _refuse_unknown(_keys_of(overrides, trainable.path_settings), defaults, "the command line")
    return trainable, complete(trainable, _compose(defaults, overrides, trainable.path_settings))


def changed(config: SearchConfig, overrides: Sequence[str]) -> SearchConfig:
    """A configuration with overrides applied. UsageError as in `load`."""
    base, texts = config.model_dump(mode="json"), _texts(load_trainable(config.trainable))
    _refuse_unknown(_keys_of(overrides, texts), base, "the command line")
    return _validated(_compose(base, overrides, texts))


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


def _compose(base: Mapping[str, Any], overrides: Sequence[str], texts: Sequence[str]) -> dict[str, Any]:
    ConfigStore.instance().store(name="search", node=dict(base))
    GlobalHydra.instance().clear()
    try:
        with initialize(config_path=None, version_base="1.3"):
            config = compose("search", overrides=[_opened(override, texts) for override in overrides])
            resolved = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise UsageError(f"The overrides {list(overrides)} do not compose: {_first_line(error)}.") from None
    assert isinstance(resolved, dict)
    return {str(key): value for key, value in resolved.items()}


def _opened(override: str, texts: Sequence[str]) -> str:
    bare = override.lstrip("+")
    return f"++{bare}" if bare.startswith(tuple(f"{name}." for name in OPEN_KEYS)) else verbatim(override, texts)


def _keys_of(overrides: Sequence[str], texts: Sequence[str]) -> list[str]:
    keys = []
    for text in overrides:
        override = parsed(text, texts)
        if override.is_sweep_override():
            raise UsageError(f"'{text}' lists several values: `hpo run --multirun` runs a campaign with each of them.")
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
    trainable: Trainable[Any],
    keys: Sequence[str],
    defaults: Mapping[str, Any],
    values: Mapping[str, Any],
    space: Space,
) -> None:
    """Refuse settings that the search sets itself. In a file they may stand with their default, as in a printed one.

    keys: what the command line names. values: the flat settings with file and command line applied to the defaults.
    """
    changed = [key for key, value in values.items() if key in defaults and defaults[key] != value]
    searched = {f"trainer.{dimension.name}" for dimension in space.dimensions}
    follows = {f"trainer.{name}": source for name, source in trainable.follows.items()}
    for key in (*keys, *changed):
        if key in searched:
            raise UsageError(
                f"'{key}' is searched by the space '{space.name}', whose values would overrule it; change its range "
                "in a space file of your own (--space FILE), or take it out there to fix it."
            )
        if key in follows and (key in keys or values[key] != values[follows[key]]):
            raise UsageError(f"'{key}' follows '{follows[key]}' in a search; write {follows[key]}=... instead.")


def _named_space(config: Mapping[str, Any]) -> str:
    name = str(config["space"])
    return str(Path(name).expanduser().absolute()) if Path(name).suffix in {".yaml", ".yml"} else name


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")
