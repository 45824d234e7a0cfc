"""Very many workers on one ledger that answers one statement at a time: how long they wait, and what they ask."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta

from hpo.domain.campaign import Campaign, CampaignSpec, TierPlan
from hpo.domain.config import WorkerConfig
from hpo.domain.ports import Ledger
from hpo.testing.memory_ledger import MemoryLedger
from support.simulation.campaign import NAME, Scene
from support.simulation.links import Network
from support.simulation.world import Event, virtual_threads

ENDLESS = 10**9


@dataclass
class Server(Network):
    """A store with a queue before it. service: seconds a statement takes it. asked: statements by name; waits: seconds
    each has stood in the queue; load: statements in each second."""

    service: float = 0.001
    asked: Counter[str] = field(default_factory=Counter)
    waits: list[float] = field(default_factory=list)
    load: Counter[int] = field(default_factory=Counter)
    _free_at: float = 0.0

    def serve(self, name: str) -> None:
        now = self.world.now
        self.asked[name] += 1
        self.load[int(now)] += 1
        self._free_at = max(now, self._free_at) + self.service
        self.waits.append(self._free_at - now)
        self.world.sleep(self._free_at - now)


class Crowd(Scene):
    """num_workers that start at once, with three trials each in two tiers, of four epochs that take about a minute."""

    def __init__(self, num_workers: int, service: float) -> None:
        self.num_workers = num_workers
        super().__init__(f"crowd/{num_workers}", ENDLESS, MemoryLedger, every=ENDLESS)
        self.settings, self.pace = WorkerConfig(lease=timedelta(seconds=60)), 60.0
        self.network = self.server = Server(self.world, 0.0, lambda process: None, service=service)

    def open(self, ledger: Ledger) -> Campaign:
        tiers = TierPlan(1, "first", 2 * self.num_workers), TierPlan(2, "second", self.num_workers)
        return ledger.open_campaign(CampaignSpec(NAME, {}, {}, tiers, 0))

    def play(self) -> None:
        workers = [self.start_worker("north", Event(self.world)) for _ in range(self.num_workers)]
        with virtual_threads(self.world):
            try:
                self.world.run(lambda: bool(self.witness.breaches) or all(worker.dead for worker in workers))
            finally:
                self.world.close()
        self.witness.look(self.campaign.id)
        self.count()
