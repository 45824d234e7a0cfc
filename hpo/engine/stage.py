"""One tier of one campaign as it is worked on: what it tunes, what it holds, and its Optuna study."""

from __future__ import annotations

import warnings
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo.domain.campaign import REFINEMENT, Campaign, TierPlan, derive_seed, experiment_name
from hpo.domain.config import SearchConfig
from hpo.domain.ports import Ledger
from hpo.domain.trainable import Length
from hpo.engine.parameters import INDEX_SUFFIX, distributions, to_params, to_values
from hpo.engine.pruners import build_pruner
from hpo.engine.samplers import build_sampler
from hpo.engine.tiers import (
    COPIED_FROM,
    DUPLICATE_OF,
    RETRY_OF,
    SLOT,
    decide,
    dimensions_of,
    incumbent_copy,
    note,
    refinement_seeds,
    retried,
)
from search_spaces import Dimension, Space, Value

READY = "ready"
"""Study attribute set once the study has its note and its copied trials: whose result it was handed, or `nothing`."""


@dataclass(frozen=True)
class Stage:
    """A tier whose predecessors are decided.

    held: dotted values of all dimensions as handed over. within: the distributions in force, by parameter name.
    """

    campaign: str
    plan: TierPlan
    earlier: tuple[TierPlan, ...]
    handed_over: Mapping[str, Any] | None
    held: Mapping[str, Value]
    dimensions: tuple[Dimension, ...]
    within: Mapping[str, BaseDistribution]
    config: SearchConfig
    space: Space
    length: Length

    @property
    def study_name(self) -> str:
        return self.plan.study_name(self.campaign)

    def sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        """A fresh sampler for one slot."""
        study_seed = derive_seed(self.config.seed, self.plan.number, "study")
        return build_sampler(self.config.sampler, seed=seed, study_seed=study_seed, distributions=self.within)

    def pruner(self) -> optuna.pruners.BasePruner:
        return build_pruner(self.config.pruner, self.length.num_epochs)

    def new_trial(self, slot: int, retry_of: int | None = None) -> FrozenTrial:
        """A RUNNING trial that belongs to a slot. The campaign's very first slot has the default configuration.
        retry_of: the slot's trial that failed and was given up."""
        is_default = slot == 1
        return create_trial(
            state=TrialState.RUNNING,
            params=to_params(self.dimensions, self.held) if is_default else {},
            distributions=dict(self.within) if is_default else {},
            user_attrs={SLOT: slot} if retry_of is None else {SLOT: slot, RETRY_OF: retry_of},
        )

    def suggest(self, trial: optuna.Trial, seed: int) -> None:
        """Give the trial every parameter it does not have yet.

        What is drawn jointly is drawn at once; each that is drawn alone has a sampler of its own. So a trial whose
        owner died among its parameters gets the rest as it would have got it.
        """
        joint = trial.relative_params.keys()
        for name, distribution in self.within.items():
            if name not in joint:
                trial.study.sampler = self.sampler(derive_seed(seed, name))
            trial._suggest(name, distribution)

    def values(self, params: Mapping[str, Any]) -> dict[str, Value]:
        """All dotted settings of a trial: the tier's own over what it holds."""
        return {**self.held, **to_values(self.dimensions, params)}

    def readable(self, params: Mapping[str, Any]) -> dict[str, Value]:
        """True values of the parameters that hold positions, for people."""
        values = to_values(self.dimensions, params)
        return {name: value for name, value in values.items() if f"{name}{INDEX_SUFFIX}" in params}

    def decide(self, trials: Sequence[FrozenTrial]) -> dict[str, Any]:
        """The tier's decision (see `hpo.engine.tiers.decide`)."""
        return decide(self.plan, self.study_name, trials, self.held, self.length.score_epochs)


def stages(campaign: Campaign, config: SearchConfig, space: Space, length: Length) -> dict[int, Stage]:
    """Tier number -> stage, for every tier whose predecessors are decided. length: of a training."""
    found: dict[int, Stage] = {}
    held: Mapping[str, Value] = space.defaults()
    handed_over: Mapping[str, Any] | None = None
    earlier: tuple[TierPlan, ...] = ()
    for plan in campaign.spec.tiers:
        dimensions = dimensions_of(space, plan.name)
        is_refinement = plan.name == REFINEMENT
        within = distributions(dimensions, held if is_refinement else None, config.tiers.refinement_width)
        found[plan.number] = Stage(
            campaign.name, plan, earlier, handed_over, held, dimensions, within, config, space, length
        )
        if plan.number not in campaign.decisions:
            break
        handed_over = campaign.decisions[plan.number]
        held, earlier = handed_over["values"], (*earlier, plan)
    return found


