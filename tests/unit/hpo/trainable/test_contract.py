"""What every trainable promises: the ranker and two of a user's own keep it; broken ones are told what to change."""

from __future__ import annotations

import itertools
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from sklearn.datasets import load_diabetes

from hpo.domain.trainable import Trainable
from hpo.ranking.ranker import Ranker
from hpo.trainable import OwnTrainable, Trial
from hpo.trainable.contract import CHECKS, Bench, check_trainable
from hpo.trainable.loading import as_trainable

OWN = Path(__file__).parents[3] / "support" / "own"
RANKER = {
    "data": {"source": "planted:clean?stocks=12&days=300", "horizons": [1]},
    "model": {"kind": "linear", "window": 3},
    "train": {"epochs": 3, "score_epochs": 2, "device": "cpu", "precision": "fp32", "threads": 1},
}


@pytest.fixture(scope="module", autouse=True)
def _examples_can_be_imported() -> None:
    sys.path.append(str(OWN))


def made(name: str, folder: Path) -> tuple[Trainable[Any], dict[str, Any]]:
    if name == "ranker":
        return Ranker(), RANKER
    if name == "function":
        import descent

        return as_trainable(descent.train), {"epochs": 4}
    import houses

    data = folder / "houses.csv"
    load_diabetes(as_frame=True).frame.to_csv(data, index=False)
    return as_trainable(houses.Houses), {"data": str(data), "epochs": 3}


@pytest.fixture(scope="module", params=["ranker", "class", "function"])
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp(request.param)
    return Bench(*made(request.param, folder), folder)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_promise_is_kept(bench: Bench, check: Any) -> None:
    check(bench)


@dataclass(frozen=True)
class Settings:
    epochs: int = 3


class Walk(OwnTrainable[Settings]):
    """Keeps every promise; the broken ones change one thing."""

    schema = Settings
    saves, drift = True, itertools.repeat(0)

    def train(self, settings: Settings, trial: Trial) -> None:
        place = trial.load() or 0
        for epoch in trial.epochs:
            place += 1 + next(self.drift)
            trial.report(epoch, self.said(place), series=self.series(place))
            if trial.should_stop():
                return
            if self.saves:
                trial.save(place)

    def said(self, place: int) -> float:
        return float(place)

    def series(self, place: int) -> list[float]:
        return [place - 1.0, place + 1.0]


class NeverSaves(Walk):
    saves = False


class SavesHalf(Walk):
    def train(self, settings: Settings, trial: Trial) -> None:
        place, speed = trial.load() or 0, 1
        for epoch in trial.epochs:
            place, speed = place + speed, speed + 1
            trial.report(epoch, float(place))
            if trial.should_stop():
                return
            trial.save(place)


class NoSeed(Walk):
    drift = itertools.count()


class NotTheMean(Walk):
    def series(self, place: int) -> list[float]:
        return [place + 5.0]


class NoNumber(Walk):
    def said(self, place: int) -> float:
        return float("nan")


class Exits(Walk):
    def said(self, place: int) -> float:
        sys.exit(0)


@pytest.mark.parametrize(
    ("broken", "check", "words"),
    [
        (Exits, "every_epoch_is_reported", "sys.exit(0); return from the function instead"),
        (NeverSaves, "a_model_is_left", "trial.save(state)"),
        (SavesHalf, "a_resumed_training_is_the_same", "save everything that the next epoch needs"),
        (NoSeed, "the_same_seed_trains_the_same", "trial.seed"),
        (NotTheMean, "series_have_the_score_as_mean", "report the mean of the series as the score"),
        (NoNumber, "every_epoch_is_reported", "the score of epoch 1 is nan"),
    ],
)
def test_a_broken_one_is_told_what_to_change(broken: type[Walk], check: str, words: str) -> None:
    outcomes = {outcome.name: outcome for outcome in check_trainable(broken(), {})}
    assert len(outcomes) == len(CHECKS)
    assert outcomes[check].seen is not None
    assert words in outcomes[check].seen


def test_one_that_keeps_all_promises_is_told_so() -> None:
    assert [outcome.seen for outcome in check_trainable(Walk(), {})] == [None] * len(CHECKS)


class Counting(Walk):
    """The short form: the loop ends by itself, and the state is kept with the report."""

    trained: ClassVar[list[int]] = []

    def train(self, settings: Settings, trial: Trial) -> None:
        place = trial.load() or 0
        for epoch in trial.epochs:
            place += 1
            self.trained.append(epoch)
            trial.report(epoch, float(place), state=place)


def test_the_short_form_trains_each_epoch_once_however_often_it_is_stopped(tmp_path: Path) -> None:
    bench = Bench(Counting(), {"epochs": 6}, tmp_path)
    folder = bench.new_folder()
    Counting.trained.clear()
    for at in (2, 4, None):
        listener, result = bench.train(folder, stop_after=at)
    assert Counting.trained == [1, 2, 3, 4, 5, 6]
    assert listener.scores == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert result.last_epoch == 6
