"""Trains what finished campaigns chose again with all data: judged on the holdout first, then deployed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo.domain.errors import EnvironmentFault, StoreUnavailable, UsageError
from hpo.domain.metric import Metric
from hpo.domain.trainable import Scored
from hpo.report import formatting
from hpo.report.statistics.intervals import Interval, mean_interval, paired_interval
from hpo.runs.durable import sha256_of, write_sealed
from hpo.usecases import conclusion
from hpo.usecases.deployed import member_files
from hpo.usecases.records import Records, Stores
from hpo.usecases.refit.members import Part, Refits, Say, label, open_parts
from hpo.usecases.refit.record import RECORD, members_of, put_final

LEAST_AGREEMENT = 0.5
"""Mean daily rank correlation on the holdout days, between the models that were judged there and those that have learnt
from it too, below which the latter are not deployed: what was measured would say nothing of them."""


@dataclass(frozen=True)
class Judged:
    """What the holdout says of the refitted models. gain: their mean less the unrefitted ones', paired. agreement: of
    the deployed with the judged ones' ranks."""

    metric: Metric
    refitted: Interval | None
    gain: Interval | None
    agreement: float

    @property
    def accepted(self) -> bool:
        """Whether the refitted models are deployed."""
        is_worse = self.gain is not None and self.gain.below_zero
        return not is_worse and self.agreement >= LEAST_AGREEMENT


def finalize(stores: Stores, names: Sequence[str], num_seeds: int, say: Say) -> None:
    """Train the members of the campaigns' committees again, judge them, and deploy them where they pass.

    Once on all that was known before the holdout, judged on it beside the unrefitted ones; and once on everything, its
    ranks compared with the judged ones'. Broken off and called again, it goes on, and ends with the same models.

    Raises:
        UsageError: as `open_parts`; the campaigns' holdouts differ. EnvironmentFault: a member's files are not here.
    """
    parts = open_parts(stores, names)
    with stores.ledger.exclusive(f"final {label(parts)}"):
        refits = Refits(stores, parts, num_seeds, say)
        for part in parts:
            stores.ledger.count_holdout_opening(part.campaign.id)
        before = unrefitted(stores, refits.folder, parts)
        say(f"Training {refits.num_members} models on all days before the holdout:")
        judged = refits.committee(0)
        say(f"Training {refits.num_members} models on all labelled days:")
        deployed = refits.committee(len(before.units))
        found = _judge(parts[0], before, judged, deployed)
        is_registered = found.accepted and len(parts) == 1
        record = partial(_record, parts, refits, deployed, found)
        record(handed_over=not is_registered)
    _upload(stores, parts, say)
    for line in _lines(found, refits.num_members):
        say(line)
    if found.accepted:
        say(f"`hpo predict study={label(parts)}` scores with the models that were refitted on all labelled days.")
    if is_registered and _register(stores, parts[0], say):
        record(handed_over=True)
        _upload(stores, parts, say)


def unrefitted(records: Records, folder: Path, parts: Sequence[Part]) -> Scored:
    """The campaigns' own models on the holdout, each campaign counting the same. UsageError where the holdouts are not
    the same days."""
    scored = [(part, _scored(part, part.unrefitted)) for part in parts]
    first = scored[0][1]
    for part, other in scored[1:]:
        if not np.array_equal(first.units, other.units):
            raise UsageError(
                f"The campaigns '{parts[0].campaign.name}' and '{part.campaign.name}' have other holdout days; "
                "finalize campaigns together that were run on the same data, split, horizons and look-back "
                "(trainer.data.split.*, trainer.data.horizons, trainer.model.window)."
            )
    if len(parts) == 1:
        return first
    folder.mkdir(parents=True, exist_ok=True)
    together = folder / "unrefitted.json"
    files: dict[str, Path] = {}
    weights: dict[str, float] = {}
    for part in parts:
        files |= member_files(records, part.campaign, part.champion)
        weights |= {name: weight / len(parts) for name, weight in part.champion.weights.items()}
    parts[0].trainable.join(files, weights, together)
    return _scored(parts[0], together)


def _scored(part: Part, file: Path) -> Scored:
    scored = part.trainable.score(file, part.holdout)
    if scored is None:
        raise UsageError(f"The trainable '{part.trainable.name}' has no scores on the holdout to judge by.")
    return scored


def _judge(part: Part, before: Scored, judged: Path, deployed: Path) -> Judged:
    metric = part.campaign.spec.objective
    ours: NDArray[Any] = _scored(part, judged).series[metric.name]
    return Judged(
        metric,
        mean_interval(ours, metric.overlap),
        paired_interval(ours, before.series[metric.name], metric.overlap),
        part.trainable.agreement(judged, deployed, part.holdout),
    )


def _record(parts: Sequence[Part], refits: Refits, deployed: Path, found: Judged, *, handed_over: bool) -> None:
    folder = refits.folder
    files = {file.relative_to(folder).as_posix(): sha256_of(file) for file in refits.made_of[deployed]}
    write_sealed(
        folder / RECORD,
        {
            "of": members_of([part.campaign for part in parts]),
            "accepted": found.accepted,
            "handed_over": handed_over,
            "deployed": deployed.relative_to(folder).as_posix(),
            "digest": sha256_of(deployed),
            "files": files,
            "figures": {
                "metric": found.metric.name,
                "refitted": _plain(found.refitted),
                "gain": _plain(found.gain),
                "agreement": found.agreement,
            },
        },
    )


def _upload(records: Records, parts: Sequence[Part], say: Say) -> None:
    try:
        put_final(records, [part.campaign for part in parts])
    except StoreUnavailable as error:
        say(f"The refitted models lie on this machine alone ({error}); the same command uploads them later.")


def _plain(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.estimate, interval.low, interval.high]


def _lines(found: Judged, num_members: int) -> list[str]:
    lines = [
        f"Refitted on all days before the holdout, {num_members} models: holdout {found.metric.shown} "
        f"{formatting.with_interval(found.refitted)}; less the unrefitted: {formatting.with_interval(found.gain)}.",
        f"Refitted on all labelled days: on the holdout days their ranks agree with those by {found.agreement:.2f} "
        "(mean daily rank correlation).",
    ]
    if found.accepted:
        return lines
    reason = (
        "they are worse than the unrefitted"
        if found.agreement >= LEAST_AGREEMENT
        else (f"the agreement is below {LEAST_AGREEMENT}, so that what was measured says nothing of them")
    )
    return [*lines, f"The refitted models are not deployed: {reason}."]


def _register(stores: Stores, part: Part, say: Say) -> bool:
    """Register them as the campaign's newest version; False where MLflow is away."""
    try:
        conclusion.publish(stores, stores.tracker, stores.find(part.campaign.name), say)
    except EnvironmentFault as error:
        name = part.campaign.name
        say(f"They are not registered in MLflow yet ({error}); `hpo sync study={name}` does it.")
        return False
    return True
