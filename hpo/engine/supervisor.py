"""Runs a campaign's workers on an engine, shows their progress, stops them when asked, and replaces one that dies."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from hpo.domain.campaign import Campaign, SlotState, SlotView
from hpo.domain.errors import EnvironmentFault, Interrupted, UsageError
from hpo.domain.failures import hopeless, suspects, suspicion
from hpo.domain.ports import Clock, Engine, Ledger

TICK = timedelta(seconds=0.5)
INTERRUPTED = 130
"""Exit code of a worker that somebody else asked to end, as a scheduler does at a time limit: it is no death."""
INPUT, ENVIRONMENT = 2, 3
"""Exit codes of a worker that was refused (its code changed), or whose database, disk or data are not usable: starting
another would not help."""
MAX_FRUITLESS_DEATHS = 3
"""Workers that may die in a row without a slot being finished in between, per worker."""


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
        engine: Engine,
        num_workers: int,
        clock: Clock,
        stop: StopRequest,
        on_progress: Callable[[Sequence[SlotView]], None],
        timeout: timedelta | None = None,
        since: float | None = None,
    ) -> None:
        """since: on the clock, from when on the timeout counts; None: from `run`."""
        self._since = since
        self._ledger, self._campaign, self._engine = ledger, campaign, engine
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
        since = self._clock.monotonic() if self._since is None else self._since
        deadline = None if self._timeout is None else since + self._timeout.total_seconds()
        try:
            self._engine.start(range(1, self._num_workers + 1))
            while not self._finished():
                if self._stop.count:
                    raise Interrupted("Stopped at your request.")
                if deadline is not None and self._clock.monotonic() > deadline:
                    raise Interrupted(f"Stopped: the time limit of {self._timeout} was reached.")
                self._replace_dead()
                self._clock.sleep(TICK)
        finally:
            self._end()

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

    def _replace_dead(self) -> None:
        ended = {number: code for number, code in self._engine.poll().items() if code is not None}
        if not ended or self._finished():
            return
        for number, code in ended.items():
            self._deaths += code != INTERRUPTED
            if code == INPUT:
                raise UsageError(f"A worker was refused:\n{self._engine.last_words(number)}")
            if code == ENVIRONMENT:
                raise EnvironmentFault(f"A worker had to give up:\n{self._engine.last_words(number)}")
            if self._deaths > MAX_FRUITLESS_DEATHS * self._num_workers:
                raise EnvironmentFault(
                    f"Workers keep ending (exit code {code}) without finishing a trial. "
                    f"{' '.join(map(suspicion, suspects(self._slots)))}\n"
                    f"The last one said:\n{self._engine.last_words(number)}"
                )
        self._engine.start(ended)

    def _end(self) -> None:
        """Drain, and kill on a second request."""
        self._engine.drain()
        while None in self._engine.poll().values():
            if self._stop.count > 1:
                self._engine.kill()
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
