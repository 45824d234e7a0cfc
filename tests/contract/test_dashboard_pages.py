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
from optuna.trial import TrialState
from optuna_dashboard import get_note, save_note
from optuna_dashboard.artifact._backend import list_trial_artifacts

from hpo.adapters.dashboard.campaign_studies import CampaignStudies
from hpo.adapters.dashboard.pages import DashboardPages, _TrialPage
from hpo.adapters.optuna.study_storage import PatientStorage, study_storage
from hpo.domain.campaign import Campaign, CampaignSpec, CampaignState, Outcome, TierPlan
from hpo.domain.training import EpochReport
from hpo.runs.folder import Attempt, SlotFolder, campaign_folder

TIERS = (TierPlan(1, "capacity", 2), TierPlan(2, "refinement", 1))
SPACE = "tiers: {capacity: {optim.lr: {type: float, low: 1.0e-4, high: 1.0e-2, log: true, default: 1.0e-3}}}"
CONFIG = {
    "search": {"objective": "rank_ic"},
    "space": {"name": "one", "yaml": SPACE},
    "metrics": [{"name": "rank_ic", "label": "RankIC"}],
}
CAMPAIGN = Campaign(
    1, CampaignSpec("night", CONFIG, {}, TIERS, seed=1), CampaignState.COMPLETE, champion={"slot": 1, "values": {}}
)
ADDRESS = "http://127.0.0.1:5000/#/experiments/1/runs/ab"
REPORT = {
    "verdict": "better than the default by 0.006",
    "sections": {"champion": {"charts": {"deciles": {"title": "By decile"}, "sectors": {"title": "By sector"}}}},
}


@pytest.fixture
def storage(database_url: str) -> PatientStorage:
    """Optuna's storage with the studies of the campaign; the champion's copy is the second one's first trial."""
    opened = study_storage(database_url)
    first, last = (
        optuna.create_study(study_name=tier.study_name("night"), storage=opened, direction="maximize") for tier in TIERS
    )
    for slot, value in ((1, 0.03), (2, 0.01)):
        attributes = {"slot": slot, "values": {"optim.lr": 1e-3 * slot}}
        first.add_trial(optuna.create_trial(value=value, user_attrs=attributes))
    copied = {"slot": 1, "values": {"optim.lr": 1e-3}, "copied_from": "night/1-capacity#0"}
    last.add_trial(optuna.create_trial(value=0.03, user_attrs=copied))
    return opened


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return campaign_folder(tmp_path, "night")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.fixture
def pages(storage: PatientStorage, files: Path) -> DashboardPages:
    return DashboardPages(CampaignStudies(lambda: storage), files, lambda campaign, folder, slot: ADDRESS)


@pytest.fixture
def written_report(tmp_path: Path) -> list[Path]:
    (tmp_path / "report.html").write_text("<p>first</p>", encoding="utf-8")
    (tmp_path / "report.json").write_text(json.dumps(REPORT), encoding="utf-8")
    return [tmp_path / "report.html", tmp_path / "report.json"]


def open_attempt(runs: Path, slot: int, fence: int = 1) -> Attempt:
    run = {"campaign": "night", "tier": 1, "tier_name": "capacity", "slot": slot, "trial_number": slot - 1}
    return SlotFolder(runs, slot).open_attempt(
        fence, {**run, "study_name": "night/1-capacity"}, {"optim": {"lr": 0.001}}
    )


def train(attempt: Attempt) -> None:
    for epoch in (1, 2):
        metrics = {"valid/rank_ic": 0.01 * epoch, "train/loss": 1.0 / epoch}
        attempt.append_epoch(EpochReport(epoch, 0.01 * epoch, metrics, {"rank_ic": np.zeros(3, np.float32)}, 0.5))
    attempt.finish(Outcome.COMPLETE, 0.02, 2, 100)


def shown(storage: PatientStorage, number: int) -> tuple[str, dict[str, str]]:
    """A trial's note in the campaign's study, and its files: name -> artifact id."""
    study = optuna.load_study(study_name="night", storage=storage)
    trial = next(trial for trial in study.trials if trial.number == number)
    attributes = storage.get_study_system_attrs(study._study_id)
    metas = list_trial_artifacts(attributes, storage.get_trial_system_attrs(trial._trial_id), trial)
    note = get_note(_TrialPage(storage, study, trial._trial_id))
    return note, {meta["filename"]: meta["artifact_id"] for meta in metas}


