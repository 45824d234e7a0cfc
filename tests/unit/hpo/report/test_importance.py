"""Which settings matter, over a whole campaign."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hpo.domain.campaign import Outcome
from hpo.report import TrialEvidence
from hpo.report.importance import importances


def campaign(num_trials: int) -> list[TrialEvidence]:
    """The score depends on the learning rate alone."""
    rng = np.random.default_rng(0)
    trials = []
    for slot in range(1, num_trials + 1):
        settings = {
            "optim.lr": float(10 ** rng.uniform(-5, -2)),
            "model.dropout": float(rng.uniform(0, 0.4)),
            "optim.schedule": str(rng.choice(["cosine", "constant"])),
            "model.window": 10,
        }
        score = -abs(float(np.log10(settings["optim.lr"])) + 3.5)
        trials.append(TrialEvidence(slot, 1, Outcome.COMPLETE, settings=settings, score=score))
    return trials


def test_the_setting_that_decides_comes_first() -> None:
    shares = importances(campaign(60), {"optim.lr"})
    assert next(iter(shares)) == "optim.lr"
    assert shares["optim.lr"] > 0.6
    assert set(shares) == {"optim.lr", "model.dropout", "optim.schedule"}
    assert sum(shares.values()) == pytest.approx(1)


def test_a_setting_that_exists_in_some_trials_separates_those() -> None:
    trials = []
    for number, one in enumerate(campaign(60)):
        kind = "gru" if number % 2 else "lightgbm"
        settings = {"model.kind": kind, "model.dropout": one.settings["model.dropout"]}
        if kind == "gru":
            settings["optim.lr"] = one.settings["optim.lr"]
        trials.append(replace(one, settings=settings, score=one.score if kind == "gru" else -3.0))
    shares = importances([*trials, TrialEvidence(61, 1, Outcome.COMPLETE, score=0.0)], {"optim.lr"})
    assert shares.keys() == {"model.kind", "model.dropout", "optim.lr"}
    assert shares["optim.lr"] > shares["model.dropout"]


def test_too_few_trials_say_nothing() -> None:
    assert importances(campaign(5), {"optim.lr"}) == {}
    assert importances([]) == {}
