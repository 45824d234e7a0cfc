"""Whether a campaign's best score is too good to be believed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hpo.domain.campaign import Outcome, SlotView
from hpo.domain.trainable import Trainable


def best_doubt(
    trainable: Trainable[Any], settings: Any, objective: str, slots: Sequence[SlotView], others: Sequence[float] = ()
) -> str:
    """Why the best score is not to be believed, a sentence, empty where it may be. others: scores on the holdout."""
    scores = [slot.score for slot in slots if slot.outcome is Outcome.COMPLETE and slot.score is not None]
    return trainable.doubt(settings, objective, max((*scores, *others))) if scores or others else ""
