"""The six seams of the search. A port exists only where two implementations ship."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from hpo.domain.campaign import (
    DEFAULT_TRAINABLE,
    Campaign,
    CampaignSpec,
    CheckpointRecord,
    Claim,
    Outcome,
    Progress,
    SlotView,
    WorkerIdentity,
)

if TYPE_CHECKING:
    from hpo.domain.training import Decision, EpochReport


class Clock(Protocol):
    """Time for waiting and for display. Leases run on the ledger's own clock, never on this one."""

    def now(self) -> datetime:
        """The current time, timezone-aware UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds, never going backwards."""
        ...

    def sleep(self, duration: timedelta) -> None: ...


class Ledger(Protocol):
    """The work: campaigns, tiers, slots, leases.

    Thread-safe. Every change of a slot is atomic. Temporary database errors are retried inside, with bounded
    back-off; after that `StoreUnavailable` is raised. Methods that take a claim raise `LeaseLost`, and change
    nothing, when the claim's fence is no longer the slot's newest or the slot is done.
    """

    def open_campaign(self, spec: CampaignSpec) -> Campaign:
        """Create the campaign with its tiers and slots, or return the one that has this name, unchanged.
        Comparing fingerprints is the caller's business. Safe when two processes do it at once."""
        ...

    def find_campaign(self, name: str) -> Campaign | None: ...

    def campaigns(self) -> Sequence[Campaign]:
        """All campaigns, newest first."""
        ...

    def raise_budget(self, campaign_id: int, num_trials: int, epochs: int | None = None) -> Campaign:
        """Append slots to the last tier until the budget is num_trials; a complete campaign runs again. epochs: the
        budget that they are a part of, where it is one in epochs.
        Raises UsageError if the budget is already larger."""
        ...

    def register_worker(self, campaign_id: int, identity: WorkerIdentity) -> int:
        """The worker's id."""
        ...

    def claim(self, campaign_id: int, worker_id: int, lease: timedelta) -> Claim | None:
        """The lowest slot that is OPEN, or RUNNING with an expired lease, in the first tier that is not finished; else
        the PAUSED one with the fewest epochs, the lowest of equals; None if there is none now (all done, or the rest of
        the tier is running elsewhere).

        A slot of tier n can be claimed only when tier n-1 has a decision (`decide_tier`). One statement with
        SKIP LOCKED on the database's clock. The fence grows with every claim; an expired lease counts as a loss.
        """
        ...

    def renew(self, claim: Claim, lease: timedelta, progress: Progress | None = None) -> None:
        """Extend the lease from now, and note the progress for whoever watches. A later epoch than was noted before
        sets the counts of crashes and losses back to 0."""
        ...

    def check(self, claim: Claim) -> None:
        """Raise LeaseLost unless the claim is still ours. Cheap; asked before every write to another store."""
        ...

    def bind_trial(self, claim: Claim, trial_number: int, run_folder: str) -> None:
        """Tie the slot to its Optuna trial. Idempotent; another number than the bound one is a ValueError."""
        ...

    def finish(self, claim: Claim, outcome: Outcome, score: float | None, reason: str | None = None) -> None:
        """DONE for ever. score: what Optuna was told; None only for FAILED. reason: for FAILED, a word and text."""
        ...

    def release(self, claim: Claim, *, crashed: bool = False) -> None:
        """Give an unfinished slot back: it is OPEN at once and keeps its trial. crashed: the trial's process died
        while its worker lived, the only thing that counts as a crash."""
        ...

    def pause(self, claim: Claim, epoch: int) -> None:
        """Give an unfinished slot back after an epoch: it is PAUSED, and keeps its trial. ValueError where it has no
        trial yet, or epoch is none."""
        ...

    def exclusive(self, name: str) -> AbstractContextManager[None]:
        """Hold a named lock that one process has at a time; it is free again when its holder ends or dies."""
        ...

    def expire_dead(self, campaign_id: int, is_dead: Callable[[WorkerIdentity], bool]) -> Sequence[int]:
        """End the leases of workers that is_dead is certain about (same host, process gone), so that nobody waits
        for them to run out. They count as losses. Returns the slots' numbers."""
        ...

    def slots(self, campaign_id: int) -> Sequence[SlotView]:
        """All slots in order."""
        ...

    def unfinished_tiers(self, campaign_id: int) -> Set[int]:
        """Numbers of the tiers with slots that are not done. Cheap, however large the budget."""
        ...

    def retry(self, campaign_id: int, slots: Collection[int], code: str | None = None) -> Campaign:
        """Open FAILED slots again: each keeps its number and fence, forgets its outcome and its files, and gives its
        trial up (`retried_trial`) for another. The campaign runs again; its tiers are decided anew from the first of
        theirs on. code: the fingerprint of the code that the campaign goes on with, where it was mended. ValueError,
        and nothing changed, unless all of them are FAILED; with `code` also where any slot holds what the code before
        has made."""
        ...

    def decide_tier(self, campaign_id: int, tier: int, decision: Mapping[str, Any]) -> Mapping[str, Any]:
        """Record a finished tier's decision; the first one wins and is returned. Unfinished if slots are."""
        ...

    def complete_campaign(self, campaign_id: int, champion: Mapping[str, Any]) -> Campaign:
        """Record the champion. Unfinished if slots are. Idempotent: the last call's champion stays."""
        ...

    def record_checkpoint(self, claim: Claim, record: CheckpointRecord) -> None:
        """Insert or replace the (slot, kind) row."""
        ...

    def checkpoints(self, campaign_id: int) -> Sequence[CheckpointRecord]:
        """All recorded files, by slot and kind."""
        ...

    def forget_checkpoints(self, campaign_id: int, slots: Collection[int]) -> None:
        """Answer for the `model` of these slots no more: retention deletes them."""
        ...

    def count_holdout_opening(self, campaign_id: int) -> int:
        """Add one and return the number of times the campaign's holdout has been opened."""
        ...

    def delete_campaign(self, campaign_id: int, first: Callable[[], None]) -> None:
        """Remove the campaign and all that belongs to it; nothing where it is gone. UsageError, and nothing changed,
        while a lease has not run out. first: takes it out of the other stores, while nobody can claim a slot; may be
        called again, and where it raises the campaign stays."""
        ...

    def close(self) -> None:
        """Give all connections back."""
        ...


