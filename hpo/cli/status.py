"""A campaign's state at a glance: text for 80 columns, a record for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from hpo.cli.progress import ago, best_score, describe
from hpo.domain import Campaign, Outcome, SlotState, SlotView

WIDTH = 80


def status_lines(campaign: Campaign, slots: Sequence[SlotView]) -> list[str]:
    """The campaign for a person."""
    now = datetime.now(UTC)
    num_done = sum(slot.state is SlotState.DONE for slot in slots)
    best = best_score(slots)
    head = f"{campaign.name}: {campaign.state.value}, {num_done} of {len(slots)} trials done"
    lines = [head + (f", best {best:+.4f}" if best is not None else "")]
    for tier in campaign.spec.tiers:
        own = [slot for slot in slots if slot.tier == tier.number]
        lines.append(_tier_line(tier.number, tier.name, own, campaign))
    lines += [_running_line(slot, now) for slot in slots if slot.state is SlotState.RUNNING]
    failed = [slot for slot in slots if slot.outcome is Outcome.FAILED]
    lines += [f"  trial {slot.slot} {describe(slot)}" for slot in failed]
    return [line if len(line) <= WIDTH else line[: WIDTH - 1] + "…" for line in lines]


def status_record(campaign: Campaign, slots: Sequence[SlotView]) -> Mapping[str, Any]:
    """The same as plain JSON."""
    return {
        "campaign": campaign.name,
        "state": campaign.state.value,
        "budget": campaign.spec.budget,
        "done": sum(slot.state is SlotState.DONE for slot in slots),
        "best": best_score(slots),
        "slots": [
            {
                "slot": slot.slot,
                "tier": slot.tier,
                "state": slot.state.value,
                "outcome": slot.outcome.value if slot.outcome else None,
                "epoch": slot.epoch,
                "score": slot.score,
                "reason": slot.reason,
            }
            for slot in slots
        ],
        "champion": campaign.champion,
    }


def _tier_line(number: int, name: str, own: Sequence[SlotView], campaign: Campaign) -> str:
    done = [slot for slot in own if slot.state is SlotState.DONE]
    pruned = sum(slot.outcome is Outcome.PRUNED for slot in own)
    best = best_score(own)
    parts = [f"  {number} {name:<16} {len(done):>3}/{len(own):<3} {pruned} pruned"]
    if best is not None:
        parts.append(f"best {best:+.4f}")
    if number in campaign.decisions:
        parts.append("decided")
    return ", ".join(parts)


def _running_line(slot: SlotView, now: datetime) -> str:
    score = "" if slot.score is None else f", RankIC {slot.score:+.4f}"
    rate = "" if slot.samples_per_second is None else f", {slot.samples_per_second:,.0f} samples/s"
    stale = slot.lease_expires_at is not None and slot.lease_expires_at < now
    state = "lease ran out" if stale else f"running for {ago(slot.started_at, now)}"
    return f"  trial {slot.slot} epoch {slot.epoch or 0}{score}{rate}, {state}"
