"""The supervisor with an engine whose workers are not processes and a clock that does not wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta

import pytest

from hpo.domain.campaign import Campaign, CampaignSpec, Outcome, SlotView, TierPlan, WorkerIdentity
from hpo.domain.errors import EnvironmentFault, Interrupted, StoreUnavailable
from hpo.engine.supervisor import MAX_FRUITLESS_DEATHS, Chore, StopRequest, Supervisor
from hpo.testing.clock import FakeClock
from hpo.testing.memory_ledger import MemoryLedger

LEASE = timedelta(minutes=5)


class FakeWorker:
    """Finishes a slot each time it is looked at; what it dies of, and whether it drains, is the test's to say."""

    def __init__(self, work: Callable[[], bool], codes: Sequence[int | None] = (), drains: bool = True) -> None:
        self._work, self._codes, self._drains = work, list(codes), drains
        self._code: int | None = None
        self.said: list[str] = []

    def poll(self) -> int | None:
        if self._code is None and self._codes:
            self._code = self._codes.pop(0)
        elif self._code is None and not self.said and not self._work():
            self._code = 0
        return self._code

    def drain(self) -> None:
        self.said.append("drain")
        if self._drains:
            self._code = 0

    def kill(self) -> None:
        self.said.append("kill")
        self._code = -9

    def last_words(self) -> str:
        return "no more disk"


