"""A campaign's run folders in a store that every machine reaches: written once under keys that name their content, and
valid where the ledger names them.

PREFIX/slot-0007/attempt-<fence>/last.pt.<sha256>
                                 snapshot.json.<sha256>     name -> SHA-256 of every file of an unfinished attempt
                                 result.json.<sha256>       of a finished one, the file itself, which lists them too

The ledger's record of a snapshot or a result holds the digest of that list, and whoever fetches compares every file
with it. Only an attempt's owner writes below its fence, and nobody reads what the ledger does not name: what somebody
whose lease is over may still upload is never looked at.
"""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from hpo.domain.campaign import CheckpointRecord
from hpo.domain.errors import EnvironmentFault
from hpo.domain.ports import ArtifactStore
from hpo.runs.durable import copy, encode, read_json, sha256_of, writing
from hpo.runs.folder import CHECKPOINTS, MODEL, Attempt

SNAPSHOT = "snapshot.json"
LAST, PREVIOUS, _ = CHECKPOINTS
UNFINISHED = (LAST, PREVIOUS)
"""What only an unfinished trial needs."""
OF_UNFINISHED = tuple(f"{name}." for name in (*UNFINISHED, SNAPSHOT))
REPLACED = (".pt", ".npz")
"""Endings of files that are renamed into their place, whole."""
_FENCE = re.compile(r"/attempt-(\d+)/")


