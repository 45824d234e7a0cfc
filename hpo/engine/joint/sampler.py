"""An Optuna sampler that learns from every epoch of every trial by one joint model, and varies every parameter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hpo.engine.joint.coordinates import Conditions, Coordinates
from hpo.engine.joint.fitting import RECORD, Fitted, believe, fit
from hpo.engine.joint.observations import is_feasible
from hpo.engine.joint.proposals import propose

FIRST_EXPLOITED, EXPLOITED_EVERY = 10, 4
"""Without a budget, the best by posterior mean is proposed from this trial on, at every so manieth."""


class JointSampler(BaseSampler):
    """Additive Gaussian process over blocks of epochs, Thompson draws along every axis at once.

    It keeps nothing: what it proposes follows from the study's trials and the seed. Curves are used where a trial's
    value is the mean of its last intermediate values; else the values alone are. Running trials are believed to end as
    the model expects; infeasible and failed ones count as poor. A trial need not have every parameter. For one
    objective.

    Args:
        seed: of everything random here.
        budget: trials the study will have; in its last 30 % every second proposal is the best by posterior mean.
            Without it every fourth is, from the tenth on.
        earlier: finished trials of an earlier search, of the same or some of the same parameters. What they say is a
            belief about this study's configurations, never a result of it: one that misleads is outvoted.
        conditions: where a parameter exists, for those that do not exist in every trial: name -> name of another -> the
            values of that one. Proposals then have the parameters that exist with each other, and compare the best
            under each value. Without them, all parameters are proposed, and a trial takes what it asks for.
        is_result: whether a trial says something about its configuration; others are passed over. All do by default.
    """

    def __init__(
        self,
        seed: int | None = None,
        budget: int | None = None,
        is_result: Callable[[FrozenTrial], bool] = lambda trial: True,
        earlier: Sequence[FrozenTrial] = (),
        conditions: Conditions | None = None,
    ) -> None:
        self._rng = np.random.default_rng(seed)
        self._budget, self._is_result, self._earlier = budget, is_result, earlier
        self._conditions = conditions or {}

    def reseed_rng(self) -> None:
        """Another seed, for a copy of this sampler in another process."""
        self._rng = np.random.default_rng()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Every parameter that any other trial has had, as it was last; none for a trial that has them all."""
        found: dict[str, BaseDistribution] = {}
        for other in self._others(study, trial):
            found.update(other.distributions)
        if all(name in trial.params or not self._exists(name, trial.params) for name in found):
            return {}
        return {name: found[name] for name in sorted(found) if not found[name].single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A value for every parameter, and a record of where it came from with the trial.

        Raises:
            ValueError: the study has several objectives.
        """
        if len(study.directions) > 1:
            raise ValueError("The joint sampler is for one objective; choose another sampler, such as nsgaii.")
        if not search_space:
            return {}
        others, coordinates = self._others(study, trial), Coordinates.of(search_space, self._conditions)
        sign = -1.0 if study.direction is StudyDirection.MINIMIZE else 1.0
        belief = believe(self._earlier, coordinates, sign) if self._earlier else None
        fitted = fit(others, coordinates, sign, belief=belief)
        if fitted is None:
            anywhere = self._rng.uniform(size=len(coordinates.axes))
            return coordinates.decode(coordinates.completed(anywhere, anywhere))
        num_done = sum(other.state.is_finished() for other in others)
        usable = _usable(others, fitted)
        running = [n for n, other in enumerate(others) if not other.state.is_finished()]
        progress = self._progress(num_done)
        proposal = propose(fitted.posterior, coordinates, fitted.points, usable, running, progress, num_done, self._rng)
        record: dict[str, Any] = {"how": proposal.how, "fit": [float(f"{each:.6g}") for each in fitted.vector]}
        study._storage.set_trial_system_attr(trial._trial_id, RECORD, record)
        return coordinates.decode(proposal.point)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """For a parameter that no trial has had: in the first trial the middle (of categories the first), later at
        random."""
        if param_distribution.single():
            return _only_value(param_distribution)
        axis = Coordinates.of({param_name: param_distribution}).axes[0]
        levels = np.array([0.5]) if axis.levels is None else axis.levels
        if not self._others(study, trial):
            return axis.decode(float(levels[0 if axis.unordered else (len(levels) - 1) // 2]))
        return axis.decode(float(self._rng.uniform() if axis.levels is None else self._rng.choice(levels)))

    def _exists(self, name: str, params: Mapping[str, Any]) -> bool:
        """Among parameters of which those that it depends on were given before."""
        parents = self._conditions.get(name, {})
        return all(parent in params and params[parent] in values for parent, values in parents.items())

    def _others(self, study: Study, trial: FrozenTrial) -> list[FrozenTrial]:
        return [
            other
            for other in study.get_trials(deepcopy=False)
            if other.number != trial.number and other.distributions and self._is_result(other)
        ]

    def _progress(self, num_done: int) -> float:
        """Share of the budget that is used up; without one, its end for those proposals that are to exploit."""
        if self._budget is not None:
            return num_done / self._budget
        return float(num_done >= FIRST_EXPLOITED and num_done % EXPLOITED_EVERY == 1)


def _usable(trials: Sequence[FrozenTrial], fitted: Fitted) -> list[int]:
    """Trials that the next one may start from: those with a score that violate no constraint, if there are any."""
    seen = set(fitted.seen.trials.tolist())
    scored = [n for n, t in enumerate(trials) if n in seen and t.state is not TrialState.FAIL and is_feasible(t)]
    return scored or sorted(seen)


def _only_value(distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return distribution.low
