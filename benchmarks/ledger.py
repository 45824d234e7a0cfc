"""What the bookkeeping around a trial costs, beside plain Optuna on the same Postgres in the same run.

    python -P benchmarks/ledger.py                 (100 and 1,000 finished trials, 1 and 8 workers)
    python -P benchmarks/ledger.py --sizes 100 1000 10000

1. Latencies in a study that holds many finished trials: `ask` (from wanting a trial to knowing its parameters: ours
   claims a slot, finds or creates its trial and opens its run folder), `epoch` (report and verdict: ours also renews
   the lease), `tell` (ours also writes the run folder's result, checks and finishes the slot). Random sampling, median
   pruner: a sampler's own computing is no bookkeeping. Workers are processes.
2. Milliseconds a training of 10 epochs with 8 metrics each is held up by reporting: ours hands each epoch to its worker
   and trains on; the reference asks Optuna and logs to MLflow, one batch an epoch, before it trains on.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState, create_trial
from sqlalchemy import create_engine, text

from hpo.adapters import processes
from hpo.adapters.database import prepare, prepare_mlflow
from hpo.adapters.embedded_postgres import EmbeddedPostgres
from hpo.adapters.postgres_ledger import PostgresLedger
from hpo.adapters.runners import PipeReporter, ProcessRunner
from hpo.adapters.study_storage import study_storage
from hpo.adapters.urls import canonical, url_for
from hpo.config import PrunerConfig, SamplerConfig, SearchConfig
from hpo.domain import CampaignSpec, TierPlan
from hpo.objective import Objective
from hpo.ports import TrialEnd, TrialRequest
from hpo.run_folder import Attempt
from hpo.stage import open_study, stages
from search_spaces import parse_space
from trainer.reports import EpochReport

TRIALS_PER_WORKER, EPOCHS, METRICS, EPOCH_SECONDS = 10, 10, 8, 0.05
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
OPERATIONS = ("ask", "epoch", "tell")
Times = dict[str, list[float]]


@dataclass(frozen=True)
class Job:
    """One worker's share of a measurement."""

    url: str
    home: Path
    name: str
    num_slots: int


def report(epoch: int, score: float) -> EpochReport:
    metrics = {f"valid/m{number}": score for number in range(METRICS)}
    return EpochReport(epoch, score, metrics, {"rank_ic": np.zeros(250, np.float32)}, EPOCH_SECONDS)


class TimedRunner:
    """Reports the epochs at once, timing each; notes when it was called and when it returned."""

    def __init__(self, times: Times) -> None:
        self._times = times
        self.called = self.returned = 0.0

    def run(self, request: TrialRequest, on_epoch: Callable[[EpochReport], Any], stop: object) -> TrialEnd:
        self.called = time.perf_counter()
        attempt = Attempt(request.folder)
        for epoch in range(1, EPOCHS + 1):
            attempt.append_epoch(report(epoch, 0.01 * epoch))
            started = time.perf_counter()
            on_epoch(report(epoch, 0.01 * epoch))
            self._times["epoch"].append(time.perf_counter() - started)
        self.returned = time.perf_counter()
        return TrialEnd("finished", 0.1, EPOCHS, 1000)

    def close(self) -> None:
        """Nothing is held."""


def configuration(name: str) -> SearchConfig:
    config = SearchConfig(study=name, sampler=SamplerConfig(name="random"), pruner=PrunerConfig(name="median"))
    train = config.trainer.train.model_copy(update={"epochs": EPOCHS})
    return config.model_copy(update={"trainer": config.trainer.model_copy(update={"train": train})})


def objective_of(job: Job, ledger: PostgresLedger, runner: Any) -> tuple[Objective, int]:
    """The campaign's objective and its id."""
    plan = (TierPlan(1, "only", job.num_slots),)
    campaign = ledger.open_campaign(CampaignSpec(job.name, {}, {}, plan, 0))
    storage, identity = study_storage(job.url), processes.this_process()
    config = configuration(job.name)
    return Objective(campaign, config, SPACE, ledger, storage, runner, job.home, job.home, identity), campaign.id


