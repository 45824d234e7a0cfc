"""What every tracker promises, and what the one on MLflow writes."""

from __future__ import annotations

import getpass
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from hpo.adapters.dashboard.campaign_studies import CampaignStudies
from hpo.adapters.dashboard.pages import DashboardPages
from hpo.adapters.mlflow.null_tracker import NullTracker
from hpo.adapters.mlflow.quiet import MlflowClient, MlflowException
from hpo.adapters.mlflow.tracker import MLflowTracker
from hpo.adapters.optuna.study_storage import PatientStorage, study_storage
from hpo.adapters.postgres.database import prepare_mlflow
from hpo.adapters.postgres.urls import url_for
from hpo.adapters.processes.host import this_process
from hpo.domain.campaign import Campaign, CampaignSpec, CampaignState, Outcome, TierPlan
from hpo.domain.errors import StoreUnavailable
from hpo.domain.ports import Tracker
from hpo.domain.training import EpochReport
from hpo.engine.objective import OUTCOMES
from hpo.runs.folder import Attempt, SlotFolder, campaign_folder
from hpo.runs.folder import runs as slots_of

TIERS = (TierPlan(1, "capacity", 2), TierPlan(2, "refinement", 2))

SPACE = "tiers: {capacity: {optim.lr: {type: float, low: 1.0e-4, high: 1.0e-2, log: true, default: 1.0e-3}}}"


def campaign(**changes: Any) -> Campaign:
    source = {"data": {"source": "/data/prices.parquet"}}
    config = {
        "search": {"trainable": "ranker", "objective": "rank_ic", "trainer": source},
        "space": {"name": "one", "yaml": SPACE},
        "metrics": [{"name": "rank_ic"}],
    }
    spec = CampaignSpec("night", config, {"space": "ab12", "data": "da7a" * 16}, TIERS, seed=1)
    return Campaign(
        **{"id": 1, "spec": spec, "state": CampaignState.RUNNING, "created_at": datetime.now(UTC), **changes}
    )


def report(epoch: int) -> EpochReport:
    score = 0.01 * epoch
    metrics = {"valid/rank_ic": score, "train/loss": 1.0 / epoch}
    return EpochReport(epoch, score, metrics, {"rank_ic": np.full(5, score, np.float32)}, seconds=0.5)


def open_attempt(runs: Path, slot: int, fence: int = 1, tier: TierPlan = TIERS[0], worker: Any = None) -> Attempt:
    run = {"campaign": "night", "tier": tier.number, "tier_name": tier.name, "slot": slot, "trial_number": slot - 1}
    run |= {
        "study_name": tier.study_name("night"),
        "study_id": 7,
        "params": {"optim.lr": 1e-3},
        "trainer_seed": 5,
        "worker": worker,
    }
    run = {name: value for name, value in run.items() if value is not None}
    return SlotFolder(runs, slot).open_attempt(fence, run, {"optim": {"lr": 1e-3, "name": "adamw"}, "epochs": 3})


def play(runs: Path, sync: Callable[[], object]) -> None:
    """A small campaign: a complete, a pruned and a failed trial, one that goes on in a second attempt."""
    first = open_attempt(runs, 1)
    sync()
    for epoch in (1, 2, 3):
        first.append_epoch(report(epoch))
        sync()
    first.model.write_bytes(b"weights")
    first.finish(Outcome.COMPLETE, 0.02, 3, 100)
    second = open_attempt(runs, 2)
    second.append_epoch(report(1))
    second.finish(Outcome.PRUNED, 0.01)
    sync()
    third = open_attempt(runs, 3, tier=TIERS[1])
    third.append_epoch(report(1))
    sync()
    again = open_attempt(runs, 3, fence=4, tier=TIERS[1])
    for epoch in (1, 2):
        again.append_epoch(report(epoch))
        sync()
    again.finish(Outcome.FAILED, reason="non_finite: the loss was not finite")
    sync()


