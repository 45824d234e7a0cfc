"""Contenders in the report of a campaign that really trained: trained once, kept, and no reason to fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.sitting import Sitting

from hpo.domain.trainable import Scored
from hpo.ranking import contenders as ranked
from hpo.ranking.ranker import Ranker
from hpo.usecases import conclusion
from hpo.usecases.contenders import FOLDER, KEPT
from trainer.data import open_training

NAMES = ["ridge", "LightGBM", "one-day reversal"]
SPACE = """
settings: {model.kind: linear, model.window: 3}
tiers:
  capacity:
    optim.lr: {type: float, low: 1.0e-3, high: 1.0e-1, log: true, default: 1.0e-2}
"""
PLANTED = (
    "trainer.data.source=planted:clean?stocks=40&days=420",
    "trainer.data.horizons=[1,5]",
    "trainer.train.epochs=2",
    "trainer.train.threads=1",
    "trainer.train.device=cpu",
)
OWN = '''
from dataclasses import dataclass

import numpy as np

from hpo.trainable import OwnTrainable


@dataclass(frozen=True)
class Settings:
    epochs: int = 3
    rate: float = 0.1


class Mine(OwnTrainable[Settings]):
    """Learns a number."""

    schema = Settings

    def split(self, settings):
        return 1.0, np.linspace(0.5, 1.5, 40)

    def train(self, settings, trial):
        place = trial.load() or 0.0
        for epoch in trial.epochs:
            place += settings.rate * (trial.data - place)
            trial.report(epoch, place, series=place * np.linspace(0.5, 1.5, 40))
            trial.save(place)

    def evaluate(self, state, holdout):
        return state * holdout
'''
OWN_SPACE = "tiers: {only: {rate: {type: float, low: 0.01, high: 1.0, log: true, default: 0.1}}}"


@pytest.fixture(scope="module")
def sitting(tmp_path_factory: pytest.TempPathFactory) -> Sitting:
    return Sitting(tmp_path_factory.mktemp("planted"), SPACE, *PLANTED)


@pytest.fixture(autouse=True)
def untrained(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test of the planted campaign begins without contenders, and grows few trees."""
    if "sitting" in request.fixturenames:
        request.getfixturevalue("sitting").kept.unlink(missing_ok=True)
        trees = ranked.LEARNT["LightGBM"].model_copy(update={"rounds_per_epoch": 3})
        monkeypatch.setattr(ranked, "LEARNT", {**ranked.LEARNT, "LightGBM": trees})


def rivals(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Rows of the table of who ranked how well, by name."""
    (table,) = (found for found in walk(figures) if isinstance(found, dict) and found.get("title") == RIVALS)
    return {row["name"]: row for row in table["rows"]}


RIVALS = "On the same holdout days"


def walk(value: Any) -> list[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value, *(found for part in inner for found in walk(part))]


def announced(said: list[str]) -> list[str]:
    return [line.split(",")[0].removeprefix("Training the contender ") for line in said if line.startswith("Training")]


def test_a_report_names_the_contenders_with_intervals_and_advises_beside_the_best(sitting: Sitting) -> None:
    said, figures = sitting.report()
    assert announced(said) == NAMES
    found = rivals(figures)
    assert set(NAMES) <= found.keys()
    for name in NAMES:
        assert None not in (found[name]["interval"], found[name]["lead_interval"]), name
    best = max(NAMES, key=lambda name: found[name]["lead"])
    answer = next(line for line in said if not line.endswith(" ..."))
    assert answer.startswith("Recommendation: ")
    assert best in answer


def test_a_second_report_trains_none_of_them_again(sitting: Sitting) -> None:
    _, first = sitting.report()
    said, second = sitting.report()
    assert announced(said) == []
    assert rivals(first) == rivals(second)


def test_what_is_kept_of_other_data_is_not_believed(sitting: Sitting) -> None:
    sitting.report()
    kept = conclusion.read_sealed(sitting.kept)
    conclusion.write_sealed(sitting.kept, {**kept, "of": {**kept["of"], "data": "another"}})
    assert announced(sitting.report()[0]) == NAMES


def test_damaged_contenders_are_named_and_trained_again(sitting: Sitting) -> None:
    sitting.report()
    assert not named_faults(sitting)
    sitting.kept.write_bytes(sitting.kept.read_bytes().replace(b"0.1", b"0.2", 1))
    assert named_faults(sitting) == [f"{sitting.kept} is damaged: the contenders are trained again"]
    assert announced(sitting.report()[0]) == NAMES
    assert not named_faults(sitting)


def named_faults(sitting: Sitting) -> list[str]:
    return [fault for fault in conclusion.faults(sitting.stores, sitting.campaign) if KEPT in fault]


def test_a_report_that_is_killed_goes_on_with_the_next_contender(
    sitting: Sitting, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> Scored:
        raise KeyboardInterrupt

    with monkeypatch.context() as at_reversal:
        at_reversal.setattr(ranked, "_reversal", killed)
        with pytest.raises(KeyboardInterrupt):
            sitting.report()
    left = sitting.kept.parent / FOLDER
    left.mkdir()  # what a harder death leaves
    said, figures = sitting.report()
    assert announced(said) == ["one-day reversal"]
    assert set(NAMES) <= rivals(figures).keys()
    assert not left.exists()


def test_a_contender_learns_from_the_newest_days_of_the_last_fold(sitting: Sitting) -> None:
    data = open_training(sitting.prepared.search)
    train, most = data.folds[-1].train, 1000
    (fold,) = ranked.newest(replace(data, folds=(data.folds[0], data.folds[-1])), most).folds
    mask = data.panel.mask
    assert fold.valid == data.folds[-1].valid
    assert fold.train.stop == train.stop
    assert mask[fold.train.start : train.stop].sum() <= most < mask[fold.train.start - 1 : train.stop].sum()
    (whole,) = ranked.newest(data, mask.size).folds
    assert whole == data.folds[-1]


def test_a_broken_contender_is_said_and_ends_nothing(sitting: Sitting, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Scored:
        raise MemoryError("no room")

    monkeypatch.setattr(ranked, "_reversal", broken)
    said, figures = sitting.report()
    sentence = "The contender one-day reversal failed and is left out: MemoryError: no room."
    assert f"Warning: {sentence}" in said
    assert any(isinstance(text, str) and sentence in text for text in walk(figures))
    assert set(NAMES) & rivals(figures).keys() == {"ridge", "LightGBM"}


def test_a_contender_on_other_days_is_left_out(sitting: Sitting, monkeypatch: pytest.MonkeyPatch) -> None:
    short = Scored(np.arange(3), {"rank_ic": np.zeros(3, np.float32)})
    asked: Callable[..., Any] = lambda *_: {"short": lambda folder: short}  # noqa: E731 - in place of a method
    monkeypatch.setattr(Ranker, "contenders", asked)
    said, _ = sitting.report()
    assert any("The contender short failed" in line and "scored on 3 units" in line for line in said)


def test_contenders_that_cannot_even_be_named_end_nothing(sitting: Sitting, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("no idea")

    monkeypatch.setattr(Ranker, "contenders", broken)
    said, _ = sitting.report()
    assert "Warning: There are no contenders: RuntimeError: no idea." in said


def test_a_trainable_without_contenders_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine_without_contenders.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    own = Sitting(tmp_path, OWN_SPACE, "trainable=mine_without_contenders:Mine")
    said, figures = own.report()
    assert announced(said) == []
    assert not own.kept.exists()
    assert any(line.startswith("Holdout score") for line in said), said
    assert figures
