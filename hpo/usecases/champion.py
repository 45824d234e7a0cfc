"""What a campaign ends with: the trial that its last tier decided for."""

from __future__ import annotations

from typing import Any

from hpo.domain.campaign import Campaign
from hpo.runs.archive import Archive


def choose(campaign: Campaign, archive: Archive) -> dict[str, Any]:
    """The champion of a campaign whose tiers are all decided, as plain JSON. It knows nothing of the holdout.

    Returns:
        slot, source (`<study>#<trial>`), values, score (validation, smoothed), objective, last_epoch, run_folder
        (relative to the state folder), sha256 (of its checkpoint), reason; slot None where no trial is complete.

    Raises:
        EnvironmentFault: the checkpoint that the ledger recorded for it is not here, or another file is in its place.
    """
    decision = campaign.decisions[len(campaign.spec.tiers)]
    slot = decision["slot"]
    chosen = {"slot": slot, "values": decision["values"], "reason": decision["reason"]}
    if slot is None:
        return chosen
    model, record = archive.model(slot), archive.record(slot, "model")
    assert record is not None, "its file was just compared with it"
    return {
        **chosen,
        "source": decision["source"],
        "score": decision["score"],
        "objective": campaign.spec.config["search"]["objective"],
        "last_epoch": record.epoch,
        "run_folder": str(model.parent.relative_to(archive.home)),
        "sha256": record.sha256,
    }
