"""A campaign's state at a glance: text for 80 columns, a record for programs."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from hpo.cli.progress import ago, best_score, is_stale, running_cells, time_left
from hpo.domain.campaign import Campaign, Outcome, SlotState, SlotView, TierPlan
from hpo.domain.failures import suspects, suspicion
from hpo.usecases.inspection.hosts import HostView

if TYPE_CHECKING:
    from hpo.usecases.inspection.explanations import Explained
    from hpo.usecases.records import Stores

WIDTH = 80


def status_lines(
    campaign: Campaign,
    slots: Sequence[SlotView],
    now: datetime,
    hosts: Sequence[HostView] = (),
    devices: Mapping[str, Sequence[int]] = MappingProxyType({}),
) -> list[str]:
    """The campaign for a person: tiers, what runs, the queue, what failed and why. No line is cut off. devices: where
    trials differ in what they were trained with, that with their numbers."""
    lines = [*_head(campaign, slots), *(_tier_line(tier, slots, campaign) for tier in campaign.spec.tiers)]
    lines += _running(campaign, slots, now)
    lines += _hosts(hosts)
    lines += (f"  {suspicion(slot)}" for slot in suspects(slots))
    lines += _queue(slots, now)
    lines += _failures(slots)
    lines += _devices(devices)
    return [part for line in lines for part in _wrapped(line)]


def print_decisions(stores: Stores, campaign: Campaign, *, as_text: bool) -> None:
    """Why the campaign's trials were proposed and ended, and what was chosen, for people or as JSON."""
    from hpo.usecases.inspection.explanations import decided, explain

    explained, choices = explain(stores, campaign), dict(decided(campaign))
    if as_text:
        print("\n".join(decision_lines(campaign, explained, choices)))
    else:
        print(json.dumps({"trials": [asdict(each) for each in explained], "decided": choices}, indent=2))


def decision_lines(campaign: Campaign, explained: Sequence[Explained], choices: Mapping[int, str]) -> list[str]:
    """Why each trial was proposed and how it ended, tier by tier, with what was chosen. choices: tier number -> what
    it decided; 0: what the campaign ends with."""
    lines: list[str] = []
    for tier in campaign.spec.tiers:
        lines.append(f"{tier.number} {tier.name}")
        for each in (each for each in explained if each.tier == tier.number):
            lines += [f"  trial {each.slot:<5}{each.proposed}", f"             {each.ended}"]
        if tier.number in choices:
            lines.append(f"  decided    {choices[tier.number]}")
    if 0 in choices:
        lines.append(f"deployed     {choices[0]}")
    return [part for line in lines for part in _wrapped(line)]


def status_record(
    campaign: Campaign,
    slots: Sequence[SlotView],
    now: datetime,
    hosts: Sequence[HostView] = (),
    devices: Mapping[str, Sequence[int]] = MappingProxyType({}),
) -> Mapping[str, Any]:
    """The same as plain JSON. Times are ISO 8601 in UTC."""
    left = time_left(slots, now)
    return {
        "campaign": campaign.name,
        "state": campaign.state.value,
        "time": now.isoformat(),
        "objective": campaign.spec.objective.name,
        "budget": campaign.spec.budget,
        "done": sum(slot.state is SlotState.DONE for slot in slots),
        "best": best_score(slots),
        "seconds_left": None if left is None else left.total_seconds(),
        "tiers": [_tier_record(tier, slots, campaign) for tier in campaign.spec.tiers],
        "slots": [_slot_record(slot, now) for slot in slots],
        "hosts": [asdict(host) for host in hosts],
        "devices": dict(devices),
        "champion": campaign.champion,
    }


def _head(campaign: Campaign, slots: Sequence[SlotView]) -> Iterator[str]:
    num_done = sum(slot.state is SlotState.DONE for slot in slots)
    yield f"{campaign.name}: {campaign.state.value}, {num_done} of {len(slots)} trials done"
    best = best_score(slots)
    if best is not None:
        yield f"best {campaign.spec.objective.shown} {best:+.4f}"


def _tier_line(tier: TierPlan, slots: Sequence[SlotView], campaign: Campaign) -> str:
    record = _tier_record(tier, slots, campaign)
    parts = [f"  {tier.number} {tier.name:<16} {record['done']:>4}/{tier.num_slots:<4} {record['pruned']} pruned"]
    if record["failed"]:
        parts.append(f"{record['failed']} failed")
    if record["best"] is not None:
        parts.append(f"best {record['best']:+.4f}")
    if record["decided"]:
        parts.append("decided")
    return ", ".join(parts)