def content(uri: str) -> dict[str, Any]:
    """All that the store holds of the campaign, by run name, without ids and times of writing."""
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("tiertune/night")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    names = {run.info.run_id: run.info.run_name for run in runs}
    held = {}
    for run in runs:
        history = {
            key: [
                (point.step, point.timestamp, point.value) for point in client.get_metric_history(run.info.run_id, key)
            ]
            for key in run.data.metrics
        }
        tags = dict(run.data.tags)
        parent = names.get(tags.pop("mlflow.parentRunId", ""))
        files = sorted(file.path for file in client.list_artifacts(run.info.run_id))
        held[run.info.run_name] = (run.info.status, parent, tags, run.data.params, history, files)
    assert len(held) == len(runs), "two runs of one name"
    return held


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with MLflow's tables, which take seconds to make."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def new_store(empty_store: Path, tmp_path: Path) -> Callable[[str], str]:
    def make(name: str) -> str:
        return f"sqlite:///{shutil.copy(empty_store, tmp_path / f'{name}.db')}"

    return make


@pytest.fixture
def store(new_store: Callable[[str], str]) -> str:
    return new_store("first")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return campaign_folder(tmp_path, "night")


@pytest.fixture
def mlflow_tracker(store: str, tmp_path: Path) -> Iterator[MLflowTracker]:
    tracker = MLflowTracker(store, tmp_path / "artifacts", lambda campaign: 7)
    yield tracker
    tracker.close()


class Dashboard(DashboardPages):
    """With a search beside it that has told Optuna what the run folders say."""

    def __init__(self, storage: PatientStorage, files: Path) -> None:
        super().__init__(CampaignStudies(lambda: storage), files, lambda campaign, runs, slot: None)
        self._told = storage

    def sync(self, campaign: Campaign, folder: Path) -> int:
        for slot in slots_of(folder):
            attempt = slot.current()
            assert attempt is not None
            name = attempt.run()["study_name"]
            study = optuna.create_study(study_name=name, storage=self._told, direction="maximize", load_if_exists=True)
            own = [trial for trial in study.trials if trial.user_attrs["slot"] == slot.slot]
            if not own:
                study.add_trial(optuna.create_trial(state=TrialState.RUNNING, user_attrs={"slot": slot.slot}))
                own = study.trials[-1:]
            result = attempt.result()
            if result is not None:
                state = next(state for state, outcome in OUTCOMES.items() if outcome is result.outcome)
                score = result.score if state is TrialState.COMPLETE else None
                study.tell(own[0].number, score, state, skip_if_finished=True)
        return super().sync(campaign, folder)


@pytest.fixture(params=["mlflow", "dashboard", "null"])
def tracker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tracker]:
    if request.param == "dashboard":
        storage = study_storage(request.getfixturevalue("database_url"))
        yield Dashboard(storage, tmp_path / "files")
        storage.remove_session()
        storage.engine.dispose()
    else:
        yield NullTracker() if request.param == "null" else request.getfixturevalue("mlflow_tracker")


def test_sync_before_anything_ran_writes_nothing(tracker: Tracker, runs: Path) -> None:
    assert tracker.sync(campaign(), runs) == 0


def test_a_second_sync_writes_nothing(tracker: Tracker, runs: Path) -> None:
    play(runs, lambda: tracker.sync(campaign(), runs))
    assert tracker.sync(campaign(), runs) == 0
    tracker.close()
    assert tracker.sync(campaign(), runs) == 0


def test_the_run_folder_is_only_read(tracker: Tracker, runs: Path) -> None:
    attempt = open_attempt(runs, 1)
    attempt.append_epoch(report(1))
    before = {path: path.read_bytes() for path in attempt.folder.rglob("*") if path.is_file()}
    tracker.sync(campaign(), runs)
    assert {path: path.read_bytes() for path in attempt.folder.rglob("*") if path.is_file()} == before


def test_a_report_may_be_attached_again_and_again(tracker: Tracker, runs: Path, tmp_path: Path) -> None:
    open_attempt(runs, 1).append_epoch(report(1))
    page = tmp_path / "report.html"
    for text in ("first", "second"):
        page.write_text(text)
        tracker.attach_report(campaign(), runs, [page])
    assert tracker.sync(campaign(), runs) == 0