def ours(job: Job) -> Times:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    times: Times = {name: [] for name in OPERATIONS}
    ledger, runner = PostgresLedger(job.url), TimedRunner(times)
    objective, campaign = objective_of(job, ledger, runner)
    worker, lease = ledger.register_worker(campaign, processes.this_process()), timedelta(minutes=5)
    for number in range(TRIALS_PER_WORKER + 1):
        started = time.perf_counter()
        claim = ledger.claim(campaign, worker, lease)
        assert claim is not None
        objective.run(claim, lambda: False, lambda: False)
        if number == 0:  # connections are made, the study is read for the first time
            times["epoch"].clear()
            continue
        times["ask"].append(runner.called - started)
        times["tell"].append(time.perf_counter() - runner.returned)
    ledger.close()
    return times


def plain(job: Job) -> Times:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    times: Times = {name: [] for name in OPERATIONS}
    study = optuna.load_study(
        study_name=f"{job.name}/1-only",
        storage=study_storage(job.url),
        sampler=optuna.samplers.RandomSampler(),
        pruner=optuna.pruners.MedianPruner(),
    )
    for number in range(TRIALS_PER_WORKER + 1):
        started = time.perf_counter()
        trial = study.ask()
        trial.suggest_float("optim.lr", 1e-5, 1e-2, log=True)
        trial.suggest_float("model.dropout", 0.0, 0.5)
        trial.suggest_int("model.hidden_size[index]", 0, 2)
        asked = time.perf_counter()
        for epoch in range(1, EPOCHS + 1):
            before = time.perf_counter()
            trial.report(0.01 * epoch, epoch)
            trial.should_prune()
            times["epoch"].append(time.perf_counter() - before)
        reported = time.perf_counter()
        study.tell(trial, 0.1)
        times["ask"].append(asked - started)
        times["tell"].append(time.perf_counter() - reported)
        if number == 0:
            times = {name: [] for name in OPERATIONS}
    return times


def fill(job: Job, num_finished: int) -> None:
    """A campaign whose first slots are done, and their trials in its study."""
    ledger = PostgresLedger(job.url)
    _, campaign_id = objective_of(job, ledger, None)
    campaign = ledger.find_campaign(job.name)
    assert campaign is not None
    stage = stages(campaign, configuration(job.name), SPACE)[1]
    study = open_study(stage, study_storage(job.url), ledger)
    values = {epoch: 0.005 * epoch for epoch in range(1, EPOCHS + 1)}
    for slot in range(1, num_finished + 1):
        params = {"optim.lr": 1e-3, "model.dropout": 0.1 + slot * 1e-6, "model.hidden_size[index]": slot % 3}
        study.add_trial(
            create_trial(
                state=TrialState.COMPLETE,
                value=0.05,
                params=params,
                distributions=dict(stage.within),
                intermediate_values=values,
                user_attrs={"slot": slot},
            )
        )
    engine = create_engine(canonical(job.url))
    with engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE hpo.slot SET state = 'done', outcome = 'complete', score = 0.05, fence = 1, "
                "started_at = now(), finished_at = now(), trial_number = number - 1, run_folder = 'none' "
                "WHERE campaign_id = :campaign AND number <= :last"
            ),
            {"campaign": campaign_id, "last": num_finished},
        )
    engine.dispose()
    ledger.close()


def latencies(url: str, home: Path, sizes: Sequence[int], worker_counts: Sequence[int]) -> None:
    print(f"{'milliseconds, median / p95':38}" + "".join(f"{name:>20}" for name in OPERATIONS))
    context = multiprocessing.get_context("forkserver")
    for size in sizes:
        for num_workers in worker_counts:
            for label, work in (("tiertune", ours), ("plain Optuna", plain)):
                num_slots = size + num_workers * (TRIALS_PER_WORKER + 1)
                job = Job(url, home, f"{work.__name__}-{size}-{num_workers}", num_slots)
                fill(job, size)
                with context.Pool(num_workers) as pool:
                    found = pool.map(work, [job] * num_workers, chunksize=1)
                row = f"{label:14}{size:>7} trials, {num_workers} workers"
                cells = [_summary([t for times in found for t in times[name]]) for name in OPERATIONS]
                print(f"{row:38}" + "".join(f"{cell:>20}" for cell in cells), flush=True)


