"""Finished runs of the real trainer, scored on the prepared holdout."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from hpo.domain.campaign import CheckpointRecord, Outcome
from hpo.domain.champion import Champion, Member
from hpo.domain.errors import EnvironmentFault
from hpo.domain.training import Decision, EpochReport
from hpo.ranking.portfolio import long_short
from hpo.ranking.ranker import Ranker
from hpo.report.holdout import measure
from hpo.runs.archive import Archive
from hpo.runs.durable import sha256_of
from hpo.runs.folder import Attempt, SlotFolder
from trainer.config import DataConfig, ModelConfig, TrainConfig, TrainerConfig
from trainer.data import Prepared, ceiling, open_holdout, prepare
from trainer.scoring.committee import load_committee
from trainer.training.evaluate import daily_metrics

CONFIG = TrainerConfig(
    data=DataConfig(source="planted:clean?stocks=40&days=420", horizons=(1, 5)),
    model=ModelConfig(kind="linear", window=5),
    train=TrainConfig(epochs=2, precision="fp32", device="cpu", threads=1, score_epochs=1),
)


CHAMPION = Champion(1)


class Recorder:
    """Writes epochs into an attempt's folder, as the search does."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt

    def report(self, report: EpochReport) -> Decision:
        self._attempt.append_epoch(report)
        return Decision.CONTINUE

    def poll(self) -> Decision:
        return Decision.CONTINUE

    def decide(self) -> Decision:
        return Decision.CONTINUE


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(CONFIG.data, CONFIG.model.window, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def archive(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """Slot 1 trained to its end; the ledger does not answer for the checkpoint of slot 2."""
    home = tmp_path_factory.mktemp("home")
    folder, records = home / "runs" / "campaign", []
    threads = torch.get_num_threads()
    for slot in (1, 2):
        attempt = SlotFolder(folder, slot).open_attempt(1, run={}, config={})
        result = Ranker().fit(CONFIG, prepared.search, Recorder(attempt), attempt.folder)
        attempt.finish(Outcome.COMPLETE, result.score, result.last_epoch, result.num_parameters)
        path = str(attempt.model.relative_to(home))
        records.append(CheckpointRecord(slot, "model", 1, path, "host", str(home), sha256_of(attempt.model)))
    yield Archive(folder, records[:1])
    torch.set_num_threads(threads)


def test_runs_are_scored_on_the_holdout(prepared: Prepared, archive: Archive) -> None:
    begun: list[tuple[int, int]] = []
    found = measure(
        Ranker(), archive, [1, 2, 3], prepared.holdout, CHAMPION, archive.model(1), lambda *at: begun.append(at)
    )
    assert found is not None
    assert begun == [(1, 1)], "what is not here is not counted"
    data = open_holdout(prepared.holdout)
    assert list(found.daily) == [1]
    assert len(found.dates) == len(data.days)
    assert found.dates[0] == data.panel.dates[data.days.start]
    names = {"rank_ic", "rank_ic_5d", "neutral_rank_ic_1d", "lag1_rank_ic", "neutral_lag1_rank_ic_5d"}
    assert names <= set(found.daily[1])
    assert float(np.nanmean(found.daily[1]["rank_ic_1d"])) > 0.05


def test_the_ceiling_is_the_markets_own_and_above_the_champion(prepared: Prepared, archive: Archive) -> None:
    found = measure(Ranker(), archive, [1], prepared.holdout, CHAMPION, archive.model(1))
    assert found is not None
    data = open_holdout(prepared.holdout)
    best = ceiling(data.panel, data.days)
    assert found.ceiling is not None
    for horizon in CONFIG.data.horizons:
        mean = float(np.nanmean(found.ceiling[f"rank_ic_{horizon}d"]))
        assert mean == pytest.approx(best[horizon], abs=1e-4)
        assert mean > float(np.nanmean(found.daily[1][f"rank_ic_{horizon}d"]))


def test_the_champions_scores_can_be_traded(prepared: Prepared, archive: Archive) -> None:
    found = measure(Ranker(), archive, [1], prepared.holdout, CHAMPION, archive.model(1))
    assert found is not None
    scored = found.details
    assert scored is not None
    num_days = len(scored.dates)
    assert scored.scores.shape == (num_days, 40, 2)
    assert scored.targets["raw"].shape == (num_days, 40, 2)
    traded = long_short(scored, 1)
    assert traded.gross.sum() > 0
    label, ahead = scored.targets["raw"][3, :, 0], scored.returns[4]
    both = np.isfinite(label) & np.isfinite(ahead)
    np.testing.assert_allclose(label[both], ahead[both], rtol=1e-4, atol=1e-6)


def test_what_is_deployed_is_measured_as_one(prepared: Prepared, archive: Archive) -> None:
    """Its scores are the members' mean ranks, and it is these that are traded."""
    members = {f"night#{slot}": Member(slot, 0.5, 1, "0" * 64) for slot in (1, 2)}
    manifest = archive.runs / "committee.json"
    models = {name: archive.runs / f"slot-{member.slot:04d}/attempt-1/model.pt" for name, member in members.items()}
    Ranker().join(models, dict.fromkeys(members, 0.5), manifest)

    found = measure(Ranker(), archive, [1], prepared.holdout, Champion(1, members=members), manifest)

    data = open_holdout(prepared.holdout)
    scores = load_committee(manifest).score(data.panel, data.days)
    assert found is not None
    assert found.committee is not None
    assert found.details is not None
    np.testing.assert_array_equal(found.details.scores, scores)
    expected = daily_metrics(scores, data.panel, data.days)["rank_ic_5d"]
    np.testing.assert_array_equal(found.committee["rank_ic_5d"], expected)
    alone = measure(Ranker(), archive, [1], prepared.holdout, CHAMPION, archive.model(1))
    assert alone is not None
    assert alone.committee is None


def test_a_lost_checkpoint_is_refused_by_name(prepared: Prepared, archive: Archive) -> None:
    lost = replace(archive.records[0], path="runs/campaign/slot-0001/attempt-1/gone.pt")
    with pytest.raises(EnvironmentFault, match=r"The checkpoint of trial 1 is not at .*gone\.pt"):
        measure(Ranker(), replace(archive, records=[lost]), [1], prepared.holdout)


def test_a_swapped_checkpoint_is_refused_by_name(prepared: Prepared, archive: Archive) -> None:
    other = replace(archive.records[0], sha256="0" * 64)
    with pytest.raises(EnvironmentFault, match=r"slot-0001/attempt-1/model\.pt is not the checkpoint of trial 1"):
        measure(Ranker(), replace(archive, records=[other]), [1], prepared.holdout)
