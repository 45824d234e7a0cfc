"""A trial in MLflow's words."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from hpo.adapters.mlflow import records
from hpo.domain.campaign import Campaign, CampaignSpec, CampaignState, Outcome, TierPlan
from hpo.domain.training import EpochReport
from hpo.runs.entries import EpochRecord, Result
from hpo.runs.folder import SlotFolder, campaign_folder

TIME = datetime(2024, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)


def epoch(number: int, **metrics: float) -> EpochRecord:
    return EpochRecord(number, TIME, 0.1 * number, 2.0, metrics)


def test_settings_become_dotted_names() -> None:
    given = {"a": {"b": 1, "c": {"d": None}}, "e": [1, {"f": 2}], "g": {}, "h": "text", "i": True}
    assert records.params(given) == {
        "a.b": "1",
        "a.c.d": "null",
        "e": '[1, {"f": 2}]',
        "g": "{}",
        "h": "text",
        "i": "true",
    }


def test_searched_values_win_over_the_configuration() -> None:
    assert records.params({"optim": {"lr": 1e-3}}, {"optim.lr": 2e-3, "extra": 1}) == {
        "optim.lr": "0.002",
        "extra": "1",
    }


def test_a_dimension_that_does_not_exist_in_a_trial_is_no_parameter_of_its_run(tmp_path: Path) -> None:
    yaml = """
tiers:
  one:
    model.kind: {type: choice, choices: [gru, lightgbm], default: gru}
    optim.lr: {type: float, low: 0.1, high: 1.0, default: 0.5, when: {model.kind: gru}}
"""
    spec = CampaignSpec("night", {"space": {"name": "s", "yaml": yaml}}, {}, (TierPlan(1, "one", 3),), seed=1)
    campaign = Campaign(1, spec, CampaignState.RUNNING)
    settings = {"model": {"kind": "lightgbm"}, "optim": {"lr": 0.001, "name": "adamw"}}
    attempt = SlotFolder(tmp_path, 1).open_attempt(1, run={"params": {"model.kind": "lightgbm"}}, config=settings)
    assert records.trial_params(campaign, attempt) == {"model.kind": "lightgbm", "optim.name": "adamw"}


def test_mlflows_limits_are_kept() -> None:
    said = records.params({"k" * 300: "v" * 7000})
    assert {len(name) for name in said} == {records.MAX_KEY}
    assert {len(value) for value in said.values()} == {records.MAX_VALUE}
    assert all(value.endswith("…") for value in said.values())


def test_metrics_carry_step_and_time_of_their_epoch() -> None:
    points = records.epoch_metrics([epoch(1, loss=0.5), epoch(2, loss=0.25)])
    assert [(point.name, point.value, point.step) for point in points if point.name == "loss"] == [
        ("loss", 0.5, 1),
        ("loss", 0.25, 2),
    ]
    assert {point.time for point in points} == {1_704_164_645_678}
    assert {point.name for point in points} == {"loss", "score", "epoch_seconds"}


def test_a_result_is_said_the_same_way_again() -> None:
    early = Result(Outcome.COMPLETE, 0.2, 1, None, None, TIME)
    late = Result(Outcome.COMPLETE, 0.2, 1, None, None, datetime.now(UTC))
    assert records.result_metrics(early, [epoch(1)]) == records.result_metrics(late, [epoch(1)])
    assert {point.name for point in records.result_metrics(early, [])} == {
        "result/score",
        "result/last_epoch",
        "result/num_epochs",
    }


def test_the_campaign_names_its_champion() -> None:
    spec = CampaignSpec("night", {}, {"space": "ab"}, (TierPlan(1, "capacity", 3),), seed=1)
    crowned = Campaign(1, spec, CampaignState.COMPLETE, champion={"slot": 2, "values": {"optim.lr": 0.001234567}})
    tags = records.campaign_tags(crowned)
    assert tags["tiertune.champion"] == "night#0002"
    assert tags["tiertune.fingerprint.space"] == "ab"
    assert "optim.lr = 0.001235" in tags["mlflow.note.content"]
    nobody = Campaign(1, spec, CampaignState.COMPLETE, champion={"slot": None, "values": {}})
    assert "tiertune.champion" not in records.campaign_tags(nobody)


def test_the_files_of_a_trial_of_one_epoch(tmp_path: Path) -> None:
    """Its daily series are a matrix of one row."""
    attempt = SlotFolder(campaign_folder(tmp_path, "night"), 1).open_attempt(1, {"objective": "rank_ic"}, {"a": 1})
    series = {"rank_ic": np.array([0.1, np.nan], np.float32)}
    attempt.append_epoch(EpochReport(1, 0.1, {"valid/rank_ic": 0.1}, series, 1.0))
    target = tmp_path / "files"
    target.mkdir()
    records.write_artifacts(attempt, Result(Outcome.PRUNED, 0.1, 1, 3, None, TIME), target)
    with np.load(target / "daily.npz", allow_pickle=False) as saved:
        np.testing.assert_array_equal(saved["rank_ic"], [[np.float32(0.1), np.nan]])
    assert {path.name for path in target.iterdir()} == {"config.json", "daily.npz", "learning_curve.svg"}
