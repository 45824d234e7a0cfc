"""What the bookkeeping around a trial costs, beside plain Optuna on the same Postgres in the same run.

    python -m benchmarks.ledger                 (100, 1,000 and 10,000 finished trials, 1 and 8 workers)
    python -m benchmarks.ledger --sizes 100 --workers 1
    python -m benchmarks.ledger --sizes 100 --workers 256 --trials 2 --connections 1000

Latencies in a study that holds many finished trials, and how they grow with it: `ask` (from wanting a trial to
knowing its parameters: ours claims a slot, creates its trial and opens its run folder), `epoch` (report and verdict:
ours also renews the lease), `tell` (ours also makes the run folder durable, checks and finishes the slot). The
sampler is random and the pruner our default for both, because a sampler's own computing is no bookkeeping; what
TPE computes for one proposal stands apart. `start`: the first ask, which connects and reads the study.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import FloatDistribution, IntDistribution, distribution_to_json
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy import create_engine, text

from benchmarks.campaign import EPOCHS, SPACE, Job, configuration, database, noisy, objective_of, report, summary
from hpo.adapters.ledger.postgres_ledger import PostgresLedger
from hpo.adapters.optuna.study_storage import study_storage
from hpo.adapters.postgres.urls import canonical, url_for
from hpo.adapters.processes import host as processes
from hpo.domain.config import PrunerConfig, SamplerConfig
from hpo.domain.ports import TrialEnd, TrialRequest
from hpo.domain.trainable import Length
from hpo.domain.training import EpochReport
from hpo.engine.stage import Stage, open_study, stages
from hpo.engine.strategies.pruners import build_pruner
from hpo.engine.study_cache import StudyCache
from hpo.runs.folder import Attempt

OPERATIONS = ("ask", "epoch", "tell", "start")
Times = dict[str, list[float]]


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


def ours(job: Job) -> Times:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    times: Times = {name: [] for name in OPERATIONS}
    ledger, runner = PostgresLedger(job.url), TimedRunner(times)
    objective, campaign = objective_of(job, ledger, runner)
    worker, lease = ledger.register_worker(campaign, processes.this_process()), timedelta(minutes=5)
    for number in range(job.trials_per_worker + 1):
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
    for number in range(job.trials_per_worker + 1):
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
  FROM done, unnest(ARRAY['slot', 'values', 'run', 'trainer_seed', 'num_parameters', 'last_epoch', 'seconds']) key)
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
    return stages(campaign, configuration(job.name), SPACE, Length(EPOCHS))[1]


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


def latencies(url: str, home: Path, sizes: Sequence[int], worker_counts: Sequence[int], num_trials: int) -> None:
    print(f"{'milliseconds, median / p95':38}" + "".join(f"{name:>16}" for name in OPERATIONS))
    context = multiprocessing.get_context("forkserver")
    medians: dict[tuple[str, int, int], list[float]] = {}
    for size in sizes:
        for num_workers in worker_counts:
            for label, work in (("tiertune", ours), ("plain Optuna", plain)):
                num_slots = size + num_workers * (num_trials + 1)
                job = Job(url, home, f"{work.__name__}-{size}-{num_workers}", num_slots, num_trials)
                fill(job, size)
                with context.Pool(num_workers) as pool:
                    found = pool.map(work, [job] * num_workers, chunksize=1)
                columns = [[t for times in found for t in times[name]] for name in OPERATIONS]
                medians[label, num_workers, size] = [statistics.median(column) for column in columns]
                row = f"{label:14}{size:>7} trials, {num_workers} workers"
                print(f"{row:38}" + "".join(f"{summary(column):>16}" for column in columns), flush=True)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 10_000], help="finished trials")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--trials", type=int, default=10, help="per worker, after a first one that is not counted")
    parser.add_argument("--connections", type=int, default=200, help="the server's limit; a worker may hold three")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with database(options.connections) as (url, home):
        latencies(url, home, options.sizes, options.workers, options.trials)


if __name__ == "__main__":
    main()
