"""Evidence as it is read from a ledger's values and real run folders."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from hpo.domain.campaign import (
    REFINEMENT,
    Campaign,
    CampaignSpec,
    CampaignState,
    Outcome,
    SlotState,
    SlotView,
    TierPlan,
    WorkerIdentity,
)
from hpo.domain.config import SearchConfig
from hpo.domain.settings import merge
from hpo.domain.trainable import Prepared
from hpo.domain.training import EpochReport
from hpo.ranking.metrics import doubt
from hpo.ranking.ranker import Ranker
from hpo.report import analyse, candidates, collect, summary_lines, write_report
from hpo.report.evidence import HoldoutEvidence
from hpo.runs.archive import Archive
from hpo.runs.folder import SlotFolder
from hpo.usecases.campaigns import metrics_of
from search_spaces import dump_space, load_space

BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
NUM_DAYS = 60
SPACE = load_space("quickstart")


@pytest.fixture
def campaign() -> Campaign:
    searched = SearchConfig(study="read", trials=4)
    config = searched.model_dump(mode="json")
    trainer = Ranker().plain(Ranker().parse({"train": {"epochs": 12, "score_epochs": 3}}))
    trainer["data"]["source"] = "/home/somebody/prices.parquet"
    config["trainer"] = trainer
    spec = CampaignSpec(
        name="read",
        config={
            "search": config,
            "space": {"name": SPACE.name, "yaml": dump_space(SPACE)},
            "metrics": [asdict(metric) for metric in metrics_of(searched)],
        },
        fingerprints={"data": "ab" * 32},
        tiers=(TierPlan(1, SPACE.tiers[0].name, 3), TierPlan(2, REFINEMENT, 1)),
        seed=7,
    )
    decision = {"values": SPACE.defaults(), "score": 0.03, "slot": 2, "reason": "The best is slot 2."}
    return Campaign(1, spec, CampaignState.COMPLETE, {1: decision}, {"slot": 2}, num_holdout_openings=1)


def view(slot: int, outcome: Outcome | None, score: float | None) -> SlotView:
    return SlotView(
        slot=slot,
        tier=1 if slot < 4 else 2,
        position=1,
        state=SlotState.DONE if outcome else SlotState.OPEN,
        outcome=outcome,
        trial_number=slot - 1,
        fence=slot,
        num_crashes=0,
        worker=WorkerIdentity("host", 42, 0.0),
        epoch=None,
        score=score,
        samples_per_second=None,
        reason="out_of_memory" if outcome is Outcome.FAILED else None,
        started_at=BEGIN,
        finished_at=BEGIN + timedelta(seconds=30) if outcome else None,
        lease_expires_at=None,
    )


def train(runs: Path, slot: int, level: float, num_epochs: int, outcome: Outcome) -> None:
    """A slot that was claimed twice; the second attempt ran to its end."""
    rng = np.random.default_rng(slot)
    folder = SlotFolder(runs, slot)
    run = {"params": {**SPACE.defaults(), "optim.lr": 0.001 * slot}, "trainer_seed": 100 + slot, "slot": slot}
    for fence in (1, 2):
        attempt = folder.open_attempt(fence, run=run, config={})
    for epoch in range(1, num_epochs + 1):
        daily = {
            f"rank_ic_{horizon}d": (level + 0.05 * rng.standard_normal(NUM_DAYS)).astype(np.float32)
            for horizon in (1, 5, 10, 20)
        }
        daily["rank_ic_20d"][-10:] = np.nan
        attempt.append_epoch(EpochReport(epoch, level, {"valid/rank_ic": level}, daily, 3.0))
    attempt.finish(outcome, level, num_epochs, 1234)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "read"
    train(folder, 1, 0.02, 12, Outcome.COMPLETE)
    train(folder, 2, 0.03, 12, Outcome.COMPLETE)
    train(folder, 3, 0.00, 5, Outcome.PRUNED)
    return folder


SLOTS = [
    view(1, Outcome.COMPLETE, 0.02),
    view(2, Outcome.COMPLETE, 0.03),
    view(3, Outcome.PRUNED, 0.0),
    view(4, Outcome.FAILED, None),
]


def test_a_score_beyond_belief_is_said_first_on_real_data(campaign: Campaign, runs: Path, tmp_path: Path) -> None:
    slots = [SLOTS[0], view(2, Outcome.COMPLETE, 0.93), *SLOTS[2:]]
    config = {**campaign.spec.config}
    config["search"] = merge(config["search"], {"trainer": {"data": {"source": "planted:clean"}}})
    planted = replace(campaign, spec=replace(campaign.spec, config=config))
    assert not collect(planted, slots, Archive(runs, ()), Ranker()).doubt, "a planted market may be that easy"
    assert not collect(campaign, SLOTS, Archive(runs, ()), Ranker()).doubt
    evidence = collect(campaign, slots, Archive(runs, ()), Ranker())
    said = "Beyond belief: the best RankIC is 0.93, where real data give less than 0.25."
    first, second, *_ = summary_lines(evidence)
    assert first.startswith(said)
    assert second == "Recommendation: deploy nothing before the score is explained."
    written = write_report(evidence, tmp_path / "out")
    page = written.html.read_text(encoding="utf-8")
    assert page.index(said) < page.index("<h1>")
    assert json.loads(written.json.read_text(encoding="utf-8"))["doubt"].startswith(said)


def test_a_contender_beyond_belief_is_said_as_well(campaign: Campaign, runs: Path) -> None:
    """A simple model may have found what a short training did not."""
    series = {"rank_ic": np.full(20, 0.6, dtype=np.float32)}
    holdout = HoldoutEvidence(np.arange(20), {2: {"rank_ic": np.full(20, 0.1)}}, contenders={"ridge": series})
    said = collect(campaign, SLOTS, Archive(runs, ()), Ranker(), holdout).doubt
    assert said.startswith("Beyond belief: the best RankIC is 0.60")


@pytest.mark.parametrize(
    ("metric", "score", "is_believed"),
    [
        ("rank_ic_5d", 0.24, True),
        ("neutral_lag1_rank_ic_5d", 0.26, False),
        ("rank_ic", -0.4, False),
        ("icir_20d", 1.5, True),
        ("icir_20d", 900.0, False),
        ("loss", 7.0, True),
    ],
)
def test_what_is_beyond_belief(metric: str, score: float, is_believed: bool) -> None:
    assert (doubt(metric, score) == "") is is_believed


def test_a_campaign_is_read_whole(campaign: Campaign, runs: Path) -> None:
    evidence = collect(campaign, SLOTS, Archive(runs, ()), Ranker())
    assert evidence.outcomes() == {"complete": 2, "pruned": 1, "failed": 1, "unfinished": 0}
    champion = evidence.champion
    assert champion is not None
    assert champion.settings["optim.lr"] == 0.002
    assert champion.trainer_seed == 102
    assert champion.num_parameters == 1234
    assert champion.folder == "read/slot-0002/attempt-2"
    assert champion.worker == "host/42"
    assert champion.seconds == 36.0
    assert evidence.default is not None
    assert evidence.default.slot == 1
    assert evidence.trials[2].seconds_saved == 3.0 * 7
    assert evidence.tiers[0].dimensions == [d.name for d in SPACE.tiers[0].dimensions]
    assert evidence.tiers[1].dimensions == [d.name for d in SPACE.dimensions]
    assert evidence.tiers[1].decision is None
    assert {"optim.lr", "optim.clip_norm"} <= evidence.log_settings
    assert "model.dropout" not in evidence.log_settings


def test_daily_series_are_the_mean_of_the_scores_epochs(campaign: Campaign, runs: Path) -> None:
    attempt = SlotFolder(runs, 2).current()
    assert attempt is not None
    last_three = {
        name: np.mean([attempt.daily(epoch)[name] for epoch in (10, 11, 12)], axis=0) for name in attempt.daily(1)
    }
    champion = collect(campaign, SLOTS, Archive(runs, ()), Ranker()).champion
    assert champion is not None
    np.testing.assert_allclose(champion.daily["rank_ic_5d"], last_three["rank_ic_5d"], rtol=1e-6)
    over_horizons = np.mean(list(last_three.values()), axis=0)
    np.testing.assert_allclose(champion.daily["rank_ic"], over_horizons, rtol=1e-5)
    assert np.isnan(champion.daily["rank_ic"][-10:]).all()


def test_a_run_folder_elsewhere_leaves_what_the_ledger_knows(campaign: Campaign, runs: Path) -> None:
    failed = collect(campaign, SLOTS, Archive(runs, ()), Ranker()).trials[3]
    assert failed.reason == "out_of_memory"
    assert failed.daily == {}
    assert failed.epochs == ()
    assert failed.num_interruptions == 3


def test_a_report_does_not_tell_where_somebody_keeps_their_things(
    campaign: Campaign, runs: Path, tmp_path: Path
) -> None:
    """Neither page nor JSON names a folder of the machine, wherever the words came from."""
    said = f"error: {tmp_path}/cache and {Path.home()}/notes and /home/somebody/prices.parquet cannot be read"
    slots = [*SLOTS[:3], replace(SLOTS[3], reason=said)]
    path = "/home/somebody/prices.parquet"
    prepared = Prepared(runs, None, "", (f"{path}: 3 gaps",), {"source": path, "days": 60}, (f"Data      {path}",))
    evidence = collect(campaign, slots, Archive(runs, ()), Ranker(), prepared=prepared)
    assert evidence.data_warnings == ("prices.parquet: 3 gaps",)
    assert evidence.data_source == "prices.parquet"
    assert evidence.trials[3].reason == "error: HPO_HOME/cache and ~/notes and prices.parquet cannot be read"
    written = write_report(evidence, tmp_path / "out")
    for file in written.files:
        text = file.read_text(encoding="utf-8")
        assert "prices.parquet" in text or file in written.pictures
        for place in ("/home/somebody", str(tmp_path), str(Path.home())):
            assert place not in text


def test_the_command_names_every_setting_that_is_not_a_default(campaign: Campaign, runs: Path) -> None:
    search = campaign.spec.config["search"]
    for name, value in SPACE.settings.items():
        *path, last = name.split(".")
        section = search["trainer"]
        for part in path:
            section = section[part]
        section[last] = value
    plain = "hpo run study=read trials=4 --space quickstart --data prices.parquet"
    assert collect(campaign, SLOTS, Archive(runs, ()), Ranker()).command == plain
    search["seed"], search["tiers"]["refinement_fraction"] = 3, 0.3
    search["trainer"]["data"]["horizons"] = [1, 5]
    search["trainer"]["data"]["split"]["train_end"] = "2020-12-31"
    assert collect(campaign, SLOTS, Archive(runs, ()), Ranker()).command == (
        f"{plain} seed=3 tiers.refinement_fraction=0.3 "
        "'trainer.data.horizons=[1,5]' trainer.data.split.train_end=2020-12-31"
    )


def test_the_evidence_suffices_for_a_verdict(campaign: Campaign, runs: Path) -> None:
    evidence = collect(campaign, SLOTS, Archive(runs, ()), Ranker())
    found = analyse(evidence)
    assert found.num_tried == 3
    assert found.overfitting is None
    assert found.validation is not None
    assert found.validation.num_days == NUM_DAYS - 10
    assert any(line.startswith("Verdict: ") for line in summary_lines(evidence, found)[:2])


def test_candidates_for_the_holdout(campaign: Campaign) -> None:
    assert candidates(campaign, SLOTS, 1) == [2, 1]
    many = [view(slot, Outcome.COMPLETE, slot / 1000) for slot in range(1, 30)]
    assert candidates(campaign, many, 3) == [2, 1, 29, 28, 27]
