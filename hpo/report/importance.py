"""Which settings matter: PED-ANOVA over all complete trials of a campaign, whatever tier they ran in."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

from hpo.report.evidence import TrialEvidence

FEWEST_TRIALS = 8
"""PED-ANOVA compares the best quarter with the rest; with fewer trials that quarter is a single one."""


def importances(trials: Sequence[TrialEvidence], log_settings: Collection[str] = ()) -> dict[str, float]:
    """Setting -> share of what separates the best quarter from the rest, largest first, summing to 1.

    PED-ANOVA (Watanabe, Bansal & Hutter, IJCAI 2023). trials: complete ones, with scores. log_settings: those compared
    on a logarithmic scale. Settings that never vary or that some trial lacks are left out. {} with fewer than 8 trials.
    """
    if len(trials) < FEWEST_TRIALS:
        return {}
    distributions = _distributions(trials, log_settings)
    if not distributions:
        return {}
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    study.add_trials(
        [
            optuna.create_trial(
                params={name: _parameter(trial.settings[name], distributions[name]) for name in distributions},
                distributions=distributions,
                value=trial.score,
            )
            for trial in trials
        ]
    )
    return dict(get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(target_quantile=0.25)))


def _distributions(trials: Sequence[TrialEvidence], log_settings: Collection[str]) -> dict[str, BaseDistribution]:
    """The observed range of every setting that varies: numbers as ranges."""
    found: dict[str, BaseDistribution] = {}
    for name in trials[0].settings:
        values = [trial.settings.get(name) for trial in trials]
        if None in values or len({str(value) for value in values}) < 2:
            continue
        if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
            numbers = [float(value) for value in values if value is not None]
            found[name] = FloatDistribution(min(numbers), max(numbers), log=name in log_settings)
        else:
            found[name] = CategoricalDistribution(sorted({str(value) for value in values}))
    return found


def _parameter(value: Any, distribution: BaseDistribution) -> float | str:
    return float(value) if isinstance(distribution, FloatDistribution) else str(value)
