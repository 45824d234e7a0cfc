"""What campaigns chose, trained again with all data: judged, deployed, broken off and gone on with, never ahead."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from support.sitting import Sitting

from hpo.domain.errors import EnvironmentFault, UsageError
from hpo.domain.trainable import Prepared
from hpo.ranking import refitting
from hpo.usecases import results
from hpo.usecases.refit import members as refits
from hpo.usecases.refit.finalize import finalize
from hpo.usecases.refit.record import FOLDER, RECORD, final_file
from hpo.usecases.refit.walk_forward import Walk, walk_forward
from trainer.data.market import OHLCV
from trainer.data.planted import generate
from trainer.training.checkpoint import load

DAYS, STOCKS, NUM_NEW = 420, 30, 20
NETS = """
settings: {model.kind: linear, model.window: 3}
tiers:
  capacity:
    optim.lr: {type: float, low: 1.0e-3, high: 1.0e-1, log: true, default: 1.0e-2}
"""
TREES = """
settings: {model.kind: lightgbm, model.rounds_per_epoch: 3}
tiers:
  capacity:
    model.num_leaves: {type: integer, low: 4, high: 16, default: 8}
"""
COMMON = (
    "trainer.data.horizons=[1,5]",
    "trainer.train.epochs=2",
    "trainer.train.threads=1",
    "trainer.train.device=cpu",
)


class Pair:
    """Two finished campaigns of different models on one file, in one state folder."""

    def __init__(self, home: Path) -> None:
        market = generate(f"planted:clean?stocks={STOCKS}&days={DAYS + NUM_NEW}", (1,))
        days, stocks = np.nonzero(market.rows)
        bars = {name: market.read(name)[days, stocks] for name in OHLCV}
        self.table = pd.DataFrame({"date": market.dates[days], "symbol": np.array(market.symbols)[stocks], **bars})
        self.new = home / "new.parquet"
        self.table.to_parquet(self.new, index=False)
        self.dates = market.dates[:DAYS]
        known = self.table[self.table["date"] <= self.dates[-1]]
        source = home / "known.parquet"
        known.to_parquet(source, index=False)
        words = (f"trainer.data.source={source}", *COMMON)
        self.nets = Sitting(home, NETS, *words, name="nets")
        self.trees = Sitting(home, TREES, *words, name="trees", stores=self.nets.stores)
        self.stores = self.nets.stores

    @property
    def finals(self) -> Path:
        folder: Path = self.stores.home / FOLDER
        return folder

    def altered(self, first: np.datetime64) -> Prepared:
        """The same data with all bars from a day on changed, taken for what the campaign was run on."""
        table, rng = self.table[self.table["date"] <= self.dates[-1]].copy(), np.random.default_rng(1)
        late = (table["date"] >= first).to_numpy()
        factor = np.where(late, rng.uniform(0.9, 1.1, len(table)), 1.0)
        for name in ("open", "high", "low", "close"):
            table[name] *= factor
        source = self.stores.home / "altered.parquet"
        table.to_parquet(source, index=False)
        trainable, settings = refits.load_trainable("ranker"), self.nets.campaign.spec.config["search"]["trainer"]
        parsed = trainable.parse({**settings, "data": {**settings["data"], "source": str(source)}})
        made = trainable.prepare(parsed, self.stores.home / "cache")
        return replace(made, fingerprint=self.nets.prepared.fingerprint)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture(autouse=True)
def fresh(pair: Pair) -> None:
    shutil.rmtree(pair.finals, ignore_errors=True)
    refitting.open_whole.cache_clear()


def never(*_: Any, **__: Any) -> Any:
    raise AssertionError("nothing is trained again")


def members(file: Path) -> dict[str, str]:
    return {name: listed["sha256"] for name, listed in json.loads(file.read_text())["members"].items()}


def deployed(pair: Pair, *sittings: Sitting) -> Path:
    found = final_file(pair.stores, [sitting.campaign for sitting in sittings])
    assert found is not None, "the market is clean: what is refitted on more of it is accepted"
    return found


def test_what_is_deployed_has_learnt_from_all_days_and_is_asked_by_predict(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    finalize(pair.stores, ["nets"], 2, said.append)
    file, slots = deployed(pair, pair.nets), pair.nets.campaign.crowned.slots
    assert members(file).keys() == {f"nets#{slot}/{number}" for slot in slots for number in (1, 2)}
    state = load(file.parent / json.loads(file.read_text())["members"][f"nets#{slots[0]}/1"]["checkpoint"])
    assert state["last_day"] == str(pair.dates[-1])
    assert any(line.startswith("Refitted on all days before the holdout") for line in said)
    made = results.predict(pair.stores, pair.nets.campaign, pair.new, tmp_path / "scores.csv", everything=False)
    assert made.table["date"].min() > pair.dates[-1]
    assert made.table["date"].nunique() == NUM_NEW
    assert made.notes[0] == "Scored with the models that `hpo finalize` refitted."
    monkeypatch.setattr(refitting, "fit", never)
    finalize(pair.stores, ["nets"], 2, said.append)


def test_killed_while_finalizing_and_resumed_it_is_the_same_committee(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    finalize(pair.stores, ["nets"], 2, lambda line: None)
    whole = members(deployed(pair, pair.nets))
    shutil.rmtree(pair.finals)
    fit, calls = refitting.fit, list[Path]()

    def killed(config: Any, data: Any, reporter: Any, folder: Path) -> Any:
        calls.append(folder)
        if len(calls) == 2:
            reporter.poll = interrupted  # within the first epoch
        return fit(config, data, reporter, folder)

    def interrupted() -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(refitting, "fit", killed)
        with pytest.raises(KeyboardInterrupt):
            finalize(pair.stores, ["nets"], 2, lambda line: None)
    assert final_file(pair.stores, [pair.nets.campaign]) is None
    finalize(pair.stores, ["nets"], 2, lambda line: None)
    assert members(deployed(pair, pair.nets)) == whole
    assert len(set(whole.values())) == len(whole) > 1, "another seed is another model"


def test_two_campaigns_end_in_one_committee_of_both_kinds(pair: Pair, tmp_path: Path) -> None:
    finalize(pair.stores, ["nets", "trees"], 1, lambda line: None)
    file = deployed(pair, pair.nets, pair.trees)
    assert {name.partition("#")[0] for name in members(file)} == {"nets", "trees"}
    weights = {name: listed["weight"] for name, listed in json.loads(file.read_text())["members"].items()}
    for campaign in ("nets", "trees"):
        assert sum(w for name, w in weights.items() if name.startswith(campaign)) == pytest.approx(0.5)
    output, both = tmp_path / "scores.csv", [pair.trees.campaign]
    made = results.predict(pair.stores, pair.nets.campaign, pair.new, output, everything=False, together=both)
    assert made.table["date"].nunique() == NUM_NEW
    assert final_file(pair.stores, [pair.nets.campaign]) is None, "neither alone was finalized"
    with pytest.raises(UsageError, match="named twice"):
        finalize(pair.stores, ["nets", "nets"], 1, never)


def test_what_does_not_agree_with_what_was_judged_is_not_deployed(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refitting, "agreement", lambda *_: 0.3)
    said: list[str] = []
    finalize(pair.stores, ["nets"], 1, said.append)
    assert said[-1].startswith("The refitted models are not deployed: the agreement is below 0.5")
    assert final_file(pair.stores, [pair.nets.campaign]) is None


@pytest.mark.parametrize("harm", ["record", "file"])
def test_a_damaged_end_is_named(pair: Pair, harm: str) -> None:
    finalize(pair.stores, ["nets"], 1, lambda line: None)
    harmed = pair.finals / "nets" / RECORD if harm == "record" else deployed(pair, pair.nets)
    harmed.write_bytes(harmed.read_bytes().replace(b"0", b"1", 1))
    with pytest.raises(EnvironmentFault, match=harmed.name):
        final_file(pair.stores, [pair.nets.campaign])


def test_data_that_changed_since_the_search_are_refused(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    other = replace(pair.nets.prepared, fingerprint="other")
    monkeypatch.setattr(refits, "prepare_data", lambda *_: other)
    with pytest.raises(UsageError, match="are not those it was run on"):
        finalize(pair.stores, ["nets"], 1, never)


def test_no_score_of_a_walk_depends_on_a_later_day(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    walked = walk(pair)
    change = pair.dates[-25]
    altered = pair.altered(change)
    monkeypatch.setattr(refits, "prepare_data", lambda *_: altered)
    shutil.rmtree(pair.finals)
    ahead = walk(pair)
    assert walked.starts == ahead.starts == (0, 30, 60)
    models = sorted(pair.finals.glob("nets/known-*/*/model.pt"))
    assert models
    day = int(np.searchsorted(walked.units, change))
    for metric, reach in (("rank_ic_1d", 1), ("rank_ic_5d", 5), ("lag1_rank_ic_5d", 6)):
        last = day - reach
        np.testing.assert_array_equal(walked.series[metric][:last], ahead.series[metric][:last])
    assert not np.array_equal(walked.series["rank_ic_1d"][day:], ahead.series["rank_ic_1d"][day:], equal_nan=True)


def walk(pair: Pair) -> Walk:
    return walk_forward(pair.stores, "nets", 30, 1, lambda line: None)


def test_a_walk_learns_from_the_days_that_passed(pair: Pair) -> None:
    walked = walk(pair)
    table = pd.read_csv(walked.file, parse_dates=["date", "trained_before"])
    assert len(table) == len(walked.units)
    assert (table["trained_before"] <= table["date"]).all()
    (slot, *_) = pair.nets.campaign.crowned.slots
    early, late = (
        load(pair.finals / "nets" / f"known-{known:05d}" / f"nets-{slot:04d}-1" / "model.pt") for known in (0, 60)
    )
    assert late["last_day"] == str(walked.units[59])
    assert not torch.equal(*(next(iter(state["weights"][0].values())) for state in (early, late)))
