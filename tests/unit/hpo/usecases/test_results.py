"""What comes out of a campaign, of one that really trained: settings, scores of new data, comparisons."""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from hpo.adapters.optuna.study_storage import study_storage
from hpo.adapters.processes.host import this_process
from hpo.adapters.processes.runners import InProcessRunner
from hpo.cli.config_loader import as_overrides, load
from hpo.domain.campaign import Campaign, CampaignSpec, CampaignState
from hpo.domain.champion import Champion
from hpo.domain.config import SearchConfig
from hpo.domain.errors import EnvironmentFault, UsageError
from hpo.engine.objective import Objective
from hpo.engine.tiers import plan_tiers
from hpo.engine.worker import Worker
from hpo.ranking.ranker import Ranker
from hpo.report.comparison import compare
from hpo.runs.entries import Result
from hpo.runs.folder import Attempt, SlotFolder, campaign_folder
from hpo.testing.clock import FakeClock
from hpo.testing.memory_ledger import MemoryLedger
from hpo.usecases import conclusion, results
from hpo.usecases.campaigns import metrics_of
from hpo.usecases.champion import choose
from hpo.usecases.inspection import compare as contenders
from hpo.usecases.records import Records
from search_spaces import dump_space
from trainer import __main__ as trainer_command
from trainer.training import checkpoint