def open_study(stage: Stage, storage: optuna.storages.BaseStorage, ledger: Ledger) -> optuna.Study:
    """The stage's study; made ready by whoever comes first, however often that one dies on the way, and once more where
    the tiers before it were decided anew."""
    handed_over = (stage.handed_over or {}).get("source") or "nothing"
    with ledger.exclusive(f"study {stage.study_name}"):
        study = optuna.create_study(
            study_name=stage.study_name, storage=storage, direction="maximize", load_if_exists=True
        )
        if study.user_attrs.get(READY) == handed_over:
            return study
        _describe(study, stage)
        present = {trial.user_attrs.get(COPIED_FROM) for trial in study.get_trials(deepcopy=False)}
        for copy in _copies(stage, storage):
            if copy.user_attrs[COPIED_FROM] not in present:
                study.add_trial(copy)
        study.set_user_attr(READY, handed_over)
    return study


def own_trials(trials: Sequence[FrozenTrial]) -> dict[int, list[FrozenTrial]]:
    """Slot -> its trials in order, without copies from earlier tiers, duplicates that were told apart, and failed ones
    that were given up. More than one is a creation whose answer was lost, or that two owners made at once; the first of
    them is the slot's."""
    found: dict[int, list[FrozenTrial]] = {}
    given_up = retried(trials)
    for trial in trials:
        if trial.number in given_up:
            continue
        if SLOT in trial.user_attrs and not {COPIED_FROM, DUPLICATE_OF} & trial.user_attrs.keys():
            found.setdefault(trial.user_attrs[SLOT], []).append(trial)
    return found


def settle(
    study: optuna.Study, slot: int, states: Container[TrialState] | None = None, retried_trial: int | None = None
) -> FrozenTrial | None:
    """The slot's trial. Others that carry the slot are marked as its duplicates and failed; whoever does this keeps
    the same one, the first. states: where it is known that no other trial can be the slot's. retried_trial: the newest
    one that was given up."""
    beyond = -1 if retried_trial is None else retried_trial
    trials = [
        trial
        for trial in study.get_trials(deepcopy=False, states=states)
        if trial.user_attrs.get(SLOT) == slot and trial.number > beyond
    ]
    own = own_trials(trials).get(slot, [])
    for other in own[1:]:
        study._storage.set_trial_user_attr(other._trial_id, DUPLICATE_OF, own[0].number)
    half_marked = [
        trial.number for trial in trials if DUPLICATE_OF in trial.user_attrs and not trial.state.is_finished()
    ]
    for number in [*(other.number for other in own[1:]), *half_marked]:
        study.tell(number, state=TrialState.FAIL, skip_if_finished=True)
    return own[0] if own else None


def _describe(study: optuna.Study, stage: Stage) -> None:
    from optuna_dashboard import save_note

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # names on the axes are worth a changing interface
        study.set_metric_names([stage.config.objective])
    text = note(stage.plan, stage.dimensions, stage.within, stage.held, stage.config.objective)
    runs = f"The attribute `run` of a trial names its run in the MLflow experiment `{experiment_name(stage.campaign)}`."
    save_note(study, f"{text}\n\n{runs}")
    study.set_user_attr("campaign", stage.campaign)
    study.set_user_attr("tier", stage.plan.name)


def _copies(stage: Stage, storage: optuna.storages.BaseStorage) -> Sequence[FrozenTrial]:
    """What the study knows before its first own trial: the incumbent, or in the refinement all that lies near it."""
    earlier = [
        (name, trial)
        for name in (plan.study_name(stage.campaign) for plan in stage.earlier)
        for trial in optuna.load_study(study_name=name, storage=storage).get_trials(deepcopy=False)
    ]
    if stage.plan.name == REFINEMENT:
        return refinement_seeds(earlier, stage.space, stage.within)
    if stage.handed_over is None or stage.handed_over["source"] is None:
        return ()
    source = stage.handed_over["source"]
    name, trial = next((name, trial) for name, trial in earlier if f"{name}#{trial.number}" == source)
    return (incumbent_copy(trial, name, stage.dimensions, stage.within),)
