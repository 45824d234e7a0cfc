"""From what was typed to a configuration: Hydra's grammar of overrides, sweeps and groups, seen in this module alone.

Order, later wins: the defaults of the classes, a `--config` file, presets, groups of one section, single settings.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.config import TrainerConfig, is_read
from trainer.errors import InputError
from trainer.settings import first_problem, flatten, merge, read, sections, verbatim
from trainer.tools.groups import SECTIONS, chosen, groups, named

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

TEXTS = ("data.source",)
"""Settings that are taken letter by letter."""


def compose_config(overrides: Sequence[str], file: Path | None = None) -> TrainerConfig:
    """The defaults, changed by a YAML or JSON file, groups (`model=gru`) and Hydra overrides such as `optim.lr=1e-3`.

    `+key` and `++key` say the same as `key`.
    Raises InputError: an unknown key or choice (with the nearest right one), a value out of range, a setting that the
    chosen model does not read, an unreadable file.
    """
    given = read(file) if file else {}
    plain, picked = _grouped(overrides)
    first = _validated(_kind(plain, merge(given, picked)))
    base = first.model_dump(mode="json")  # a model of one's own brings settings
    known = {*flatten(base), *sections(base)}
    _refuse_unknown(flatten(given), known, str(file))
    _refuse_unknown(flatten(picked), known, "a chosen group")
    picked = _read_by(first.model.kind, picked)
    config = _validated(_compose(merge(merge(base, given), picked), plain, known))
    _refuse_unread(config, flatten(TrainerConfig().model_dump(mode="json")))
    return config


def sweep(overrides: Sequence[str]) -> dict[str, list[str]]:
    """The runs of a multirun, by what varies: every combination of the values that are listed (`optim.lr=1e-3,3e-3`,
    `train.seed=range(0,3)`), the last setting varying fastest. Raises InputError where nothing is listed."""
    parts = [_values(override) for override in overrides]
    if all(len(values) == 1 for values in parts):
        raise InputError("--multirun has nothing to vary; list the values of a setting, as in optim.lr=1e-3,3e-3.")
    runs = itertools.product(*parts)
    return {" ".join(word for word, part in zip(run, parts, strict=True) if len(part) > 1): [*run] for run in runs}


def _values(text: str) -> list[str]:
    from hydra.core.override_parser.types import ChoiceSweep, RangeSweep

    key, _, value = text.lstrip("+").partition("=")
    if key in TEXTS and value[:1] not in ("'", '"'):
        return [f"{key}={part}" for part in value.split(",")]
    override = _parsed(text)
    if not override.is_sweep_override():
        return [text]
    if isinstance(override.value(), ChoiceSweep | RangeSweep):
        return [f"{key}={value}" for value in override.sweep_string_iterator()]
    raise InputError(f"'{text}' names no single values; write them one by one, as in {key}=1,2,3.")


def _grouped(overrides: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """The overrides of single settings, and the nested settings of the groups that the others choose from: groups that
    are called like a section over the others, whatever their order."""
    plain: list[str] = []
    choices: dict[str, list[str]] = {}
    for text in overrides:
        override = _parsed(text)
        group, value = override.key_or_group, override.value()
        if override.is_sweep_override() or isinstance(value, Mapping) or not named(group):
            plain.append(text.lstrip("+"))
        else:
            choices.setdefault(group, []).extend(map(str, value if isinstance(value, list) else [value]))
    settings: dict[str, Any] = {}
    for group in sorted(choices, key=lambda group: group in SECTIONS):
        settings = merge(settings, chosen(group, choices[group]))
    return plain, settings


def _parsed(text: str) -> Override:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    if text.startswith("~"):
        raise InputError(f"'{text}': no setting can be taken out, every one has its default; write key=value instead.")
    try:
        return OverridesParser.create().parse_override(verbatim(text.lstrip("+"), TEXTS))
    except HydraException as error:
        raise _does_not_compose(error) from None


def _compose(base: Mapping[str, Any], overrides: Sequence[str], known: set[str]) -> dict[str, Any]:
    from hydra import compose, initialize
    from hydra.core.config_store import ConfigStore
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    parsed = [_parsed(text) for text in overrides]
    _refuse_unknown([override.key_or_group for override in parsed], known, "the command line")
    swept = next((override for override in parsed if override.is_sweep_override()), None)
    if swept is not None:
        raise InputError(f"'{swept.input_line}' lists several values: add --multirun (-m) to train with each of them.")
    try:
        ConfigStore.instance().store(name="trainer", node=dict(base))
        GlobalHydra.instance().clear()
        with initialize(config_path=None, version_base="1.3"):
            config = compose("trainer", overrides=[verbatim(override, TEXTS) for override in overrides])
            composed = OmegaConf.to_container(config, resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise _does_not_compose(error) from None
    return {str(key): value for key, value in dict(composed).items()}  # type: ignore[arg-type]  # a mapping, as `base`


def _does_not_compose(error: Exception) -> InputError:
    reason = str(error).strip().splitlines()[0].rstrip(".")
    return InputError(f"the overrides do not compose: {reason}; write key=value, and quote punctuation.")


def _kind(overrides: Sequence[str], given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, defaults apart, that say which others there are: the kind of model that is given last."""
    words = [text.partition("=")[2].strip("'\"") for text in overrides if text.startswith("model.kind=")]
    inner = given.get("model")
    words = words or [inner["kind"]] if isinstance(inner, Mapping) and "kind" in inner else words
    return {"model": {"kind": words[-1]}} if words else {}


def _read_by(kind: str, picked: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the groups that this kind of model reads: `preset=production model=gru` takes from the preset
    what suits a GRU."""
    return {
        section: {key: value for key, value in inner.items() if key == "window" or is_read(kind, f"{section}.{key}")}
        for section, inner in picked.items()
    }


def _validated(values: Mapping[str, Any]) -> TrainerConfig:
    from pydantic import ValidationError

    try:
        return TrainerConfig.model_validate(values)
    except ValidationError as error:
        raise InputError(f"{first_problem(error)[1]}.") from None


def _refuse_unknown(keys: Iterable[str], known: Iterable[str], where: str) -> None:
    for key in keys:
        if key not in known:
            raise InputError(f"unknown setting {key!r} on {where}; {suggest(key, [*known, *groups()])}")


def _refuse_unread(config: TrainerConfig, defaults: Mapping[str, Any]) -> None:
    """Refuse a setting that the chosen model does not read; at its default it may stand, as in a printed file."""
    kind = config.model.kind
    for name, value in flatten(config.model_dump(mode="json")).items():
        # Every kind takes the window: the gaps between train, validation and holdout follow it.
        if value != defaults.get(name) and name != "model.window" and not is_read(kind, name):
            raise InputError(
                f"{name}={value} changes nothing with model.kind={kind}; take it out, or choose another model.kind."
            )


def suggest(word: str, choices: Iterable[str]) -> str:
    """A hint to end a refusal with."""
    by_last_part = {choice.rsplit(".", 1)[-1]: choice for choice in choices}
    close = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.7)
    match = by_last_part.get(word) or (close[0] if close else None)
    return f"did you mean {match!r}?" if match else "`trainer config` prints all there are."
