"""What a worker uploads of its trials' folders, beside the training: at every epoch as much as the store takes, at the
end everything. A store that is away fails no trial."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from hpo.domain.campaign import CheckpointRecord, Claim, WorkerIdentity
from hpo.domain.errors import EnvironmentFault, LeaseLost, StoreUnavailable
from hpo.domain.ports import Ledger
from hpo.runs.folder import Attempt
from hpo.runs.stored import SNAPSHOT, StoredRuns

RETRY = timedelta(seconds=5)
"""A store that is away is asked again after this long."""
PATIENCE = timedelta(minutes=5)
"""How long a trial that another machine began waits for a store that is away, before it begins anew."""
LAST_CALL = timedelta(seconds=60)
"""How long a worker that ends waits for what is not uploaded yet."""
TICK_SECONDS = 0.2

Stop = Callable[[], bool]

logger = logging.getLogger(__name__)


class Uploads:
    """Run folders stay where they are: on this machine, or on a disk that all share."""

    def fetch(self, claim: Claim, stop: Stop) -> None:
        """Bring the slot's newest upload here, before its next attempt is opened."""

    def begin(self, claim: Claim, attempt: Attempt) -> None:
        """A trial trains in this folder from now on."""

    def keep_up(self, epoch: int, stop: Stop) -> None:
        """Before an epoch is told to anybody: wait until the store has what it must have by then."""

    def told(self, epoch: int) -> None:
        """An epoch was told: it is to be uploaded."""

    def settle(self) -> None:
        """Before an unfinished slot is given back: upload what its folder holds now."""

    def finish(self, attempt: Attempt) -> None:
        """The attempt has its result, which the ledger has recorded: upload it, before the slot is DONE."""

    def done(self, attempt: Attempt) -> None:
        """The slot is DONE: what only an unfinished trial needs may go."""

    def close(self) -> None:
        """No more trials come."""


@dataclass
class _Training:
    """A folder that a trial trains in. asked, uploaded: how often an upload was wanted, and which of these the store
    has; told, has: the newest epoch that was told, and that the store has for certain."""

    claim: Claim
    attempt: Attempt
    asked: int = 0
    uploaded: int = 0
    told: int = 0
    has: int | None = None
    is_lost: bool = False
    keys: frozenset[str] = field(default_factory=frozenset)