def test_the_report_lies_at_the_campaigns_run(
    mlflow_tracker: MLflowTracker, store: str, runs: Path, tmp_path: Path
) -> None:
    open_attempt(runs, 1).append_epoch(report(1))
    files = [tmp_path / "report.html", tmp_path / "report.json"]
    facts = {"holdout": {"value": {"estimate": 0.02, "low": 0.01}}, "overfitting_probability": {"value": 0.25}}
    facts |= {"champion": {"value": {"slot": 2}}, "gain": {"value": None}}
    told = {
        "finding": "better",
        "verdict": "better than the default by 0.006",
        "created_at": "2026-01-02T03:04:05+00:00",
    }
    files[1].write_text(json.dumps({**told, "sections": {"answer": {"facts": facts}}}))
    for text in ("first", "second"):
        files[0].write_text(text)
        mlflow_tracker.attach_report(campaign(), runs, files)
    client = MlflowClient(tracking_uri=store)
    (run,) = client.search_runs(["1"], "tags.`tiertune.kind` = 'campaign'")
    assert run.data.tags["tiertune.finding"] == "better"
    assert run.data.tags["tiertune.verdict"] == "better than the default by 0.006"
    assert run.data.metrics == {"report/holdout": 0.02, "report/overfitting_probability": 0.25}
    held = client.list_artifacts(run.info.run_id, "report")
    assert [file.path for file in held] == ["report/report.html", "report/report.json"]
    page = client.download_artifacts(run.info.run_id, "report/report.html", str(tmp_path))
    assert Path(page).read_text() == "second"


def test_a_trials_run_names_its_optuna_study_and_number(mlflow_tracker: MLflowTracker, store: str, runs: Path) -> None:
    open_attempt(runs, 2).append_epoch(report(1))
    mlflow_tracker.sync(campaign(), runs)
    tags = content(store)["0002 capacity"][2]
    assert (tags["tiertune.study"], tags["tiertune.optuna_trial"]) == ("night/1-capacity", "1")
    address = "http://127.0.0.1:8080/dashboard/studies/7/trials?numbers=2"
    assert tags["tiertune.optuna"] == address
    assert f"]({address})" in tags["mlflow.note.content"]
    assert content(store)["night"][2]["tiertune.optuna"] == "http://127.0.0.1:8080/dashboard/studies/7"


def test_what_is_written(mlflow_tracker: MLflowTracker, store: str, runs: Path) -> None:
    play(runs, lambda: mlflow_tracker.sync(campaign(), runs))
    decided = campaign(decisions={1: {"values": {"optim.lr": 1e-3}, "reason": "best of two"}})
    mlflow_tracker.sync(decided, runs)
    held = content(store)
    assert {name: run[1] for name, run in held.items()} == {
        "night": None,
        "0001 capacity": "night",
        "0002 capacity": "night",
        "0003 refinement": "night",
    }
    assert {name: run[0] for name, run in held.items()} == {
        "night": "SCHEDULED",  # undecided, and nothing runs
        "0001 capacity": "FINISHED",
        "0002 capacity": "KILLED",  # pruned
        "0003 refinement": "FAILED",
    }
    _, _, tags, params, history, files = held["0001 capacity"]
    assert params == {"optim.lr": "0.001", "optim.name": "adamw", "epochs": "3"}
    assert (tags["tiertune.slot"], tags["tiertune.tier"]) == ("night#0001", "1-capacity")
    assert tags["tiertune.outcome"] == "complete"
    assert [step for step, _, _ in history["valid/rank_ic"]] == [1, 2, 3]
    assert history["result/score"][0][2] == 0.02
    assert files == ["config.json", "daily.npz", "learning_curve.svg", "model.pt"]
    assert held["0002 capacity"][5] == ["config.json", "daily.npz", "learning_curve.svg"]
    assert "non_finite" in held["0003 refinement"][2]["tiertune.reason"]
    assert held["0002 capacity"][2]["tiertune.outcome"] == "pruned"
    assert "best of two" in held["night"][2]["mlflow.note.content"]


