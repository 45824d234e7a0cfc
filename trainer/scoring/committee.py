"""Several scorers that score as one: the weighted mean of their daily ranks, each member known by its name."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.config import TrainerConfig
from trainer.data.panel import Panel
from trainer.errors import CheckpointError
from trainer.scoring.ranks import rank_shares
from trainer.scoring.scorer import Scorer, load_scorer

FORMAT = 1
"""Of the manifest: `format`, `members`: name -> `weight`, `checkpoint` (a path relative to the manifest) and its
`sha256`."""
MANIFEST = "committee.json"
"""The manifest's name in a folder that holds a whole committee."""


@dataclass(frozen=True)
class Committee:
    """members: name -> scorer, one or more, of the same features and horizons. weights: name -> weight above zero."""

    members: Mapping[str, Scorer]
    weights: Mapping[str, float]

    @property
    def configs(self) -> tuple[TrainerConfig, ...]:
        """The settings that the members were trained with."""
        return tuple(scorer.config for scorer in self.members.values())

    @property
    def feature_names(self) -> tuple[str, ...]:
        return self._first.feature_names

    @property
    def horizons(self) -> tuple[int, ...]:
        return self._first.horizons

    @property
    def last_day(self) -> np.datetime64:
        """The last day that any member was given."""
        return max(scorer.last_day for scorer in self.members.values())

    @cached_property
    def _first(self) -> Scorer:
        return next(iter(self.members.values()))

    def score(self, panel: Panel, days: range) -> NDArray[np.float32]:
        """Scores float32 [len(days), S, H] between 0 and 1, NaN where a stock is masked; higher is better.

        days: positions on the panel's calendar. Raises InputError where the panel is not what a member learnt from.
        """
        return mean_ranks((scorer.score(panel, days), self.weights[name]) for name, scorer in self.members.items())


def mean_ranks(scored: Iterable[tuple[NDArray[np.float32], float]]) -> NDArray[np.float32]:
    """The weighted mean of daily ranks, as shares 0 to 1 of the day's stocks.

    scored: scores [D, S, H] and their weight. A stock that one member does not score is judged by the others; it is
    NaN where none does.
    """
    total: NDArray[np.float64] | float = 0.0
    weight: NDArray[np.float64] | float = 0.0
    for scores, own in scored:
        ranks = rank_shares(scores)
        known = np.isfinite(ranks)
        total = total + np.where(known, own * ranks, 0.0)
        weight = weight + own * known
    with np.errstate(invalid="ignore"):
        return np.asarray(total / weight, dtype=np.float32)


def write_manifest(path: Path, members: Mapping[str, Path], weights: Mapping[str, float]) -> None:
    """Write the file that `load_committee` reads, unless it is there already; it and the checkpoints may be moved
    together."""
    listed = {
        name: {
            "weight": weights[name],
            "checkpoint": os.path.relpath(file, path.parent),
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        }
        for name, file in members.items()
    }
    text = json.dumps({"format": FORMAT, "members": listed}, indent=1)
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def copy_committee(manifest: Path, folder: Path) -> None:
    """Put a committee with all its members' checkpoints into an empty folder, which may go anywhere."""
    listed = _listed(manifest)
    copies = {name: folder / f"member-{number:03d}.pt" for number, name in enumerate(listed, 1)}
    for name, copy in copies.items():
        shutil.copyfile(manifest.parent / listed[name]["checkpoint"], copy)
    write_manifest(folder / MANIFEST, copies, {name: float(each["weight"]) for name, each in listed.items()})


def load_committee(manifest: Path, device: str = "auto") -> Committee:
    """The committee of a manifest.

    Raises CheckpointError, naming the member, where its checkpoint is missing, damaged or something else, or where the
    members cannot score together; FileNotFoundError where there is no manifest.
    """
    members, weights = {}, {}
    for name, listed in _listed(manifest).items():
        path = manifest.parent / listed["checkpoint"]
        try:
            members[name] = load_scorer(path, device)
            if hashlib.sha256(path.read_bytes()).hexdigest() != listed["sha256"]:
                raise CheckpointError(f"{path} is another file than the one that was chosen.")
        except (CheckpointError, FileNotFoundError) as error:
            reason = error if isinstance(error, CheckpointError) else f"{error.filename} is missing."
            raise CheckpointError(f"The committee's member {name} cannot be loaded: {reason}") from error
        weights[name] = float(listed["weight"])
    _check_together(members)
    return Committee(members, weights)


def is_manifest(path: Path) -> bool:
    """Whether the file is a committee's manifest, by its name."""
    return path.suffix == ".json"


def open_scorer(path: Path, device: str = "auto") -> Scorer | Committee:
    """The scorer of a checkpoint, or of a committee: its manifest, or the folder that holds it. Raises as `load_scorer`
    and `load_committee`."""
    manifest = path / MANIFEST if path.is_dir() else path
    return load_committee(manifest, device) if is_manifest(manifest) else load_scorer(path, device)


def _listed(manifest: Path) -> Mapping[str, Mapping[str, str]]:
    try:
        content = json.loads(manifest.read_bytes())
        listed: Mapping[str, Mapping[str, str]] = content["members"]
        is_whole = (
            content["format"] == FORMAT
            and listed
            and all(
                math.isfinite(float(each["weight"]))
                and float(each["weight"]) > 0
                and each["checkpoint"]
                and each["sha256"]
                for each in listed.values()
            )
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{manifest} is not a committee's manifest: {error!r}.") from error
    if not is_whole:
        raise CheckpointError(f"{manifest} is not a committee's manifest of format {FORMAT} with members and weights.")
    return listed


def _check_together(members: Mapping[str, Scorer]) -> None:
    """Raise CheckpointError unless all members score the same panels."""
    (first, own), *others = members.items()
    for name, scorer in others:
        for what, ours, theirs in (
            ("features", own.feature_names, scorer.feature_names),
            ("horizons", own.horizons, scorer.horizons),
            ("data.min_price", own.config.data.min_price, scorer.config.data.min_price),
        ):
            if ours != theirs:
                raise CheckpointError(
                    f"The committee's members {first} and {name} differ in their {what}; choose members that were "
                    "trained on the same prepared data."
                )