def notes(storage: PatientStorage) -> list[str]:
    """Of the tiers' studies."""
    return [get_note(optuna.load_study(study_name=tier.study_name("night"), storage=storage)) for tier in TIERS]


def test_a_trial_is_noted_when_it_begins_and_has_its_files_when_it_ends(
    pages: DashboardPages, storage: PatientStorage, runs: Path, files: Path
) -> None:
    attempt = open_attempt(runs, 1)
    assert pages.sync(CAMPAIGN, runs) == 6  # two trials, the study's note and link, the trial's note and link
    note, held = shown(storage, 1)
    assert note.startswith("**Trial 1** of the campaign **night**, tier capacity")
    assert f"[Its run in MLflow]({ADDRESS})" in note
    assert held == {}
    train(attempt)
    assert pages.sync(CAMPAIGN, runs) == 2
    note, held = shown(storage, 1)
    assert "complete, score +0.0200" in note
    contents = {name: (files / identity).read_bytes() for name, identity in held.items()}
    assert contents.keys() == {"learning_curve.svg", "epochs.csv", "config.json"}
    assert contents["learning_curve.svg"].startswith(b"<svg")
    assert contents["epochs.csv"].decode().splitlines()[:2] == [
        "epoch,score,seconds,valid/rank_ic,train/loss",
        "1,0.01,0.5,0.01,1.0",
    ]
    assert json.loads(contents["config.json"]) == {"optim": {"lr": 0.001}}
    assert shown(storage, 2) == ("", {})
    study = optuna.load_study(study_name="night", storage=storage)
    assert [trial.user_attrs.get("mlflow") for trial in study.trials] == [ADDRESS, None]
    assert study.user_attrs["mlflow"] == ADDRESS
    assert {meta.filename for meta in get_all_artifact_meta(study.trials[0], storage=storage)} == set(contents)


def test_the_study_says_what_it_is_and_the_tiers_are_left_as_they_were(
    pages: DashboardPages, storage: PatientStorage, runs: Path, written_report: list[Path]
) -> None:
    train(open_attempt(runs, 1))
    pages.sync(CAMPAIGN, runs)
    pages.attach_report(CAMPAIGN, runs, written_report)
    note = get_note(optuna.load_study(study_name="night", storage=storage))
    assert "made from the studies `night/1-capacity`, `night/2-refinement`" in note
    assert notes(storage) == ["", ""]


def test_a_second_pass_writes_nothing_in_this_process_and_in_another(pages: DashboardPages, runs: Path) -> None:
    train(open_attempt(runs, 1))
    assert pages.sync(CAMPAIGN, runs) == 6
    assert pages.sync(CAMPAIGN, runs) == 0
    pages.close()
    assert pages.sync(CAMPAIGN, runs) == 0


def test_a_persons_own_words_stay(pages: DashboardPages, storage: PatientStorage, runs: Path) -> None:
    attempt = open_attempt(runs, 1)
    pages.sync(CAMPAIGN, runs)
    study = optuna.load_study(study_name="night", storage=storage)
    save_note(_TrialPage(storage, study, study.trials[0]._trial_id), "looks odd to me")
    train(attempt)
    pages.sync(CAMPAIGN, runs)
    assert shown(storage, 1)[0] == "looks odd to me"


def test_a_trial_that_is_tried_again_has_the_pages_of_the_second_one(
    pages: DashboardPages, storage: PatientStorage, runs: Path
) -> None:
    first = open_attempt(runs, 1)
    train(first)
    pages.sync(CAMPAIGN, runs)
    again = open_attempt(runs, 1, fence=2)
    again.finish(Outcome.FAILED, reason="error: a bug\nwith a traceback")
    pages.close()  # another sitting
    pages.sync(CAMPAIGN, runs)
    note, held = shown(storage, 1)
    assert "failed: error: a bug\n\n[Its run" in note
    assert held.keys() == {"config.json"}


