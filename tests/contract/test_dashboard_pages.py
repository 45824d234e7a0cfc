"""What optuna-dashboard is given beside Optuna's records, read back as the dashboard reads it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.artifacts import get_all_artifact_meta
from optuna_dashboard import get_note, save_note
from optuna_dashboard.artifact._backend import list_trial_artifacts

from hpo.adapters.dashboard.pages import DashboardPages, _TrialPage
from hpo.adapters.optuna.study_storage import study_storage
from hpo.domain.campaign import Campaign, CampaignSpec, CampaignState, Outcome, TierPlan
from hpo.domain.training import EpochReport
from hpo.runs.folder import Attempt, SlotFolder, campaign_folder

TIERS = (TierPlan(1, "capacity", 2), TierPlan(2, "refinement", 1))
CAMPAIGN = Campaign(
    1, CampaignSpec("night", {}, {}, TIERS, seed=1), CampaignState.COMPLETE, champion={"slot": 1, "values": {}}
)
ADDRESS = "http://127.0.0.1:5000/#/experiments/1/runs/ab"
REPORT = {"verdict": "better than the default by 0.006"}


@pytest.fixture
def storage(database_url: str) -> optuna.storages.BaseStorage:
    """Optuna's storage with the studies of the campaign; the champion's copy is the second one's first trial."""
    opened = study_storage(database_url)
    for tier in TIERS:
        study = optuna.create_study(study_name=tier.study_name("night"), storage=opened, direction="maximize")
        save_note(study, f"# Tier {tier.number}")
    first, last = (optuna.load_study(study_name=tier.study_name("night"), storage=opened) for tier in TIERS)
    for value in (0.03, 0.01):
        first.add_trial(optuna.create_trial(value=value))
    last.add_trial(optuna.create_trial(value=0.03, user_attrs={"slot": 1, "copied_from": "night/1-capacity#0"}))
    return opened


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return campaign_folder(tmp_path, "night")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.fixture
def pages(storage: optuna.storages.BaseStorage, files: Path) -> DashboardPages:
    return DashboardPages(lambda: storage, files, lambda campaign, folder, slot: ADDRESS)


@pytest.fixture
def written_report(tmp_path: Path) -> list[Path]:
    (tmp_path / "report.html").write_text("<p>first</p>", encoding="utf-8")
    (tmp_path / "report.json").write_text(json.dumps(REPORT), encoding="utf-8")
    return [tmp_path / "report.html", tmp_path / "report.json"]


def open_attempt(runs: Path, slot: int) -> Attempt:
    run = {"campaign": "night", "tier": 1, "tier_name": "capacity", "slot": slot, "trial_number": slot - 1}
    return SlotFolder(runs, slot).open_attempt(1, {**run, "study_name": "night/1-capacity"}, {"optim": {"lr": 0.001}})


def train(attempt: Attempt) -> None:
    for epoch in (1, 2):
        metrics = {"valid/rank_ic": 0.01 * epoch, "train/loss": 1.0 / epoch}
        attempt.append_epoch(EpochReport(epoch, 0.01 * epoch, metrics, {"rank_ic": np.zeros(3, np.float32)}, 0.5))
    attempt.finish(Outcome.COMPLETE, 0.02, 2, 100)


def shown(storage: optuna.storages.BaseStorage, study: str, number: int) -> tuple[str, dict[str, str]]:
    """A trial's note, and its files: name -> artifact id."""
    loaded = optuna.load_study(study_name=study, storage=storage)
    trial = loaded.trials[number]
    attributes = storage.get_study_system_attrs(loaded._study_id)
    metas = list_trial_artifacts(attributes, storage.get_trial_system_attrs(trial._trial_id), trial)
    note = get_note(_TrialPage(storage, loaded, trial._trial_id))
    return note, {meta["filename"]: meta["artifact_id"] for meta in metas}


def test_a_trial_is_noted_when_it_begins_and_has_its_files_when_it_ends(
    pages: DashboardPages, storage: optuna.storages.BaseStorage, runs: Path, files: Path
) -> None:
    attempt = open_attempt(runs, 1)
    assert pages.sync(CAMPAIGN, runs) == 1
    note, held = shown(storage, "night/1-capacity", 0)
    assert f"]({ADDRESS})" in note
    assert "complete" not in note
    assert held == {}
    train(attempt)
    assert pages.sync(CAMPAIGN, runs) == 4
    note, held = shown(storage, "night/1-capacity", 0)
    assert "complete, score +0.0200" in note
    assert held.keys() == {"learning_curve.svg", "epochs.csv", "config.json"}
    contents = {name: (files / identity).read_bytes() for name, identity in held.items()}
    assert contents["learning_curve.svg"].startswith(b"<svg")
    assert contents["epochs.csv"].decode().splitlines()[:2] == [
        "epoch,score,seconds,valid/rank_ic,train/loss",
        "1,0.01,0.5,0.01,1.0",
    ]
    assert json.loads(contents["config.json"]) == {"optim": {"lr": 0.001}}
    assert shown(storage, "night/1-capacity", 1) == ("", {})