class FakeEngine:
    """Notes which worker was started under which number."""

    def __init__(self, make: Callable[[int], FakeWorker], started: list[tuple[int, FakeWorker]]) -> None:
        self._make, self._started = make, started
        self._workers: dict[int, FakeWorker] = {}

    def start(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self._workers[number] = self._make(len(self._started))
            self._started.append((number, self._workers[number]))

    def poll(self) -> Mapping[int, int | None]:
        return {number: worker.poll() for number, worker in self._workers.items()}

    def drain(self) -> None:
        for worker in self._workers.values():
            worker.drain()

    def kill(self) -> None:
        for worker in self._workers.values():
            worker.kill()

    def last_words(self, number: int) -> str:
        return self._workers[number].last_words()


class Arena:
    """A campaign of a few slots and the workers that were started on it."""

    def __init__(self, num_slots: int = 4) -> None:
        self.clock = FakeClock()
        self.ledger = MemoryLedger(self.clock)
        spec = CampaignSpec("night", {}, {}, (TierPlan(1, "capacity", num_slots),), seed=0)
        self.campaign: Campaign = self.ledger.open_campaign(spec)
        self._worker = self.ledger.register_worker(self.campaign.id, WorkerIdentity("host", 1, 0.0))
        self.started: list[tuple[int, FakeWorker]] = []
        self.seen: list[int] = []
        self.stop = StopRequest()

    def finish_one(self) -> bool:
        """False once nothing is left."""
        claim = self.ledger.claim(self.campaign.id, self._worker, LEASE)
        if claim is not None:
            self.ledger.finish(claim, Outcome.COMPLETE, 0.1)
        return claim is not None

    def supervise(
        self,
        make: Callable[[int], FakeWorker],
        num_workers: int = 1,
        timeout: timedelta | None = None,
        since: float | None = None,
    ) -> None:
        """make: the worker that is the nth to be started, from 0."""

        def watch(slots: Sequence[SlotView]) -> None:
            self.seen.append(sum(slot.outcome is not None for slot in slots))

        engine = FakeEngine(make, self.started)
        Supervisor(self.ledger, self.campaign, engine, num_workers, self.clock, self.stop, watch, timeout, since).run()


def idle() -> bool:
    return True


def test_it_ends_when_every_slot_is_done_and_shows_every_step() -> None:
    arena = Arena(num_slots=3)
    arena.supervise(lambda _: FakeWorker(arena.finish_one))
    assert arena.seen[0] == 0
    assert arena.seen[-1] == 3
    assert len(arena.started) == 1


def test_a_dead_worker_is_replaced_under_its_number() -> None:
    arena = Arena()
    arena.supervise(lambda nth: FakeWorker(arena.finish_one, codes=[-9] if nth == 1 else []), num_workers=2)
    assert [number for number, _ in arena.started] == [1, 2, 2]


def test_a_worker_that_somebody_else_drained_is_replaced() -> None:
    arena = Arena()
    arena.supervise(lambda nth: FakeWorker(arena.finish_one, codes=[0] if nth == 0 else []))
    assert len(arena.started) == 2


def test_workers_that_keep_dying_end_the_run_with_their_last_words() -> None:
    arena = Arena()
    with pytest.raises(EnvironmentFault, match=r"(?s)exit code 1.*no more disk"):
        arena.supervise(lambda _: FakeWorker(idle, codes=[1]))
    assert len(arena.started) == MAX_FRUITLESS_DEATHS + 1


def test_deaths_between_finished_trials_are_forgiven() -> None:
    """Each worker finishes one slot before it dies, which is progress."""
    arena = Arena(num_slots=4 * MAX_FRUITLESS_DEATHS)

    def work_and_die() -> bool:
        arena.finish_one()
        return False

    class Mortal(FakeWorker):
        def poll(self) -> int | None:
            return 1 if super().poll() == 0 and not self.said else self._code

    arena.supervise(lambda _: Mortal(work_and_die))
    assert len(arena.started) >= 4 * MAX_FRUITLESS_DEATHS


def test_an_unusable_environment_is_not_tried_again() -> None:
    arena = Arena()
    with pytest.raises(EnvironmentFault, match="no more disk"):
        arena.supervise(lambda _: FakeWorker(idle, codes=[3]))
    assert len(arena.started) == 1


def test_the_first_request_drains_every_worker() -> None:
    arena = Arena()
    arena.stop.ask()
    with pytest.raises(Interrupted, match="at your request"):
        arena.supervise(lambda _: FakeWorker(idle), num_workers=2)
    assert [worker.said for _, worker in arena.started] == [["drain"], ["drain"]]


def test_the_second_request_kills_who_has_not_drained() -> None:
    arena = Arena()
    arena.stop.ask()
    arena.stop.ask()
    with pytest.raises(Interrupted):
        arena.supervise(lambda nth: FakeWorker(idle, drains=nth == 0), num_workers=2)
    assert arena.started[1][1].said == ["drain", "kill"]


def test_the_time_limit_drains() -> None:
    arena = Arena()
    with pytest.raises(Interrupted, match=r"time limit of 0:01:30"):
        arena.supervise(lambda _: FakeWorker(idle), timeout=timedelta(seconds=90))
    assert arena.clock.monotonic() >= 90
    assert arena.started[0][1].said == ["drain"]


def test_the_time_limit_of_a_sitting_is_not_begun_anew_when_its_budget_grows() -> None:
    arena = Arena()
    arena.clock.advance(timedelta(seconds=60))
    with pytest.raises(Interrupted, match=r"time limit of 0:01:30"):
        arena.supervise(lambda _: FakeWorker(idle), timeout=timedelta(seconds=90), since=0.0)
    assert 90 <= arena.clock.monotonic() < 100


def test_stop_requests_are_counted_and_the_first_one_is_told() -> None:
    told: list[str] = []
    stop = StopRequest(on_first=lambda: told.append("first"))
    stop.ask()
    stop.ask()
    assert (stop.count, told) == (2, ["first"])


def test_a_store_that_is_away_only_delays_the_projection() -> None:
    answers = iter([StoreUnavailable("MLflow is away"), None])

    def sync() -> None:
        answer = next(answers)
        if answer:
            raise answer

    projector = Chore("projector", sync, timedelta(hours=1))
    assert not projector.once()
    assert projector.problem == "MLflow is away"
    assert projector.once()
    assert projector.problem is None


def test_the_projector_works_in_the_background_until_the_end() -> None:
    passes = threading.Semaphore(0)
    with Chore("projector", passes.release, timedelta(milliseconds=1)):
        assert all(passes.acquire(timeout=10) for _ in range(3))
    while passes.acquire(blocking=False):
        pass
    assert not passes.acquire(timeout=0.05), "it went on after the end"
