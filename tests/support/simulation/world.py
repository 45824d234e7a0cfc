"""Virtual time: processes that wait without waiting, one at a time, in an order that a seed decides.

Each thread of a simulated process is a greenlet. It runs until it waits for something; then whoever is due next goes
on, at once, at the moment it was due. Nothing here reads a real clock, so that a seed is a history.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from greenlet import getcurrent, greenlet

from hpo.domain.campaign import WorkerIdentity
from hpo.engine import worker as engine_worker

START = datetime(2030, 1, 1, tzinfo=UTC)


class Killed(BaseException):
    """Ends the threads of a process that was killed. Not an `Exception`: nobody handles it."""


@dataclass(eq=False)
class Process:
    """A simulated process. wakes: until when it is stopped (SIGSTOP). held: the locks it holds. child: a process that
    ends itself when it hears that this one has ended. code: how it ended."""

    identity: WorkerIdentity
    dead: bool = False
    wakes: float = 0.0
    code: int | None = None
    held: list[Lock] = field(default_factory=list)
    child: Process | None = None


@dataclass(eq=False)
class Lock:
    """Held by one process at a time, free again when its holder dies."""

    owner: Process | None = None


class World:
    """Time, and all that live in it. steps: how many times somebody went on."""

    def __init__(self, seed: str, limit: int) -> None:
        self.random, self.limit = random.Random(seed), limit
        self.now, self.steps = 0.0, 0
        self.last_words: list[str] = []
        self._due: list[tuple[float, int, greenlet, Process, int]] = []
        self._order, self._pids = 0, 0
        self._hub = getcurrent()
        self._turns: dict[greenlet, int] = {}
        self._owners: dict[greenlet, Process] = {}

    def process(self, host: str) -> Process:
        """A new process, which has no thread yet."""
        self._pids += 1
        return Process(WorkerIdentity(host, self._pids, self.now))

    def spawn(self, process: Process, do: Callable[[], object]) -> Event:
        """Let a thread of the process begin; the event is set when it has ended."""
        ended = Event(self)

        def live() -> None:
            try:
                do()
            except Killed:
                pass
            finally:
                del self._owners[thread], self._turns[thread]
                ended.set()

        thread = greenlet(live, parent=self._hub)
        self._owners[thread], self._turns[thread] = process, 0
        self._push(self.now, thread)
        return ended

    def run(self, until: Callable[[], bool]) -> None:
        """Go on until that is true, nobody waits for anything, or the limit of steps is reached."""
        while self._due and self.steps < self.limit and not until():
            at, _, thread, process, turn = heapq.heappop(self._due)
            if self._turns.get(thread) != turn:
                continue  # it went on for another reason
            if process.wakes > at and not process.dead:
                self._push(process.wakes, thread)
                continue
            self.now = max(self.now, at)
            self.steps += 1
            self._turns[thread] += 1
            if process.dead:
                self._end(thread)
            else:
                thread.switch()

    def close(self) -> None:
        """End all threads that are left."""
        for thread, process in list(self._owners.items()):
            process.dead = True
            self._end(thread)

    def _end(self, thread: greenlet) -> None:
        if thread:
            thread.throw(Killed())
        else:  # it has not begun
            self._owners.pop(thread, None)
            self._turns.pop(thread, None)

    def sleep(self, seconds: float) -> None:
        """Wait, as the thread that calls."""
        thread = getcurrent()
        self._push(self.now + seconds, thread)
        self._wait(thread)

    def wake(self, thread: greenlet) -> None:
        """Let a waiting thread go on now."""
        if thread in self._owners:
            self._push(self.now, thread)

    def _push(self, at: float, thread: greenlet) -> None:
        self._order += 1
        entry = at, self._order, thread, self._owners[thread], self._turns[thread]
        heapq.heappush(self._due, entry)

    def _wait(self, thread: greenlet) -> None:
        if self._owners[thread].dead:
            raise Killed
        self._hub.switch()

    def park(self) -> None:
        """Wait until somebody wakes the thread that calls."""
        self._wait(getcurrent())

    def current(self) -> Process:
        """Whose thread it is that calls."""
        return self._owners[getcurrent()]

    def kill(self, process: Process, code: int = -9) -> None:
        """End a process at once; what it held is free, and nothing of its code runs on."""
        if process.dead:
            return
        process.dead, process.code, process.wakes = True, code, 0.0
        for lock in process.held:
            lock.owner = None
        process.held.clear()
        for thread, owner in list(self._owners.items()):
            if owner is process and thread is not getcurrent():
                self.wake(thread)
        if process.child is not None:
            self.orphan(process.child)

    def orphan(self, process: Process) -> None:
        """The pipe to a process is closed: it ends as soon as it notices, which one that is stopped does not."""

        def notice() -> None:
            self.sleep(0.05 * self.random.random())
            self.kill(process)

        if not process.dead:
            self.spawn(process, notice)

    @contextmanager
    def holding(self, lock: Lock) -> Iterator[None]:
        """Hold a lock, as the process that calls."""
        process = self.current()
        while lock.owner is not None:
            self.sleep(0.1)
        lock.owner = process
        process.held.append(lock)
        try:
            yield
        finally:
            if lock.owner is process:
                lock.owner = None
                process.held.remove(lock)


class Event:
    """`threading.Event` on virtual time."""

    def __init__(self, world: World) -> None:
        self._world, self._is_set = world, False
        self._waiting: list[greenlet] = []

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        for thread in self._waiting:
            self._world.wake(thread)
        self._waiting.clear()

    def wait(self, timeout: float | None = None) -> bool:
        if not self._is_set:
            thread = getcurrent()
            self._waiting.append(thread)
            if timeout is None:
                self._world.park()
            else:
                self._world.sleep(timeout)
            if thread in self._waiting:
                self._waiting.remove(thread)
        return self._is_set


class Thread:
    """`threading.Thread` on virtual time: another thread of the process that starts it."""

    def __init__(self, world: World, target: Callable[[], object]) -> None:
        self._world, self._target = world, target
        self._ended: Event | None = None

    def start(self) -> None:
        self._ended = self._world.spawn(self._world.current(), self._target)

    def join(self) -> None:
        assert self._ended is not None, "it was started"
        self._ended.wait()


class Clock:
    """`hpo.domain.ports.Clock` of a process, or of a server; `step` sets it forward or back, as a time server does."""

    def __init__(self, world: World, skew: float = 0.0) -> None:
        self._world, self._skew = world, timedelta(seconds=skew)

    def now(self) -> datetime:
        return START + timedelta(seconds=self._world.now) + self._skew

    def monotonic(self) -> float:
        return self._world.now

    def sleep(self, duration: timedelta) -> None:
        self._world.sleep(duration.total_seconds())

    def step(self, seconds: float) -> None:
        self._skew += timedelta(seconds=seconds)


@contextmanager
def virtual_threads(world: World) -> Iterator[None]:
    """The engine's workers make their threads in this world."""

    def thread(target: Callable[[], object], **_: Any) -> Thread:
        return Thread(world, target)

    real = engine_worker.threading
    engine_worker.threading = SimpleNamespace(Event=lambda: Event(world), Thread=thread)  # type: ignore[assignment]
    try:
        yield
    finally:
        engine_worker.threading = real
