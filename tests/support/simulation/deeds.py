"""What a trial does to the ledger, without training and without Optuna: the calls of `hpo.engine.objective.Objective`,
in its order, with every end a trial can come to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hpo.domain.campaign import Campaign, CheckpointRecord, Claim, Outcome, Progress
from hpo.domain.errors import EnvironmentFault
from hpo.domain.ports import Ledger
from support.simulation.world import World

DIGEST = "0" * 64


@dataclass
class Studies:
    """What Optuna holds of a campaign: tier -> the slots of its trials in order; and how trials ended."""

    trials: dict[int, list[int]] = field(default_factory=dict)
    told: dict[tuple[int, int], Outcome] = field(default_factory=dict)
    epochs: dict[tuple[int, int], int] = field(default_factory=dict)

    def find(self, claim: Claim) -> int | None:
        """The slot's trial; the first one that was not given up."""
        beyond = -1 if claim.retried_trial is None else claim.retried_trial
        own = (n for n, slot in enumerate(self.trials.get(claim.tier, ())) if slot == claim.slot and n > beyond)
        return next(own, None)


class Deeds:
    """Stands where the worker has its objective."""

    def __init__(
        self, world: World, ledger: Ledger, studies: Studies, pace: float, lease: Any, max_crashes: int
    ) -> None:
        self._world, self._ledger, self._studies = world, ledger, studies
        self._pace, self._lease, self._max_crashes = pace, lease, max_crashes

    def run(self, claim: Claim, stop: Callable[[], bool], overdue: Callable[[], bool]) -> None:
        number = self._studies.find(claim)
        if number is None:
            self._ledger.check(claim)
            self._studies.trials.setdefault(claim.tier, []).append(claim.slot)
            self._world.sleep(self._world.random.random() * 0.1)
            number = self._studies.find(claim)
            assert number is not None
        self._ledger.bind_trial(claim, number, f"slot-{claim.slot:04d}")
        trial = claim.tier, number
        if trial in self._studies.told:
            self._finish(claim, trial, self._studies.told[trial])
        elif claim.num_crashes >= self._max_crashes:
            self._conclude(claim, trial, Outcome.FAILED)
        else:
            self._train(claim, trial, stop)

    def close(self) -> None:
        """Nothing is held."""

    def _train(self, claim: Claim, trial: tuple[int, int], stop: Callable[[], bool]) -> None:
        draw = self._world.random
        while self._studies.epochs.get(trial, 0) < 4:
            self._world.sleep(draw.expovariate(1 / self._pace))
            if stop():
                self._ledger.release(claim)
                return
            chance = draw.random()
            if chance < 0.03:
                self._ledger.release(claim, crashed=True)
                return
            if chance < 0.031:
                self._ledger.release(claim)
                raise EnvironmentFault("the disk is full")
            epoch = self._studies.epochs.get(trial, 0) + 1
            self._ledger.renew(claim, self._lease, Progress(epoch, epoch / 10))
            self._studies.epochs[trial] = max(epoch, self._studies.epochs.get(trial, 0))
            if chance < 0.1 and epoch not in claim.pauses:
                self._ledger.pause(claim, epoch)
                return
            if chance < 0.2:
                break
        self._conclude(claim, trial, draw.choice((Outcome.COMPLETE, Outcome.COMPLETE, Outcome.PRUNED, Outcome.FAILED)))

    def _conclude(self, claim: Claim, trial: tuple[int, int], outcome: Outcome) -> None:
        self._ledger.check(claim)
        for kind in ("result", "model"):
            self._ledger.record_checkpoint(claim, CheckpointRecord(claim.slot, kind, 1, "x", "host", "/home", DIGEST))
        self._finish(claim, trial, self._studies.told.setdefault(trial, outcome))

    def _finish(self, claim: Claim, trial: tuple[int, int], outcome: Outcome) -> None:
        self._world.sleep(self._world.random.random() * 0.01)
        score = None if outcome is Outcome.FAILED else trial[1] / 100
        self._ledger.finish(claim, outcome, score, "error: made up" if outcome is Outcome.FAILED else None)

    def decide(self, campaign: Campaign, tier: int) -> Mapping[str, Any]:
        """Of whoever decides: another one each time, so that a second decision would show."""
        return {"values": {}, "by": self._world.current().identity.pid}
