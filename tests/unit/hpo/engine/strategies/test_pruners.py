"""Every pruner can be built by name; the default ends what is clearly behind and spares what is not."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.exceptions import ExperimentalWarning
from optuna.trial import TrialState, create_trial

from hpo.domain.config import PrunerConfig
from hpo.domain.errors import UsageError
from hpo.engine.strategies.pruners import PRUNERS, build_pruner

EPOCHS = 12


def curve(level: float, rng: np.random.Generator) -> list[float]:
    """A RankIC-like training curve: noise of .003 per seed and .004 per epoch."""
    level += rng.normal(0, 0.003)
    return [level * (1 - math.exp(-e / 3)) + rng.normal(0, 0.004) for e in range(1, EPOCHS + 1)]


def epochs_survived(pruner: optuna.pruners.BasePruner, behind: float, seed: int) -> int:
    """Epochs that a trial trains whose true level lies `behind` those of four finished ones."""
    rng = np.random.default_rng(seed)
    study = optuna.create_study(study_name="s", direction="maximize", pruner=pruner)
    for _ in range(4):
        _train(study, curve(0.04, rng), heeding=False)
    return _train(study, curve(0.04 - behind, rng), heeding=True)


def _train(study: optuna.Study, scores: list[float], heeding: bool) -> int:
    study.add_trial(create_trial(state=TrialState.RUNNING))
    trial = optuna.Trial(study, study.get_trials()[-1]._trial_id)
    for epoch, score in enumerate(scores, start=1):
        trial.report(score, epoch)
        if trial.should_prune() and heeding:
            return epoch
    study.tell(trial, float(np.mean(scores[-3:])))
    return len(scores)


def test_the_table_has_every_pruner_of_optuna() -> None:
    public = {name for name in optuna.pruners.__all__ if name != "BasePruner"}
    assert {row.cls for row in PRUNERS.values()} == public


@pytest.mark.parametrize("name", PRUNERS)
def test_each_can_be_asked_after_every_epoch(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        pruner = build_pruner(PrunerConfig(name=name), EPOCHS)
    assert 1 <= epochs_survived(pruner, 0.0, seed=0) <= EPOCHS
    ended = epochs_survived(pruner, 0.2, seed=0) < EPOCHS
    assert ended == (name != "nop")


def test_the_default_ends_the_clearly_worse_at_half_time_and_lets_the_better_finish() -> None:
    pruner = build_pruner(PrunerConfig(), EPOCHS)
    worse = [epochs_survived(pruner, 0.015, seed) for seed in range(40)]
    better = [epochs_survived(pruner, -0.006, seed) for seed in range(40)]
    assert min(worse + better) >= 6, "never on fewer epochs than the test can judge"
    assert sum(epochs < EPOCHS for epochs in worse) >= 38
    assert np.mean(worse) < 8
    assert sum(epochs == EPOCHS for epochs in better) >= 36


def test_the_default_is_quiet_about_being_experimental_and_the_others_are_not() -> None:
    build_pruner(PrunerConfig(), EPOCHS)
    with pytest.warns(ExperimentalWarning):
        build_pruner(PrunerConfig(name="patient"), EPOCHS)


def test_patience_wraps_the_pruner_it_is_told() -> None:
    options = {"wrapped_pruner": {"name": "percentile", "options": {"percentile": 10.0}}, "patience": 4}
    with pytest.warns(ExperimentalWarning):
        pruner: Any = build_pruner(PrunerConfig(name="patient", options=options), EPOCHS)
    assert isinstance(pruner._wrapped_pruner, optuna.pruners.PercentilePruner)
    assert (pruner._wrapped_pruner._percentile, pruner._patience) == (10.0, 4)
    with pytest.warns(ExperimentalWarning):
        alone: Any = build_pruner(PrunerConfig(name="patient", options={"wrapped_pruner": None}), EPOCHS)
    assert alone._wrapped_pruner is None


@pytest.mark.parametrize("epochs", [1, 2, 3, 100])
@pytest.mark.parametrize("name", [name for name in PRUNERS if name != "patient"])
def test_the_defaults_suit_any_number_of_epochs(name: str, epochs: int) -> None:
    assert isinstance(build_pruner(PrunerConfig(name=name), epochs), optuna.pruners.BasePruner)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("wilcoxn", {}, r"Unknown pruner 'wilcoxn': .*Did you mean 'wilcoxon'\?"),
        ("wilcoxon", {"p_treshold": 0.1}, r"Unknown option 'p_treshold'.*Did you mean 'p_threshold'\?"),
        ("wilcoxon", {"p_threshold": 2.0}, r"pruner\.options of 'wilcoxon': p_threshold must be between"),
        ("nop", {"patience": 1}, "it takes none"),
        ("patient", {"wrapped_pruner": "median"}, "is another pruner, written as"),
    ],
)
def test_what_is_wrong_is_said(name: str, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        build_pruner(PrunerConfig(name=name, options=options), EPOCHS)