def _tier_record(tier: TierPlan, slots: Sequence[SlotView], campaign: Campaign) -> dict[str, Any]:
    own = [slot for slot in slots if slot.tier == tier.number]
    return {
        "tier": tier.number,
        "name": tier.name,
        "slots": tier.num_slots,
        "done": sum(slot.state is SlotState.DONE for slot in own),
        "pruned": sum(slot.outcome is Outcome.PRUNED for slot in own),
        "failed": sum(slot.outcome is Outcome.FAILED for slot in own),
        "best": best_score(own),
        "decided": tier.number in campaign.decisions,
    }


def _slot_record(slot: SlotView, now: datetime) -> dict[str, Any]:
    return {
        "slot": slot.slot,
        "tier": slot.tier,
        "state": slot.state.value,
        "outcome": slot.outcome.value if slot.outcome else None,
        "trial_number": slot.trial_number,
        "epoch": slot.epoch,
        "score": slot.score,
        "samples_per_second": slot.samples_per_second,
        "reason": slot.reason,
        "num_crashes": slot.num_crashes,
        "num_losses": slot.num_losses,
        "host": slot.worker.host if slot.worker else None,
        "pid": slot.worker.pid if slot.worker else None,
        "started_at": slot.started_at.isoformat() if slot.started_at else None,
        "finished_at": slot.finished_at.isoformat() if slot.finished_at else None,
        "stale": is_stale(slot, now),
    }


def _running(campaign: Campaign, slots: Sequence[SlotView], now: datetime) -> Iterator[str]:
    num_epochs = campaign.spec.config["num_epochs"]
    running = [slot for slot in slots if slot.state is SlotState.RUNNING]
    if running:
        yield "running"
    for slot in running:
        epoch, score, rate = running_cells(slot, campaign.spec.objective.shown, num_epochs, now)
        cells = [f"{epoch:<12}", f"{score:<15}", rate]
        if not is_stale(slot, now):
            cells.append(f"for {ago(slot.started_at, now)}")
        if slot.worker is not None:
            cells.append(f"pid {slot.worker.pid}")
        yield f"  trial {slot.slot:<5}" + "  ".join(cell for cell in cells if cell)


def _hosts(hosts: Sequence[HostView]) -> Iterator[str]:
    """A line for each: who is alive, and on what they train. Containers may share a name: then what tells them apart
    stands behind it."""
    names = Counter(_name(host.host) for host in hosts)
    if hosts:
        yield "hosts"
    for host in hosts:
        name = _name(host.host) if names[_name(host.host)] == 1 else host.host
        cells = [f"{host.alive} at work"]
        if host.silent:
            cells.append(f"{host.silent} silent")
        if host.device is not None:
            cells.append(host.device.partition(":")[0])
        yield f"  {name:<16} {', '.join(cells)}"


def _name(host: str) -> str:
    return host.partition("/")[0]


def _queue(slots: Sequence[SlotView], now: datetime) -> Iterator[str]:
    waiting = [slot for slot in slots if slot.state is SlotState.OPEN]
    begun = sum(slot.trial_number is not None for slot in waiting)
    paused = sum(slot.state is SlotState.PAUSED for slot in slots)
    left = time_left(slots, now)
    parts = [f"{len(waiting)} trials wait"] if waiting else []
    if begun:
        parts.append(f"{begun} of them begun and saved")
    if paused:
        parts.append(f"{paused} paused at a saved epoch")
    if left is not None:
        parts.append(f"about {left} left")
    if parts:
        yield ", ".join(parts)


def _failures(slots: Sequence[SlotView]) -> Iterator[str]:
    failed = [slot for slot in slots if slot.outcome is Outcome.FAILED]
    if failed:
        yield "failed"
    for slot in failed:
        yield f"  trial {slot.slot:<5}{slot.reason}"


def _devices(devices: Mapping[str, Sequence[int]]) -> Iterator[str]:
    if devices:
        yield "trained with different arithmetic: the same seed would not give the same bits"
    for device, numbers in devices.items():
        yield f"  {_ranges(numbers):<10}  {device}"


def _ranges(numbers: Sequence[int]) -> str:
    """1-3, 7"""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][-1] + 1:
            found[-1][1:] = [number]
        else:
            found.append([number])
    return ", ".join("-".join(map(str, ends)) for ends in found)


def _wrapped(line: str) -> list[str]:
    """The line in at most WIDTH columns; what does not fit goes on below, indented."""
    if len(line) <= WIDTH:
        return [line]
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return textwrap.wrap(line, WIDTH, subsequent_indent=indent, drop_whitespace=True)
