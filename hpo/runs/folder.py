"""The run folder of a slot: what a trial leaves on disk, the truth that the tracker and the report project.

runs/<campaign>/slot-0007/
    attempt-<fence>/        one per claim; the highest fence is the current one
        config.json         resolved settings of the trainable
        run.json            campaign, tier, slot, trial, parameters, seed, code, started_at; sealed
        metrics.jsonl       one line an epoch
        daily/epoch-0003.npz
        last.pt previous.pt model.pt
        paused              there once the scheduler has paused the trial; a later attempt goes on
        result.json         outcome, score, and the SHA-256 of every other file; written last
"""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpo.domain.campaign import Outcome
from hpo.domain.errors import EnvironmentFault, UsageError
from hpo.runs.durable import (
    copy,
    damaged,
    flush,
    read_json,
    read_sealed,
    sha256_of,
    sync_folder,
    write_json,
    write_sealed,
    writing,
)
from hpo.runs.entries import EpochRecord, Result

if TYPE_CHECKING:
    from hpo.domain.training import EpochReport

# In this order: should their writer still live, `previous.pt` is then never newer than the `last.pt` copied before it,
# and one of the two is always whole.
CHECKPOINTS = ("last.pt", "previous.pt", "model.pt")
MODEL = "model.pt"
PAUSED = "paused"
CONFIG_SHA256 = "config_sha256"
"""Key of run.json under which it answers for config.json."""

_CAMPAIGN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SLOT = re.compile(r"slot-(\d+)")
_ATTEMPT = re.compile(r"attempt-(\d+)")


def campaign_folder(home: Path, campaign: str) -> Path:
    """Where a campaign's slots lie below the state folder. Raises UsageError for a name that could leave it."""
    if not _CAMPAIGN.fullmatch(campaign):
        raise UsageError(
            f"campaign name '{campaign}' may hold letters, digits, '.', '_' and '-', at most 64; "
            "choose another HPO_STUDY"
        )
    return home / "runs" / campaign


def runs(folder: Path) -> Iterator[SlotFolder]:
    """The slots of a campaign's folder that have been started, in order."""
    for slot in _numbered(folder, _SLOT):
        yield SlotFolder(folder, slot)


def drop_checkpoints(folder: Path, slots: Collection[int]) -> int:
    """Delete the checkpoints of these slots, in every attempt; the number of files deleted. Records are kept."""
    num_deleted = 0
    for slot in slots:
        for attempt in SlotFolder(folder, slot).attempts():
            for path in filter(Path.exists, (attempt.folder / name for name in CHECKPOINTS)):
                with writing(path):
                    path.unlink()
                num_deleted += 1
    return num_deleted


