"""One tier of one campaign as it is worked on: what it tunes, what it holds, and its Optuna study."""

from __future__ import annotations

import warnings
from collections.abc import Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo.domain.campaign import REFINEMENT, Campaign, TierPlan, derive_seed, experiment_name
from hpo.domain.config import SearchConfig
from hpo.domain.metric import Metric
from hpo.domain.ports import Ledger
from hpo.domain.trainable import Length
from hpo.engine.decisions import decide
from hpo.engine.earlier import EARLIER, remembered
from hpo.engine.joint import choose
from hpo.engine.parameters import INDEX_SUFFIX, conditions, distributions, parameter_name, to_params, to_values
from hpo.engine.strategies.pruners import build_pruner
from hpo.engine.strategies.samplers import build_sampler
from hpo.engine.strategies.schedulers import Pruning, Scheduler
from hpo.engine.tiers import (
    COPIED_FROM,
    DUPLICATE_OF,
    RETRY_OF,
    SLOT,
    VALUES,
    dimensions_of,
    earlier_results,
    existing,
    incumbent_copy,
    is_result,
    note,
    retried,
)
from search_spaces import Dimension, Space, Value

READY = "ready"
"""Study attribute set once the study has its note and its copied trials: whose result it was handed, or `nothing`."""


@dataclass(frozen=True)
class Stage:
    """A tier whose predecessors are decided.

    held: dotted values of all dimensions as handed over. within: the distributions in force, by parameter name.
    budget: trials of the whole campaign. is_last: no tier follows. earlier_campaign: what is remembered of it.
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
    budget: int
    is_last: bool
    length: Length
    objective: Metric
    earlier_campaign: tuple[FrozenTrial, ...] = ()

    @property
    def knows_all(self) -> bool:
        """Whether the study holds every earlier trial of the campaign."""
        return self.config.tiers.mode != "strict"

    @property
    def study_name(self) -> str:
        return self.plan.study_name(self.campaign)

    def sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        """A fresh sampler for one slot."""
        study_seed = derive_seed(self.config.seed, self.plan.number, "study")
        return build_sampler(
            self.config.sampler,
            seed=seed,
            study_seed=study_seed,
            distributions=self.within,
            conditions=conditions(self.dimensions),
            budget=self.budget if self.knows_all else None,
            earlier=self.earlier_campaign,
        )

    def pruner(self) -> optuna.pruners.BasePruner:
        return build_pruner(self.config.pruner, self.length.num_epochs)

    def scheduler(self) -> Scheduler:
        return Pruning()

    def new_trial(self, slot: int, retry_of: int | None = None) -> FrozenTrial:
        """A RUNNING trial that belongs to a slot. The campaign's very first slot has the default configuration.
        retry_of: the slot's trial that failed and was given up."""
        params = to_params(self.dimensions, self.held) if slot == 1 else {}
        return create_trial(
            state=TrialState.RUNNING,
            params=params,
            distributions={name: self.within[name] for name in params},
            user_attrs={SLOT: slot} if retry_of is None else {SLOT: slot, RETRY_OF: retry_of},
        )

    def suggest(self, trial: optuna.Trial, seed: int) -> None:
        """Give the trial every parameter that it does not have yet and that exists with those before it.

        What is drawn jointly is drawn at once; each that is drawn alone has a sampler of its own. So a trial whose
        owner died among its parameters gets the rest as it would have got it. A conditional one that no trial has had
        begins with its default, as the campaign does.
        """
        joint = trial.relative_params.keys()
        names = {dimension.name for dimension in self.dimensions}
        values = {name: value for name, value in self.held.items() if name not in names}
        for dimension in self.dimensions:
            if not dimension.exists_in(values):
                continue
            name = parameter_name(dimension)
            if dimension.when and not _is_known(trial.study, name):
                first = to_params([dimension], {dimension.name: dimension.default})
                trial.study.sampler = _Given(first[name])
            elif name not in joint:
                trial.study.sampler = self.sampler(derive_seed(seed, name))
            values |= to_values([dimension], {name: trial._suggest(name, self.within[name])})

    def values(self, params: Mapping[str, Any]) -> dict[str, Value]:
        """All dotted settings of a trial: the tier's own over what it holds."""
        return self.space.configuration({**self.held, **to_values(self.dimensions, params)})

    def readable(self, params: Mapping[str, Any]) -> dict[str, Value]:
        """True values of the parameters that hold positions, for people."""
        values = to_values(self.dimensions, params)
        return {name: value for name, value in values.items() if f"{name}{INDEX_SUFFIX}" in params}


class _Given(RandomSampler):
    """Whatever is asked for alone has this value."""

    def __init__(self, value: Any) -> None:
        super().__init__(seed=0)
        self._value = value

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._value


def _is_known(study: optuna.Study, name: str) -> bool:
    """Whether some trial has the parameter."""
    return any(name in trial.params for trial in study.get_trials(deepcopy=False))


def stages(campaign: Campaign, config: SearchConfig, space: Space, length: Length) -> dict[int, Stage]:
    """Tier number -> stage, for every tier whose predecessors are decided. length: of a training."""
    found: dict[int, Stage] = {}
    held: Mapping[str, Value] = space.defaults()
    handed_over: Mapping[str, Any] | None = None
    earlier: tuple[TierPlan, ...] = ()
    for plan in campaign.spec.tiers:
        dimensions = existing(_opened(space, (*earlier, plan), config), held)
        narrow = plan.name == REFINEMENT and config.tiers.mode == "strict"
        within = distributions(dimensions, held if narrow else None, config.tiers.refinement_width)
        is_last = plan is campaign.spec.tiers[-1]
        found[plan.number] = Stage(
            campaign.name,
            plan,
            earlier,
            handed_over,
            held,
            dimensions,
            within,
            config,
            space,
            campaign.spec.budget,
            is_last,
            length,
            campaign.spec.objective,
            remembered(campaign.spec.config.get(EARLIER, ()), dimensions, within),
        )
        if plan.number not in campaign.decisions:
            break
        handed_over = campaign.decisions[plan.number]
        held, earlier = handed_over["values"], (*earlier, plan)
    return found


