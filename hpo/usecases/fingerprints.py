"""What makes two campaigns the same search: digests of configuration and code, and their differences in words."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterator, Mapping
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import yaml

from hpo.domain.campaign import CampaignSpec
from hpo.domain.config import SearchConfig
from hpo.domain.settings import without
from hpo.domain.trainable import Trainable
from hpo.trainable.loading import load_trainable
from hpo.trainable.own import OwnTrainable

NOT_SCIENCE = {"study": True, "trials": True, "epochs": True, "space": True, "finalize": True, "worker": True}
"""Settings that may differ between two sittings of one campaign; the space has a fingerprint of its own."""

SCIENTIFIC_CODE = (
    "search_spaces",
    "hpo/engine",
    "hpo/adapters/optuna",  # what a sampler is shown
    "hpo/domain/campaign.py",  # how seeds are derived
)
NOT_SCIENTIFIC = ("hpo/engine/supervisor.py", "hpo/engine/worker.py")
"""Parts of it that show, start or watch what is computed elsewhere."""
OWN_CODE = ("hpo/trainable/own.py", "hpo/trainable/trial.py", "hpo/trainable/states.py")
"""What a user's own training runs in: what it is told, and the state that it goes on from."""
NOT_OWN = ("hpo", "abc", "builtins", "typing")
"""Packages whose classes a trainable is derived from, that are not the user's."""
CODE = "code"
"""Key of a campaign's configuration under which its code stands part by part, with the fingerprint of the whole."""
SCIENTIFIC_PACKAGES = ("optuna", "numpy")
"""Those of the trainable come with it."""


def config_fingerprint(config: SearchConfig) -> str:
    """Hex digest of every setting that can change a result."""
    values = config.model_dump(mode="json", exclude=NOT_SCIENCE)
    trainable = load_trainable(config.trainable)
    values["trainer"] = trainable.plain(trainable.parse(config.trainer))
    for name in trainable.path_settings:
        values["trainer"] = without(values["trainer"], name)  # the data's fingerprint is their content
    return _digest(json.dumps(values, sort_keys=True))


def code_fingerprint(trainable: Trainable[Any], settings: Any) -> str:
    """Hex digest of the code and the package versions that can change a result: the search's, the trainable's and what
    its settings name."""
    return _digest("\0".join(text for _, text in _code(trainable, settings)))


def code_parts(trainable: Trainable[Any], settings: Any) -> dict[str, str]:
    """The same part by part, to say what differs: package -> version, file -> the beginning of its digest."""
    found: dict[str, str] = {}
    for name, text in _code(trainable, settings):
        package, _, version = text.partition("==")
        # Files of one name from different folders are one part.
        found[name] = version if package == name else _digest(found.get(name, "") + text)[:8]
    return found


def _code(trainable: Trainable[Any], settings: Any) -> Iterator[tuple[str, str]]:
    """Name and content of everything that can change a result."""
    for name in dict.fromkeys((*SCIENTIFIC_PACKAGES, *trainable.packages)):
        yield name, f"{name}=={metadata.version(name)}"
    for place in (*SCIENTIFIC_CODE, *(OWN_CODE if isinstance(trainable, OwnTrainable) else ())):
        yield from _sources(place)
    for file in dict.fromkeys((*trainable.code(), *_own_files(trainable), *trainable.code_named_by(settings))):
        yield "/".join(file.parts[-2:]), file.read_text(encoding="utf-8")


def _own_files(trainable: Trainable[Any]) -> list[Path]:
    """Files of the user's classes that it is made of: one derived from the ranker has the ranker's `code`."""
    classes = [each for each in type(trainable).__mro__ if each.__module__.partition(".")[0] not in NOT_OWN]
    return [Path(file) for each in classes if (file := inspect.getsourcefile(each))]


def differences(stored: CampaignSpec, wanted: CampaignSpec) -> list[str]:
    """What differs, in words a person can act on."""
    found = []
    for name, before in stored.fingerprints.items():
        after = wanted.fingerprints[name]
        if before == after:
            continue
        detail = ""
        if name == "config":
            detail = ": " + ", ".join(_changes(stored.config["search"], wanted.config["search"]))
        elif name == "code":
            detail = _other_code(stored, wanted)
        elif name == "space":
            spaces = (yaml.safe_load(spec.config["space"]["yaml"]) for spec in (stored, wanted))
            detail = ": " + ", ".join(_changes(*spaces))
        found.append(f"{name} {before[:8]} is now {after[:8]}{detail}")
    return [*found, *_other_budget(stored, wanted)]


def _other_code(stored: CampaignSpec, wanted: CampaignSpec) -> str:
    """Which versions and files differ, where the campaign has kept them of the code it goes by."""
    before, after = stored.config.get(CODE, {}), wanted.config.get(CODE, {})
    if before.get("fingerprint") != stored.fingerprints["code"] or not after:
        return ""
    return ": " + ", ".join(_changes(before["parts"], after["parts"]))


def _other_budget(stored: CampaignSpec, wanted: CampaignSpec) -> list[str]:
    """One in epochs grows by trials as it goes."""
    before, after = (spec.config.get("search", {}).get("epochs") for spec in (stored, wanted))
    if before == after and (before is not None or stored.budget == wanted.budget):
        return []
    if before is not None and after is not None:
        larger = f"epochs={max(before, after)}"
    elif before is None and after is None:
        larger = f"trials={max(stored.budget, wanted.budget)}"
    else:
        larger = f"epochs={2 * before}" if before is not None else f"trials={2 * stored.budget}"
    kept, asked = (
        f"{spec.budget} trials" if epochs is None else f"{epochs} epochs"
        for spec, epochs in ((stored, before), (wanted, after))
    )
    return [f"its budget is {kept}, not {asked}: `hpo resume study={stored.name} {larger}` raises it"]


def _changes(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> list[str]:
    changes = []
    for key in sorted(set(before) | set(after)):
        if not prefix and key in NOT_SCIENCE:
            continue
        old, new = before.get(key), after.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            changes += _changes(old, new, f"{prefix}{key}.")
        elif old != new:
            changes.append(f"{prefix}{key} {old} -> {new}")
    return changes


def _sources(place: str) -> list[tuple[str, str]]:
    """Name and content of the Python files at a module's or a package's place, `hpo/engine`, in order."""
    if place in NOT_SCIENTIFIC:
        return []
    package, *parts = place.split("/")
    entry = resources.files(package).joinpath(*parts)
    if entry.is_dir():
        names = sorted(item.name for item in entry.iterdir())
        return [source for name in names for source in _sources(f"{place}/{name}")]
    return [(place, entry.read_text(encoding="utf-8"))] if place.endswith(".py") else []


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