class Attempt:
    """One claim's own folder. Only its owner writes; anybody may read at any time.

    Every write raises EnvironmentFault, with path and remedy, where the disk is full or not writable.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._inherited: dict[int, EpochRecord] | None = None

    @property
    def fence(self) -> int:
        match = _ATTEMPT.fullmatch(self.folder.name)
        assert match is not None, f"{self.folder} is not an attempt's folder"
        return int(match[1])

    @property
    def metrics_file(self) -> Path:
        return self.folder / "metrics.jsonl"

    @property
    def config_file(self) -> Path:
        return self.folder / "config.json"

    @property
    def result_file(self) -> Path:
        return self.folder / "result.json"

    @property
    def model(self) -> Path:
        """The weights at the end of the last epoch; it may not exist."""
        return self.folder / MODEL

    def run(self) -> dict[str, Any]:
        """run.json: who this is. Raises FileNotFoundError, EnvironmentFault (damaged)."""
        return read_sealed(self.folder / "run.json")

    def trial_number(self) -> int | None:
        """The trial whose attempt this is; None where run.json does not tell."""
        try:
            return self.run().get("trial_number")
        except (FileNotFoundError, EnvironmentFault):
            return None

    def config(self) -> dict[str, Any]:
        """config.json: the resolved settings as plain JSON. Raises like `run`."""
        return read_json(self.config_file)

    def append_epoch(self, report: EpochReport) -> None:
        """Add an epoch; one that is there already is left alone. It survives its process, and a power cut from
        `finish` on; until then the next attempt is told it again by whoever trained it.

        After a resume the trainer reports its past again. An epoch that an earlier attempt had recorded with this
        very score is taken over from there, so that it keeps the time at which it was trained.

        Raises:
            ValueError: an epoch was left out.
        """
        records, num_bytes = self._read()
        if report.epoch <= len(records):
            return
        if report.epoch != len(records) + 1:
            raise ValueError(f"epoch {report.epoch} reported after epoch {len(records)} in {self.folder}")
        record = self._earlier().get(report.epoch)
        if record is None or record.score != report.score:
            record = EpochRecord(report.epoch, _now(), report.score, report.seconds, dict(report.metrics))
        with writing(self.metrics_file):
            self._write_daily(report)
            with self.metrics_file.open("ab") as file:
                file.truncate(num_bytes)  # a torn line of a power cut goes
                file.write(record.line())

    def epochs(self) -> list[EpochRecord]:
        """The epochs so far, 1, 2, ...; a torn last line is passed over."""
        return self._read()[0]

    def daily(self, epoch: int) -> dict[str, NDArray[np.float32]]:
        """The epoch's per-day validation series, name -> [V]. Raises FileNotFoundError, EnvironmentFault (damaged)."""
        path = self._daily_file(epoch)
        try:
            with np.load(path, allow_pickle=False) as kept:
                return dict(zip(kept["names"].tolist(), kept["values"], strict=True))
        except FileNotFoundError:
            raise
        except Exception as error:  # whatever zip and numpy say of bytes that nobody wrote
            raise damaged(path, f"it is not a daily series ({type(error).__name__})") from None

    def finish(
        self,
        outcome: Outcome,
        score: float | None = None,
        last_epoch: int | None = None,
        num_parameters: int | None = None,
        reason: str | None = None,
        device: str | None = None,
    ) -> None:
        """Write the result, once everything else is durable; said twice it is written once, said differently the last
        word counts."""
        said = {
            "outcome": outcome,
            "score": score,
            "last_epoch": last_epoch,
            "num_parameters": num_parameters,
            "reason": reason,
            "device": device,
        }
        before = None
        with suppress(EnvironmentFault):  # a damaged one is written again
            before = self.result()
        if before is None or vars(before) != {**said, "finished_at": before.finished_at, "files": before.files}:
            self._flush()
            files = {name: sha256_of(self.folder / name) for name in self.names()}
            write_json(self.result_file, {**said, "finished_at": _now().isoformat(), "files": files})

    def pause(self) -> None:
        """Leave word that nobody trains here any more, although there is no result."""
        with writing(self.folder):
            (self.folder / PAUSED).touch()

    @property
    def is_paused(self) -> bool:
        return (self.folder / PAUSED).exists()

    def result(self) -> Result | None:
        """None while the trial is unfinished. Raises EnvironmentFault where the file is damaged."""
        if not self.result_file.exists():
            return None
        try:
            return Result.parse(read_json(self.result_file))
        except (KeyError, TypeError, ValueError) as error:
            raise damaged(self.result_file, f"it is not a trial's result ({error})") from None

    def names(self) -> list[str]:
        """The attempt's files but for its result, and what a killed process left half written."""
        found = (path.relative_to(self.folder) for path in self.folder.rglob("*") if path.is_file())
        unfinished = self.result_file.name, ".tmp"
        return sorted(str(path) for path in found if not path.name.endswith(unfinished))

    def _flush(self) -> None:
        """Make the epochs durable. What the disk has had time for costs nothing here."""
        with writing(self.folder):
            for path in (*self.folder.glob("daily/*.npz"), *self.folder.glob(self.metrics_file.name)):
                with path.open("rb") as file:
                    flush(file)

    def _read(self) -> tuple[list[EpochRecord], int]:
        """The whole lines, and the bytes they take; what follows them was torn by a power cut."""
        raw = self.metrics_file.read_bytes() if self.metrics_file.exists() else b""
        records: list[EpochRecord] = []
        num_bytes = 0
        for line in raw.splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            try:
                records.append(EpochRecord.parse(line))
            except (ValueError, KeyError, TypeError):
                break
            num_bytes += len(line)
        return records, num_bytes

    def _earlier(self) -> Mapping[int, EpochRecord]:
        """Epochs of the attempt before this one (which has taken over those before it)."""
        if self._inherited is None:
            earlier = [number for number in _numbered(self.folder.parent, _ATTEMPT) if number < self.fence]
            records = Attempt(self.folder.parent / f"attempt-{earlier[-1]}").epochs() if earlier else []
            self._inherited = {record.epoch: record for record in records}
        return self._inherited

    def _daily_file(self, epoch: int) -> Path:
        return self.folder / "daily" / f"epoch-{epoch:04d}.npz"

    def _write_daily(self, report: EpochReport) -> None:
        path = self._daily_file(report.epoch)
        path.parent.mkdir(exist_ok=True)
        temporary = path.with_suffix(".tmp")
        # One array of all series: read thousands of times by a report, it is several times as fast as one of each.
        names, values = np.array(list(report.daily), dtype=np.str_), np.array(list(report.daily.values()), np.float32)
        with temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, names=names, values=values)
        temporary.replace(path)


