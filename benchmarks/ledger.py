"""What the bookkeeping around a trial costs, beside plain Optuna on the same Postgres in the same run.

    python -P benchmarks/ledger.py                 (100, 1,000 and 10,000 finished trials, 1 and 8 workers)
    python -P benchmarks/ledger.py --sizes 100 --workers 1

1. Latencies in a study that holds many finished trials, and how they grow with it: `ask` (from wanting a trial to
   knowing its parameters: ours claims a slot, creates its trial and opens its run folder), `epoch` (report and verdict:
   ours also renews the lease), `tell` (ours also makes the run folder durable, checks and finishes the slot). The
   sampler is random and the pruner our default for both, because a sampler's own computing is no bookkeeping; what
   TPE computes for one proposal stands apart. `start`: the first ask, which connects and reads the study.
2. Milliseconds a training of 10 epochs with 8 metrics each is held up by reporting, and what passes between two
   trainings: ours hands each epoch to its worker and trains on; the reference asks Optuna and logs to MLflow, one batch
   an epoch, before it trains on.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import FloatDistribution, IntDistribution, distribution_to_json
from optuna.storages import RDBStorage
from optuna.trial import TrialState
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
from hpo.pruners import build_pruner
from hpo.run_folder import Attempt
from hpo.stage import Stage, open_study, stages
from hpo.study_cache import StudyCache
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
OPERATIONS = ("ask", "epoch", "tell", "start")
Times = dict[str, list[float]]


@dataclass(frozen=True)
class Job:
    """One worker's share of a measurement."""

    url: str
    home: Path
    name: str
    num_slots: int


def noisy(epoch: int) -> float:
    """A score; equal ones would send Wilcoxon's test through all permutations, which real ones never do."""
    return random.gauss(0.01 * epoch, 0.002)


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
            news = report(epoch, noisy(epoch))
            attempt.append_epoch(news)
            started = time.perf_counter()
            on_epoch(news)
            self._times["epoch"].append(time.perf_counter() - started)
        self.returned = time.perf_counter()
        return TrialEnd("finished", 0.1, EPOCHS, 1000)

    def close(self) -> None:
        """Nothing is held."""


def configuration(name: str) -> SearchConfig:
    config = SearchConfig(study=name, sampler=SamplerConfig(name="random"))
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
            times["start"].append(runner.called - started)
            times["epoch"].clear()
            continue
        times["ask"].append(runner.called - started)
        times["tell"].append(time.perf_counter() - runner.returned)
    ledger.close()
    return times


def plain(job: Job) -> Times:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    times: Times = {name: [] for name in OPERATIONS}
    first = time.perf_counter()
    study = optuna.load_study(
        study_name=f"{job.name}/1-only",
        storage=RDBStorage(url_for(job.url, "optuna"), skip_table_creation=True),
        sampler=optuna.samplers.RandomSampler(),
        pruner=build_pruner(PrunerConfig(), EPOCHS),
    )
    for number in range(TRIALS_PER_WORKER + 1):
        started = time.perf_counter()
        if number == 0:
            study.get_trials(deepcopy=False)  # as any sampler but the random one would
        trial = study.ask()
        trial.suggest_float("optim.lr", 1e-5, 1e-2, log=True)
        trial.suggest_float("model.dropout", 0.0, 0.5)
        trial.suggest_int("model.hidden_size[index]", 0, 2)
        asked = time.perf_counter()
        for epoch in range(1, EPOCHS + 1):
            before = time.perf_counter()
            trial.report(noisy(epoch), epoch)
            trial.should_prune()
            times["epoch"].append(time.perf_counter() - before)
        reported = time.perf_counter()
        study.tell(trial, 0.1)
        times["ask"].append(asked - started)
        times["tell"].append(time.perf_counter() - reported)
        if number == 0:
            times = {name: [] for name in OPERATIONS} | {"start": [asked - first]}
    return times


FILL = """
WITH done AS (
  INSERT INTO optuna.trials (study_id, number, state, datetime_start, datetime_complete)
  SELECT study_id, n - 1, 'COMPLETE', now(), now() FROM optuna.studies, generate_series(1, :count) n
  WHERE study_name = :study RETURNING trial_id, number),
scores AS (
  INSERT INTO optuna.trial_values (trial_id, objective, value, value_type)
  SELECT trial_id, 0, 0.05 + 1e-6 * (number * 7919 % 1000), 'FINITE' FROM done),
params AS (
  INSERT INTO optuna.trial_params (trial_id, param_name, param_value, distribution_json)
  SELECT trial_id, name, low + (high - low) * (number * 7919 % 1009) / 1009, kind
  FROM done, unnest(:names, :lows, :highs, :kinds) p (name, low, high, kind)),
attrs AS (
  INSERT INTO optuna.trial_user_attributes (trial_id, key, value_json)
  SELECT trial_id, key, CASE key WHEN 'slot' THEN (number + 1)::text ELSE '{"optim.lr": 0.001}' END
  FROM done, unnest(ARRAY['slot', 'values', 'run', 'trainer_seed', 'num_parameters', 'best_epoch', 'seconds']) key)
INSERT INTO optuna.trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type)
SELECT trial_id, step, 0.005 * step, 'FINITE' FROM done, generate_series(1, :epochs) step"""
DONE = """
UPDATE hpo.slot SET state = 'done', outcome = 'complete', score = 0.05, fence = 1, started_at = now(),
  finished_at = now(), trial_number = number - 1, run_folder = 'none'
WHERE campaign_id = :campaign AND number <= :count"""


