"""Runs a campaign's local workers, shows their progress, stops them when asked, and replaces one that dies."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from hpo.domain.campaign import Campaign, SlotState, SlotView
from hpo.domain.errors import EnvironmentFault, Interrupted, UsageError
from hpo.domain.failures import hopeless, suspects, suspicion
from hpo.domain.ports import Clock, Ledger

TICK = timedelta(seconds=0.5)
INPUT, ENVIRONMENT = 2, 3
"""Exit codes of a worker that was refused (its code changed), or whose database, disk or data are not usable: starting
another would not help."""
MAX_FRUITLESS_DEATHS = 3
"""Workers that may die in a row without a slot being finished in between, per worker."""


class WorkerProcess(Protocol):
    """A started worker, as the supervisor handles it."""

    def poll(self) -> int | None:
        """Its exit code, None while it lives."""
        ...

    def drain(self) -> None:
        """Ask it to checkpoint, release and end."""
        ...

    def kill(self) -> None:
        """End it at once."""
        ...

    def last_words(self) -> str:
        """The end of its log."""
        ...


@dataclass
class StopRequest:
    """What the user's signals ask for: the first drains, the second kills. on_first: called once, by the first."""

    on_first: Callable[[], None] = lambda: None
    count: int = 0

    def ask(self) -> None:
        self.count += 1
        if self.count == 1:
            self.on_first()


class Supervisor:
    """Keeps `num_workers` workers on a campaign until its last slot is done."""

    def __init__(
        self,
        ledger: Ledger,
        campaign: Campaign,
        start_worker: Callable[[int], WorkerProcess],
        num_workers: int,
        clock: Clock,
        stop: StopRequest,
        on_progress: Callable[[Sequence[SlotView]], None],
        timeout: timedelta | None = None,
    ) -> None:
        self._ledger, self._campaign, self._start = ledger, campaign, start_worker
        self._num_workers, self._clock, self._stop = num_workers, clock, stop
        self._on_progress, self._timeout = on_progress, timeout
        self._deaths = 0
        self._num_done = 0
        self._slots: Sequence[SlotView] = ()
        self._before: set[int] | None = None

    def run(self) -> None:
        """Return when every slot is done.

        Raises:
            Interrupted: the user asked to stop, or the time limit was reached; everything is saved.
            EnvironmentFault: workers keep dying without finishing anything, or cannot work here.
            UsageError: the same, for a reason that lies in the settings.
        """
        deadline = None if self._timeout is None else self._clock.monotonic() + self._timeout.total_seconds()
        workers = {number: self._start(number) for number in range(1, self._num_workers + 1)}
        try:
            while not self._finished():
                if self._stop.count:
                    raise Interrupted("Stopped at your request.")
                if deadline is not None and self._clock.monotonic() > deadline:
                    raise Interrupted(f"Stopped: the time limit of {self._timeout} was reached.")
                self._replace_dead(workers)
                self._clock.sleep(TICK)
        finally:
            self._end(list(workers.values()))

    def _finished(self) -> bool:
        slots = self._slots = self._ledger.slots(self._campaign.id)
        self._on_progress(slots)
        num_done = sum(slot.state is SlotState.DONE for slot in slots)
        if self._before is None:
            self._before = {slot.slot for slot in slots if slot.state is SlotState.DONE}
        if num_done > self._num_done:
            self._num_done, self._deaths = num_done, 0
            reason = hopeless(self._campaign.name, slots, self._before)
            if reason is not None and num_done < len(slots):
                raise reason
        return num_done == len(slots)

    def _replace_dead(self, workers: dict[int, WorkerProcess]) -> None:
        for number, worker in workers.items():
            code = worker.poll()
            if code is None:
                continue
            if self._finished():
                return
            self._deaths += 1
            if code == INPUT:
                raise UsageError(f"A worker was refused:\n{worker.last_words()}")
            if code == ENVIRONMENT:
                raise EnvironmentFault(f"A worker had to give up:\n{worker.last_words()}")
            if self._deaths > MAX_FRUITLESS_DEATHS * self._num_workers:
                raise EnvironmentFault(
                    f"Workers keep ending (exit code {code}) without finishing a trial. "
                    f"{' '.join(map(suspicion, suspects(self._slots)))}\nThe last one said:\n{worker.last_words()}"
                )
            workers[number] = self._start(number)

    def _end(self, workers: list[WorkerProcess]) -> None:
        """Drain, and kill on a second request."""
        for worker in workers:
            if worker.poll() is None:
                worker.drain()
        while any(worker.poll() is None for worker in workers):
            if self._stop.count > 1:
                for worker in workers:
                    worker.kill()
            self._clock.sleep(TICK / 5)


class Chore:
    """Does something again and again in the background, such as bringing the tracking store up to date; an outage only
    delays it."""

    def __init__(self, name: str, do: Callable[[], object], every: timedelta) -> None:
        self._do, self._every = do, every
        self._ended = threading.Event()
        self.problem: str | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Chore:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(self._every.total_seconds()):
            self.once()

    def once(self) -> bool:
        """One pass; False if what it needs could not be reached (`problem` says why)."""
        try:
            self._do()
        except EnvironmentFault as error:
            self.problem = str(error)
            return False
        self.problem = None
        return True
