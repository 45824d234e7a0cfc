"""Choices by name, `model=gru` and `preset=production`: settings that are laid over the defaults together.

Those that come along are made from the classes (a kind of model, an optimizer) or lie in `presets/`. The user's own are
YAML files below the working directory, `conf/trainer/GROUP/NAME.yaml`. A group that is called like a section
holds settings of that section, any other one settings of all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

from trainer.config import MODEL_KNOBS, OptimConfig
from trainer.errors import InputError
from trainer.settings import merge, read
from trainer.suggestions import nearest

PRESETS = Path(__file__).parents[1] / "presets"
OWN = Path("conf", "trainer")
"""Folder of the user's own groups, below the working directory."""
SECTIONS = ("data", "model", "loss", "optim", "train")


def named(group: str) -> dict[str, Path | Mapping[str, Any]]:
    """The choices of a group: each a file or its settings; empty where there is no such group."""
    built_in: dict[str, dict[str, Path | Mapping[str, Any]]] = {
        "model": {kind: {"kind": kind} for kind in MODEL_KNOBS},
        "optim": {name: {"name": name} for name in get_args(OptimConfig.model_fields["name"].annotation)},
        "preset": {file.stem: file for file in sorted(PRESETS.glob("*.yaml"))},
    }
    own = OWN.glob(f"{group}/*.yaml") if group.isidentifier() else ()
    return {**built_in.get(group, {}), **{file.stem: file for file in sorted(own)}}


def groups() -> list[str]:
    """Names of the groups there are."""
    own = (file.parent.name for file in OWN.glob("*/*.yaml"))
    return list(dict.fromkeys(["model", "optim", "preset", *sorted(own)]))


def chosen(group: str, names: Iterable[str]) -> dict[str, Any]:
    """The nested settings of these choices, later ones over earlier ones. Raises InputError for one there is not."""
    settings: dict[str, Any] = {}
    choices = named(group)
    for name in names:
        if name not in choices:
            raise InputError(
                f"{group}={name}: choose one of {', '.join(choices)}, or write {OWN / group / name}.yaml"
                f"{nearest(name, choices) or '.'}"
            )
        choice = choices[name]
        found = read(choice) if isinstance(choice, Path) else choice
        settings = merge(settings, {group: found} if group in SECTIONS else found)
    return settings
