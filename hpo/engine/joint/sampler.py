"""An Optuna sampler that learns from every epoch of every trial by one joint model, and varies every parameter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hpo.engine.joint.coordinates import Array, Coordinates
from hpo.engine.joint.fitting import FIT, fit
from hpo.engine.joint.observations import is_feasible
from hpo.engine.joint.proposals import Proposal, propose

HOW = "joint:how"
"""System attribute of a trial: how it was proposed, in words."""


class JointSampler(BaseSampler):
    """Additive Gaussian process over blocks of epochs, Thompson draws along every axis at once.

    It keeps nothing: what it proposes follows from the study's trials and the seed. Several objectives are refused.
    Curves are used where a trial's value is the mean of its last intermediate values; else the values alone are.

    Args:
        seed: of everything random here.
        budget: trials the study will have; in its last 30 % every second proposal is the best by posterior mean.
            Without it every fourth is, from the tenth on.
    """

    def __init__(self, seed: int | None = None, budget: int | None = None) -> None:
        self._rng = np.random.default_rng(seed)
        self._budget = budget

    def reseed_rng(self) -> None:
        self._rng = np.random.default_rng()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Every parameter that any trial has had, as it was last."""
        found: dict[str, BaseDistribution] = {}
        for other in study.get_trials(deepcopy=False):
            if other.number != trial.number:
                found.update(other.distributions)
        return {name: found[name] for name in sorted(found) if not found[name].single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if len(study.directions) > 1:
            raise ValueError("The joint sampler maximises or minimises one value; this study has several objectives.")
        if not search_space:
            return {}
        sign = -1.0 if study.direction is StudyDirection.MINIMIZE else 1.0
        others = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number and t.distributions]
        coordinates = Coordinates.of(search_space)
        proposal, vector = self._propose(others, coordinates, sign, trial.number)
        study._storage.set_trial_system_attr(trial._trial_id, HOW, proposal.how)
        if vector is not None:
            study._storage.set_trial_system_attr(trial._trial_id, FIT, [float(f"{each:.6g}") for each in vector])
        return coordinates.decode(proposal.point)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The middle for a parameter of the first trial; at random for one that no trial has had yet."""
        if param_distribution.single():
            low = param_distribution
            return low.choices[0] if isinstance(low, CategoricalDistribution) else low.low  # type: ignore[attr-defined]
        coordinates = Coordinates.of({param_name: param_distribution})
        is_first = not any(other.number != trial.number for other in study.get_trials(deepcopy=False))
        axis = coordinates.axes[0]
        if axis.levels is not None:
            level = 0 if axis.unordered else (len(axis.levels) - 1) // 2
            here = axis.levels[level if is_first else self._rng.integers(len(axis.levels))]
        else:
            here = 0.5 if is_first else self._rng.uniform()
        return axis.decode(float(here))

    def _propose(
        self, others: Sequence[FrozenTrial], coordinates: Coordinates, sign: float, number: int
    ) -> tuple[Proposal, Array | None]:
        fitted = fit(others, coordinates, sign)
        if fitted is None:
            return Proposal(self._rng.uniform(size=len(coordinates.axes)), "at random: nothing is known yet"), None
        num_done = sum(trial.state.is_finished() for trial in others)
        if self._budget is not None:
            progress, turn = num_done / self._budget, num_done
        else:
            progress, turn = (1.0, num_done) if num_done >= 10 and num_done % 4 == 1 else (0.0, num_done)
        kept = [others[n] for n in range(len(others))]
        usable = [n for n, trial in enumerate(kept) if trial.state is not TrialState.FAIL and is_feasible(trial)]
        usable = [n for n in usable if n in fitted.seen.trials] or list(range(len(kept)))
        points = fitted.points
        proposal = propose(fitted.posterior, coordinates, points, usable, progress, turn, self._rng)
        return proposal, fitted.vector
