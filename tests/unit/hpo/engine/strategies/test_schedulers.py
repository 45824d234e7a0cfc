"""A scheduler that pauses: every trial ends complete, with exactly its epochs, however often the campaign is killed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial
from support.simulated import SimulatedRunner, configuration, open_campaign, worker
from support.training import NUM_EPOCHS, curve

from hpo.adapters.ledger.postgres_ledger import PostgresLedger
from hpo.domain.campaign import Outcome, SlotState, WorkerIdentity
from hpo.domain.config import PrunerConfig, SamplerConfig
from hpo.domain.ledger_invariants import invariants
from hpo.domain.ports import Ledger
from hpo.domain.training import Decision
from hpo.engine.objective import outcome_of
from hpo.runs.folder import SlotFolder, campaign_folder
from hpo.testing.clock import FakeClock
from hpo.testing.memory_ledger import MemoryLedger
from hpo.testing.memory_storage import MemoryStorage

RUNGS = (2, 4)


class Rungs:
    """Every trial waits at each rung until all of its tier have come that far."""

    def decide(self, study: optuna.Study, trial: FrozenTrial) -> Decision:
        return Decision.PAUSE if trial.last_step in RUNGS else Decision.CONTINUE


class Killed(BaseException):
    """The process is gone."""


@dataclass
class Campaign:
    """A campaign with its stores, whose process may be killed at any of its steps."""

    ledger: Ledger
    home: Path
    num_trials: int = 6
    kills: set[int] = field(default_factory=set)
    storage: MemoryStorage = field(default_factory=MemoryStorage)
    steps: int = 0
    starts: int = 0

    def __post_init__(self) -> None:
        self.config, self.space = configuration(
            "rungs", self.num_trials, sampler={"name": "random", "options": {}}, pruner={"name": "nop", "options": {}}
        )
        assert isinstance(self.config.sampler, SamplerConfig)
        assert isinstance(self.config.pruner, PrunerConfig)
        self.runner = SimulatedRunner(lambda folder, epoch: self.step())
        self.id = open_campaign(self.ledger, self.config, self.space).id
        pause = self.ledger.pause

        def paused(claim: Any, epoch: int) -> None:
            self.step()
            pause(claim, epoch)
            self.step()

        self.ledger.pause = paused  # type: ignore[method-assign]  # the two moments around it

    def step(self) -> None:
        self.steps += 1
        if self.steps in self.kills:
            raise Killed

    def run(self) -> None:
        """To the end, with a new process after each death."""
        while True:
            self.starts += 1
            who = WorkerIdentity("here", self.starts, 0.0)
            try:
                worker(
                    self.ledger,
                    self.storage,
                    self.home,
                    self.config,
                    self.space,
                    self.runner,
                    who,
                    is_dead=lambda other: other.pid < self.starts,
                    scheduler=lambda stage: Rungs(),
                ).run()
                return
            except Killed:
                assert invariants(self.ledger, self.id) == []

    def results(self) -> list[Any]:
        """Everything that must not depend on deaths."""
        found = []
        for slot in self.ledger.slots(self.id):
            attempt = SlotFolder(campaign_folder(self.home, "rungs"), slot.slot).current()
            assert attempt is not None
            epochs = [(record.epoch, record.score) for record in attempt.epochs()]
            found.append((slot.trial_number, slot.outcome, slot.score, slot.pauses, attempt.run()["params"], epochs))
        return found


@pytest.fixture(params=["memory", "postgres"])
def ledger(request: pytest.FixtureRequest) -> Iterator[Ledger]:
    if request.param == "memory":
        yield MemoryLedger(FakeClock())
        return
    opened = PostgresLedger(request.getfixturevalue("ledger_database_url"))
    yield opened
    opened.close()


def test_paused_trials_go_on_and_end_complete(ledger: Ledger, tmp_path: Path) -> None:
    campaign = Campaign(ledger, tmp_path)
    campaign.run()
    slots = ledger.slots(campaign.id)
    assert {(slot.state, slot.outcome, slot.pauses) for slot in slots} == {(SlotState.DONE, Outcome.COMPLETE, RUNGS)}
    for slot in slots:
        folder = SlotFolder(campaign_folder(tmp_path, "rungs"), slot.slot)
        attempt = folder.current()
        assert attempt is not None
        assert [record.score for record in attempt.epochs()] == curve(attempt.config()), "as an undisturbed training"
        trained = [epoch for name, epoch in campaign.runner.trained if name == folder.folder.name]
        assert trained == list(range(1, NUM_EPOCHS + 1)), "each epoch once"
        assert (slot.fence, slot.num_losses, slot.num_crashes) == (3, 0, 0)
    first_tier = [slot.slot for slot in slots if slot.tier == 1]
    begun = [(name, epoch) for name, epoch in campaign.runner.trained if int(name[-4:]) in first_tier]
    assert begun == [
        (f"slot-{slot:04d}", epoch) for rung in ((1, 2), (3, 4), (5, 6)) for slot in first_tier for epoch in rung
    ], "rung by rung"
    for tier in (1, 2, 3):
        for trial in optuna.load_study(study_name=_study(campaign, tier), storage=campaign.storage).trials:
            assert outcome_of(trial) is Outcome.COMPLETE


def _study(campaign: Campaign, tier: int) -> str:
    found = campaign.ledger.find_campaign("rungs")
    assert found is not None
    return found.spec.tiers[tier - 1].study_name("rungs")


def test_a_campaign_that_was_killed_anywhere_is_the_same(tmp_path: Path) -> None:
    whole = Campaign(MemoryLedger(FakeClock()), tmp_path / "whole")
    whole.run()
    assert whole.starts == 1
    for first in range(1, 12):
        kills = set(range(first, 20 * whole.steps, 7))
        killed = Campaign(MemoryLedger(FakeClock()), tmp_path / str(first), kills=kills)
        killed.run()
        assert killed.starts > 5
        assert killed.results() == whole.results()


def test_with_the_real_ledger_too(ledger: Ledger, tmp_path: Path) -> None:
    whole = Campaign(MemoryLedger(FakeClock()), tmp_path / "whole", num_trials=4)
    whole.run()
    killed = Campaign(ledger, tmp_path / "killed", num_trials=4, kills=set(range(3, 300, 5)))
    killed.run()
    assert killed.results() == whole.results()


def test_the_default_pauses_nothing(tmp_path: Path) -> None:
    config, space = configuration("plain", 3)
    ledger, runner = MemoryLedger(FakeClock()), SimulatedRunner()
    worker(ledger, MemoryStorage(), tmp_path, config, space, runner, WorkerIdentity("here", 1, 0.0)).run()
    campaign = ledger.find_campaign("plain")
    assert campaign is not None
    assert {slot.pauses for slot in ledger.slots(campaign.id)} == {()}