SPACE = """
settings: {model.kind: linear, model.window: 3}
tiers:
  capacity:
    optim.lr: {type: float, low: 1.0e-3, high: 1.0e-1, log: true, default: 1.0e-2}
"""


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fourteen stocks for 440 days; the search is given the first 400."""
    rng = np.random.default_rng(1)
    dates = pd.bdate_range("2020-01-01", periods=440)
    frames = []
    for number in range(14):
        close = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, len(dates))))
        bars = dict.fromkeys(("open", "high", "low", "close"), close)
        volume = rng.integers(10_000, 90_000, len(dates))
        frames.append(pd.DataFrame({"date": dates, "symbol": f"S{number}", **bars, "volume": volume}))
    table = pd.concat(frames)
    table["high"] *= rng.uniform(1.001, 1.02, len(table))
    table["low"] *= rng.uniform(0.98, 0.999, len(table))
    table["open"] *= rng.uniform(0.99, 1.01, len(table))
    table["high"], table["low"] = table[["high", "open"]].max(axis=1), table[["low", "open"]].min(axis=1)
    folder = tmp_path_factory.mktemp("prices")
    table = table.sort_values(["date", "symbol"])
    table.to_parquet(folder / "new.parquet", index=False)
    table[table["date"] < dates[400]].to_parquet(folder / "known.parquet", index=False)
    return folder


@pytest.fixture(scope="module")
def records(prices: Path, session_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Records:
    """After a campaign of three real trainings in this process."""
    home = tmp_path_factory.mktemp("home")
    (home / "mine.yaml").write_text(SPACE)
    config, space = load(
        [
            "study=harvest", "trials=3", f"space={home / 'mine.yaml'}",
            f"trainer.data.source={prices / 'known.parquet'}",
            "trainer.data.horizons=[1,5]", "trainer.train.epochs=3", "trainer.train.threads=1",
            "trainer.train.device=cpu",
        ]
    )  # fmt: skip
    ranker = Ranker()
    prepared = ranker.prepare(ranker.parse(config.trainer), home / "cache")
    ledger = MemoryLedger(FakeClock())
    stored = {
        "search": config.model_dump(mode="json"),
        "space": {"name": "mine", "yaml": dump_space(space)},
        "metrics": [asdict(metric) for metric in metrics_of(config)],
    }
    plan = plan_tiers(config.trials, [tier.name for tier in space.tiers], config.tiers)
    campaign = ledger.open_campaign(CampaignSpec("harvest", stored, {"data": prepared.fingerprint}, plan, config.seed))
    runs = campaign_folder(home, "harvest")
    identity = this_process()
    storage = study_storage(session_database_url)
    objective = Objective(
        campaign, config, space, ranker, ledger, storage, InProcessRunner(), prepared.search, runs, identity, "code"
    )
    Worker(ledger, objective, campaign, identity, config.worker, FakeClock(), lambda _: False, threading.Event()).run()
    return Records(home, ledger)


@pytest.fixture
def campaign(records: Records) -> Campaign:
    found: Campaign = records.ledger.find_campaign("harvest")
    return found


def scores(folder: Path) -> list[float]:
    return [report["score"] for report in checkpoint.load(folder / "last.pt")["reports"]]


@pytest.mark.parametrize("form", ["yaml", "json", "hydra"])
def test_the_best_settings_train_to_the_same_bits(
    records: Records, campaign: Campaign, form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = results.best_settings(records, campaign)
    words = as_overrides(settings)
    if form != "hydra":
        file = tmp_path / f"best.{form}"
        file.write_text(json.dumps(settings) if form == "json" else yaml.safe_dump(settings, sort_keys=False))
        words = ["--config", str(file)]
    again = tmp_path / "again"
    assert trainer_command.main([*words, "--folder", str(again), "--cache", str(records.home / "cache")]) == 0
    found = SlotFolder(records.runs("harvest"), results.best_slot(records, campaign)).current()
    assert found is not None
    assert scores(again) == [record.score for record in found.epochs()]


def test_the_best_trial_so_far_is_the_one_with_the_best_score(records: Records, campaign: Campaign) -> None:
    views = {view.slot: view.score for view in records.ledger.slots(campaign.id)}
    best = results.best_slot(records, campaign)
    assert views[best] == max(views.values())
    said = results.standing(records, campaign)
    assert said[0].startswith("Best so far (the campaign is not complete) of 'harvest'")
    assert any(line.startswith("  optim.lr = ") for line in said)
    other = next(slot for slot in views if slot != best)
    crowned = replace(campaign, state=CampaignState.COMPLETE, champion={"slot": other})
    assert results.best_slot(records, crowned) == other, "the champion is who was chosen, whatever the scores"
    assert results.standing(records, crowned)[0].startswith(f"Champion of 'harvest': trial {other}")


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_new_days_are_scored_into_a_file(
    records: Records, campaign: Campaign, prices: Path, tmp_path: Path, suffix: str
) -> None:
    output = tmp_path / f"scores{suffix}"
    made = results.predict(records, campaign, prices / "new.parquet", output, everything=False)
    table = pd.read_parquet(output) if suffix == ".parquet" else pd.read_csv(output)
    assert list(table.columns) == ["date", "symbol", "score_1d", "score_5d"]
    assert len(table) == len(made.table) > 0
    assert pd.to_datetime(table["date"]).min() > pd.Timestamp("2020-06-01")
    assert [file.name for file in tmp_path.iterdir()] == [output.name], "nothing half written is left"


def test_scores_of_days_that_were_learnt_from_are_refused(
    records: Records, campaign: Campaign, prices: Path, tmp_path: Path
) -> None:
    known = pd.read_parquet(prices / "known.parquet")
    early = tmp_path / "early.parquet"
    known[known["date"] < "2021-02-01"].to_parquet(early, index=False)
    with pytest.raises(UsageError, match="looking ahead"):
        results.predict(records, campaign, early, tmp_path / "out.csv", everything=False)
    assert not (tmp_path / "out.csv").exists()
    assert len(results.predict(records, campaign, early, tmp_path / "out.csv", everything=True).table) > 0


def test_the_output_must_be_writable_and_no_part_of_the_data(
    records: Records, campaign: Campaign, prices: Path, tmp_path: Path
) -> None:
    source, folder = prices / "new.parquet", tmp_path / "folder.csv"
    folder.mkdir()
    for output, words in (
        (tmp_path / "scores.txt", "must end in .parquet or .csv"),
        (tmp_path / "gone" / "scores.csv", "there is no folder"),
        (source, "would become part of the data"),
        (source.parent / ".." / source.parent.name / source.name, "would become part of the data"),
        (tmp_path, "must end in"),
        (folder, "is a folder"),
    ):
        with pytest.raises(UsageError, match=words):
            results.predict(records, campaign, source, output, everything=False)
    with pytest.raises(UsageError, match="would become part of the data"):
        results.predict(records, campaign, prices, prices / "scores.csv", everything=False)
    with pytest.raises(UsageError, match=r"--data .*gone\.csv: there is no such file"):
        results.predict(records, campaign, prices / "gone.csv", tmp_path / "scores.csv", everything=False)
    with pytest.raises(EnvironmentFault, match=r"--output /proc/scores\.csv cannot be written"):
        results.predict(records, campaign, source, Path("/proc/scores.csv"), everything=False)


@pytest.fixture
def crowned(records: Records, campaign: Campaign) -> Campaign:
    """The campaign as it ends: with a committee of all three."""
    champion = choose(campaign, records.archive(campaign))
    assert champion.slots == (1, 2, 3)
    return replace(campaign, state=CampaignState.COMPLETE, champion=champion.as_plain())


def scored_by(
    records: Records, campaign: Campaign, prices: Path, folder: Path, trial: int | None = None
) -> pd.DataFrame:
    made = results.predict(
        records, campaign, prices / "new.parquet", folder / "scores.parquet", everything=False, trial=trial
    )
    return made.table.set_index(["date", "symbol"])


def test_the_champion_is_the_same_however_often_it_is_chosen(
    records: Records, campaign: Campaign, crowned: Campaign
) -> None:
    again = choose(campaign, records.archive(campaign))
    assert crowned.crowned == again
    assert Champion.from_plain(json.loads(json.dumps(again.as_plain()))) == again
    assert sum(again.weights.values()) == pytest.approx(1.0)


def test_a_trial_that_breaks_a_constraint_sits_in_no_committee(
    records: Records, campaign: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    champion = choose(campaign, records.archive(campaign))
    broken = next(slot for slot in champion.slots if slot != champion.slot)
    known = Attempt.result

    def result(attempt: Attempt) -> Result | None:
        found = known(attempt)
        is_its = found is not None and attempt.folder.parent.name == f"slot-{broken:04d}"
        return replace(found, reason="infeasible: seconds at most 1, and it has 2") if is_its and found else found

    monkeypatch.setattr(Attempt, "result", result)
    assert set(choose(campaign, records.archive(campaign)).slots) == set(champion.slots) - {broken}


def test_the_best_so_far_keeps_the_constraints(
    records: Records, campaign: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = results.best_slot(records, campaign)
    views = records.ledger.slots(campaign.id)
    changed = [replace(view, reason="infeasible: so") if view.slot == best else view for view in views]
    monkeypatch.setattr(records.ledger, "slots", lambda campaign: changed)
    assert (
        results.best_slot(records, campaign)
        == max((view for view in views if view.slot != best), key=lambda view: view.score or 0.0).slot
    )


def test_one_rule_gives_the_single_champion(records: Records, campaign: Campaign) -> None:
    search = {**campaign.spec.config["search"], "committee": {"rule": "single", "size": 20}}
    alone = replace(campaign, spec=replace(campaign.spec, config={**campaign.spec.config, "search": search}))
    champion = choose(alone, records.archive(campaign))
    assert champion.slots == (champion.slot,)
    assert not champion.is_committee


def test_the_committee_scores_with_its_members_mean_ranks(
    records: Records, crowned: Campaign, prices: Path, tmp_path: Path
) -> None:
    together = scored_by(records, crowned, prices, tmp_path)
    alone = [scored_by(records, crowned, prices, tmp_path, trial=slot) for slot in (1, 2, 3)]
    shares = [each.groupby("date").rank().sub(1).div(each.groupby("date").count() - 1, level="date") for each in alone]
    expected = sum(shares) / 3
    pd.testing.assert_frame_equal(together, expected, check_dtype=False, atol=1e-6)
    assert alone[0]["score_1d"].abs().max() != pytest.approx(1.0), "a trial alone keeps its scores"


@pytest.mark.parametrize("harm", ["missing", "altered", "swapped"])
def test_a_member_that_is_not_what_was_crowned_is_named(
    records: Records, crowned: Campaign, prices: Path, tmp_path: Path, harm: str
) -> None:
    archive = records.archive(crowned)
    files = {slot: archive.model(slot) for slot in (1, 2, 3)}
    kept = files[2].read_bytes()
    try:
        if harm == "missing":
            files[2].unlink()
        else:
            files[2].write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]) if harm == "altered" else files[1].read_bytes())
        with pytest.raises(EnvironmentFault, match="The committee's member harvest#2 cannot be loaded"):
            scored_by(records, crowned, prices, tmp_path)
        assert len(scored_by(records, crowned, prices, tmp_path, trial=1))
    finally:
        files[2].write_bytes(kept)


def test_a_trial_to_score_with_must_be_one_of_the_campaign(
    records: Records, crowned: Campaign, prices: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="--trial 4: the campaign 'harvest' has trials 1 to 3"):
        scored_by(records, crowned, prices, tmp_path, trial=4)


def test_a_person_is_told_the_members_and_the_single_champion(records: Records, crowned: Campaign) -> None:
    said = results.standing(records, crowned)
    assert said[0] == "What 'harvest' deploys: the mean of the daily ranks of 3 trials"
    assert [line.split()[0] for line in said[1:4]] == ["harvest#1", "harvest#2", "harvest#3"]
    assert said[4].startswith(f"Single champion of 'harvest': trial {results.best_slot(records, crowned)}")


def test_a_committee_is_compared_on_the_holdout_alone(records: Records, crowned: Campaign) -> None:
    committee, trial = (contenders.trial_side(records, crowned, slot, with_holdout=True) for slot in (None, 1))
    assert committee.name == "harvest, the committee of 3 trials"
    assert list(compare(committee, trial)) == ["holdout"]
    unseen = contenders.trial_side(records, crowned, None, with_holdout=False)
    with pytest.raises(UsageError, match="a committee is judged on the holdout alone"):
        compare(unseen, trial)


def test_members_keep_their_checkpoints_when_others_lose_theirs(
    records: Records, crowned: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing but membership keeps those of trials 2 and 3."""
    dropped: list[set[int]] = []
    monkeypatch.setattr(conclusion, "drop_checkpoints", lambda runs, slots: dropped.append(set(slots)))
    monkeypatch.setattr(records.ledger, "forget_checkpoints", lambda campaign_id, slots: None)
    champion = crowned.crowned
    assert champion is not None
    alone = replace(champion, members={})
    for ends_with, gone in ((champion, set()), (alone, {1, 2, 3} - {1, champion.slot})):
        ended = replace(crowned, champion=ends_with.as_plain())
        conclusion.retain(records, ended, keep=0)
        assert dropped.pop() == gone


