"""The way from a process to the stores: it takes time, and may be cut; and a witness of all that the ledger does."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

from hpo.domain.campaign import Campaign, Claim, SlotState, SlotView
from hpo.domain.errors import LeaseLost, StoreUnavailable
from hpo.domain.ledger_invariants import invariants
from hpo.domain.ports import Ledger
from hpo.testing.memory_ledger import MemoryLedger
from support.simulation.world import Clock, Lock, Process, World

REMEMBERED = 12
"""Calls that are told of with a breach."""
LONGEST = 300
"""Characters of each."""
QUESTIONS = ("find_campaign", "campaigns", "slots", "unfinished_tiers", "check", "exclusive")
TAKES_FROM_OTHERS = ("claim", "expire_dead")


@dataclass
class Network:
    """Between the hosts and the stores. danger: how probable it is that a process meets with an accident on its way,
    which `strike` brings about. cut: host -> until when nothing of it gets through. patience: seconds after which a
    process gives up."""

    world: World
    danger: float
    strike: Callable[[Process], None]
    latency: float = 0.005
    patience: float = 60.0
    cut: dict[str, float] = field(default_factory=dict)

    def serve(self, name: str) -> None:
        """The store's turn to do a call, which takes it no time."""

    def travel(self, process: Process) -> None:
        """One way, in one direction; now and then a slow one."""
        host, draw = process.identity.host, self.world.random
        if draw.random() < self.danger:
            self.strike(process)
        slow = 1000 if draw.random() < 0.002 else 1
        self.world.sleep(draw.random() * self.latency * slow)
        given_up = self.world.now + self.patience
        while self.world.now < (until := self.cut.get(host, 0.0)):
            if until > given_up:
                self.world.sleep(given_up - self.world.now)
                raise StoreUnavailable(f"no store answered {host} for {self.patience} seconds")
            self.world.sleep(until - self.world.now)


