"""The same with the engine's real objective: Optuna's studies in memory, run folders on disk, curves that are made up;
at the end the doctor examines all of it."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import optuna

from hpo.adapters.processes.ends import end_of
from hpo.domain.campaign import Campaign
from hpo.domain.ports import Ledger, TrialEnd, TrialRequest
from hpo.domain.training import Decision, EpochReport
from hpo.engine import stage
from hpo.engine.objective import Objective
from hpo.ranking.ranker import Ranker
from hpo.runs.archive import Archive
from hpo.runs.folder import Attempt, campaign_folder
from hpo.testing.memory_ledger import MemoryLedger
from hpo.testing.memory_storage import MemoryStorage
from hpo.usecases.champion import choose
from hpo.usecases.doctor.examination import Doctor
from support.simulated import CODE, configuration, open_campaign
from support.simulation.campaign import EVERY, NAME, Scene
from support.simulation.links import Link
from support.simulation.world import Clock, Event, Process, World
from support.training import train

POLL = 0.5
"""Seconds between two looks of a worker at its trial."""
MEMORY = Path("/dev/shm")
"""Where there is one, nothing waits for a disk."""


class WholeScene(Scene):
    """A campaign whose trials are real in all but their training."""

    def __init__(self, seed: str, limit: int, make: Callable[[Clock], MemoryLedger], every: int = EVERY) -> None:
        self.storage = MemoryStorage()
        self.home = Path(tempfile.mkdtemp(prefix="tiertune-simulated-", dir=MEMORY if MEMORY.is_dir() else None))
        super().__init__(seed, limit, make, every)

    def open(self, ledger: Ledger) -> Campaign:
        sampler, worker = {"name": "random"}, self.settings.model_dump(mode="json")
        self.config, self.space = configuration(NAME, self.world.random.randint(1, 24), sampler=sampler, worker=worker)
        return open_campaign(ledger, self.config, self.space)

    def play(self) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        # A tier is decided by its scores: the joint model would take most of the time, and touches no store.
        joint, stage.choose = stage.choose, lambda *_: None  # type: ignore[assignment]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                super().play()
        finally:
            stage.choose = joint
            shutil.rmtree(self.home)

    def objective(self, process: Process, link: Ledger) -> Any:
        storage = cast("optuna.storages.BaseStorage", Link(self.network, process, self.storage))
        runs = campaign_folder(self.home, NAME)
        given = self.campaign, self.config, self.space, Ranker(), link, storage, Runner(self), self.home, runs
        return Objective(*cast("Any", given), process.identity, CODE)

    def champion(self) -> Mapping[str, Any]:
        archive = Archive(campaign_folder(self.home, NAME), self.ledger.checkpoints(self.campaign.id))
        return choose(self.found(), archive).as_plain()

    def count(self) -> None:
        """What the doctor says when all is done."""
        doctor = Doctor(self.ledger, self.storage, campaign_folder(self.home, NAME), lambda: 0, lambda identity: True)
        for check in doctor.examine(NAME):
            for breach in check.breaches:
                self.witness.blame(f"{check.rule}: {breach}")


class Runner:
    """`hpo.domain.ports.TrialRunner`: a process for each trial, which goes on while its worker is stopped, up to the
    verdict that it waits for."""

    def __init__(self, scene: WholeScene) -> None:
        self._scene = scene

    def run(
        self, request: TrialRequest, on_epoch: Callable[[EpochReport], Decision], stop: Callable[[], bool]
    ) -> TrialEnd:
        world, worker = self._scene.world, self._scene.world.current()
        trial = worker.child = world.process(worker.identity.host)
        self._scene.processes.append(trial)
        pipe = Pipe(world, Attempt(request.folder))

        def live() -> None:
            pipe.outbox.append(end_of(train(request.config, pipe, request.folder, self._pass, self._save)))
            pipe.spoken.set()

        ended = world.spawn(trial, live)
        try:
            while True:
                while pipe.outbox:
                    message = pipe.outbox.pop(0)
                    if isinstance(message, TrialEnd):
                        return message
                    pipe.answer(Decision.CONTINUE if on_epoch(message) is Decision.CONTINUE else Decision.STOP)
                if ended.is_set():
                    return TrialEnd("died", message="its process was killed")
                if stop():
                    pipe.answer(Decision.STOP)
                pipe.spoken.wait(POLL)
                pipe.spoken = Event(world)
        finally:
            world.orphan(trial)
            if not ended.wait(1.0):
                world.kill(trial)
            worker.child = None

    def close(self) -> None:
        """Nothing is held."""

    def _pass(self, folder: Path, epoch: int) -> None:
        self._scene.world.sleep(self._scene.world.random.expovariate(1 / self._scene.pace))

    def _save(self) -> None:
        self._scene.world.sleep(self._scene.world.random.random() * 0.1)


class Pipe:
    """`hpo.domain.training.Reporter`, as `hpo.adapters.processes.runners.PipeReporter` is one."""

    def __init__(self, world: World, attempt: Attempt) -> None:
        self._world, self._attempt = world, attempt
        self._stopped = False
        self._answered, self.spoken = Event(world), Event(world)
        self._answered.set()
        self.outbox: list[EpochReport | TrialEnd] = []

    def report(self, report: EpochReport) -> Decision:
        self._answered.wait()
        if self._stopped:
            return Decision.STOP
        self._attempt.append_epoch(report)
        self._answered = Event(self._world)
        self.outbox.append(report)
        self.spoken.set()
        return Decision.CONTINUE

    def poll(self) -> Decision:
        return Decision.STOP if self._stopped else Decision.CONTINUE

    def decide(self) -> Decision:
        self._answered.wait()
        return self.poll()

    def answer(self, decision: Decision) -> None:
        """The worker's word."""
        self._stopped = self._stopped or decision is Decision.STOP
        self._answered.set()