@dataclass(frozen=True)
class StoredRuns:
    """runs: the campaign's folder of run folders here. prefix: the campaign's in the store.

    Methods raise StoreUnavailable where the store is away, and EnvironmentFault where the disk here refuses.
    """

    store: ArtifactStore
    runs: Path
    prefix: str

    # Out

    def put_snapshot(self, attempt: Attempt, known: Collection[str]) -> tuple[str, frozenset[str]]:
        """Upload an attempt as it is now, while its trial trains; the digest of its list, and all its keys.

        known: keys that are there, and are not uploaded again.
        """
        with self._held(attempt) as files:
            listed = files.pop(SNAPSHOT)
            digests = {name: sha256_of(file) for name, file in files.items()}
            listed.write_bytes(encode({"files": digests}))
            digests[SNAPSHOT], files[SNAPSHOT] = sha256_of(listed), listed
            keys = {self._key(attempt, name, digests[name]): file for name, file in files.items()}
            self.store.put({key: file for key, file in keys.items() if key not in known})
        return digests[SNAPSHOT], frozenset(keys)

    def put_finished(self, attempt: Attempt) -> None:
        """Upload an attempt that has its result, without what only an unfinished one needs; what is there already is
        passed over."""
        keys = self._finished_keys(attempt)
        there = self.store.sizes(self._folder(attempt))
        self.store.put({key: file for key, file in keys.items() if there.get(key) != file.stat().st_size})

    def drop_superseded(self, attempt: Attempt, valid: Collection[str]) -> None:
        """Delete what this attempt and those before it uploaded for the slot and is not valid any more. Later owners'
        files stay, also where this one has been asleep since it was the owner."""
        found = self.store.sizes(f"{self.prefix}/{attempt.folder.parent.name}")
        self.store.delete([key for key in found if key not in valid and fence_of(key) <= attempt.fence])

    def drop_unfinished(self, attempt: Attempt) -> None:
        """The same for an attempt that has its result."""
        self.drop_superseded(attempt, self._finished_keys(attempt).keys())

    def retain(self, finished: Sequence[CheckpointRecord], without_model: Collection[int]) -> None:
        """Delete what finished slots have no use for: other attempts than the one that counts, what only an unfinished
        trial needs, and the models of some. finished: their results."""
        valid = {self._folder(Attempt(self._place(record).parent)): record.slot for record in finished}
        slots = {folder.rpartition("/")[0] for folder in valid}
        dropped = []
        for key in self.everything():
            slot, attempt, name, *_ = key.removeprefix(f"{self.prefix}/").split("/")
            folder = f"{self.prefix}/{slot}/{attempt}"
            is_unused = folder not in valid or name.startswith(OF_UNFINISHED)
            is_model = name.startswith(f"{MODEL}.") and valid.get(folder) in without_model
            if f"{self.prefix}/{slot}" in slots and (is_unused or is_model):
                dropped.append(key)
        self.store.delete(dropped)

    def put_mark(self, mark: Path, budget: int) -> None:
        """Upload the mark that says that a campaign of this budget was concluded."""
        self.store.put({f"{self._marks(budget)}/{mark.name}.{sha256_of(mark)}": mark})

    def has_mark(self, budget: int) -> bool:
        """Whether it was concluded on any machine."""
        return bool(self.store.sizes(self._marks(budget)))

    def drop_all(self) -> None:
        """Delete the campaign's run folders."""
        self.store.delete(list(self.store.sizes(self.prefix)))

    # In

    def bring(self, record: CheckpointRecord | None) -> bool:
        """Fetch the attempt that a snapshot or a result stands for into its place here, unless it is there: made here,
        or fetched as it is now. Of a finished one the checkpoints stay away (see `bring_file`). False: the store does
        not have it.

        Raises:
            EnvironmentFault: what it has is not what was recorded.
        """
        if record is None:
            return False
        folder = self._place(record).parent
        mark = folder.parent / f".fetched-{folder.name}"
        if folder.is_dir() and (not mark.exists() or mark.read_text() == record.sha256):
            return True
        try:
            with self._new(folder) as new:
                self._fetch(record, new)
                mark.write_text(record.sha256)  # before the folder: one that lies there without a mark was made here
                shutil.rmtree(folder, ignore_errors=True)
                with suppress(OSError):  # somebody else fetches it too
                    new.rename(folder)
        except FileNotFoundError:
            return False
        return folder.is_dir()

    def bring_file(self, record: CheckpointRecord) -> bool:
        """Fetch one recorded file, such as a model, into its attempt, which is here. False: the store does not have
        it."""
        place = self._place(record)
        try:
            with self._new(place.parent) as new:
                fetch(self.store, {self._key_of(record): (new / place.name, record.sha256)})
                (new / place.name).replace(place)
        except FileNotFoundError:
            return False
        return place.is_file()

    def has(self, record: CheckpointRecord, there: Mapping[str, int]) -> bool:
        """Whether the list that a record stands for is among these keys."""
        return self._key_of(record) in there

    def everything(self) -> Mapping[str, int]:
        """Key -> bytes, of the whole campaign."""
        return self.store.sizes(self.prefix)

    def _fetch(self, record: CheckpointRecord, new: Path) -> None:
        name = Path(record.path).name
        fetch(self.store, {self._key_of(record): (new / name, record.sha256)})
        digests: Mapping[str, str] = read_json(new / name)["files"]
        if name == SNAPSHOT:
            (new / name).unlink()
        else:
            digests = {each: digest for each, digest in digests.items() if each not in CHECKPOINTS}
        attempt = Attempt(self._place(record).parent)
        for each in digests:
            (new / each).parent.mkdir(parents=True, exist_ok=True)
        fetch(self.store, {self._key(attempt, each, digest): (new / each, digest) for each, digest in digests.items()})

    # Names

    def _finished_keys(self, attempt: Attempt) -> dict[str, Path]:
        result = attempt.result()
        assert result is not None, "only what has a result is finished"
        digests = {name: digest for name, digest in result.files.items() if name not in UNFINISHED}
        digests[attempt.result_file.name] = sha256_of(attempt.result_file)
        files = {self._key(attempt, name, digest): attempt.folder / name for name, digest in digests.items()}
        # Retention may have deleted the model.
        return {key: file for key, file in files.items() if file.name not in CHECKPOINTS or file.exists()}

    def _marks(self, budget: int) -> str:
        return f"{self.prefix}/concluded/{budget}"

    def _folder(self, attempt: Attempt) -> str:
        return f"{self.prefix}/{attempt.folder.parent.name}/{attempt.folder.name}"

    def _key(self, attempt: Attempt, name: str, digest: str) -> str:
        return f"{self._folder(attempt)}/{name}.{digest}"

    def _key_of(self, record: CheckpointRecord) -> str:
        place = self._place(record)
        return self._key(Attempt(place.parent), place.name, record.sha256)

    def _place(self, record: CheckpointRecord) -> Path:
        return self.runs.parent.parent / record.path

    @contextmanager
    def _new(self, beside: Path) -> Iterator[Path]:
        new = beside.parent / f".new-{uuid.uuid4().hex}"
        with writing(beside.parent):
            new.mkdir(parents=True)
        try:
            yield new
        finally:
            shutil.rmtree(new, ignore_errors=True)

    @contextmanager
    def _held(self, attempt: Attempt) -> Iterator[dict[str, Path]]:
        """Name -> a file that does not change while the trial goes on; `SNAPSHOT` -> where the list may be written.

        `last.pt` comes first, so that `model.pt` is at most one epoch older, as a training that goes on expects; the
        curve before the rest, so that every epoch in it has its series.
        """
        with self._new(attempt.folder) as new:
            files: dict[str, Path] = {}

            def hold(name: str) -> None:
                held = new / name
                held.parent.mkdir(parents=True, exist_ok=True)
                with suppress(FileNotFoundError):  # replaced at this moment, or deleted
                    _hold(attempt.folder / name, held)
                    files[name] = held

            for name in (*CHECKPOINTS, attempt.metrics_file.name):
                hold(name)
            for name in attempt.names():
                if name not in files:
                    hold(name)
            if LAST in files:
                files.pop(PREVIOUS, None)
            yield {**files, SNAPSHOT: new / f".{SNAPSHOT}"}


def fetch(store: ArtifactStore, wanted: Mapping[str, tuple[Path, str]]) -> None:
    """Fetch what lies under keys into files, and compare it: key -> file, SHA-256.

    Raises:
        FileNotFoundError: one is absent. EnvironmentFault: one is damaged.
    """
    store.get({key: file for key, (file, _) in wanted.items()})
    for key, (file, digest) in wanted.items():
        if sha256_of(file) != digest:
            raise EnvironmentFault(f"{key} in {store.where} is damaged: its SHA-256 is not the recorded one.")


def _hold(file: Path, held: Path) -> None:
    """What a trial replaces as a whole is linked, whatever it may append to is copied."""
    if file.suffix in REPLACED:
        try:
            os.link(file, held)
            return
        except FileNotFoundError:
            raise
        except OSError:  # a file system without links
            pass
    copy(file, held)


def fence_of(key: str) -> int:
    """The number of the attempt that a key belongs to."""
    found = _FENCE.search(key)
    return int(found[1]) if found else 0