def test_a_second_pass_writes_nothing_in_this_process_and_in_another(pages: DashboardPages, runs: Path) -> None:
    train(open_attempt(runs, 1))
    assert pages.sync(CAMPAIGN, runs) == 4
    assert pages.sync(CAMPAIGN, runs) == 0
    pages.close()
    assert pages.sync(CAMPAIGN, runs) == 0


def test_a_persons_own_words_stay(pages: DashboardPages, storage: optuna.storages.BaseStorage, runs: Path) -> None:
    attempt = open_attempt(runs, 1)
    pages.sync(CAMPAIGN, runs)
    study = optuna.load_study(study_name="night/1-capacity", storage=storage)
    save_note(_TrialPage(storage, study, study.trials[0]._trial_id), "looks odd to me")
    train(attempt)
    pages.sync(CAMPAIGN, runs)
    assert shown(storage, "night/1-capacity", 0)[0] == "looks odd to me"


def test_the_report_is_at_the_last_study_and_its_verdict_at_each(
    pages: DashboardPages,
    storage: optuna.storages.BaseStorage,
    runs: Path,
    files: Path,
    written_report: list[Path],
) -> None:
    train(open_attempt(runs, 1))
    pages.attach_report(CAMPAIGN, runs, written_report)
    written_report[0].write_text("<p>second</p>", encoding="utf-8")
    pages.attach_report(CAMPAIGN, runs, written_report)
    first, last = (optuna.load_study(study_name=tier.study_name("night"), storage=storage) for tier in TIERS)
    for number, study in enumerate((first, last), 1):
        note = get_note(study)
        assert note.startswith("**Better than the default by 0.006.**")
        assert f"Champion: trial 1, [its run in MLflow]({ADDRESS})" in note
        assert note.endswith(f"# Tier {number}")
        assert note.count("---") == 1
    assert get_all_artifact_meta(first) == []
    held = {meta.filename: meta.artifact_id for meta in get_all_artifact_meta(last)}
    assert held.keys() == {"report.html", "report.json"}
    assert (files / held["report.html"]).read_bytes() == b"<p>second</p>"
    assert shown(storage, "night/2-refinement", 0)[1].keys() == {"learning_curve.svg", "epochs.csv", "config.json"}


def test_the_reports_key_charts_are_pictures_of_the_last_study(
    pages: DashboardPages,
    storage: optuna.storages.BaseStorage,
    runs: Path,
    files: Path,
    written_report: list[Path],
) -> None:
    picture = written_report[0].with_name("report.deciles.svg")
    picture.write_text("<svg/>")
    pages.attach_report(CAMPAIGN, runs, [*written_report, picture])
    last = optuna.load_study(study_name="night/2-refinement", storage=storage)
    (held,) = [meta for meta in get_all_artifact_meta(last) if meta.filename == "report.deciles.svg"]
    assert held.mimetype == "image/svg+xml"
    assert (files / held.artifact_id).read_bytes() == b"<svg/>"


@pytest.mark.parametrize("broken", ["storage", "files", "address"])
def test_whatever_fails_the_search_does_not(
    broken: str,
    storage: optuna.storages.BaseStorage,
    runs: Path,
    tmp_path: Path,
    written_report: list[Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(*_: Any) -> Any:
        raise ConnectionError("away")

    train(open_attempt(runs, 1))
    (tmp_path / "a file").write_text("")
    use: Callable[..., Any] = refuse
    pages = DashboardPages(
        use if broken == "storage" else lambda: storage,
        tmp_path / ("a file" if broken == "files" else "files"),
        use if broken == "address" else lambda campaign, folder, slot: ADDRESS,
    )
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            pages.sync(CAMPAIGN, runs)
        pages.attach_report(CAMPAIGN, runs, written_report)
        assert pages.register_champion(CAMPAIGN, runs, runs, recommended=True) is None
    assert 1 <= len(caplog.messages) <= 2
    assert all("optuna-dashboard lacks some notes and files" in message for message in caplog.messages)


def test_a_study_that_is_not_there_is_passed_over(pages: DashboardPages, runs: Path) -> None:
    run = {"campaign": "night", "tier": 3, "tier_name": "later", "slot": 3, "trial_number": 0}
    SlotFolder(runs, 3).open_attempt(1, {**run, "study_name": "night/3-later"}, {})
    assert pages.sync(CAMPAIGN, runs) == 0
