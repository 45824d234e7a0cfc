"""Configurations that need more memory than there is: refused before training, known to Optuna, counted once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.samplers import TPESampler
from optuna.samplers._tpe.sampler import _split_trials
from optuna.trial import TrialState
from support.simulated import open_campaign

from hpo.adapters.ledger.postgres_ledger import PostgresLedger
from hpo.adapters.processes import host as processes
from hpo.adapters.processes.clock import SystemClock
from hpo.adapters.processes.runners import InProcessRunner
from hpo.domain.campaign import CampaignState, Outcome, SlotState, SlotView, WorkerIdentity
from hpo.domain.config import SearchConfig
from hpo.domain.ports import TrialRequest
from hpo.engine.objective import Objective
from hpo.engine.strategies.samplers import MEMORY, tell_unfit
from hpo.engine.tiers import COPIED_FROM
from hpo.engine.worker import Worker
from hpo.ranking.ranker import Ranker
from hpo.runs.folder import SlotFolder, campaign_folder
from hpo.usecases.doctor.examination import Doctor
from hpo.usecases.records import Records
from hpo.wiring import build_worker
from search_spaces import Space, parse_space
from trainer.config import TrainerConfig
from trainer.data import open_training, prepare
from trainer.training.memory import estimate

SPACE = """
settings:
  model.kind: mlp
tiers:
  capacity:
    model.hidden_size: {type: choice, choices: [8, 512], ordered: true, default: 8}
    optim.lr: {type: float, low: 1.0e-4, high: 1.0e-2, log: true, default: 1.0e-3}
  regularisation:
    model.dropout: {type: float, low: 0.0, high: 0.4, default: 0.1}