def test_two_trials_are_compared_on_the_days_of_their_validation(records: Records, campaign: Campaign) -> None:
    before = records.ledger.find_campaign("harvest").num_holdout_openings
    first, second = (contenders.trial_side(records, campaign, slot, with_holdout=True) for slot in (1, 2))
    found = compare(first, second)
    assert first.name.startswith("harvest#1, complete, epoch 3")
    difference = found["validation"][0].difference
    assert difference is not None
    views = {view.slot: view.score for view in records.ledger.slots(campaign.id)}
    assert difference.estimate == pytest.approx(views[1] - views[2], abs=2e-3), "but for days without the longer label"
    assert first.holdout is not None
    assert first.holdout.dates[0] > first.validation.dates[-1]
    assert records.ledger.find_campaign("harvest").num_holdout_openings == before + 2


def test_a_trial_that_is_not_there_is_refused(records: Records, campaign: Campaign, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has trials 1 to 3, and no 9"):
        contenders.trial_side(records, campaign, 9, with_holdout=False)
    elsewhere = Records(tmp_path, records.ledger)
    with pytest.raises(EnvironmentFault, match="run folder of trial"):
        results.best_settings(elsewhere, campaign)


def test_without_a_complete_trial_there_is_no_best() -> None:
    ledger = MemoryLedger(FakeClock())
    plan = plan_tiers(2, ["capacity"], SearchConfig().tiers)
    unborn = ledger.open_campaign(CampaignSpec("young", {}, {}, plan, 0))
    with pytest.raises(UsageError, match="no complete trial yet"):
        results.best_slot(Records(Path(), ledger), unborn)