class StoredUploads(Uploads):
    """Uploads by a thread of its own.

    max_behind: finished epochs that a trial may be ahead of the store. As long as that answers, the trial waits for it
    rather than to be further. A claim that was lost uploads nothing more, and the ledger takes no record of it.
    """

    def __init__(
        self,
        stored: StoredRuns,
        ledger: Ledger,
        identity: WorkerIdentity,
        max_behind: int,
        retry: timedelta = RETRY,
        patience: timedelta = PATIENCE,
    ) -> None:
        self._stored, self._ledger, self._identity, self._max_behind = stored, ledger, identity, max_behind
        self._retry, self._patience = retry, patience
        self._changed = threading.Condition()
        self._training: _Training | None = None
        self._chores: deque[Callable[[], None]] = deque()
        self._is_away = self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="uploads", daemon=True)
        self._thread.start()

    def fetch(self, claim: Claim, stop: Stop) -> None:
        if claim.fence == 1:
            return
        records = self._ledger.checkpoints(claim.campaign_id)
        record = next((each for each in records if (each.slot, each.kind) == (claim.slot, "snapshot")), None)
        is_late, said = _after(self._patience), False
        while record is not None:
            try:
                if not self._stored.bring(record):
                    logger.warning("slot %d: its upload of epoch %d is gone", claim.slot, record.epoch)
                return
            except StoreUnavailable as error:
                if not said:
                    logger.warning("slot %d waits for what was uploaded of it: %s", claim.slot, error)
                said = True
                if is_late() or stop():
                    logger.warning("slot %d goes on from what is on this machine", claim.slot)
                    return
                time.sleep(min(self._retry.total_seconds(), 1.0))
            except EnvironmentFault as error:
                logger.warning("slot %d goes on from what is on this machine: %s", claim.slot, error)
                return

    def begin(self, claim: Claim, attempt: Attempt) -> None:
        with self._changed:
            self._training = _Training(claim, attempt)

    def keep_up(self, epoch: int, stop: Stop) -> None:
        with self._changed:
            training = self._training
            assert training is not None, "an epoch belongs to a training"
            if training.has is None:  # the first that is new: what was before it is in the checkpoint it came from
                training.has = epoch - 1
            self._wait(lambda: training.is_lost or epoch - (training.has or 0) <= self._max_behind, stop)

    def told(self, epoch: int) -> None:
        with self._changed:
            assert self._training is not None, "an epoch belongs to a training"
            self._training.told = epoch
            self._training.asked += 1
            self._changed.notify_all()

    def settle(self) -> None:
        with self._changed:
            training = self._training
            if training is not None and training.told:
                training.asked += 1
                self._changed.notify_all()
                self._wait(lambda: training.is_lost or training.uploaded == training.asked, _after(LAST_CALL))
            self._training = None

    def finish(self, attempt: Attempt) -> None:
        def upload() -> None:
            self._stored.put_finished(attempt)

        with self._changed:
            self._training = None
            self._chores.append(upload)
            self._changed.notify_all()
            self._wait(lambda: upload not in self._chores)

    def done(self, attempt: Attempt) -> None:
        with self._changed:
            self._chores.append(lambda: self._stored.drop_unfinished(attempt))
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._wait(lambda: not self._chores, _after(LAST_CALL))
            if self._chores:
                logger.warning("not everything is uploaded: `hpo sync` on this machine does it later")
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join(LAST_CALL.total_seconds())

    def _wait(self, until: Callable[[], bool], stop: Stop = lambda: False) -> None:
        """Until it holds, or the store is away, or somebody asks to stop; within the condition."""
        while not until() and not self._is_away and not self._is_closed and not stop():
            self._changed.wait(TICK_SECONDS)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed or self._chores or self._wanted() is not None)
                if self._is_closed:
                    return
                training, chore = self._wanted(), self._chores[0] if self._chores else None
            try:
                if training is not None:
                    self._upload(training)
                elif chore is not None:
                    chore()
                    self._forget(chore)
                self._answered()
            except StoreUnavailable as error:
                self._stayed_away(error)
            except LeaseLost:
                assert training is not None, "nothing else asks for the lease"
                with self._changed:
                    training.is_lost = True
                    self._changed.notify_all()
            except Exception as error:  # such as a run folder that somebody deleted: no trial fails of it
                logger.warning("an upload is left out: %s: %s", type(error).__name__, error)
                if training is not None:
                    self._give_up(training)
                else:
                    self._forget(chore)

    def _wanted(self) -> _Training | None:
        training = self._training
        is_wanted = training is not None and not training.is_lost and training.uploaded < training.asked
        return training if is_wanted else None

    def _upload(self, training: _Training) -> None:
        with self._changed:
            asked, told = training.asked, training.told
        claim, attempt = training.claim, training.attempt
        self._ledger.check(claim)
        digest, keys = self._stored.put_snapshot(attempt, training.keys)
        path = str((attempt.folder / SNAPSHOT).relative_to(self._stored.runs.parent.parent))
        home = str(self._stored.runs.parent.parent)
        record = CheckpointRecord(claim.slot, "snapshot", told, path, self._identity.host, home, digest)
        try:
            self._ledger.record_checkpoint(claim, record)
        except LeaseLost:
            # What was on its way meanwhile goes again, unless the ledger took it and only its answer was lost.
            taken = self._ledger.checkpoints(claim.campaign_id)
            if all(each.sha256 != digest for each in taken):
                self._stored.store.delete(keys - training.keys)
            raise
        first = not training.keys
        with self._changed:
            superseded, training.keys = training.keys - keys, keys
            training.uploaded, training.has = asked, told
            self._changed.notify_all()
        if first:
            self._stored.drop_superseded(attempt, keys)
        else:
            self._stored.store.delete(superseded)

    def _forget(self, chore: Callable[[], None] | None) -> None:
        with self._changed:
            if chore is not None and self._chores and self._chores[0] is chore:
                self._chores.popleft()
            self._changed.notify_all()

    def _give_up(self, training: _Training) -> None:
        with self._changed:  # as if it were there: the trial does not wait for what cannot be had
            training.uploaded, training.has = training.asked, training.told
            self._changed.notify_all()

    def _answered(self) -> None:
        if self._is_away:
            logger.warning("the store of artifacts answers again; what is left is uploaded")
        with self._changed:
            self._is_away = False

    def _stayed_away(self, error: StoreUnavailable) -> None:
        if not self._is_away:
            logger.warning("trials go on, and are uploaded when the store is back: %s", error)
        with self._changed:
            self._is_away = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_closed, self._retry.total_seconds())


def _after(duration: timedelta) -> Stop:
    """Whether so much time has passed since now."""
    deadline = time.monotonic() + duration.total_seconds()
    return lambda: time.monotonic() > deadline
