"""From the ledger's rows to the search's nouns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row

from hpo.adapters.ledger.models import CampaignRow, CheckpointRow, SlotRow, TierRow, WorkerRow
from hpo.domain.campaign import (
    Campaign,
    CampaignSpec,
    CampaignState,
    CheckpointRecord,
    Claim,
    Outcome,
    SlotState,
    SlotView,
    TierPlan,
    WorkerIdentity,
)


def to_campaign(row: CampaignRow, tiers: Sequence[TierRow]) -> Campaign:
    """The campaign with its tiers in order."""
    ordered = sorted(tiers, key=lambda tier: tier.number)
    return Campaign(
        id=row.id,
        spec=CampaignSpec(
            name=row.name,
            config=row.config,
            fingerprints=row.fingerprints,
            tiers=tuple(TierPlan(tier.number, tier.name, tier.num_slots) for tier in ordered),
            seed=row.seed,
        ),
        state=CampaignState(row.state),
        decisions={tier.number: tier.decision for tier in ordered if tier.decision is not None},
        champion=row.champion,
        num_holdout_openings=len(row.holdout_openings),
        created_at=row.created_at,
    )


def to_claim(row: Row[*tuple[Any, ...]]) -> Claim:
    """The right to work on a slot that was just claimed."""
    if row.worker_id is None:
        raise ValueError(f"slot {row.number} is claimed by nobody")
    return Claim(
        campaign_id=row.campaign_id,
        slot=row.number,
        tier=row.tier,
        position=row.position,
        fence=row.fence,
        worker_id=row.worker_id,
        trial_number=row.trial_number,
        num_crashes=row.num_crashes,
        num_losses=row.num_losses,
        retried_trial=row.retried_trial,
        pauses=tuple(row.pauses),
    )


def to_identity(row: WorkerRow | Row[*tuple[Any, ...]]) -> WorkerIdentity:
    """Who works, from a row with the worker's columns."""
    return WorkerIdentity(row.host, row.pid, row.started)


def to_view(row: SlotRow, worker: WorkerRow | None) -> SlotView:
    """The slot as others see it."""
    return SlotView(
        slot=row.number,
        tier=row.tier,
        position=row.position,
        state=SlotState(row.state),
        outcome=None if row.outcome is None else Outcome(row.outcome),
        trial_number=row.trial_number,
        fence=row.fence,
        num_crashes=row.num_crashes,
        worker=None if worker is None else to_identity(worker),
        epoch=row.epoch,
        score=row.score,
        samples_per_second=row.samples_per_second,
        reason=row.reason,
        started_at=row.started_at,
        finished_at=row.finished_at,
        lease_expires_at=row.lease_expires_at,
        run_folder=row.run_folder,
        num_losses=row.num_losses,
        retried_trial=row.retried_trial,
        pauses=tuple(row.pauses),
    )


def to_checkpoint(row: CheckpointRow) -> CheckpointRecord:
    return CheckpointRecord(row.slot, row.kind, row.epoch, row.path, row.host, row.home, row.sha256, row.score)
