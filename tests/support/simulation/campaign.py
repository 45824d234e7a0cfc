"""A campaign on virtual time: sittings with their real supervisors, workers on several hosts, and what befalls them."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

from hpo.domain.campaign import Campaign, CampaignSpec, CampaignState, Outcome, SlotState, WorkerIdentity
from hpo.domain.config import TierPolicy, WorkerConfig
from hpo.domain.errors import HpoError, UsageError
from hpo.domain.ports import Ledger
from hpo.engine.supervisor import StopRequest, Supervisor
from hpo.engine.tiers import plan_tiers
from hpo.engine.worker import Worker
from hpo.testing.memory_ledger import MemoryLedger
from support.simulation.deeds import Deeds, Studies
from support.simulation.links import Link, Network, Witness
from support.simulation.world import Clock, Event, Lock, Process, World, virtual_threads

NAME = "simulated"
LEASE = 10.0
HOSTS = ("north", "south", "east")
EVERY = 400
"""Changes of the ledger between two looks at the whole of it."""


@dataclass
class Account:
    """What happened, over all campaigns of a seed. breaches: of the first campaign that shows one."""

    campaigns: int = 0
    steps: int = 0
    claims: int = 0
    lost_leases: int = 0
    accidents: Counter[str] = field(default_factory=Counter)
    breaches: list[str] = field(default_factory=list)


@dataclass
class Crew:
    """`hpo.domain.ports.Engine`: the workers of one sitting, on its host."""

    scene: Scene
    host: str
    drains: dict[int, Event] = field(default_factory=dict)
    workers: dict[int, Process] = field(default_factory=dict)

    def start(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self.drains[number] = Event(self.scene.world)
            self.workers[number] = self.scene.start_worker(self.host, self.drains[number])

    def poll(self) -> Mapping[int, int | None]:
        return {number: worker.code for number, worker in self.workers.items()}

    def drain(self) -> None:
        for event in self.drains.values():
            event.set()

    def kill(self) -> None:
        for worker in self.workers.values():
            self.scene.world.kill(worker)

    def last_words(self, number: int) -> str:
        return "nothing"


class Scene:
    """One campaign, from its opening until it is complete and nobody works on it.

    make: the ledger's twin, from the clock of the database. every: see `Witness`.
    """

    def __init__(self, seed: str, limit: int, make: Callable[[Clock], MemoryLedger], every: int = EVERY) -> None:
        self.world = World(seed, limit)
        draw = self.world.random
        self.clock = Clock(self.world)
        self.settings = WorkerConfig(lease=timedelta(seconds=LEASE), max_losses=draw.choice((3, 100)))
        self.pace = draw.choice((0.2, 1.0, 5.0))
        self.trouble = draw.choice((2.0, 8.0, 30.0))
        twin = make(self.clock)
        self.witness = Witness(self.world, twin, self.clock, every)
        self.network = Network(self.world, draw.choice((0.0, 0.001, 0.004)), self._strike)
        self.locks: dict[str, Lock] = {}
        self.processes: list[Process] = []
        self.sittings: dict[str, tuple[Process, Crew, StopRequest]] = {}
        self.accidents: Counter[str] = Counter()
        self.studies = Studies()
        self.campaign = self.open(twin)
        self.fate = self.world.process("nowhere")
        self.raises, self.open_hosts = draw.randint(0, 2), 0

    def open(self, ledger: Ledger) -> Campaign:
        """The campaign, of any size."""
        tiers = plan_tiers(self.world.random.randint(1, 60), ["capacity", "regularisation", "loss"], TierPolicy())
        return ledger.open_campaign(CampaignSpec(NAME, {}, {"code": "x"}, tiers, 0))

    @property
    def ledger(self) -> Ledger:
        """As the witness sees it, without a way between."""
        return cast("Ledger", self.witness)

    def play(self) -> None:
        """Let it happen."""
        self.open_hosts = self.world.random.randint(1, len(HOSTS))
        for host in HOSTS[: self.open_hosts]:
            self.world.spawn(self.fate, lambda host=host: self._sit(host))
        self.world.spawn(self.fate, self._befall)
        with virtual_threads(self.world):
            try:
                self.world.run(lambda: bool(self.witness.breaches) or self._is_over())
            finally:
                self.world.close()
        self.witness.look(self.campaign.id)
        if self._is_over():
            self.count()

    def _is_over(self) -> bool:
        return not self.open_hosts and all(process.dead for process in self.processes)

    def found(self) -> Campaign:
        campaign = self.ledger.find_campaign(NAME)
        assert campaign is not None
        return campaign

    def count(self) -> None:
        """Nothing lost, nothing twice."""
        told = Counter(slot for slots in self.studies.trials.values() for slot in slots)
        for view in self.ledger.slots(self.campaign.id):
            if view.state is not SlotState.DONE or not told[view.slot]:
                self.witness.breaches.append(f"slot {view.slot} is {view.state}, with {told[view.slot]} trials")

    def _sit(self, host: str) -> None:
        """Somebody runs the campaign on this host until it is complete, however often that is broken off."""
        draw = self.world.random
        while self.found().state is not CampaignState.COMPLETE or self.raises:
            self.world.sleep(draw.expovariate(1 / 5.0))
            process = self.world.process(host)
            self.processes.append(process)
            ended = self.world.spawn(process, lambda process=process: self._end_with(process, self._supervise))
            ended.wait()
            _, crew, _ = self.sittings.pop(host, (None, None, None))
            if crew is not None:
                crew.drain()  # their standard input has closed
        self.open_hosts -= 1

    def _supervise(self, process: Process) -> None:
        host, draw = process.identity.host, self.world.random
        link = cast("Ledger", Link(self.network, process, self.witness, self.locks))
        self._change_mind(link)
        crew, stop = Crew(self, host), StopRequest()
        self.sittings[host] = process, crew, stop
        limit = timedelta(seconds=draw.uniform(30, 300)) if draw.random() < 0.1 else None
        clock = Clock(self.world)
        Supervisor(link, self.campaign, crew, draw.randint(1, 4), clock, stop, lambda slots: None, limit).run()
        with link.exclusive("champion"):
            self._worker(process, link, Event(self.world)).run()  # decides what is left
            if self.found().state is not CampaignState.COMPLETE:
                link.complete_campaign(self.campaign.id, self.champion())

    def _change_mind(self, link: Ledger) -> None:
        """What people ask for between two sittings: a larger budget, another try for what failed."""
        draw = self.world.random
        if self.raises and draw.random() < 0.3:
            self.raises -= 1
            link.raise_budget(self.campaign.id, self.found().spec.budget + draw.randint(0, 9))
        failed = [view.slot for view in link.slots(self.campaign.id) if view.outcome is Outcome.FAILED]
        if failed and draw.random() < 0.1:
            link.retry(self.campaign.id, draw.sample(failed, draw.randint(1, len(failed))))

    def start_worker(self, host: str, drain: Event) -> Process:
        process = self.world.process(host)
        self.processes.append(process)

        def work(process: Process) -> None:
            link = cast("Ledger", Link(self.network, process, self.witness, self.locks))
            self._worker(process, link, drain).run()

        self.world.spawn(process, lambda: self._end_with(process, work))
        return process

    def _worker(self, process: Process, link: Ledger, drain: Event) -> Worker:
        given = link, self.objective(process, link), self.campaign, process.identity, self.settings, Clock(self.world)
        return Worker(*cast("Any", given), self.is_dead(process), cast("Any", drain))

    def objective(self, process: Process, link: Ledger) -> Any:
        """What the worker has its trials done by."""
        return Deeds(self.world, link, self.studies, self.pace, self.settings.lease, self.settings.max_crashes)

    def champion(self) -> Mapping[str, Any]:
        """What the campaign ends with."""
        return {"slot": 1}

    def is_dead(self, by: Process) -> Callable[[WorkerIdentity], bool]:
        known = {process.identity: process for process in self.processes}

        def is_dead(identity: WorkerIdentity) -> bool:
            if identity not in known:
                known.update((process.identity, process) for process in self.processes)
            return identity.host == by.identity.host and known[identity].dead

        return is_dead

    def _end_with(self, process: Process, do: Callable[[Process], None]) -> None:
        """A process's life, and its exit code."""
        code = 1
        try:
            do(process)
            code = 0
        except UsageError:
            code = 2
        except HpoError:
            code = 3
        except Exception as error:  # no accident may end in a bug
            where = traceback.extract_tb(error.__traceback__)[-1]
            self.witness.blame(f"{type(error).__name__} in {where.filename}:{where.lineno}: {error}")
        finally:
            if not process.dead:
                self.world.kill(process, code)

    def _befall(self) -> None:
        """Accidents at any time; others meet a process amid a call."""
        draw = self.world.random
        while True:
            self.world.sleep(draw.expovariate(self.trouble / 60))
            living = [process for process in self.processes if not process.dead]
            if living:
                self._strike(draw.choice(living))

    def _strike(self, process: Process) -> None:
        kinds = (self._kill, self._kill, self._stop, self._stop, self._cut, self._step_clock, self._interrupt)
        strike = self.world.random.choice(kinds)
        strike(process)
        self.accidents[strike.__name__.removeprefix("_")] += 1

    def _kill(self, process: Process) -> None:
        self.world.kill(process)

    def _stop(self, process: Process) -> None:
        """SIGSTOP, for up to three leases."""
        process.wakes = self.world.now + self.world.random.uniform(0, 3 * LEASE)

    def _cut(self, process: Process) -> None:
        """The host reaches nothing, for up to three leases, or for longer than a process is patient."""
        length = self.world.random.choice((LEASE, 3 * LEASE, 12 * LEASE))
        self.network.cut[process.identity.host] = self.world.now + self.world.random.uniform(0, length)

    def _step_clock(self, _: Process) -> None:
        """The database's clock is set; another server may have taken its place."""
        self.clock.step(self.world.random.uniform(-2 * LEASE, 2 * LEASE))

    def _interrupt(self, process: Process) -> None:
        """Ctrl-C, once or twice."""
        if process.identity.host in self.sittings:
            stop = self.sittings[process.identity.host][2]
            stop.ask()
            if self.world.random.random() < 0.3:
                stop.ask()


def simulate(
    seed: int,
    num_steps: int,
    make: Callable[[Clock], MemoryLedger] = MemoryLedger,
    scene_of: type[Scene] = Scene,
    every: int = EVERY,
) -> Account:
    """Campaigns of this seed, one after the other, until they have had so many steps or one shows a breach; that one
    is played once more and looked at after every change, so that the first moment is told."""
    account = Account()
    while account.steps < num_steps and not account.breaches:
        name = f"{seed}/{account.campaigns}"
        scene = scene_of(name, num_steps - account.steps, make, every)
        scene.play()
        if scene.witness.breaches and every > 1:
            scene = scene_of(name, num_steps - account.steps, make, every=1)
            scene.play()
        account.campaigns += 1
        account.steps += scene.world.steps
        account.claims += scene.witness.num_claims
        account.lost_leases += scene.witness.num_lost
        account.accidents += scene.accidents
        account.breaches += [
            f"seed {seed}, campaign {account.campaigns}: {breach}" for breach in scene.witness.breaches
        ]
    return account
