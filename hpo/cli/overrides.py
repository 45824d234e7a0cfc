"""Overrides as Hydra's users type them: `+key`, choices from groups (`trainer/model=gru`), sweeps (`seed=0,1,2`).

The user's own groups are YAML files below the working directory, `conf/GROUP/NAME.yaml`, with settings of all of the
configuration or, where the group is called like a section (`conf/sampler/wide.yaml`), of that section. The groups of
the trainable's settings are its own and are called `trainer/GROUP`.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, RangeSweep
from hydra.errors import HydraException

from hpo.domain.config import SearchConfig
from hpo.domain.errors import UsageError, nearest
from hpo.domain.settings import merge, read, sections, verbatim
from hpo.domain.trainable import Trainable

OWN = Path("conf")
"""Folder of the user's own groups, below the working directory."""
BELOW = "trainer/"
"""Beginning of the groups of the trainable's settings."""


def parsed(text: str, texts: Collection[str]) -> Override:
    """One override; `+key` and `++key` say the same as `key`. texts: settings that are taken letter by letter.

    Raises UsageError for what is none, or takes a setting out.
    """
    if text.startswith("~"):
        raise UsageError(
            f"'{text}': no setting can be taken out, every one has its default; write key=value instead of deleting."
        )
    try:
        return OverridesParser.create().parse_override(verbatim(text.lstrip("+"), texts))
    except HydraException as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise UsageError(
            f"'{text}' is not an override ({reason}); write key=value, and quote values with "
            "spaces or punctuation as key='\"value\"'."
        ) from None


def grouped(
    overrides: Sequence[str], trainable: Trainable[Any], texts: Collection[str]
) -> tuple[list[str], dict[str, Any]]:
    """The overrides of single settings, and the nested settings of the choices that the others name. UsageError for a
    choice there is not."""
    plain: list[str] = []
    settings: dict[str, Any] = {}
    for text in overrides:
        override = parsed(text, texts)
        group, value = override.key_or_group, override.value()
        choices = _choices(group, trainable)
        if not choices or override.is_sweep_override() or isinstance(value, Mapping):
            plain.append(text.lstrip("+"))
            continue
        for name in map(str, value if isinstance(value, list) else [value]):
            if name not in choices:
                raise UsageError(
                    f"{group}={name}: choose one of {', '.join(choices)}, or write {OWN / group / name}.yaml."
                    f"{nearest(name, choices)}"
                )
            settings = merge(settings, _settings_of(group, choices[name]))
    return plain, settings


def _choices(group: str, trainable: Trainable[Any]) -> Mapping[str, Path | Mapping[str, Any]]:
    if group.startswith(BELOW):
        return trainable.choices(group.removeprefix(BELOW))
    return {file.stem: file for file in sorted(OWN.glob(f"{group}/*.yaml"))} if group.isidentifier() else {}


def _settings_of(group: str, choice: Path | Mapping[str, Any]) -> dict[str, Any]:
    if group.startswith(BELOW):
        return {"trainer": choice}
    found = read(choice) if isinstance(choice, Path) else dict(choice)
    return {group: found} if group in sections(SearchConfig().model_dump()) else found


def swept(overrides: Sequence[str], texts: Collection[str]) -> list[list[tuple[str, str, bool]]]:
    """The runs of a multirun: every combination of the values that are listed (`seed=0,1,2`, `seed=range(0,3)`), the
    last setting varying fastest. Each is a list of key, value and whether it varies. UsageError where nothing does."""
    parts = [_values(text, texts) for text in overrides]
    if all(len(values) == 1 for values in parts):
        raise UsageError("--multirun has nothing to vary; list the values of a setting, as in seed=0,1,2.")
    varies = [len(values) > 1 for values in parts]
    return [
        [(*word.partition("=")[::2], many) for word, many in zip(run, varies, strict=True)]
        for run in itertools.product(*parts)
    ]


def _values(text: str, texts: Collection[str]) -> list[str]:
    key, _, value = text.lstrip("+").partition("=")
    if key in texts and value[:1] not in ("'", '"'):
        return [f"{key}={part}" for part in value.split(",")]
    override = parsed(text, texts)
    if not override.is_sweep_override():
        return [text.lstrip("+")]
    if isinstance(override.value(), ChoiceSweep | RangeSweep):
        return [f"{key}={part}" for part in override.sweep_string_iterator()]
    raise UsageError(f"'{text}' names no single values; write them one by one, as in {key}=1,2,3.")