"""
TRIALS = 6
LEAST = 1 << 20
"""Bytes: the least that a trial can be allowed, and less than any takes."""


def configuration(name: str, memory: int | None) -> tuple[SearchConfig, Space]:
    trainer = {
        "data": {"source": "planted:clean?stocks=12&days=300", "horizons": (1,)},
        "model": {"kind": "mlp", "window": 3},
        "train": {"epochs": 1, "score_epochs": 1, "device": "cpu", "precision": "fp32", "threads": 1},
    }
    values = {"study": name, "trials": TRIALS, "trainer": trainer, "worker": {"trial_memory": memory}}
    return SearchConfig.model_validate(values), parse_space(SPACE, "widths", "a test")


def settings() -> TrainerConfig:
    return TrainerConfig.model_validate(configuration("x", None)[0].trainer)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    trainer = settings()
    return prepare(trainer.data, trainer.model.window, tmp_path_factory.mktemp("cache")).search


@pytest.fixture
def search(ledger: PostgresLedger, storage: Any, data: Path, tmp_path: Path) -> Callable[..., list[SlotView]]:
    """Work a campaign to its end, with real trainings; its slots."""

    def run(name: str, memory: int, own_ledger: Any = ledger) -> list[SlotView]:
        config, space = configuration(name, memory)
        campaign = open_campaign(ledger, config, space)
        identity, runs = WorkerIdentity("host", 1, 0.0), campaign_folder(tmp_path, name)
        objective = Objective(
            campaign, config, space, Ranker(), own_ledger, storage, InProcessRunner(), data, runs, identity, "code"
        )
        Worker(
            own_ledger, objective, campaign, identity, config.worker, SystemClock(), lambda _: True, threading.Event()
        ).run()
        return list(ledger.slots(campaign.id))

    return run


def own_trials(ledger: PostgresLedger, storage: Any, name: str) -> list[optuna.trial.FrozenTrial]:
    campaign = ledger.find_campaign(name)
    assert campaign is not None
    return [
        trial
        for tier in campaign.spec.tiers
        for trial in optuna.load_study(study_name=tier.study_name(name), storage=storage).trials
        if COPIED_FROM not in trial.user_attrs
    ]


def test_where_nothing_fits_every_slot_is_used_once_and_the_search_ends(
    search: Callable[..., list[SlotView]], ledger: PostgresLedger, storage: Any, tmp_path: Path
) -> None:
    slots = search("full", memory=LEAST)

    assert [(slot.state, slot.outcome, slot.epoch, slot.score) for slot in slots] == [
        (SlotState.DONE, Outcome.FAILED, None, None)
    ] * TRIALS
    assert all(str(slot.reason).startswith("does_not_fit: it needs about 0.") for slot in slots)
    assert {slot.num_crashes for slot in slots} == {0}
    trials = own_trials(ledger, storage, "full")
    assert [trial.state for trial in trials] == [TrialState.PRUNED] * TRIALS
    assert all(trial.value is None and not trial.intermediate_values for trial in trials)
    assert all(trial.constraints[MEMORY] > 1 for trial in trials)
    attempt = SlotFolder(campaign_folder(tmp_path, "full"), 1).current()
    assert attempt is not None
    assert attempt.epochs() == []
    campaign = ledger.find_campaign("full")
    assert campaign is not None
    first = campaign.decisions[1]
    assert first["num_trials"]["failed"] == sum(slot.tier == 1 for slot in slots)
    assert first["num_trials"]["pruned"] == 0
    assert "No trial is complete, so the defaults stand." in first["reason"]
    doctor = Doctor(ledger, storage, campaign_folder(tmp_path, "full"), lambda: 0, processes.is_dead)
    breaches = [breach for check in doctor.examine("full") for breach in check.breaches]
    assert len(breaches) == 1
    assert breaches[0].startswith("All 6 trials of 'full' failed, the first with: does_not_fit: ")
    assert campaign.state is CampaignState.RUNNING  # whoever sits at it names the champion, or says that there is none


def test_what_fits_is_trained_and_only_what_does_not_is_refused(
    search: Callable[..., list[SlotView]], ledger: PostgresLedger, storage: Any, data: Path
) -> None:
    shape = open_training(data).panel.features.shape
    small, large = (
        estimate(settings().model_copy(update={"model": model}), shape)
        for model in (
            TrainerConfig.model_validate({"model": {"kind": "mlp", "window": 3, "hidden_size": width}}).model
            for width in (8, 512)
        )
    )
    assert small < large / 2
    slots = search("some", memory=(small + large) // 2)

    trials = own_trials(ledger, storage, "some")
    refused = [trial.constraints != {} for trial in trials]
    assert 0 < sum(refused) < TRIALS
    assert [trial.user_attrs["values"]["model.hidden_size"] == 512 for trial in trials] == refused
    assert [slot.outcome is Outcome.FAILED for slot in slots] == refused
    assert slots[0].outcome is Outcome.COMPLETE


def test_a_worker_that_dies_after_telling_optuna_leaves_a_slot_that_is_only_passed_on(
    search: Callable[..., list[SlotView]], ledger: PostgresLedger, storage: Any
) -> None:
    class Dying:
        """The ledger, out of reach at the first `finish`."""

        dead = False

        def __getattr__(self, name: str) -> Any:
            return getattr(ledger, name)

        def finish(self, *given: Any) -> None:
            if not self.dead:
                self.dead = True
                raise KeyboardInterrupt
            ledger.finish(*given)

    with pytest.raises(KeyboardInterrupt):
        search("dying", memory=LEAST, own_ledger=Dying())
    slots = search("dying", memory=LEAST)
    assert [slot.outcome for slot in slots] == [Outcome.FAILED] * TRIALS
    assert str(slots[0].reason).startswith("does_not_fit")
    assert len(own_trials(ledger, storage, "dying")) == TRIALS


def test_what_has_begun_is_not_refused_however_little_memory_is_left(data: Path, tmp_path: Path) -> None:
    config = settings().model_dump(mode="json")
    attempt = SlotFolder(tmp_path, 1).open_attempt(1, {"campaign": "x", "slot": 1}, {})

    def end(memory: int | None) -> Any:
        return InProcessRunner().run(
            TrialRequest(config, data, attempt.folder, memory), lambda report: "continue", lambda: False
        )

    assert end(1000).reason == "does_not_fit"
    assert end(None).kind == "finished"
    assert end(1000).kind == "finished"


@pytest.mark.parametrize("name", ["TPESampler", "CmaEsSampler", "RandomSampler", "GPSampler", "NSGAIISampler"])
def test_samplers_go_on_after_a_trial_that_did_not_fit(name: str) -> None:
    cls = getattr(optuna.samplers, name)
    quiet = {"warn_independent_sampling": False} if name in ("CmaEsSampler", "GPSampler") else {}
    study = optuna.create_study(direction="maximize", sampler=cls(seed=0, **quiet))
    for number in range(6):
        trial = study.ask()
        width = trial.suggest_float("width", 0.0, 1.0)
        trial.suggest_float("rate", 0.0, 1.0)
        if number % 2:
            tell_unfit(study, trial, excess=width)
        else:
            study.tell(trial, width)
    assert study.best_value == max(t.value for t in study.trials if t.value is not None)


def test_tpe_counts_what_did_not_fit_among_the_bad_ones_the_less_fitting_the_worse() -> None:
    study = optuna.create_study(direction="maximize", sampler=TPESampler(seed=0))
    for number, excess in enumerate((None, 3.0, 0.5)):
        trial = study.ask()
        trial.suggest_float("x", 0.0, 1.0)
        if excess is None:
            study.tell(trial, -100.0 + number)
        else:
            tell_unfit(study, trial, excess)
    good, bad = _split_trials(study, study.trials, 1)
    assert ([t.number for t in good], [t.number for t in bad]) == ([0], [1, 2])
    good, bad = _split_trials(study, study.trials, 2)
    assert ([t.number for t in good], [t.number for t in bad]) == ([0, 2], [1])


def test_the_memory_of_a_trial_is_settled_before_any_takes_some(
    monkeypatch: pytest.MonkeyPatch, ledger: PostgresLedger, storage: Any, data: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(processes, "available_memory", lambda: 9 * LEAST)
    records = Records(tmp_path, ledger)
    for declared, workers, expected in ((None, 3, 3 * LEAST), ("2MiB", 3, 2 * LEAST)):
        config, space = configuration("shares", None)
        settings = {"num_workers": workers, "trial_memory": declared}
        config = SearchConfig.model_validate({**config.model_dump(), "worker": settings})
        campaign = open_campaign(ledger, config, space)
        worker = build_worker(records, storage, campaign, config, space, data, "code", threading.Event())
        assert worker._objective._config.worker.trial_memory == expected


def test_available_memory_is_the_containers_where_it_has_less(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine = processes.available_memory()
    assert 0 < machine < 2**50
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(processes, "CONTAINER_LIMIT", limit)
    for text, expected in (("max\n", machine), ("1000\n", 1000), (f"{2**60}\n", machine)):
        limit.write_text(text)
        assert processes.available_memory() == pytest.approx(expected, rel=0.2)
