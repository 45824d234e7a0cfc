"""A finished campaign that really trained, in this process, with the memory twins of its stores."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from hpo.adapters.mlflow.null_tracker import NullTracker
from hpo.adapters.processes.host import available_memory, num_threads, this_process
from hpo.adapters.processes.runners import InProcessRunner
from hpo.cli.config_loader import load
from hpo.domain.campaign import Campaign
from hpo.domain.trainable import Prepared
from hpo.engine.objective import Objective
from hpo.engine.worker import Worker
from hpo.testing.clock import FakeClock
from hpo.testing.memory_ledger import MemoryLedger
from hpo.testing.memory_storage import MemoryStorage
from hpo.trainable.loading import load_trainable
from hpo.usecases import conclusion
from hpo.usecases.campaigns import decide_rest, open_campaign, prepare_data
from hpo.usecases.champion import choose
from hpo.usecases.contenders import KEPT
from hpo.usecases.host import Host
from hpo.usecases.records import Stores

HOST = Host(lambda worker: False, num_threads, available_memory, lambda config: None)


class Sitting:
    """A finished campaign of two trials, and the reports of it."""

    def __init__(
        self, home: Path, space: str, *overrides: str, name: str = "small", stores: Stores | None = None
    ) -> None:
        file = home / f"{name}.yaml"
        file.write_text(space)
        config, parsed = load([f"study={name}", "trials=2", f"space={file}", *overrides])
        self.stores = stores = stores or Stores(home, MemoryLedger(FakeClock()), MemoryStorage(), NullTracker())
        trainable = load_trainable(config.trainable)
        self.prepared: Prepared = prepare_data(stores.cache, config)
        campaign, identity = open_campaign(stores.ledger, config, parsed, self.prepared), this_process()
        objective = Objective(
            campaign,
            config,
            parsed,
            trainable,
            stores.ledger,
            stores.storage,
            InProcessRunner(),
            self.prepared.search,
            stores.runs(name),
            identity,
            "code",
        )
        drain = threading.Event()
        Worker(stores.ledger, objective, campaign, identity, config.worker, FakeClock(), lambda _: False, drain).run()
        decided = decide_rest(stores, campaign, config, parsed)
        self.campaign: Campaign = stores.ledger.complete_campaign(
            campaign.id, choose(decided, stores.archive(campaign)).as_plain()
        )

    @property
    def kept(self) -> Path:
        path: Path = self.stores.runs(self.campaign.name) / KEPT
        return path

    def report(self) -> tuple[list[str], dict[str, Any]]:
        """What is said, and the report's figures."""
        said: list[str] = []
        written = conclusion.report(self.stores, HOST, self.campaign, self.prepared, said.append)
        return said, json.loads(written.json.read_text())
