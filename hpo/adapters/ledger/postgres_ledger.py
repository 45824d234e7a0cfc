"""The ledger on PostgreSQL: leases on the database's clock, every method safe to repeat; what happens around an epoch
is one statement."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, delete, func, or_, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from hpo.adapters.ledger.models import CampaignRow, CheckpointRow, SlotRow, TierRow, WorkerRow
from hpo.adapters.ledger.rows import to_checkpoint, to_claim, to_identity
from hpo.adapters.ledger.statements import (
    NO_WAIT,
    add_slots,
    add_tiers,
    all_open,
    change,
    claim_slot,
    held,
    lock_campaign,
    noted,
    num_unfinished,
    put_checkpoint,
    read_campaign,
    read_slots,
    reopen,
    state_left,
)
from hpo.adapters.postgres.database import engine_for
from hpo.adapters.postgres.retry import PATIENCE, PatientEngine
from hpo.adapters.processes.clock import SystemClock
from hpo.domain import ledger_rules as rules
from hpo.domain.campaign import (
    Campaign,
    CampaignSpec,
    CampaignState,
    CheckpointRecord,
    Claim,
    Outcome,
    Progress,
    SlotState,
    SlotView,
    WorkerIdentity,
)
from hpo.domain.ports import Clock


class PostgresLedger:
    """`hpo.domain.ports.Ledger` on the schema `hpo` of the database at `url`; its docstrings are the contract.

    At most two connections (a worker's own thread and the one that renews its lease). patience: how long a
    database that does not answer is waited for, in each call.
    """

    def __init__(self, url: str, clock: Clock | None = None, patience: timedelta = PATIENCE) -> None:
        self._engine = engine_for(url, "tiertune-ledger", pool_size=1, max_overflow=1)
        self._database = PatientEngine(self._engine, clock or SystemClock(), patience)

    def open_campaign(self, spec: CampaignSpec) -> Campaign:
        rules.check_spec(spec)
        config = rules.plain_json(spec.config, "configuration")
        fingerprints = rules.plain_json(spec.fingerprints, "fingerprints")

        def work(session: Session, repeated: bool) -> Campaign:
            # Of two processes the second waits here for the first one's commit, and then finds its campaign.
            created = session.scalar(
                upsert(CampaignRow)
                .values(name=spec.name, config=config, fingerprints=fingerprints, seed=spec.seed)
                .on_conflict_do_nothing(index_elements=[CampaignRow.name])
                .returning(CampaignRow.id)
            )
            if created is not None:
                add_tiers(session, created, spec.tiers)
            return read_campaign(
                session, session.scalars(select(CampaignRow).where(CampaignRow.name == spec.name)).one()
            )

        return self._database.run(work)

    def find_campaign(self, name: str) -> Campaign | None:
        def work(session: Session, repeated: bool) -> Campaign | None:
            row = session.scalar(select(CampaignRow).where(CampaignRow.name == name))
            return None if row is None else read_campaign(session, row)

        return self._database.run(work)

    def campaigns(self) -> Sequence[Campaign]:
        def work(session: Session, repeated: bool) -> list[Campaign]:
            newest_first = select(CampaignRow).order_by(CampaignRow.id.desc())
            return [read_campaign(session, row) for row in session.scalars(newest_first).all()]

        return self._database.run(work)

    def raise_budget(self, campaign_id: int, num_trials: int, epochs: int | None = None) -> Campaign:
        def work(session: Session, repeated: bool) -> Campaign:
            campaign = lock_campaign(session, campaign_id)
            plan = read_campaign(session, campaign).spec
            if num_trials < plan.budget:
                raise rules.budget_too_small(plan.name, plan.budget, num_trials)
            if num_trials > plan.budget:
                last = session.get_one(TierRow, (campaign_id, plan.tiers[-1].number))
                added = num_trials - plan.budget
                add_slots(session, campaign_id, last.number, plan.budget, last.num_slots, added)
                last.num_slots += added
                last.decision = last.decided_at = None
                campaign.state = CampaignState.RUNNING
            if epochs is not None:
                campaign.config = rules.with_epochs(campaign.config, epochs)
            session.flush()
            return read_campaign(session, campaign)

        return self._database.run(work)

    def register_worker(self, campaign_id: int, identity: WorkerIdentity) -> int:
        def work(session: Session, repeated: bool) -> int:
            insertion = upsert(WorkerRow).values(
                campaign_id=campaign_id, host=identity.host, pid=identity.pid, started=identity.started
            )
            # The update changes nothing; it is there because only then is the row of before returned.
            return session.scalars(
                insertion.on_conflict_do_update(
                    index_elements=["campaign_id", "host", "pid", "started"],
                    set_={"host": insertion.excluded.host},
                ).returning(WorkerRow.id)
            ).one()

        return self._database.run(work)

    def claim(self, campaign_id: int, worker_id: int, lease: timedelta) -> Claim | None:
        # If the commit's answer is lost, the slot may be ours already: the token finds it, where claiming once
        # more would leave it leased to a worker that does not know.
        token = uuid4()

        def work(connection: Connection, repeated: bool) -> Claim | None:
            row = None
            if repeated:
                mine = SlotRow.campaign_id == campaign_id, SlotRow.claim_token == token, SlotRow.state == "running"
                row = connection.execute(select(SlotRow).where(*mine)).one_or_none()
            if row is None:
                row = connection.execute(claim_slot(campaign_id, worker_id, lease, token)).one_or_none()
            return None if row is None else to_claim(row)

        return self._database.alone(work)

    def renew(self, claim: Claim, lease: timedelta, progress: Progress | None = None) -> None:
        news = {} if progress is None else noted(progress)

        def work(connection: Connection, repeated: bool) -> None:
            if not change(connection, claim, NO_WAIT, lease_expires_at=func.now() + lease, **news):
                raise rules.lease_lost(claim)

        self._database.alone(work)

    def check(self, claim: Claim) -> None:
        def work(connection: Connection, repeated: bool) -> None:
            if connection.scalar(select(SlotRow.number).where(held(claim))) is None:
                raise rules.lease_lost(claim)

        self._database.alone(work)

    def bind_trial(self, claim: Claim, trial_number: int, run_folder: str) -> None:
        def work(connection: Connection, repeated: bool) -> None:
            free = or_(SlotRow.trial_number.is_(None), SlotRow.trial_number == trial_number)
            try:
                if change(connection, claim, free, trial_number=trial_number, run_folder=run_folder):
                    return
            except IntegrityError as error:
                raise rules.bound_elsewhere(claim, trial_number) from error
            bound = connection.scalar(select(SlotRow.trial_number).where(held(claim)))
            raise rules.lease_lost(claim) if bound is None else rules.rebound(claim, bound, trial_number)

        self._database.alone(work)

    def finish(self, claim: Claim, outcome: Outcome, score: float | None, reason: str | None = None) -> None:
        rules.check_result(claim, outcome, score)
        end = {"outcome": outcome.value, "score": score, "reason": reason, "finished_at": func.now()}
        self._leave(claim, SlotState.DONE, **end)

    def release(self, claim: Claim, *, crashed: bool = False) -> None:
        self._leave(claim, SlotState.OPEN, worker_id=None, num_crashes=SlotRow.num_crashes + int(crashed))

    def _leave(self, claim: Claim, state: SlotState, **values: Any) -> None:
        """End the claim."""

        def work(connection: Connection, repeated: bool) -> None:
            if change(connection, claim, state=state.value, lease_expires_at=None, **values):
                return
            # Left under our own fence, on a repeated attempt: the first one got through after all.
            if not (repeated and state_left(connection, claim) == state):
                raise rules.lease_lost(claim)

        self._database.alone(work)

    def pause(self, claim: Claim, epoch: int) -> None:
        rules.check_pause(claim, epoch)
        given_back = {"state": "paused", "worker_id": None, "lease_expires_at": None}

        def work(connection: Connection, repeated: bool) -> None:
            has_trial, pauses = SlotRow.trial_number.is_not(None), func.array_append(SlotRow.pauses, epoch)
            if change(connection, claim, has_trial, pauses=pauses, **given_back):
                return
            if connection.scalar(select(SlotRow.number).where(held(claim))) is not None:
                raise rules.not_begun(claim)
            if not (repeated and state_left(connection, claim) == SlotState.PAUSED):
                raise rules.lease_lost(claim)

        self._database.alone(work)

    def expire_dead(self, campaign_id: int, is_dead: Callable[[WorkerIdentity], bool]) -> Sequence[int]:
        freed = {"state": "open", "lease_expires_at": None, "worker_id": None, "num_losses": SlotRow.num_losses + 1}

        def work(connection: Connection, repeated: bool) -> list[int]:
            running = connection.execute(
                select(SlotRow, WorkerRow.host, WorkerRow.pid, WorkerRow.started)
                .join(WorkerRow, WorkerRow.id == SlotRow.worker_id)
                .where(SlotRow.campaign_id == campaign_id, SlotRow.state == "running")
                .order_by(SlotRow.number)
            ).all()
            dead = [to_claim(row) for row in running if is_dead(to_identity(row))]
            # Another process may have done the same meanwhile: the fence tells, and each loss counts once.
            return [claim.slot for claim in dead if change(connection, claim, **freed)]

        return self._database.alone(work)

    def slots(self, campaign_id: int) -> Sequence[SlotView]:
        return self._database.run(lambda session, _: read_slots(session, campaign_id))

    def unfinished_tiers(self, campaign_id: int) -> Set[int]:
        query = select(SlotRow.tier).distinct().where(SlotRow.campaign_id == campaign_id, SlotRow.state != "done")
        return self._database.alone(lambda connection, _: set(connection.scalars(query)))

    def retry(self, campaign_id: int, slots: Collection[int], code: str | None = None) -> Campaign:
        def work(session: Session, repeated: bool) -> Campaign:
            campaign = lock_campaign(session, campaign_id)
            if not (repeated and all_open(session, campaign_id, slots)):  # the first attempt got through
                rules.check_code(read_slots(session, campaign_id), code)
                reopen(session, campaign_id, slots)
                if code is not None:
                    campaign.fingerprints = {**campaign.fingerprints, "code": code}
                campaign.state = CampaignState.RUNNING
                session.flush()
            return read_campaign(session, campaign)

        return self._database.run(work)

    def decide_tier(self, campaign_id: int, tier: int, decision: Mapping[str, Any]) -> Mapping[str, Any]:
        plain = rules.plain_json(decision, "decision")

        def work(session: Session, repeated: bool) -> Mapping[str, Any]:
            lock_campaign(session, campaign_id)
            row = session.get(TierRow, (campaign_id, tier))
            if row is None:
                raise rules.no_tier(campaign_id, tier)
            if count := num_unfinished(session, campaign_id, tier):
                raise rules.unfinished(f"tier {tier} cannot be decided", count)
            if row.decision is None:
                now = session.scalars(select(func.now())).one()
                row.decision, row.decided_at = plain, now
            return row.decision

        return self._database.run(work)

    def complete_campaign(self, campaign_id: int, champion: Mapping[str, Any]) -> Campaign:
        plain = rules.plain_json(champion, "champion")

        def work(session: Session, repeated: bool) -> Campaign:
            campaign = lock_campaign(session, campaign_id)
            if count := num_unfinished(session, campaign_id):
                raise rules.unfinished(f"the campaign '{campaign.name}' cannot be completed", count)
            campaign.state, campaign.champion = CampaignState.COMPLETE, plain
            return read_campaign(session, campaign)

        return self._database.run(work)

    def record_checkpoint(self, claim: Claim, record: CheckpointRecord) -> None:
        rules.check_checkpoint(claim, record)

        def work(connection: Connection, repeated: bool) -> None:
            if connection.scalar(put_checkpoint(claim, record)) is None:
                raise rules.lease_lost(claim)

        self._database.alone(work)

    def checkpoints(self, campaign_id: int) -> Sequence[CheckpointRecord]:
        def work(session: Session, repeated: bool) -> list[CheckpointRecord]:
            rows = session.scalars(
                select(CheckpointRow)
                .where(CheckpointRow.campaign_id == campaign_id)
                .order_by(CheckpointRow.slot, CheckpointRow.kind)
            )
            return [to_checkpoint(row) for row in rows]

        return self._database.run(work)

    def forget_checkpoints(self, campaign_id: int, slots: Collection[int]) -> None:
        rows = CheckpointRow.campaign_id == campaign_id, CheckpointRow.slot.in_(slots), CheckpointRow.kind == "model"

        def work(connection: Connection, repeated: bool) -> None:
            connection.execute(delete(CheckpointRow).where(*rows))

        self._database.alone(work)

    def count_holdout_opening(self, campaign_id: int) -> int:
        # A token per opening instead of a number: whoever repeats the statement adds nothing.
        token = uuid4()

        def work(session: Session, repeated: bool) -> int:
            campaign = lock_campaign(session, campaign_id)
            if token not in campaign.holdout_openings:
                campaign.holdout_openings = [*campaign.holdout_openings, token]
            return len(campaign.holdout_openings)

        return self._database.run(work)

    def delete_campaign(self, campaign_id: int, first: Callable[[], None]) -> None:
        def work(session: Session, repeated: bool) -> None:
            campaign = session.get(CampaignRow, campaign_id, with_for_update=True)
            if campaign is None:
                return
            # Claims skip what is locked. A slot names its worker, so slots go before those.
            own = SlotRow.campaign_id == campaign_id
            slots = session.execute(select(SlotRow.lease_expires_at > func.now()).where(own).with_for_update())
            if any(slots.scalars()):
                raise rules.worked_on(campaign.name)
            first()
            for table in (CheckpointRow, SlotRow, WorkerRow, TierRow):
                session.execute(delete(table).where(table.campaign_id == campaign_id))
            session.delete(campaign)

        self._database.run(work)

    def exclusive(self, name: str) -> AbstractContextManager[None]:
        return self._database.exclusive(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True))

    def close(self) -> None:
        self._database.dispose()