def fill(job: Job, num_finished: int) -> None:
    """A campaign whose first slots are done, and their trials in its study; the planner's statistics as they would be
    within a minute."""
    ledger = PostgresLedger(job.url)
    _, campaign_id = objective_of(job, ledger, None)
    stage = stage_of(job, ledger)
    study = open_study(stage, study_storage(job.url), ledger)
    floats = {
        name: kind for name, kind in stage.within.items() if isinstance(kind, FloatDistribution | IntDistribution)
    }
    values = {
        "study": study.study_name,
        "campaign": campaign_id,
        "count": num_finished,
        "epochs": EPOCHS,
        "names": list(floats),
        "lows": [float(kind.low) for kind in floats.values()],
        "highs": [float(kind.high) for kind in floats.values()],
        "kinds": [distribution_to_json(kind) for kind in floats.values()],
    }
    engine = create_engine(canonical(job.url), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in (FILL, DONE, "VACUUM ANALYZE"):
            connection.execute(text(statement), values)
    engine.dispose()
    ledger.close()


def stage_of(job: Job, ledger: PostgresLedger) -> Stage:
    campaign = ledger.find_campaign(job.name)
    assert campaign is not None
    return stages(campaign, configuration(job.name), SPACE)[1]


def proposal_ms(job: Job, sampler: str) -> float:
    """Median milliseconds in which a sampler proposes one configuration; nothing of it is written before the end."""
    ledger, storage = PostgresLedger(job.url), StudyCache(study_storage(job.url))
    stage, seconds = stage_of(job, ledger), []
    stage = replace(stage, config=stage.config.model_copy(update={"sampler": SamplerConfig(name=sampler)}))
    study = optuna.load_study(study_name=stage.study_name, storage=storage, sampler=stage.sampler(0))
    for seed in range(6):
        study.add_trial(stage.new_trial(2))
        trial = optuna.Trial(study, storage.get_all_trials(study._study_id, deepcopy=False)[-1]._trial_id)
        with storage.together(trial._trial_id):
            started = time.perf_counter()
            stage.suggest(trial, seed)
            seconds.append(time.perf_counter() - started)
        study.tell(trial, state=TrialState.FAIL)
    ledger.close()
    return 1e3 * statistics.median(seconds[1:])


def latencies(url: str, home: Path, sizes: Sequence[int], worker_counts: Sequence[int]) -> None:
    print(f"{'milliseconds, median / p95':38}" + "".join(f"{name:>16}" for name in OPERATIONS))
    context = multiprocessing.get_context("forkserver")
    medians: dict[tuple[str, int, int], list[float]] = {}
    for size in sizes:
        for num_workers in worker_counts:
            for label, work in (("tiertune", ours), ("plain Optuna", plain)):
                num_slots = size + num_workers * (TRIALS_PER_WORKER + 1)
                job = Job(url, home, f"{work.__name__}-{size}-{num_workers}", num_slots)
                fill(job, size)
                with context.Pool(num_workers) as pool:
                    found = pool.map(work, [job] * num_workers, chunksize=1)
                columns = [[t for times in found for t in times[name]] for name in OPERATIONS]
                medians[label, num_workers, size] = [statistics.median(column) for column in columns]
                row = f"{label:14}{size:>7} trials, {num_workers} workers"
                print(f"{row:38}" + "".join(f"{_summary(column):>16}" for column in columns), flush=True)
    first, last = min(sizes), max(sizes)
    print(f"\n{f'{last} beside {first} finished trials':38}" + "".join(f"{name:>16}" for name in OPERATIONS))
    for label, num_workers in dict.fromkeys(key[:2] for key in medians):
        pairs = zip(medians[label, num_workers, last], medians[label, num_workers, first], strict=True)
        row = f"{label:14}{num_workers:>15} workers"
        print(f"{row:38}" + "".join(f"{after / before:>14.2f} x" for after, before in pairs))
    print("\nmilliseconds a sampler computes for one proposal")
    for size in sizes:
        job = Job(url, home, f"ours-{size}-{worker_counts[0]}", 0)
        print(f"  {size:>6} trials: " + ", ".join(f"{name} {proposal_ms(job, name):.0f}" for name in ("random", "tpe")))


def _summary(seconds: Sequence[float]) -> str:
    ordered = sorted(seconds)
    return f"{1e3 * statistics.median(ordered):.1f} / {1e3 * ordered[int(0.95 * (len(ordered) - 1))]:.1f}"


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
    connection.send(TrialEnd("finished", 0.1, EPOCHS, 1000, message=str(held_up)))
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
        cells = [_summary([row[column] for row in rows[1:]]) for column in (0, 1)]
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
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 10_000], help="finished trials")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--path-trials", type=int, default=20, help="trials of the second measurement")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with database() as (url, home):
        latencies(url, home, options.sizes, options.workers)
        training_path(url, home, options.path_trials)


if __name__ == "__main__":
    main()