def _summary(seconds: Sequence[float]) -> str:
    ordered = sorted(seconds)
    return f"{1e3 * statistics.median(ordered):.0f} / {1e3 * ordered[int(0.95 * (len(ordered) - 1))]:.0f}"


class SleepyRunner(ProcessRunner):
    """A trial process that sleeps instead of training, and tells for how long its reports held it up."""

    held_up: float

    def run(self, request: TrialRequest, on_epoch: Callable[[EpochReport], Any], stop: Callable[[], bool]) -> TrialEnd:
        here, there = self._context.Pipe()
        process = self._context.Process(target=sleepy_trial, args=(request.folder, there), daemon=True)
        process.start()
        there.close()
        end = self._converse(here, on_epoch, stop)
        here.close()
        process.join()
        assert end is not None
        assert end.message is not None
        self.held_up = float(end.message)
        return end


def sleepy_trial(folder: Path, connection: Connection) -> None:
    reporter, held_up = PipeReporter(connection, Attempt(folder)), 0.0
    for epoch in range(1, EPOCHS + 1):
        time.sleep(EPOCH_SECONDS)
        started = time.perf_counter()
        reporter.report(report(epoch, 0.01 * epoch))
        held_up += time.perf_counter() - started
    connection.send(TrialEnd("finished", 0.1, EPOCHS, 1000, message=str(held_up)))
    os._exit(0)


def training_path(url: str, home: Path, num_trials: int) -> None:
    job = Job(url, home, "path", num_trials + 1)
    ledger, runner = PostgresLedger(url), SleepyRunner()
    objective, campaign = objective_of(job, ledger, runner)
    worker = ledger.register_worker(campaign, processes.this_process())
    held_up = []
    for _ in range(num_trials + 1):
        claim = ledger.claim(campaign, worker, timedelta(minutes=5))
        assert claim is not None
        objective.run(claim, lambda: False, lambda: False)
        held_up.append(runner.held_up)
    ledger.close()
    reference = synchronous(url, home, num_trials + 1)
    ratio = statistics.median(held_up[1:]) / statistics.median(reference[1:])
    print(f"\n{f'held up per trial of {EPOCHS} epochs, ms':38}{'median / p95':>20}")
    print(f"{'tiertune':38}{_summary(held_up[1:]):>20}")
    print(f"{'plain Optuna + synchronous MLflow':38}{_summary(reference[1:]):>20}   (ours is {ratio:.2f} of it)")


def synchronous(url: str, home: Path, num_trials: int) -> list[float]:
    """Seconds of bookkeeping in a training that waits for it."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    prepare_mlflow(url)
    client = MlflowClient(tracking_uri=url_for(url, "mlflow"))
    experiment = client.create_experiment("reference", artifact_location=home.as_uri())
    study = optuna.create_study(storage=study_storage(url), pruner=optuna.pruners.MedianPruner())
    found = []
    for _ in range(num_trials):
        started = time.perf_counter()
        trial = study.ask()
        run = client.create_run(experiment).info.run_id
        client.log_batch(run, params=[Param(f"p{number}", "1") for number in range(20)])
        seconds = time.perf_counter() - started
        for epoch in range(1, EPOCHS + 1):
            time.sleep(EPOCH_SECONDS)
            before = time.perf_counter()
            trial.report(0.01 * epoch, epoch)
            trial.should_prune()
            now = int(time.time() * 1e3)
            client.log_batch(run, [Metric(f"m{number}", 0.01, now, epoch) for number in range(METRICS)])
            seconds += time.perf_counter() - before
        before = time.perf_counter()
        study.tell(trial, 0.1)
        client.set_terminated(run)
        found.append(seconds + time.perf_counter() - before)
    return found


@contextmanager
def database() -> Iterator[tuple[str, Path]]:
    home = Path(tempfile.mkdtemp(prefix="tiertune-bench-"))
    home.chmod(0o755)
    try:
        with EmbeddedPostgres(home) as server:
            prepare(server.url)
            yield server.url, home
    finally:
        shutil.rmtree(home)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000], help="finished trials")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--path-trials", type=int, default=20, help="trials of the second measurement")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with database() as (url, home):
        latencies(url, home, options.sizes, options.workers)
        training_path(url, home, options.path_trials)


if __name__ == "__main__":
    main()
