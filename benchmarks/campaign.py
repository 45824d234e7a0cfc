"""What the benchmarks of the bookkeeping share: a database, a campaign on it, and epochs to report."""

from __future__ import annotations

import random
import shutil
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import create_engine, text

from hpo.adapters.ledger.postgres_ledger import PostgresLedger
from hpo.adapters.optuna.study_storage import study_storage
from hpo.adapters.postgres.database import prepare
from hpo.adapters.postgres.embedded import EmbeddedPostgres
from hpo.adapters.postgres.urls import canonical
from hpo.adapters.processes import host as processes
from hpo.domain.campaign import CampaignSpec, TierPlan
from hpo.domain.config import SamplerConfig, SearchConfig, WorkerConfig
from hpo.domain.training import EpochReport
from hpo.engine.objective import Objective
from hpo.ranking.ranker import Ranker
from hpo.usecases.campaigns import metrics_of
from search_spaces import parse_space

EPOCHS, METRICS, EPOCH_SECONDS = 10, 8, 0.05
SPACE = parse_space(
    """
    tiers:
      only:
        optim.lr: {type: float, low: 1.0e-5, high: 1.0e-2, log: true, default: 1.0e-3}
        model.dropout: {type: float, low: 0.0, high: 0.5, default: 0.1}
        model.hidden_size: {type: choice, choices: [32, 64, 128], ordered: true, default: 64}
    """,
    name="ledger",
    source="ledger",
)


@dataclass(frozen=True)
class Job:
    """One worker's share of a measurement."""

    url: str
    home: Path
    name: str
    num_slots: int
    trials_per_worker: int = 10


def noisy(epoch: int) -> float:
    """A score; equal ones would send Wilcoxon's test through all permutations, which real ones never do."""
    return random.gauss(0.01 * epoch, 0.002)


def report(epoch: int, score: float) -> EpochReport:
    metrics = {f"valid/m{number}": score for number in range(METRICS)}
    return EpochReport(epoch, score, metrics, {"rank_ic": np.zeros(250, np.float32)}, EPOCH_SECONDS)


def configuration(name: str) -> SearchConfig:
    worker = WorkerConfig(lease=timedelta(hours=1))  # hundreds of workers on two cores are slow, and none is replaced
    trainer = {"train": {"epochs": EPOCHS}}
    return SearchConfig(study=name, sampler=SamplerConfig(name="random"), worker=worker, trainer=trainer)


def objective_of(job: Job, ledger: PostgresLedger, runner: Any) -> tuple[Objective, int]:
    """The campaign's objective and its id."""
    plan = (TierPlan(1, "only", job.num_slots),)
    config = configuration(job.name)
    stored = {"search": config.model_dump(mode="json"), "metrics": [asdict(metric) for metric in metrics_of(config)]}
    campaign = ledger.open_campaign(CampaignSpec(job.name, stored, {}, plan, 0))
    storage, identity = study_storage(job.url), processes.this_process()
    folder = job.home
    return Objective(
        campaign, config, SPACE, Ranker(), ledger, storage, runner, folder, folder, identity, "code"
    ), campaign.id


def summary(seconds: Sequence[float]) -> str:
    """Milliseconds, median / 95th percentile."""
    ordered = sorted(seconds)
    return f"{1e3 * statistics.median(ordered):.1f} / {1e3 * ordered[int(0.95 * (len(ordered) - 1))]:.1f}"


@contextmanager
def database(max_connections: int = 200) -> Iterator[tuple[str, Path]]:
    """An embedded server of its own, and a state folder."""
    home = Path(tempfile.mkdtemp(prefix="tiertune-bench-"))
    home.chmod(0o755)
    try:
        with EmbeddedPostgres(home) as server:
            allow(server.url, max_connections)
            server.stop()
            server.acquire()
            prepare(server.url)
            yield server.url, home
    finally:
        shutil.rmtree(home)


def allow(url: str, max_connections: int) -> None:
    """From the server's next start on."""
    engine = create_engine(canonical(url), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"ALTER SYSTEM SET max_connections = {max_connections}"))
    engine.dispose()