class SlotFolder:
    """A slot's folder below its campaign's (`campaign_folder`). It need not exist yet."""

    def __init__(self, campaign: Path, slot: int) -> None:
        if slot < 1:
            raise ValueError(f"slots count from 1, not {slot}")
        self.slot = slot
        self.folder = campaign / f"slot-{slot:04d}"

    def attempts(self) -> list[Attempt]:
        """Oldest first."""
        return [self._attempt(fence) for fence in _numbered(self.folder, _ATTEMPT)]

    def current(self) -> Attempt | None:
        """The attempt with the highest fence."""
        return next(reversed(self.attempts()), None)

    def open_attempt(self, fence: int, run: Mapping[str, Any], config: Mapping[str, Any]) -> Attempt:
        """The attempt of this fence, made where it is not there yet, with the newest earlier checkpoints copied in.

        It appears whole or not at all. Earlier attempts are only read: a process that comes back from a long sleep
        may still write to its own.
        """
        attempt = self._attempt(fence)
        if attempt.folder.exists():
            return attempt
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            new = self.folder / f".new-{uuid.uuid4().hex}"
            new.mkdir()
            write_json(new / "config.json", config)
            said = {**run, "fence": fence, "started_at": _now().isoformat()}
            write_sealed(new / "run.json", {**said, CONFIG_SHA256: sha256_of(new / "config.json")})
            self._copy_checkpoints(fence, new, run.get("trial_number"))
            try:
                new.rename(attempt.folder)
            except OSError:
                shutil.rmtree(new)
                if not attempt.folder.exists():
                    raise
            sync_folder(self.folder)
        return attempt

    def drop_older(self) -> None:
        """Delete every attempt but the current one, and what a killed process left half made."""
        with writing(self.folder):
            for attempt in self.attempts()[:-1]:
                shutil.rmtree(attempt.folder)
            for unfinished in self.folder.glob(".new-*"):
                shutil.rmtree(unfinished)

    def _attempt(self, fence: int) -> Attempt:
        return Attempt(self.folder / f"attempt-{fence}")

    def _copy_checkpoints(self, fence: int, target: Path, trial_number: int | None) -> None:
        """From the newest attempt that has any; of the same trial, since another may have other parameters."""
        for attempt in reversed(self.attempts()):
            if attempt.trial_number() != trial_number:
                continue
            found = [name for name in CHECKPOINTS if (attempt.folder / name).exists()]
            if attempt.fence < fence and found:
                for name in found:
                    with suppress(FileNotFoundError):  # its writer lives and has just renamed it
                        copy(attempt.folder / name, target / name)
                return


def _numbered(folder: Path, pattern: re.Pattern[str]) -> list[int]:
    """The numbers of the entries of a folder that match, ascending."""
    names = os.listdir(folder) if folder.exists() else []
    return sorted(int(match[1]) for match in map(pattern.fullmatch, names) if match)


def _now() -> datetime:
    return datetime.now(UTC)