def _opened(space: Space, tiers: Sequence[TierPlan], config: SearchConfig) -> tuple[Dimension, ...]:
    """What the last of these tiers varies, in the order of the space."""
    if config.tiers.mode == "joint":
        return space.dimensions
    if config.tiers.mode == "strict":
        return dimensions_of(space, tiers[-1].name)
    opened = {dimension for tier in tiers for dimension in dimensions_of(space, tier.name)}
    return tuple(dimension for dimension in space.dimensions if dimension in opened)


def open_study(stage: Stage, storage: optuna.storages.BaseStorage, ledger: Ledger) -> optuna.Study:
    """The stage's study; made ready by whoever comes first, however often that one dies on the way, and once more where
    the tiers before it were decided anew."""
    handed_over = _handed_over(stage)
    with suppress(KeyError):  # nobody has made it yet
        study = optuna.load_study(study_name=stage.study_name, storage=storage)
        if study.user_attrs.get(READY) == handed_over:
            return study  # without the lock, for which hundreds would wait in a row
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


def _handed_over(stage: Stage) -> str:
    """What the study was made ready with, to tell whether the tier before has been decided anew."""
    decision = stage.handed_over or {}
    source = decision.get("source") or "nothing"
    return f"{source} of {sorted(decision.get('num_trials', {}).items())}" if stage.knows_all else source


def decide_stage(stage: Stage, storage: optuna.storages.BaseStorage, ledger: Ledger) -> dict[str, Any]:
    """The decision of a tier whose slots are all done (see `hpo.engine.decisions`).

    The joint model of the whole campaign is asked by the last tier, and by every tier that knows all trials; a strict
    tier before that decides by its own scores, as its trials differ in nothing but its dimensions.
    """
    study = open_study(stage, storage, ledger)
    trials: Sequence[FrozenTrial] = study.get_trials(deepcopy=False)
    choice = None
    if stage.is_last or stage.knows_all:
        if not stage.knows_all:
            trials = _widened(stage, trials, storage)
        results = [trial for trial in trials if trial.state.is_finished() and is_result(trial)]
        within = stage.within if stage.knows_all else distributions(stage.space.dimensions)
        default = next((n for n, trial in enumerate(results) if trial.user_attrs[SLOT] == 1), None)
        choice = choose(results, within, default, conditions(stage.space.dimensions))
    score_epochs = stage.length.score_epochs
    return decide(stage.plan, stage.study_name, trials, stage.held, score_epochs, choice)


def _widened(stage: Stage, trials: Sequence[FrozenTrial], storage: optuna.storages.BaseStorage) -> list[FrozenTrial]:
    """A strict study's own trials and all earlier ones, with the parameters of all dimensions."""
    within = distributions(stage.space.dimensions)
    found = list(earlier_results(_earlier_trials(stage, storage), stage.space.dimensions, within, failures=True))
    for trial in trials:
        if COPIED_FROM not in trial.user_attrs and VALUES in trial.user_attrs:
            wide = incumbent_copy(trial, stage.study_name, stage.space.dimensions, within)
            del wide.user_attrs[COPIED_FROM]
            wide.number = trial.number
            found.append(wide)
    return found


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
        study.set_metric_names([stage.objective.shown])
    text = note(stage.plan, stage.dimensions, stage.within, stage.held, stage.objective.shown)
    runs = (
        f"The search works with this study: it writes it, and proposes from it. To look at the campaign `"
        f"{stage.campaign}`, open the study of that name: it has every trial of all tiers once, with real values, "
        "notes and files. Here the attribute `trial` is the trial's number in the campaign, which `hpo status`, the "
        f"report and the MLflow experiment `{experiment_name(stage.campaign)}` call it by; the number of the row is "
        "Optuna's own, within this study."
    )
    save_note(study, f"{text}\n\n{runs}")
    study.set_user_attr("campaign", stage.campaign)
    study.set_user_attr("tier", stage.plan.name)


def _copies(stage: Stage, storage: optuna.storages.BaseStorage) -> Sequence[FrozenTrial]:
    """What the study knows before its first own trial: all results that lie in its ranges, or, in a strict tier before
    the refinement, the incumbent."""
    earlier = _earlier_trials(stage, storage)
    if stage.knows_all or stage.plan.name == REFINEMENT:
        return earlier_results(earlier, stage.dimensions, stage.within, failures=stage.knows_all)
    if stage.handed_over is None or stage.handed_over["source"] is None:
        return ()
    source = stage.handed_over["source"]
    name, trial = next((name, trial) for name, trial in earlier if f"{name}#{trial.number}" == source)
    return (incumbent_copy(trial, name, stage.dimensions, stage.within),)


def _earlier_trials(stage: Stage, storage: optuna.storages.BaseStorage) -> list[tuple[str, FrozenTrial]]:
    """(study, trial) of all tiers before, copies included."""
    return [
        (name, trial)
        for name in (plan.study_name(stage.campaign) for plan in stage.earlier)
        for trial in optuna.load_study(study_name=name, storage=storage).get_trials(deepcopy=False)
    ]
