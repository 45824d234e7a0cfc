"""Milliseconds by which reporting holds up a training, beside plain Optuna with synchronous MLflow in the same run.

    python -m benchmarks.training_path [--trials 20]

A training of 10 epochs with 8 metrics each, and what passes between two trainings: ours hands each epoch to its worker
and trains on; the reference asks Optuna and logs to MLflow, one batch an epoch, before it trains on.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage

from benchmarks.campaign import EPOCH_SECONDS, EPOCHS, METRICS, Job, database, noisy, objective_of, report, summary
from hpo.adapters.ledger.postgres_ledger import PostgresLedger
from hpo.adapters.postgres.database import prepare_mlflow
from hpo.adapters.postgres.urls import url_for
from hpo.adapters.processes import host as processes
from hpo.adapters.processes.runners import PipeReporter, ProcessRunner
from hpo.domain.config import PrunerConfig
from hpo.domain.ports import TrialEnd, TrialRequest
from hpo.domain.training import EpochReport
from hpo.engine.strategies.pruners import build_pruner
from hpo.runs.folder import Attempt


class SleepyRunner(ProcessRunner):
    """A trial process that sleeps instead of training, and tells for how long its reports held it up."""

    held_up: float
    seconds: float

    def run(self, request: TrialRequest, on_epoch: Callable[[EpochReport], Any], stop: Callable[[], bool]) -> TrialEnd:
        started = time.perf_counter()
        here, there = self._context.Pipe()
        process = self._context.Process(target=sleepy_trial, args=(request.folder, there), daemon=True)
        process.start()
        there.close()
        end = self._converse(here, on_epoch, stop)
        here.close()
        process.join()
        assert end is not None
        assert end.message is not None
        self.held_up, self.seconds = float(end.message), time.perf_counter() - started
        return end


def sleepy_trial(folder: Path, connection: Connection) -> None:
    reporter, held_up = PipeReporter(connection, Attempt(folder)), 0.0
    for epoch in range(1, EPOCHS + 1):
        time.sleep(EPOCH_SECONDS)
        started = time.perf_counter()
        reporter.report(report(epoch, noisy(epoch)))
        held_up += time.perf_counter() - started
    reporter.end(TrialEnd("finished", 0.1, EPOCHS, 1000, message=str(held_up)))
    os._exit(0)


def training_path(url: str, home: Path, num_trials: int) -> None:
    job = Job(url, home, "path", num_trials + 1)
    ledger, runner = PostgresLedger(url), SleepyRunner()
    objective, campaign = objective_of(job, ledger, runner)
    worker = ledger.register_worker(campaign, processes.this_process())
    found = []
    for _ in range(num_trials + 1):
        started = time.perf_counter()
        claim = ledger.claim(campaign, worker, timedelta(minutes=5))
        assert claim is not None
        objective.run(claim, lambda: False, lambda: False)
        found.append((runner.held_up, time.perf_counter() - started - runner.seconds))
    ledger.close()
    reference = synchronous(url, home, num_trials + 1)
    ratio = statistics.median(inside for inside, _ in found[1:]) / statistics.median(
        inside for inside, _ in reference[1:]
    )
    print(f"\n{f'ms per trial of {EPOCHS} epochs, median / p95':44}{'training held up':>18}{'between trainings':>20}")
    for label, rows in (("tiertune", found), ("plain Optuna + synchronous MLflow", reference)):
        cells = [summary([row[column] for row in rows[1:]]) for column in (0, 1)]
        print(f"{label:44}{cells[0]:>18}{cells[1]:>20}")
    print(f"Held up for {ratio:.3f} of the reference's time.")


def synchronous(url: str, home: Path, num_trials: int) -> list[tuple[float, float]]:
    """Seconds of bookkeeping within and around a training that waits for it."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    prepare_mlflow(url)
    client = MlflowClient(tracking_uri=url_for(url, "mlflow"))
    experiment = client.create_experiment("reference", artifact_location=home.as_uri())
    storage = RDBStorage(url_for(url, "optuna"), skip_table_creation=True)
    study = optuna.create_study(storage=storage, direction="maximize", pruner=build_pruner(PrunerConfig(), EPOCHS))
    found = []
    for _ in range(num_trials):
        inside, started = 0.0, time.perf_counter()
        trial = study.ask()
        run = client.create_run(experiment).info.run_id
        client.log_batch(run, params=[Param(f"p{number}", "1") for number in range(20)])
        asked = time.perf_counter()
        for epoch in range(1, EPOCHS + 1):
            time.sleep(EPOCH_SECONDS)
            before = time.perf_counter()
            trial.report(noisy(epoch), epoch)
            trial.should_prune()
            now = int(time.time() * 1e3)
            client.log_batch(run, [Metric(f"m{number}", 0.01, now, epoch) for number in range(METRICS)])
            inside += time.perf_counter() - before
        before = time.perf_counter()
        study.tell(trial, 0.1)
        client.set_terminated(run)
        found.append((inside, asked - started + time.perf_counter() - before))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with database() as (url, home):
        training_path(url, home, options.trials)


if __name__ == "__main__":
    main()