def test_every_run_says_its_data_its_user_its_source_and_when(
    mlflow_tracker: MLflowTracker, store: str, runs: Path
) -> None:
    play(runs, lambda: mlflow_tracker.sync(campaign(), runs))
    client = MlflowClient(tracking_uri=store)
    held = client.search_runs(["1"])
    assert len(held) == 4
    for run in held:
        (given,) = run.inputs.dataset_inputs
        assert (given.dataset.name, given.dataset.digest) == ("prices.parquet", "da7a" * 9)
        assert json.loads(given.dataset.source) == {"uri": "/data/prices.parquet"}
        assert {tag.key: tag.value for tag in given.tags} == {"mlflow.data.context": "training"}
        assert run.data.tags["mlflow.user"] == run.info.user_id == getpass.getuser()
        assert run.data.tags["mlflow.source.name"] == "hpo run study=night"
        assert run.data.tags["mlflow.source.type"] == "LOCAL"
        assert run.info.start_time
        assert run.info.end_time or run.info.status == "SCHEDULED"


def test_epochs_carry_their_own_time(mlflow_tracker: MLflowTracker, store: str, runs: Path) -> None:
    attempt = open_attempt(runs, 1)
    for epoch in (1, 2):
        attempt.append_epoch(report(epoch))
    mlflow_tracker.sync(campaign(), runs)
    times = [time for _, time, _ in content(store)["0001 capacity"][4]["score"]]
    assert times == [round(record.time.timestamp() * 1000) for record in attempt.epochs()]


def test_catching_up_gives_what_following_gives(
    store: str, new_store: Callable[[str], str], runs: Path, tmp_path: Path
) -> None:
    """A store that was down all the time holds, after one sync, what one that was up holds."""
    follower = MLflowTracker(store, tmp_path / "artifacts")
    play(runs, lambda: follower.sync(campaign(), runs))
    for book in [runs / "tracked.json", *runs.glob("*/tracked.json")]:
        book.unlink()
    late = new_store("late")
    MLflowTracker(late, tmp_path / "late").sync(campaign(), runs)
    assert content(late) == content(store)


def test_lost_bookkeeping_is_found_again(mlflow_tracker: MLflowTracker, store: str, runs: Path, tmp_path: Path) -> None:
    play(runs, lambda: mlflow_tracker.sync(campaign(), runs))
    before = content(store)
    for book in [runs / "tracked.json", *runs.glob("*/tracked.json")]:
        book.unlink()
    MLflowTracker(store, tmp_path / "artifacts", lambda campaign: 7).sync(campaign(), runs)
    assert content(store) == before


def test_a_run_whose_worker_is_dead_is_killed_and_goes_on(
    mlflow_tracker: MLflowTracker, store: str, runs: Path
) -> None:
    ours = this_process()
    alive = {"host": ours.host, "pid": ours.pid, "started": ours.started}
    open_attempt(runs, 1, worker=alive).append_epoch(report(1))
    open_attempt(runs, 2, worker={**alive, "started": ours.started - 1000.0}).append_epoch(report(1))
    mlflow_tracker.sync(campaign(), runs)
    status = {name: run[0] for name, run in content(store).items()}
    assert (status["0001 capacity"], status["0002 capacity"]) == ("RUNNING", "SCHEDULED")
    open_attempt(runs, 2, fence=9, worker=alive)
    mlflow_tracker.sync(campaign(), runs)
    assert content(store)["0002 capacity"][0] == "RUNNING"
    mlflow_tracker.sync(campaign(state=CampaignState.COMPLETE), runs)
    assert {run[0] for name, run in content(store).items() if name[0] == "0"} == {"KILLED"}


def test_a_run_deleted_by_hand_comes_back_whole_while_it_lives(
    mlflow_tracker: MLflowTracker, store: str, runs: Path
) -> None:
    attempt = open_attempt(runs, 1)
    attempt.append_epoch(report(1))
    mlflow_tracker.sync(campaign(), runs)
    MlflowClient(tracking_uri=store).delete_run(
        mlflow_tracker.address(campaign(), runs, 1).split("/")[-1].partition("?")[0]
    )
    attempt.append_epoch(report(2))
    mlflow_tracker.sync(campaign(), runs)
    assert [step for step, _, _ in content(store)["0001 capacity"][4]["score"]] == [1, 2]


