"""Which settings matter: PED-ANOVA over all complete trials of a campaign, whatever tier they ran in."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import create_trial

from hpo.engine import decisions
from hpo.report.evidence import TrialEvidence


def importances(trials: Sequence[TrialEvidence], log_settings: Collection[str] = ()) -> dict[str, float]:
    """Setting -> share of what separates the best quarter from the rest, largest first, summing to 1.

    As `hpo.engine.decisions.importances` has it for one tier, {} with too few trials included. trials: complete ones,
    with scores.
    log_settings: those compared on a logarithmic scale. Settings that never vary are left out; so are trials of which
    no settings are known here.
    """
    trials = [trial for trial in trials if trial.settings]
    distributions = _distributions(trials, log_settings)
    if not distributions:
        return {}
    return decisions.importances(
        create_trial(
            params={
                name: _parameter(trial.settings[name], kind)
                for name, kind in distributions.items()
                if name in trial.settings
            },
            distributions={name: kind for name, kind in distributions.items() if name in trial.settings},
            value=trial.score,
        )
        for trial in trials
    )


def _distributions(trials: Sequence[TrialEvidence], log_settings: Collection[str]) -> dict[str, BaseDistribution]:
    """The observed range of every setting that varies: numbers as ranges."""
    found: dict[str, BaseDistribution] = {}
    for name in dict.fromkeys(name for trial in trials for name in trial.settings):
        values = [trial.settings[name] for trial in trials if name in trial.settings]
        if len({str(value) for value in values}) < 2:
            continue
        if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
            numbers = [float(value) for value in values]
            found[name] = FloatDistribution(min(numbers), max(numbers), log=name in log_settings)
        else:
            found[name] = CategoricalDistribution(sorted({str(value) for value in values}))
    return found


def _parameter(value: Any, distribution: BaseDistribution) -> float | str:
    return float(value) if isinstance(distribution, FloatDistribution) else str(value)
