"""Scoring finished trials on the holdout: after the search, in a process that no trial runs in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from hpo.domain.champion import Champion
from hpo.domain.trainable import Scored, Trainable
from hpo.report.evidence import HoldoutEvidence
from hpo.runs.archive import Archive


def measure(
    trainable: Trainable[Any],
    archive: Archive,
    slots: Iterable[int],
    holdout: Path,
    champion: Champion | None = None,
    deployed: Path | None = None,
    on_trial: Callable[[int, int], None] = lambda number, total: None,
) -> HoldoutEvidence | None:
    """The series of each slot's model on the holdout, and what is deployed in detail.

    deployed: the file that scores for the champion; None: the slots alone. on_trial: called before each slot is scored,
    with its number from 1 and how many there are.

    Slots without a checkpoint here (not kept, or trained on another machine) are left out; None where nothing could be
    scored. Opening the holdout is the caller's to count. Raises EnvironmentFault for a file that is not the recorded
    one.
    """
    found: dict[int, Scored] = {}
    kept = [slot for slot in slots if archive.is_kept(slot)]
    for number, slot in enumerate(kept, start=1):
        on_trial(number, len(kept))
        scored = trainable.score(archive.model(slot), holdout)
        if scored is not None:
            found[slot] = scored
    if not found:
        return None
    shown = None if deployed is None else trainable.score(deployed, holdout, details=True)
    is_committee = champion is not None and champion.is_committee
    return HoldoutEvidence(
        dates=next(iter(found.values())).units,
        daily={slot: scored.series for slot, scored in found.items()},
        details=shown.details if shown else None,
        ceiling=shown.ceiling if shown else None,
        committee=shown.series if shown and is_committee else None,
        source="model.pt of each run on the prepared holdout",
    )