@dataclass(frozen=True)
class TrialRequest:
    """Everything a trial process is given. It gets no database, no holdout, no search.

    config: resolved settings as plain JSON; data: the search part alone; folder: where its files go (and where an
    earlier attempt's checkpoint may lie). memory: bytes of this machine's memory that it may take (on CUDA counts what
    is free on the device); None: any. trainable: what trains. objective: the metric it is judged by. seed: of this
    training.
    """

    config: Mapping[str, Any]
    data: Path
    folder: Path
    memory: int | None = None
    trainable: str = DEFAULT_TRAINABLE
    objective: str = ""
    seed: int = 0


@dataclass(frozen=True)
class TrialEnd:
    """How a training run ended, as told by its runner.

    kind: `finished` (fit returned), `stopped` (a STOP decision or an interruption), `failed` (a typed failure or a
    Python error), `died` (the process ended without a word: killed, crashed), `environment` (the disk is full or not
    writable: no fault of the trial). reason: for `failed` and `died`, a stable word. excess: where the configuration
    was refused because it does not fit, by which share of the memory there is. device: on what it
    trained, and in which arithmetic.
    """

    kind: str
    score: float | None = None
    last_epoch: int | None = None
    num_parameters: int | None = None
    reason: str | None = None
    message: str | None = None
    excess: float | None = None
    device: str | None = None


class TrialRunner(Protocol):
    """Runs one training in its place (own process, or this one)."""

    def run(
        self, request: TrialRequest, on_epoch: Callable[[EpochReport], Decision], stop: Callable[[], bool]
    ) -> TrialEnd:
        """Train to the end. on_epoch is called in this process, once per epoch and again for those before a resume;
        its decision may reach the trainer while the next epoch is already running. stop is polled several times a
        second; once true, the training ends at the next step and the result is `stopped`."""
        ...

    def close(self) -> None: ...


class Engine(Protocol):
    """Runs the workers of one campaign somewhere: on this machine, under a cluster's scheduler.

    A worker has a number, from 1. The ledger alone says what is done: an engine may be slow to notice an end, and may
    lose a worker, but never starts a second one under the number of one that lives.
    """

    def start(self, numbers: Iterable[int]) -> None:
        """Start a worker under each of these numbers, of which none lives.

        Raises:
            UsageError: the settings are refused where workers are started. EnvironmentFault: no worker can be started.
        """
        ...

    def poll(self) -> Mapping[int, int | None]:
        """By number, how the worker ended that was started last under it; None while it waits, runs or ends.

        2 and 3 are the exit codes of a worker that refuses its input, or its environment, wherever it runs; a negative
        one is the signal that ended it."""
        ...

    def drain(self) -> None:
        """Ask all workers to checkpoint, release and end; those that have not begun to work never will."""
        ...

    def kill(self) -> None:
        """End all workers at once."""
        ...

    def last_words(self, number: int) -> str:
        """The end of the log of the worker of this number; empty where there is none."""
        ...


class Tracker(Protocol):
    """Projects run folders into a tracking store. Never on the training path; every call may be repeated."""

    def sync(self, campaign: Campaign, runs: Path) -> int:
        """Bring the store up to date with the run folders below runs; the number of items written.
        Raises StoreUnavailable if the store does not answer; nothing is lost then."""
        ...

    def attach_report(self, campaign: Campaign, runs: Path, files: Sequence[Path]) -> None:
        """Put a report's files at the campaign, in place of an earlier report's. StoreUnavailable as in `sync`."""
        ...

    def register_champion(self, campaign: Campaign, run_folder: Path, model: Path, *, recommended: bool) -> str | None:
        """Register the champion's model; its URI, None where there is no store. recommended: the alias `champion` goes
        to it too."""
        ...

    def delete(self, campaign: Campaign, runs: Path) -> None:
        """Take out what was written of the campaign, so that another of its name begins with nothing.
        StoreUnavailable as in `sync`."""
        ...

    def close(self) -> None: ...


class ArtifactStore(Protocol):
    """Files by key that every machine reaches. A key names one content for ever (it holds its SHA-256, which whoever
    reads compares): it is written again only with the same bytes.

    Thread-safe. Every call raises StoreUnavailable, in a sentence without secrets, where the store does not answer or
    refuses.
    """

    where: str
    """The store's URL."""

    def probe(self) -> None:
        """Write something, read it and delete it."""
        ...

    def put(self, files: Mapping[str, Path]) -> None:
        """Store the files under these keys, each whole or not at all; they may be there already."""
        ...

    def get(self, files: Mapping[str, Path]) -> None:
        """Fetch what lies under these keys into the files, whose folders exist. FileNotFoundError where one is absent;
        the others may then be there."""
        ...

    def sizes(self, prefix: str) -> Mapping[str, int]:
        """Key -> bytes, of all below this folder of keys."""
        ...

    def delete(self, keys: Collection[str]) -> None:
        """Delete what lies under these keys; absent ones are passed over."""
        ...
