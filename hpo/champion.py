"""What a campaign ends with: the trial that won, scored once on the days no trial has seen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hpo.domain import Campaign
from hpo.errors import EnvironmentFault
from hpo.ports import Ledger
from hpo.run_folder import SlotFolder

HOLDOUT = "holdout.npz"
"""In the champion's run folder: its daily series on the holdout, by metric."""


def crown(campaign: Campaign, ledger: Ledger, runs: Path, holdout: Path) -> dict[str, Any]:
    """The champion of a campaign whose tiers are all decided, as plain JSON.

    Opens the holdout, which the ledger counts.

    Returns:
        slot, tier, values, score (validation, smoothed), best_epoch, holdout {metric: mean}, num_holdout_days,
        ceiling (the best possible mean of the monitored metric on the same days; planted market only), share of it;
        slot None where no trial is complete.
    """
    decision = campaign.decisions[len(campaign.spec.tiers)]
    slot = decision["slot"]
    if slot is None:
        return {"slot": None, "values": decision["values"], "reason": decision["reason"]}
    attempt = SlotFolder(runs, slot).current()
    if attempt is None or not attempt.best.exists():
        raise EnvironmentFault(
            f"The checkpoint of the champion (slot {slot}) is not in {runs}; run this where that trial ran, or copy "
            "its run folder there."
        )
    result = attempt.result()
    ledger.count_holdout_opening(campaign.id)
    measured, ceiling = _on_holdout(attempt.best, holdout)
    np.savez(attempt.folder / HOLDOUT, **measured)
    metric = campaign.spec.config["search"]["objective"]
    means = {name: float(np.nanmean(series)) for name, series in measured.items()}
    return {
        "slot": slot,
        "tier": decision["source"].split("#")[0],
        "values": decision["values"],
        "score": decision["score"],
        "objective": metric,
        "best_epoch": None if result is None else result.best_epoch,
        "run_folder": str(attempt.folder),
        "holdout": means,
        "num_holdout_days": int(np.isfinite(measured[metric]).sum()),
        "ceiling": ceiling,
        "share_of_ceiling": means["rank_ic"] / ceiling if ceiling else None,
        "reason": decision["reason"],
    }


def summary(campaign: Campaign) -> list[str]:
    """The end of a run in a few lines."""
    champion: Mapping[str, Any] | None = campaign.champion
    if champion is None or champion["slot"] is None:
        return [f"The campaign '{campaign.name}' ended without a complete trial; there is no champion."]
    metric = champion["objective"]
    lines = [
        f"Champion of '{campaign.name}': trial {champion['slot']} ({champion['tier']})",
        "  " + ", ".join(f"{name}={_short(value)}" for name, value in champion["values"].items()),
        f"  {metric}: validation {champion['score']:+.4f}, holdout {champion['holdout'][metric]:+.4f} "
        f"({champion['num_holdout_days']} days no trial has seen)",
    ]
    if champion["ceiling"]:
        lines.append(
            f"  {champion['share_of_ceiling']:.0%} of the ceiling: the best possible holdout RankIC on this planted "
            f"market is {champion['ceiling']:+.4f}"
        )
    return lines


def _on_holdout(best: Path, folder: Path) -> tuple[dict[str, Any], float | None]:
    from trainer.data import ceiling, open_holdout
    from trainer.scoring import evaluate, load_scorer

    data = open_holdout(folder)
    measured = evaluate(load_scorer(best), data.panel, data.days)
    if data.panel.oracle is None:
        return measured, None
    return measured, float(np.mean(list(ceiling(data.panel, data.days).values())))


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
