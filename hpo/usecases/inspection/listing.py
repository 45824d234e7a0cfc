"""Campaigns and trials as rows: what `hpo list` and `hpo trials` show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from hpo.domain.campaign import Campaign, SlotState, SlotView
from hpo.domain.failures import is_choosable
from hpo.domain.settings import flatten
from hpo.usecases.records import Records

PARAMETERS = "params."
"""Beginning of the columns that hold what a trial was given."""


def campaign_rows(records: Records) -> list[dict[str, Any]]:
    """A row for each campaign, newest first. best: the highest score of those that can be chosen."""
    return [_campaign(campaign, records.ledger.slots(campaign.id)) for campaign in records.ledger.campaigns()]


def trial_rows(records: Records, campaign: Campaign) -> list[dict[str, Any]]:
    """A row for each trial, in order, all with the same columns; None where a value is not known (yet, or on this
    machine)."""
    archive, slots = records.archive(campaign), records.ledger.slots(campaign.id)
    begun = {slot.slot: archive.attempt(slot.slot) for slot in slots if slot.state is not SlotState.OPEN}
    given = {number: attempt.run().get("params", {}) for number, attempt in begun.items() if attempt is not None}
    names = dict.fromkeys(name for values in given.values() for name in values)
    return [
        {**_trial(slot), **{f"{PARAMETERS}{name}": given.get(slot.slot, {}).get(name) for name in names}}
        for slot in slots
    ]


def _campaign(campaign: Campaign, slots: Sequence[SlotView]) -> dict[str, Any]:
    search: Mapping[str, Any] = campaign.spec.config.get("search", {})
    source = flatten(search.get("trainer", {})).get("data.source")
    scores = [slot.score for slot in filter(is_choosable, slots) if slot.score is not None]
    return {
        "name": campaign.name,
        "state": campaign.state.value,
        "done": sum(slot.state is SlotState.DONE for slot in slots),
        "budget": campaign.spec.budget,
        "best": max(scores, default=None),
        "objective": search.get("objective"),
        "space": None if "space" not in search else PurePath(str(search["space"])).name,
        "data": source if source is None or str(source).startswith("planted:") else PurePath(str(source)).name,
        "created_at": None if campaign.created_at is None else campaign.created_at.isoformat(timespec="seconds"),
    }


def _trial(slot: SlotView) -> dict[str, Any]:
    begun, ended = slot.started_at, slot.finished_at
    return {
        "trial": slot.slot,
        "tier": slot.tier,
        "state": (slot.outcome or slot.state).value,
        "score": slot.score,
        "epoch": slot.epoch,
        "started_at": None if begun is None else begun.isoformat(timespec="seconds"),
        "finished_at": None if ended is None else ended.isoformat(timespec="seconds"),
        "seconds": None if begun is None or ended is None else (ended - begun).total_seconds(),
        "reason": slot.reason,
        "run_folder": slot.run_folder,
    }
