"""Where a campaign is worked on now, on what, and who of them is alive; and on what its trials were trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from hpo.domain.campaign import Campaign, SlotState, SlotView
from hpo.domain.errors import EnvironmentFault
from hpo.runs.archive import Archive
from hpo.usecases.records import Records


@dataclass(frozen=True)
class HostView:
    """A host with running trials. alive: workers whose lease has not run out; silent: the others, whose trials somebody
    else may go on with. device: as the last trial that ended there said; None where its folder is not here."""

    host: str
    alive: int
    silent: int
    device: str | None


def hosts(records: Records, campaign: Campaign, slots: Sequence[SlotView], now: datetime) -> Sequence[HostView]:
    """The hosts with running trials, by name. A worker that waits for a tier to end runs none."""
    running = [slot for slot in slots if slot.state is SlotState.RUNNING and slot.worker is not None]
    if not running:
        return ()
    archive = records.archive(campaign)
    found = []
    for host in sorted({_host(slot) for slot in running}):
        there = [slot for slot in running if _host(slot) == host]
        silent = sum(slot.lease_expires_at is not None and slot.lease_expires_at < now for slot in there)
        found.append(HostView(host, len(there) - silent, silent, _device(archive, slots, host)))
    return found


def _host(slot: SlotView) -> str:
    return slot.worker.host if slot.worker else ""


def _device(archive: Archive, slots: Sequence[SlotView], host: str) -> str | None:
    done = [slot for slot in slots if slot.state is SlotState.DONE and slot.finished_at and _host(slot) == host]
    for slot in sorted(done, key=lambda slot: str(slot.finished_at), reverse=True)[:1]:
        attempt = archive.attempt(slot.slot)
        try:
            result = attempt.result() if attempt else None
        except EnvironmentFault:  # damaged: `hpo doctor` says so
            return None
        return result.device if result else None
    return None


def differing(slots: Sequence[SlotView], archive: Archive) -> Mapping[str, Sequence[int]]:
    """What trials were trained with -> their numbers, the commonest first; empty where they agree, as far as is known
    here."""
    found: dict[str, list[int]] = {}
    for slot in slots:
        attempt = archive.attempt(slot.slot)
        try:
            result = attempt.result() if attempt else None
        except EnvironmentFault:  # damaged: `hpo doctor` says so
            continue
        if result is not None and result.device is not None:
            found.setdefault(result.device, []).append(slot.slot)
    if len(found) < 2:
        return {}
    return dict(sorted(found.items(), key=lambda row: (-len(row[1]), row[1])))
