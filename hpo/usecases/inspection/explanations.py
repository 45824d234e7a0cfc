"""Why the search did what it did, a sentence each: proposals, the ends of trials, and what tiers decided."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial, TrialState

from hpo.domain.campaign import Campaign, Outcome, SlotState, SlotView
from hpo.domain.failures import is_infeasible
from hpo.engine.joint.fitting import RECORD
from hpo.engine.joint.observations import is_feasible
from hpo.engine.joint.proposals import CLIMBED, DRAWN
from hpo.engine.stage import own_trials
from hpo.engine.tiers import MEMORY
from hpo.usecases.records import Stores

PROPOSED = {
    DRAWN: "exploring: the best of a draw from the model of all trials",
    CLIMBED: "exploiting: the best that the model of all trials expects",
}


@dataclass(frozen=True)
class Explained:
    """A trial. proposed: where its configuration came from; ended: how it stands, and why it ended if it did."""

    slot: int
    tier: int
    proposed: str
    ended: str


def explain(stores: Stores, campaign: Campaign) -> list[Explained]:
    """All trials that were begun, in order, from the ledger and the studies."""
    views = {view.slot: view for view in stores.ledger.slots(campaign.id)}
    present = set(optuna.get_all_study_names(stores.storage))
    found: dict[int, Explained] = {}
    for plan in campaign.spec.tiers:
        name = plan.study_name(campaign.name)
        if name not in present:
            continue
        trials = optuna.load_study(study_name=name, storage=stores.storage).get_trials(deepcopy=False)
        for slot, own in own_trials(trials).items():
            sentences = _proposed(campaign, slot, own[0]), _ended(campaign, views[slot], own[0], trials)
            found[slot] = Explained(slot, plan.number, *sentences)
    return [found[slot] for slot in sorted(found)]


def decided(campaign: Campaign) -> Iterator[tuple[int, str]]:
    """Tier number and what it decided, with its reason; 0: what the campaign ends with."""
    for number, decision in sorted(campaign.decisions.items()):
        yield number, str(decision["reason"])
    champion = campaign.crowned
    if champion is not None and champion.is_committee:
        names = ", ".join(champion.members)
        yield 0, f"The rule '{champion.rule}' chose the committee whose mean daily rank is deployed: {names}."
    elif champion is not None:
        yield 0, f"The rule '{champion.rule}' chose trial {champion.slot} to be deployed."


def _proposed(campaign: Campaign, slot: int, trial: FrozenTrial) -> str:
    if slot == 1:
        return "the default configuration, which every campaign begins with"
    record = trial.system_attrs.get(RECORD)
    if record is not None:
        return PROPOSED[record["how"]]
    sampler = campaign.spec.config["search"]["sampler"]["name"]
    if sampler == "joint":
        return "at random, as no trial had said anything yet"
    return f"drawn by the sampler '{sampler}'"


def _ended(campaign: Campaign, view: SlotView, trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> str:
    if view.state is not SlotState.DONE:
        return f"{view.state}, {view.epoch or 0} epochs done"
    if view.outcome is Outcome.FAILED:
        excess = _constraints(trial).get(MEMORY)
        more = "" if excess is None else f", {excess:.0%} more memory than there is"
        return f"failed: {view.reason}{more}"
    if view.outcome is not Outcome.PRUNED:
        unwanted = f"; {view.reason}" if is_infeasible(view) else ""
        return f"complete: {campaign.spec.objective.shown} {view.score:+.4f}{unwanted}"
    return _pruned(campaign, trial, trials)


def _pruned(campaign: Campaign, trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> str:
    epoch = max(trial.intermediate_values)
    pruner = campaign.spec.config["search"]["pruner"]["name"]
    said = f"pruned after epoch {epoch} of {campaign.spec.config['num_epochs']} by '{pruner}'"
    best = _best_before(trial, trials)
    score = f"{trial.intermediate_values[epoch]:+.4f}"
    if best is None or epoch not in best.intermediate_values:
        return f"{said}: {score}"
    return f"{said}: {score}; the best until then had {best.intermediate_values[epoch]:+.4f}"


def _best_before(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """The best trial that was complete and feasible when this one ended, which pruners compare with; copies from
    earlier tiers included."""
    ended = trial.datetime_complete
    complete = [
        other
        for other in trials
        if other.state is TrialState.COMPLETE
        and other.value is not None
        and is_feasible(other)
        and (ended is None or other.datetime_complete is None or other.datetime_complete <= ended)
    ]
    return max(complete, key=lambda other: other.value or 0.0, default=None)


def _constraints(trial: FrozenTrial) -> Mapping[str, float]:
    found = trial.constraints
    return found if isinstance(found, Mapping) else {}
