"""Many workers at once, broken connections and lost answers: nothing is claimed or counted twice on Postgres."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from psycopg2 import OperationalError  # type: ignore[import-untyped]  # the driver has no types
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import OperationalError as DBAPIRefusal

from hpo.adapters.ledger.postgres_ledger import PostgresLedger
from hpo.adapters.ledger.statements import claim_slot
from hpo.adapters.postgres.retry import Patience, is_there, single_statements
from hpo.adapters.postgres.urls import canonical, parse
from hpo.domain.campaign import CampaignSpec, Claim, Outcome, Progress, SlotState, TierPlan, WorkerIdentity
from hpo.domain.errors import EnvironmentFault, StoreUnavailable
from hpo.domain.ledger_invariants import invariants
from hpo.testing.clock import FakeClock

LEASE = timedelta(hours=1)
NUM_WORKERS = 6
NUM_SLOTS = 60
SPEC = CampaignSpec("race", {}, {}, (TierPlan(1, "only", NUM_SLOTS),), 0)
Result = TypeVar("Result")


@pytest.fixture
def ledgers(ledger_database_url: str) -> Iterator[list[PostgresLedger]]:
    """One ledger, with connections of its own, for each worker."""
    opened = [PostgresLedger(ledger_database_url) for _ in range(NUM_WORKERS)]
    yield opened
    checked_out = [_engine(ledger).pool.checkedout() for ledger in opened]  # type: ignore[attr-defined]  # QueuePool's
    for ledger in opened:
        ledger.close()
    assert checked_out == [0] * NUM_WORKERS


@pytest.fixture
def ledger(ledgers: list[PostgresLedger]) -> PostgresLedger:
    return ledgers[0]


def _engine(ledger: PostgresLedger) -> Engine:
    return ledger._database._engine


def at_once(calls: Sequence[Callable[[], Result]]) -> list[Result]:
    """Start all calls at the same moment; their results, or the first error."""
    gate = threading.Barrier(len(calls))

    def run(call: Callable[[], Result]) -> Result:
        gate.wait(timeout=30)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result(timeout=60) for future in [pool.submit(run, call) for call in calls]]


def open_race(ledger: PostgresLedger) -> tuple[int, int]:
    campaign_id = ledger.open_campaign(SPEC).id
    return campaign_id, ledger.register_worker(campaign_id, WorkerIdentity("host", 1, 0.0))


def test_no_slot_is_claimed_twice(ledgers: list[PostgresLedger]) -> None:
    campaign_id, worker = open_race(ledgers[0])

    def work(ledger: PostgresLedger) -> list[Claim]:
        claims = []
        while claim := ledger.claim(campaign_id, worker, LEASE):
            claims.append(claim)
        return claims

    per_worker = at_once([lambda ledger=ledger: work(ledger) for ledger in ledgers])  # type: ignore[misc]  # bound now
    slots = [claim.slot for claims in per_worker for claim in claims]
    assert sorted(slots) == list(range(1, NUM_SLOTS + 1))
    assert sum(bool(claims) for claims in per_worker) > 1, "the workers did not overlap"
    assert invariants(ledgers[0], campaign_id) == []


def test_nobody_claims_a_slot_of_a_campaign_that_is_being_deleted(ledgers: list[PostgresLedger]) -> None:
    campaign_id, worker = open_race(ledgers[0])
    found: list[Claim | None] = []
    ledgers[0].delete_campaign(campaign_id, lambda: found.append(ledgers[1].claim(campaign_id, worker, LEASE)))
    assert found == [None]
    assert ledgers[1].find_campaign(SPEC.name) is None
    assert ledgers[1].claim(campaign_id, worker, LEASE) is None


def test_a_connection_used_for_single_statements_has_transactions_again(ledger: PostgresLedger) -> None:
    engine = _engine(ledger)
    with single_statements(engine) as connection:
        driver = connection.connection.dbapi_connection
        connection.execute(text("SELECT 1"))
        assert driver is not None
        assert driver.autocommit
    assert not driver.autocommit


def test_an_expired_slot_goes_to_one_worker(ledgers: list[PostgresLedger]) -> None:
    spec = CampaignSpec("race", {}, {}, (TierPlan(1, "only", 1),), 0)
    campaign_id = ledgers[0].open_campaign(spec).id
    worker = ledgers[0].register_worker(campaign_id, WorkerIdentity("host", 1, 0.0))
    for fence in range(1, 6):
        claims = at_once([lambda x=x: x.claim(campaign_id, worker, LEASE) for x in ledgers])  # type: ignore[misc]
        (claim,) = filter(None, claims)
        assert (claim.fence, claim.num_losses) == (fence, fence - 1)
        ledgers[0].renew(claim, timedelta())


def test_one_campaign_is_created(ledgers: list[PostgresLedger]) -> None:
    campaigns = at_once([lambda x=x: x.open_campaign(SPEC) for x in ledgers])  # type: ignore[misc]
    assert len({campaign.id for campaign in campaigns}) == 1
    assert len(ledgers[0].slots(campaigns[0].id)) == NUM_SLOTS


def test_a_dead_worker_is_lost_once(ledgers: list[PostgresLedger]) -> None:
    campaign_id, worker = open_race(ledgers[0])
    assert ledgers[0].claim(campaign_id, worker, LEASE) is not None
    ended = at_once([lambda x=x: x.expire_dead(campaign_id, lambda _: True) for x in ledgers])  # type: ignore[misc]
    assert sum(len(slots) for slots in ended) == 1
    assert ledgers[0].slots(campaign_id)[0].num_losses == 1


def test_budget_and_decision_do_not_cross(ledgers: list[PostgresLedger]) -> None:
    """Either the tier is decided first and then opened again, or it grows first and cannot be decided."""
    campaign_id = ledgers[0].open_campaign(CampaignSpec("race", {}, {}, (TierPlan(1, "only", 1),), 0)).id
    worker = ledgers[0].register_worker(campaign_id, WorkerIdentity("host", 1, 0.0))
    for budget in range(2, 7):
        claim = ledgers[0].claim(campaign_id, worker, LEASE)
        assert claim is not None
        ledgers[0].finish(claim, Outcome.COMPLETE, 0.1)

        def decide() -> object:
            try:
                return ledgers[1].decide_tier(campaign_id, 1, {})
            except ValueError as error:
                return str(error)

        at_once([decide, lambda budget=budget: ledgers[0].raise_budget(campaign_id, budget)])  # type: ignore[misc]
        assert ledgers[0].campaigns()[0].decisions == {}
        assert invariants(ledgers[0], campaign_id) == []


class LostAnswers:
    """Lets the next commit happen and then breaks the connection, as a failing network would."""

    def __init__(self, ledger: PostgresLedger, monkeypatch: pytest.MonkeyPatch) -> None:
        self.num_lost = 0
        self._armed = False
        commit = _engine(ledger).dialect.do_commit

        def do_commit(connection: Any) -> None:
            commit(connection)
            if self._armed:
                self._armed, self.num_lost = False, self.num_lost + 1
                connection.close()
                raise OperationalError("server closed the connection unexpectedly")

        monkeypatch.setattr(_engine(ledger).dialect, "do_commit", do_commit)

    def arm(self) -> None:
        self._armed = True


@pytest.fixture
def lost(ledger: PostgresLedger, monkeypatch: pytest.MonkeyPatch) -> Iterator[LostAnswers]:
    answers = LostAnswers(ledger, monkeypatch)
    yield answers
    assert answers.num_lost > 0, "no answer was lost: the test proves nothing"


class TestLostAnswer:
    """The commit took place, its answer did not arrive, the call is repeated."""

    def test_claim_gets_the_same_slot(self, ledger: PostgresLedger, lost: LostAnswers) -> None:
        campaign_id, worker = open_race(ledger)
        lost.arm()
        claim = ledger.claim(campaign_id, worker, LEASE)
        assert claim is not None
        assert (claim.slot, claim.fence) == (1, 1)
        assert sum(slot.state is SlotState.RUNNING for slot in ledger.slots(campaign_id)) == 1

    def test_finish_and_release_succeed(self, ledger: PostgresLedger, lost: LostAnswers) -> None:
        campaign_id, worker = open_race(ledger)
        first, second = ledger.claim(campaign_id, worker, LEASE), ledger.claim(campaign_id, worker, LEASE)
        assert first is not None
        assert second is not None
        lost.arm()
        ledger.finish(first, Outcome.COMPLETE, 0.5)
        lost.arm()
        ledger.release(second, crashed=True)
        slots = ledger.slots(campaign_id)
        assert (slots[0].outcome, slots[0].score) == (Outcome.COMPLETE, 0.5)
        assert (slots[1].state, slots[1].num_crashes) == (SlotState.OPEN, 1)

    def test_nothing_is_counted_twice(self, ledger: PostgresLedger, lost: LostAnswers) -> None:
        lost.arm()
        campaign_id = ledger.open_campaign(SPEC).id
        identity = WorkerIdentity("host", 1, 0.0)
        lost.arm()
        worker = ledger.register_worker(campaign_id, identity)
        assert ledger.register_worker(campaign_id, identity) == worker
        lost.arm()
        assert ledger.raise_budget(campaign_id, NUM_SLOTS + 2).spec.budget == NUM_SLOTS + 2
        lost.arm()
        assert ledger.count_holdout_opening(campaign_id) == 1
        claim = ledger.claim(campaign_id, worker, LEASE)
        assert claim is not None
        lost.arm()
        ledger.renew(claim, LEASE, Progress(2))
        lost.arm()
        ledger.bind_trial(claim, 0, "/runs/1")
        lost.arm()
        ledger.expire_dead(campaign_id, lambda _: True)
        assert ledger.slots(campaign_id)[0].num_losses == 1
        assert len(ledger.slots(campaign_id)) == NUM_SLOTS + 2
        claim = ledger.claim(campaign_id, worker, LEASE)
        assert claim is not None
        ledger.finish(claim, Outcome.FAILED, None, "error: x")
        lost.arm()
        ledger.retry(campaign_id, [claim.slot])
        assert ledger.slots(campaign_id)[0].retried_trial == 0


def test_terminated_connections_are_survived(ledger: PostgresLedger, ledger_database_url: str) -> None:
    campaign_id, worker = open_race(ledger)
    engine = create_engine(canonical(ledger_database_url))
    for _ in range(3):
        with engine.begin() as connection:
            others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tiertune-ledger'"
            assert connection.execute(text(others)).all()
        assert ledger.claim(campaign_id, worker, LEASE) is not None
    engine.dispose()
    assert sum(slot.state is SlotState.RUNNING for slot in ledger.slots(campaign_id)) == 3


def test_a_lock_whose_server_went_away_amid_its_work_ends_quietly(
    ledger: PostgresLedger, ledger_database_url: str
) -> None:
    """More often than the pool has places, all of which must come back."""
    engine = create_engine(canonical(ledger_database_url))
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tiertune-ledger'"
    for _ in range(4):
        with ledger.exclusive("conclusion"), engine.begin() as connection:
            assert connection.execute(text(others)).all()
    engine.dispose()
    with ledger.exclusive("conclusion"):
        assert ledger.campaigns() == []


def test_patience_ends_with_a_sentence() -> None:
    clock = FakeClock()
    ledger = PostgresLedger("postgresql://u:s3cret@/nowhere?host=/nonexistent", clock, timedelta(seconds=30))
    with pytest.raises(StoreUnavailable, match="'nowhere' on /nonexistent did not answer for 30 seconds") as caught:
        ledger.campaigns()
    assert "s3cret" not in str(caught.value)
    assert 25 < clock.monotonic() <= 30


def test_a_database_that_is_not_there_is_not_waited_for(ledger_database_url: str) -> None:
    clock = FakeClock()
    ledger = PostgresLedger(f"{ledger_database_url.split('?')[0]}_not_there?{ledger_database_url.split('?')[1]}", clock)
    with pytest.raises(EnvironmentFault, match=r"cannot be used: .* does not exist.* HPO_DATABASE_URL is right"):
        ledger.campaigns()
    assert clock.monotonic() == 0


def test_the_claim_uses_its_index(ledger: PostgresLedger, ledger_database_url: str) -> None:
    """With many finished slots, claiming must not read them all."""
    spec = CampaignSpec("large", {}, {}, (TierPlan(1, "only", 5000),), 0)
    campaign_id = ledger.open_campaign(spec).id
    worker = ledger.register_worker(campaign_id, WorkerIdentity("host", 1, 0.0))
    done = "state = 'done', outcome = 'failed', finished_at = now()"
    engine = create_engine(canonical(ledger_database_url))
    with engine.connect() as connection:
        connection.execute(text(f"UPDATE hpo.slot SET {done} WHERE number <= 4900"))
        connection.execute(text("ANALYZE hpo.slot"))
        token = "00000000-0000-0000-0000-000000000000"
        statement = claim_slot(campaign_id, worker, LEASE, token).compile(  # type: ignore[arg-type]  # quoted by psycopg2
            engine
        )
        cursor = connection.connection.cursor()
        cursor.execute(f"EXPLAIN {statement}", statement.params)
        plan = "\n".join(row[0] for row in cursor.fetchall())
        connection.rollback()
    engine.dispose()
    assert "ix_slot_unfinished" in plan
    assert "Seq Scan on slot" not in plan, plan


@pytest.mark.parametrize("limit", ["statement_timeout", "lock_timeout"])
def test_a_lock_that_is_held_longer_than_the_server_waits_is_waited_for(ledger_database_url: str, limit: str) -> None:
    """A server of the user's own may end what takes too long; that is no reason to fail a trial."""
    url = parse(ledger_database_url).update_query_dict({"options": f"-c{limit}=100ms"})
    ledger = PostgresLedger(url.render_as_string(hide_password=False))
    campaign_id, worker = open_race(ledger)
    engine = create_engine(canonical(ledger_database_url))
    with ThreadPoolExecutor(1) as pool, engine.connect() as connection:
        connection.execute(text("LOCK TABLE hpo.slot"))
        waiting = pool.submit(ledger.claim, campaign_id, worker, LEASE)
        with pytest.raises(TimeoutError):
            waiting.result(timeout=1.0)
        connection.rollback()
        claim = waiting.result(timeout=30)
    assert claim is not None
    assert (claim.slot, claim.fence) == (1, 1)
    engine.dispose()
    ledger.close()


