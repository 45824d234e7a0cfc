"""A campaign's run folders as the ledger answers for them: which attempt counts, where it lies, whether it is whole."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hpo.domain.campaign import CheckpointRecord, SlotState, SlotView
from hpo.domain.errors import EnvironmentFault
from hpo.runs.durable import sha256_of
from hpo.runs.folder import CHECKPOINTS, Attempt, SlotFolder
from hpo.runs.stored import StoredRuns


@dataclass(frozen=True)
class Archive:
    """runs: the campaign's folder of run folders in this state folder. records: the ledger's, of this campaign. stored:
    where what is not here is fetched from, if there is a store of artifacts.

    A finished trial's attempt is the one that the ledger recorded, whatever other attempts lie beside it: two state
    folders on one database each hold what was trained in them.
    """

    runs: Path
    records: Sequence[CheckpointRecord]
    stored: StoredRuns | None = None

    def record(self, slot: int, kind: str) -> CheckpointRecord | None:
        """What the ledger recorded of the slot; kind: `model` or `result`."""
        return self._by_slot.get((slot, kind))

    def path(self, record: CheckpointRecord) -> Path:
        """Where the recorded file lies if it is in this state folder."""
        return self.home / record.path

    def attempt(self, slot: int) -> Attempt | None:
        """The slot's attempt that counts: the recorded one, of an unfinished slot the newest. None where it is not
        here, nor in the store."""
        record = self.record(slot, "result")
        if self.stored is not None:
            self.stored.bring(record or self.record(slot, "snapshot"))
        if record is None:
            return SlotFolder(self.runs, slot).current()
        folder = self.path(record).parent
        return Attempt(folder) if folder.is_dir() else None

    def intact(self, slot: int) -> Attempt | None:
        """`attempt`, its files compared with what was recorded, checkpoints apart.

        Raises:
            EnvironmentFault: naming the first file that is damaged or missing.
        """
        attempt = self.attempt(slot)
        if attempt is None or self.record(slot, "result") is None:
            return attempt
        fault = next(self.faults(slot, without=CHECKPOINTS), None)
        if fault is not None:
            raise EnvironmentFault(f"{fault} Put it back from a copy; `hpo doctor` names every such file.")
        return attempt

    def whereabouts(self, slot: int) -> str:
        """Where the run folder of a slot lies that is not here, in a sentence."""
        record = self.record(slot, "result")
        where = (
            "Nobody recorded where it is." if record is None else f"{place(record)}; run this there, or copy it here."
        )
        return f"The run folder of trial {slot} is not below {self.runs}. {where}"

    def model(self, slot: int) -> Path:
        """The slot's model, its bytes those that the ledger recorded.

        Raises:
            EnvironmentFault: it was not kept, lies elsewhere, or is another file; where the right one lies.
        """
        record = self.record(slot, "model")
        if record is None:
            raise EnvironmentFault(
                f"Trial {slot} has no recorded checkpoint: it ended without one, or it was deleted when the campaign "
                "ended (worker.keep_checkpoints)."
            )
        path = self.path(record)
        if self.stored is not None and self.attempt(slot) is not None and not path.is_file():
            self.stored.bring_file(record)
        if not path.is_file():
            raise EnvironmentFault(
                f"The checkpoint of trial {slot} is not at {path}. {place(record)}; run this there, or copy the "
                f"folder {path.parent.name} here to {path.parent}."
            )
        found = sha256_of(path)
        if found != record.sha256:
            raise EnvironmentFault(
                f"{path} is not the checkpoint of trial {slot}: its SHA-256 is {found[:12]}, the ledger has "
                f"{record.sha256[:12]}. {place(record)}; put that file back from a copy."
            )
        return path

    def is_kept(self, slot: int) -> bool:
        """Whether the ledger answers for the slot's model, and its run folder is here; `model` checks it."""
        return self.record(slot, "model") is not None and self.attempt(slot) is not None

    def faults(self, slot: int, without: Collection[str] = ()) -> Iterator[str]:
        """A sentence for every file of a finished slot that is not as it was recorded.

        without: names that are not looked at. A checkpoint that the ledger does not answer for may be gone.
        """
        record = self.record(slot, "result")
        if record is None:
            return
        path = self.path(record)
        if self.attempt(slot) is None:
            yield f"The run folder of trial {slot} is not at {path.parent}. {place(record)}."
        elif not path.is_file():
            yield f"{path} is missing (trial {slot})."
        elif sha256_of(path) != record.sha256:
            yield f"{path} is damaged: its SHA-256 is not the recorded one (trial {slot})."
        else:
            yield from self._listed_faults(slot, Attempt(path.parent), without)

    def _listed_faults(self, slot: int, attempt: Attempt, without: Collection[str]) -> Iterator[str]:
        result = attempt.result()
        assert result is not None, "its digest was just compared"
        # With a store, checkpoints are fetched when they are asked for, and those of an unfinished trial never again.
        may_be_gone = CHECKPOINTS if self.record(slot, "model") is None or self.stored is not None else ()
        for name, digest in result.files.items():
            file = attempt.folder / name
            if name in without or (name in may_be_gone and not file.exists()):
                continue
            if not file.is_file():
                yield f"{file} is missing (trial {slot})."
            elif sha256_of(file) != digest:
                yield f"{file} is damaged: its SHA-256 is not the recorded one (trial {slot})."

    def missing(self, slots: Sequence[SlotView]) -> list[str]:
        """A sentence for each place that holds run folders which are not here, with the trials they belong to."""
        elsewhere: dict[str, list[str]] = {}
        for view in slots:
            record = self.record(view.slot, "result")
            is_training = view.state is not SlotState.DONE and view.epoch is not None
            if (record is not None or is_training) and self.attempt(view.slot) is None:
                elsewhere.setdefault(_region(view, record), []).append(str(view.slot))
        return [
            f"The run folders of the trials {', '.join(numbers)} are not below {self.runs}; they were written {where}."
            for where, numbers in elsewhere.items()
        ]

    @property
    def home(self) -> Path:
        """The state folder."""
        return self.runs.parent.parent

    @cached_property
    def _by_slot(self) -> dict[tuple[int, str], CheckpointRecord]:
        return {(record.slot, record.kind): record for record in self.records}


def place(record: CheckpointRecord) -> str:
    """Where a recorded file was written, in words."""
    return f"It was written on the host {_machine(record.host)}, as {Path(record.home) / record.path}"


def _region(view: SlotView, record: CheckpointRecord | None) -> str:
    if record is not None:
        return f"on the host {_machine(record.host)} below {record.home}"
    return f"on the host {_machine(view.worker.host)}" if view.worker else "on another machine or in another HPO_HOME"


def _machine(host: str) -> str:
    return host.partition("/")[0]
