"""Scoring finished trials on the holdout: after the search, in a process that no trial runs in."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hpo.domain.trainable import Scored, Trainable
from hpo.report.evidence import HoldoutEvidence
from hpo.runs.archive import Archive


def measure(
    trainable: Trainable[Any], archive: Archive, slots: Iterable[int], champion_slot: int | None, holdout: Path
) -> HoldoutEvidence | None:
    """The series of each slot's model on the holdout, and the champion's in detail.

    Slots without a checkpoint here (not kept, or trained on another machine) are left out; None where nothing could be
    scored. Opening the holdout is the caller's to count. Raises EnvironmentFault for a file that is not the recorded
    one.
    """
    found: dict[int, Scored] = {}
    for slot in slots:
        if not archive.is_kept(slot):
            continue
        scored = trainable.score(archive.model(slot), holdout, details=slot == champion_slot)
        if scored is not None:
            found[slot] = scored
    if not found:
        return None
    champion = found.get(champion_slot or 0)
    return HoldoutEvidence(
        dates=next(iter(found.values())).units,
        daily={slot: scored.series for slot, scored in found.items()},
        champion_scores=champion.details if champion else None,
        ceiling=champion.ceiling if champion else None,
        source="model.pt of each run on the prepared holdout",
    )