@pytest.mark.parametrize(
    ("words", "statement", "is_waited_for"),
    [
        ("FATAL:  sorry, too many clients already", None, True),
        ("FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute", None, True),
        ('FATAL:  too many connections for role "quant"', None, True),
        ("FATAL:  the database system is starting up", None, True),
        ('could not translate host name "nowhere" to address: Name or service not known', None, False),
        ('FATAL:  password authentication failed for user "quant"', None, False),
        ("Connection refused", None, False),
        ("server closed the connection unexpectedly", None, False),
        ("server closed the connection unexpectedly", "SELECT 1", True),
    ],
)
def test_at_first_contact_a_server_is_waited_for_that_is_full_or_has_taken_the_connection(
    words: str, statement: str | None, is_waited_for: bool
) -> None:
    """statement: what was sent; SQLAlchemy says None where no connection came about."""
    clock, engine = FakeClock(), create_engine("postgresql+psycopg2://u@nowhere/d")
    answers = iter([DBAPIRefusal(statement, None, OperationalError(words)), None])

    def contact(_: bool) -> str:
        if (error := next(answers)) is not None:
            raise error
        return "connected"

    patience = Patience(engine.url.render_as_string(hide_password=False), clock, passing=is_there)
    if is_waited_for:
        assert patience.run(contact) == "connected"
        assert clock.monotonic() > 0
    else:
        with pytest.raises(EnvironmentFault, match="cannot be used"):
            patience.run(contact)
