"""What a campaign ends with: the trial that its last tier decided for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hpo.domain.campaign import Campaign
from hpo.domain.errors import EnvironmentFault
from hpo.runs.folder import SlotFolder


def choose(campaign: Campaign, runs: Path) -> dict[str, Any]:
    """The champion of a campaign whose tiers are all decided, as plain JSON. It knows nothing of the holdout.

    Returns:
        slot, source (`<study>#<trial>`), values, score (validation, smoothed), objective, best_epoch, run_folder,
        reason; slot None where no trial is complete.

    Raises:
        EnvironmentFault: the champion's checkpoint is not in runs.
    """
    decision = campaign.decisions[len(campaign.spec.tiers)]
    slot = decision["slot"]
    chosen = {"slot": slot, "values": decision["values"], "reason": decision["reason"]}
    if slot is None:
        return chosen
    attempt = SlotFolder(runs, slot).current()
    if attempt is None or not attempt.best.exists():
        raise EnvironmentFault(
            f"The checkpoint of the champion (slot {slot}) is not in {runs}; run this where that trial ran, or copy "
            "its run folder there."
        )
    result = attempt.result()
    return {
        **chosen,
        "source": decision["source"],
        "score": decision["score"],
        "objective": campaign.spec.config["search"]["objective"],
        "best_epoch": None if result is None else result.best_epoch,
        "run_folder": str(attempt.folder),
    }