def test_a_store_that_is_down_is_named_without_its_password(runs: Path) -> None:
    open_attempt(runs, 1)
    tracker = MLflowTracker("postgresql+psycopg2://me:sec%40ret@127.0.0.1:9/nothing?connect_timeout=2")
    with pytest.raises(StoreUnavailable) as caught:
        tracker.sync(campaign(), runs)
    assert "127.0.0.1" in str(caught.value)
    assert "hpo sync" in str(caught.value)
    assert not any(secret in str(caught.value) for secret in ("sec%40ret", "sec@ret", "40ret"))


class Flaky:
    """A client whose every fourth call or so fails: in turn before it did anything, and after it did all."""

    def __init__(self, client: MlflowClient) -> None:
        self._client, self._random, self.failures = client, Random(1), 0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            fails = self._random.random() < 0.25
            self.failures += fails
            if fails and self.failures % 2:
                raise MlflowException("the server closed the connection")
            answer = getattr(self._client, name)(*arguments, **options)
            if fails:
                raise MlflowException("the server closed the connection")
            return answer

        return call


def test_a_store_that_keeps_failing_ends_with_the_same_content(
    store: str, new_store: Callable[[str], str], runs: Path, tmp_path: Path
) -> None:
    broken = MLflowTracker(store, tmp_path / "artifacts")
    flaky = Flaky(MlflowClient(tracking_uri=store, registry_uri=store))
    broken._store._client = flaky  # type: ignore[assignment]  # stands in for the client

    def sync() -> None:
        with suppress(StoreUnavailable):
            broken.sync(campaign(), runs)

    play(runs, sync)
    for _ in range(30):
        sync()
    assert flaky.failures > 10
    assert broken.sync(campaign(), runs) == 0, "thirty passes were not enough"
    for book in [runs / "tracked.json", *runs.glob("*/tracked.json")]:
        book.unlink()
    whole = new_store("whole")
    MLflowTracker(whole, tmp_path / "whole").sync(campaign(), runs)
    assert content(store) == content(whole)


def test_two_trackers_at_once_write_everything_once(store: str, runs: Path, tmp_path: Path) -> None:
    one, two = (MLflowTracker(store, tmp_path / "artifacts") for _ in range(2))
    turn = iter(range(10_000))
    play(runs, lambda: (one if next(turn) % 2 else two).sync(campaign(), runs))
    history = content(store)["0001 capacity"][4]
    assert [step for step, _, _ in history["score"]] == [1, 2, 3]


def test_postgres_holds_the_same(database_url: str, store: str, runs: Path, tmp_path: Path) -> None:
    follower = MLflowTracker(store, tmp_path / "artifacts")
    play(runs, lambda: follower.sync(campaign(), runs))
    prepare_mlflow(database_url)
    uri = url_for(database_url, "mlflow")
    late = MLflowTracker(uri, tmp_path / "late")
    assert late.sync(campaign(), runs) > 0
    assert late.sync(campaign(), runs) == 0
    assert content(uri) == content(store)


def test_deleting_what_was_never_written_is_no_fault(tracker: Tracker, runs: Path) -> None:
    tracker.delete(campaign(), runs)
    tracker.delete(campaign(), runs)


def test_a_deleted_campaign_leaves_its_name_free_for_one_without_runs(
    mlflow_tracker: MLflowTracker, store: str, runs: Path, tmp_path: Path
) -> None:
    play(runs, lambda: mlflow_tracker.sync(campaign(), runs))
    client = MlflowClient(tracking_uri=store, registry_uri=store)
    client.create_registered_model("tiertune-night")
    client.create_registered_model("tiertune-nightly")
    assert (tmp_path / "artifacts" / "night").is_dir()
    mlflow_tracker.delete(campaign(), runs)
    assert client.get_experiment_by_name("tiertune/night") is None
    assert [model.name for model in client.search_registered_models()] == ["tiertune-nightly"]
    assert not (tmp_path / "artifacts" / "night").exists()
    shutil.rmtree(runs)
    open_attempt(runs, 1).append_epoch(report(1))
    mlflow_tracker.sync(campaign(), runs)
    experiment = client.get_experiment_by_name("tiertune/night")
    assert experiment is not None
    assert len(client.search_runs([experiment.experiment_id])) == 2, "the campaign and its one trial"