class Link:
    """A store as one process reaches it. Each call travels there, is done at one moment, and its answer travels back; a
    call whose answer is lost has been done."""

    def __init__(self, network: Network, process: Process, store: Any, locks: dict[str, Lock] | None = None) -> None:
        self._network, self._process, self._store = network, process, store
        self._locks = {} if locks is None else locks

    def __getattr__(self, name: str) -> Callable[..., Any]:
        do = getattr(self._store, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            self._network.travel(self._process)
            self._network.serve(name)
            try:
                return do(*args, **kwargs)
            finally:
                if not self._process.dead:
                    self._network.travel(self._process)

        setattr(self, name, call)
        return call

    @contextmanager
    def exclusive(self, name: str) -> Iterator[None]:
        """A lock at the server: of a process that is cut off, as of one that is stopped, it stays."""
        self._network.travel(self._process)
        with self._network.world.holding(self._locks.setdefault(name, Lock())):
            yield


class Witness:
    """The ledger, and what it was seen to do that it must not. every: calls between two looks at the whole of it, by
    the invariants of `hpo doctor`."""

    def __init__(self, world: World, ledger: MemoryLedger, clock: Clock, every: int) -> None:
        self._world, self._ledger, self._clock, self._every = world, ledger, clock, every
        self._num_changes = 0
        self._claims: dict[int, Claim] = {}
        self._done: dict[int, SlotView] = {}
        self._decided: dict[int, Any] = {}
        self._calls: deque[tuple[float, str, tuple[Any, ...], object]] = deque(maxlen=REMEMBERED)
        self.breaches: list[str] = []
        self.num_claims = self.num_lost = 0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        do = getattr(self._ledger, name)
        if name in QUESTIONS:
            setattr(self, name, do)
            return cast("Callable[..., Any]", do)
        seen = getattr(self, f"_saw_{name}", None)

        def call(*args: Any, **kwargs: Any) -> Any:
            before = self._running(args[0]) if name in TAKES_FROM_OTHERS else None
            try:
                answer = do(*args, **kwargs)
            except LeaseLost as error:
                self.num_lost += 1
                self._calls.append((self._world.now, name, args, error))
                raise
            self._calls.append((self._world.now, name, args, answer))
            if seen is not None:
                seen(answer, before, *args, **kwargs)
            self._num_changes += 1
            if self._num_changes % self._every == 0:
                self.look(args[0].campaign_id if isinstance(args[0], Claim) else args[0])
            return answer

        setattr(self, name, call)
        return call

    def look(self, campaign_id: int) -> None:
        """Ask the whole ledger."""
        for breach in invariants(cast("Ledger", self._ledger), campaign_id):
            self.blame(breach)
        for view in self._ledger.slots(campaign_id):
            done = self._done.setdefault(view.slot, view) if view.state is SlotState.DONE else self._done.get(view.slot)
            if done is not None and done != view:
                self.blame(f"slot {view.slot} was done and has changed: {done} -> {view}")

    def blame(self, breach: str) -> None:
        """The first breach, and the calls that led to it."""
        if not self.breaches:
            calls = (f"{at:.3f} {name}{args} -> {answer!r}" for at, name, args, answer in self._calls)
            told = "\n  ".join(call if len(call) < LONGEST else f"{call[:LONGEST]} ..." for call in calls)
            self.breaches.append(f"step {self._world.steps}, second {self._world.now:.3f}: {breach}\n  {told}")

    def _running(self, campaign_id: int) -> dict[int, SlotView]:
        return {view.slot: view for view in self._ledger.slots(campaign_id) if view.state is SlotState.RUNNING}

    def _saw_claim(
        self, claim: Claim | None, before: dict[int, SlotView], campaign_id: int, worker: int, lease: timedelta
    ) -> None:
        if claim is None:
            return
        self.num_claims += 1
        last, held = self._claims.get(claim.slot), before.get(claim.slot)
        if last is not None and claim.fence <= last.fence:
            self.blame(f"slot {claim.slot} was claimed with the fence {claim.fence} after {last.fence}")
        if held is not None and held.lease_expires_at is not None and held.lease_expires_at >= self._clock.now():
            self.blame(f"slot {claim.slot} was given to a second owner while the lease of the first ran")
        if claim.slot in self._done:
            self.blame(f"slot {claim.slot} was done, and was claimed again")
        self._claims[claim.slot] = claim

    def _saw_expire_dead(
        self, ended: list[int], before: dict[int, SlotView], campaign_id: int, is_dead: Callable[[Any], bool]
    ) -> None:
        for slot in ended:
            if slot not in before or not is_dead(before[slot].worker):
                self.blame(f"slot {slot} was taken from an owner that lives")

    def _saw_renew(self, _: None, __: None, claim: Claim, *more: Any) -> None:
        if self._claims.get(claim.slot) != claim:
            self.blame(f"slot {claim.slot} was written to with the stale claim {claim.fence}")

    def _saw_bind_trial(self, _: None, __: None, claim: Claim, *more: Any) -> None:
        self._saw_renew(None, None, claim)

    def _saw_record_checkpoint(self, _: None, __: None, claim: Claim, *more: Any) -> None:
        self._saw_renew(None, None, claim)

    def _saw_release(self, _: None, __: None, claim: Claim, **more: Any) -> None:
        self._saw_renew(None, None, claim)

    def _saw_pause(self, _: None, __: None, claim: Claim, *more: Any) -> None:
        self._saw_renew(None, None, claim)

    def _saw_finish(self, _: None, __: None, claim: Claim, *more: Any) -> None:
        self._saw_renew(None, None, claim)
        if claim.slot in self._done:
            self.blame(f"slot {claim.slot} was finished twice")
        self._done[claim.slot] = self._ledger.slots(claim.campaign_id)[claim.slot - 1]

    def _saw_decide_tier(self, decision: Any, _: None, campaign_id: int, tier: int, wanted: Any) -> None:
        if self._decided.setdefault(tier, decision) != decision:
            self.blame(f"tier {tier} was decided a second time, and otherwise")

    def _saw_raise_budget(self, campaign: Campaign, _: None, campaign_id: int, num_trials: int) -> None:
        self._decided.pop(campaign.spec.tiers[-1].number, None)
        if campaign.spec.budget != num_trials or len(self._ledger.slots(campaign_id)) != num_trials:
            self.blame(f"the budget was raised to {num_trials}, and is {campaign.spec.budget}")

    def _saw_retry(self, campaign: Campaign, _: None, campaign_id: int, slots: list[int]) -> None:
        for slot in slots:
            self._done.pop(slot, None)
        self._decided = {tier: kept for tier, kept in self._decided.items() if tier in campaign.decisions}