def test_what_is_told_of_a_trial_later_leaves_its_pages(
    pages: DashboardPages, storage: PatientStorage, runs: Path
) -> None:
    first = optuna.load_study(study_name="night/1-capacity", storage=storage)
    running = optuna.create_trial(state=TrialState.RUNNING, user_attrs={"slot": 3, "values": {"optim.lr": 1e-3}})
    first.add_trial(running)
    open_attempt(runs, 3)
    pages.sync(CAMPAIGN, runs)
    first.tell(2, 0.02)
    pages.sync(CAMPAIGN, runs)
    trial = optuna.load_study(study_name="night", storage=storage).trials[2]
    assert (trial.state, trial.value, trial.user_attrs["mlflow"]) == (TrialState.COMPLETE, 0.02, ADDRESS)
    assert shown(storage, 3)[0].startswith("**Trial 3**")


def test_deleted_with_all_its_files(
    pages: DashboardPages, storage: PatientStorage, runs: Path, files: Path, written_report: list[Path]
) -> None:
    train(open_attempt(runs, 1))
    pages.attach_report(CAMPAIGN, runs, written_report)
    assert len(list(files.iterdir())) == 5
    pages.delete(CAMPAIGN, runs)
    assert list(files.iterdir()) == []
    assert optuna.get_all_study_names(storage) == [tier.study_name("night") for tier in TIERS]
    pages.delete(CAMPAIGN, runs)


def test_the_report_and_its_verdict_are_at_the_campaigns_study(
    pages: DashboardPages, storage: PatientStorage, runs: Path, files: Path, written_report: list[Path]
) -> None:
    train(open_attempt(runs, 1))
    pages.attach_report(CAMPAIGN, runs, written_report)
    written_report[0].write_text("<p>second</p>", encoding="utf-8")
    pages.attach_report(CAMPAIGN, runs, written_report)
    study = optuna.load_study(study_name="night", storage=storage)
    note = get_note(study)
    assert note.startswith("**Better than the default by 0.006.**")
    assert f"Champion: trial 1, [its run in MLflow]({ADDRESS})" in note
    assert "# Campaign night" in note
    assert note.count("---") == 1
    held = {meta.filename: meta.artifact_id for meta in get_all_artifact_meta(study)}
    assert held.keys() == {"report.html", "report.json"}
    assert (files / held["report.html"]).read_bytes() == b"<p>second</p>"


def test_the_reports_key_charts_are_pictures_of_the_campaigns_study(
    pages: DashboardPages,
    storage: PatientStorage,
    runs: Path,
    files: Path,
    written_report: list[Path],
) -> None:
    picture = written_report[0].with_name("report.deciles.svg")
    picture.write_text("<svg/>")
    pages.attach_report(CAMPAIGN, runs, [*written_report, picture])
    study = optuna.load_study(study_name="night", storage=storage)
    (held,) = [meta for meta in get_all_artifact_meta(study) if meta.filename == "report.deciles.svg"]
    assert held.mimetype == "image/svg+xml"
    note = get_note(study)
    assert f"**By decile**\n\n![By decile](/artifacts/{study._study_id}/{held.artifact_id})" in note
    assert "By sector" not in note
    assert (files / held.artifact_id).read_bytes() == b"<svg/>"


@pytest.mark.parametrize("broken", ["storage", "files", "address"])
def test_whatever_fails_the_search_does_not(
    broken: str,
    storage: PatientStorage,
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
        CampaignStudies(use if broken == "storage" else lambda: storage),
        tmp_path / ("a file" if broken == "files" else "files"),
        use if broken == "address" else lambda campaign, folder, slot: ADDRESS,
    )
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            pages.sync(CAMPAIGN, runs)
        pages.attach_report(CAMPAIGN, runs, written_report)
        assert pages.register_champion(CAMPAIGN, runs, runs, recommended=True) is None
    assert 1 <= len(caplog.messages) <= 3
    assert all("optuna-dashboard does not show all of the campaign" in message for message in caplog.messages)


def test_without_the_tiers_studies_there_is_nothing_to_show(
    pages: DashboardPages, storage: PatientStorage, runs: Path
) -> None:
    for tier in TIERS:
        optuna.delete_study(study_name=tier.study_name("night"), storage=storage)
    assert pages.sync(CAMPAIGN, runs) == 0
    assert optuna.get_all_study_names(storage) == []
