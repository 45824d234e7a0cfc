"""What the doctor asks of a campaign's run folders: whether every file is as the search wrote it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import ValidationError

from hpo.domain.campaign import Campaign, Outcome, SlotState, SlotView
from hpo.domain.errors import EnvironmentFault
from hpo.domain.trainable import Trainable
from hpo.runs.archive import Archive
from hpo.runs.durable import sha256_of
from hpo.runs.folder import CHECKPOINTS, CONFIG_SHA256, Attempt


def slot_faults(trainable: Trainable[Any], archive: Archive, slot: SlotView) -> list[str]:
    """A sentence for every file of the slot that is missing or not as it was written.

    A finished trial's files are compared with the digests that were recorded. Those of an unfinished one, which nobody
    is writing, are read as whoever goes on with it would; the attempts before the newest are not looked at.
    """
    if archive.record(slot.slot, "result") is not None:
        return list(archive.faults(slot.slot))
    attempt = archive.attempt(slot.slot)
    if slot.state is SlotState.DONE and slot.outcome is not Outcome.FAILED:
        return [f"The ledger has no record of the files of trial {slot.slot}, which is {slot.outcome}."]
    if attempt is not None and slot.state is not SlotState.RUNNING:
        return list(_unreadable(trainable, attempt))
    if slot.state in (SlotState.OPEN, SlotState.PAUSED) and slot.epoch is not None:
        return [f"{archive.whereabouts(slot.slot)} It would be trained again from its first epoch."]
    return []


def champion_fault(archive: Archive, campaign: Campaign) -> str | None:
    """What is wrong with the weights that were crowned."""
    champion = campaign.crowned
    if champion is None:
        return None
    crowned = {member.slot: member.sha256 for member in champion.members.values()}
    for slot, sha256 in ({champion.slot: champion.sha256} | crowned).items():
        record = None if slot is None else archive.record(slot, "model")
        if record is not None and sha256 is not None and sha256 != record.sha256:
            return (
                f"The champion was crowned with the SHA-256 {sha256[:12]}, and the ledger has "
                f"{record.sha256[:12]} for the checkpoint of trial {slot}."
            )
        try:
            archive.model(slot or 0)
        except EnvironmentFault as error:
            return f"The champion cannot be loaded. {error}"
    return None


def burnt(campaign: Campaign, slots: Sequence[SlotView]) -> str | None:
    """What to say of a campaign of which nothing but failures is left."""
    failed = [slot for slot in slots if slot.outcome is Outcome.FAILED]
    if not slots or len(failed) < len(slots):
        return None
    return f"All {len(slots)} trials of '{campaign.name}' failed, the first with: {str(failed[0].reason).rstrip('.')}."


def code_faults(archive: Archive, campaign: Campaign, slots: Sequence[SlotView]) -> list[str]:
    """A sentence for each code that trials were trained with and the campaign was not started with."""
    started_with = campaign.spec.fingerprints.get("code")
    others: dict[str, list[str]] = {}
    for slot in slots:
        attempt = archive.attempt(slot.slot)
        code = None if attempt is None else _code(attempt)
        if None not in (code, started_with) and code != started_with:
            others.setdefault(str(code), []).append(str(slot.slot))
    return [
        f"The trials {', '.join(numbers)} were trained with the code {code[:8]}, the campaign was started with "
        f"{str(started_with)[:8]}; their scores cannot be compared with the others'."
        for code, numbers in others.items()
    ]


def _code(attempt: Attempt) -> str | None:
    """None where run.json is damaged, which another check says."""
    try:
        return str(attempt.run()["code"])
    except (EnvironmentFault, FileNotFoundError):
        return None


def _unreadable(trainable: Trainable[Any], attempt: Attempt) -> Iterator[str]:
    try:
        run = attempt.run()
        if sha256_of(attempt.config_file) != run[CONFIG_SHA256]:
            yield f"{attempt.config_file} is damaged: its SHA-256 is not the recorded one."
        trainable.parse(attempt.config())
        num_lines = len(attempt.metrics_file.read_bytes().splitlines()) if attempt.metrics_file.exists() else 0
        records = attempt.epochs()
        if num_lines > len(records):
            yield f"{attempt.metrics_file} is damaged: only the first {len(records)} of {num_lines} lines are whole."
        for record in records:
            attempt.daily(record.epoch)
        if records and not any((attempt.folder / name).exists() for name in ("last.pt", "previous.pt")):
            yield f"{attempt.folder / 'last.pt'} is missing: the trial would begin again."
    except FileNotFoundError as error:
        yield f"{error.filename} is missing."
    except EnvironmentFault as error:
        yield str(error)
    except ValidationError:
        yield f"{attempt.config_file} is damaged: it does not hold settings of what is trained."
    yield from _broken_checkpoints(trainable, attempt)


def _broken_checkpoints(trainable: Trainable[Any], attempt: Attempt) -> Iterator[str]:
    for path in (attempt.folder / name for name in CHECKPOINTS):
        if path.exists() and not trainable.is_whole(path):
            yield f"{path} is damaged: its checksum does not match its content."
