"""One trial from claim to done: sample, bind, train, report, translate decisions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import OptunaError
from optuna.trial import FrozenTrial, TrialState

from hpo.domain.campaign import (
    Campaign,
    Claim,
    Outcome,
    WorkerIdentity,
    derive_seed,
    run_name,
)
from hpo.domain.config import SearchConfig
from hpo.domain.errors import EnvironmentFault, LeaseLost, StoreUnavailable
from hpo.domain.ports import Ledger, TrialEnd, TrialRequest, TrialRunner
from hpo.domain.trainable import Trainable
from hpo.domain.training import Decision
from hpo.engine import constraints
from hpo.engine.binding import bind, complete, derived
from hpo.engine.conversation import Conversation, sortable, trailing_mean
from hpo.engine.folders import TrialFolders
from hpo.engine.stage import Stage, decide_stage, open_study, settle, stages
from hpo.engine.strategies.samplers import tell_unfit
from hpo.engine.strategies.schedulers import Scheduler
from hpo.engine.study_cache import StudyCache
from hpo.engine.tiers import NUM_PARAMETERS, VALUES, is_unfit
from hpo.engine.uploads import Uploads
from search_spaces import Space

OUTCOMES = {
    TrialState.COMPLETE: Outcome.COMPLETE,
    TrialState.PRUNED: Outcome.PRUNED,
    TrialState.FAIL: Outcome.FAILED,
}

logger = logging.getLogger(__name__)


class Objective:
    """Turns claims into finished trials of one campaign.

    For one thread.

    Args:
        trainable: what is trained. runs: the campaign's folder of run folders. data: the search part of its data.
        storage: Optuna's; the studies are made here, one per tier. code: the fingerprint of the code that trains here.
        scheduler: of a stage. uploads: of run folders, where there is a store of artifacts.
    """

    def __init__(
        self,
        campaign: Campaign,
        config: SearchConfig,
        space: Space,
        trainable: Trainable[Any],
        ledger: Ledger,
        storage: optuna.storages.BaseStorage,
        runner: TrialRunner,
        data: Path,
        runs: Path,
        identity: WorkerIdentity,
        code: str,
        scheduler: Callable[[Stage], Scheduler] = Stage.scheduler,
        uploads: Uploads | None = None,
    ) -> None:
        self._scheduler, self._code = scheduler, code
        self._uploads = uploads or Uploads()
        self._folders = TrialFolders(runs, ledger, identity, self._uploads)
        self._campaign, self._config, self._space = campaign, config, space
        self._trainable, self._settings = trainable, complete(trainable, config.trainer)
        self._length = trainable.length(trainable.parse(self._settings))
        # Made once: a new one would read all finished trials again.
        self._ledger, self._storage, self._runner = ledger, StudyCache(storage), runner
        self._data = data
        self._stages: dict[int, Stage] = {}

    def run(self, claim: Claim, stop: Callable[[], bool], overdue: Callable[[], bool]) -> None:
        """Take the claim's trial as far as it goes: to its end, or to `stop`, after which the slot is released.

        Raises:
            LeaseLost: the slot is somebody else's; nothing more was written.
            EnvironmentFault: something that trials stand on (disk, data, code) is not usable; the slot was released.
        """
        try:
            self._run(claim, stop, overdue)
        except OptunaError:
            # Two owners of one trial, of whom the earlier slept, stumble over each other's records: the ledger knows
            # whose it is, and what is finished is only passed on.
            self._ledger.check(claim)
            stage = self._stage(claim.tier)
            study = self._study(stage, claim)
            known = settle(study, claim.slot, retried_trial=claim.retried_trial)
            if known is None or not known.state.is_finished():
                raise
            self._pass_on(claim, known)
        except StoreUnavailable:
            raise  # whose the slot is will be seen when the database is back
        except EnvironmentFault:
            with suppress(EnvironmentFault, LeaseLost):
                self._ledger.release(claim)  # no fault of the trial, so not as a crash
            raise

    def _run(self, claim: Claim, stop: Callable[[], bool], overdue: Callable[[], bool]) -> None:
        stage = self._stage(claim.tier)
        study = self._study(stage, claim)
        trial = self._open_trial(study, stage, claim)
        known = trial._get_latest_trial()
        if known.state.is_finished():
            self._pass_on(claim, known)
        elif poison := self._poison(claim):
            self._finish(claim, study, trial, Outcome.FAILED, TrialEnd("failed", reason="poison", message=poison))
        else:
            conversation = self._train(claim, stage, trial, lambda: stop() or overdue())
            self._conclude(claim, study, trial, conversation, timed_out=overdue() and not stop())

    def _poison(self, claim: Claim) -> str | None:
        """What the slot's trial has done too often without finishing a new epoch in between."""
        settings = self._config.worker
        if claim.num_crashes >= settings.max_crashes:
            return f"its process died {claim.num_crashes} times in a row without finishing an epoch"
        if claim.num_losses >= settings.max_losses:
            return f"its worker was lost {claim.num_losses} times in a row before it finished an epoch"
        return None

    def _pass_on(self, claim: Claim, known: FrozenTrial) -> None:
        """Tell the ledger of a trial whose earlier owner told Optuna, and died or lost the slot before this."""
        outcome = outcome_of(known)
        assert outcome is not None, "a finished trial has an outcome"
        score = known.value if outcome is Outcome.COMPLETE else None
        if outcome is Outcome.PRUNED:
            score = trailing_mean(known.intermediate_values, self._length.score_epochs)
        self._ledger.finish(claim, outcome, score, known.user_attrs.get("reason"))

    def close(self) -> None:
        """No more claims come: wait a while for what is still to be uploaded."""
        self._uploads.close()

    def decide(self, campaign: Campaign, tier: int) -> Mapping[str, Any]:
        """The decision of a tier whose slots are all done."""
        stage = stages(campaign, self._config, self._space, self._length)[tier]
        return decide_stage(stage, self._storage, self._ledger)

    def _stage(self, tier: int) -> Stage:
        """The tier's stage, with its study ready. Whoever holds a slot of it knows that all before it is decided."""
        if tier not in self._stages:
            campaign = self._ledger.find_campaign(self._campaign.name)
            assert campaign is not None, "a claimed slot has a campaign"
            stage = stages(campaign, self._config, self._space, self._length)[tier]
            open_study(stage, self._storage, self._ledger)
            self._stages[tier] = stage
        return self._stages[tier]

    def _study(self, stage: Stage, claim: Claim) -> optuna.Study:
        # A new object for every slot, because Optuna's study keeps a list of trials until it is told of one.
        seed = derive_seed(self._campaign.spec.seed, claim.tier, claim.position, "sampler")
        return optuna.load_study(
            study_name=stage.study_name, storage=self._storage, sampler=stage.sampler(seed), pruner=stage.pruner()
        )

    def _open_trial(self, study: optuna.Study, stage: Stage, claim: Claim) -> optuna.Trial:
        """The slot's own trial: found by its slot attribute, or created with it in one transaction, so that a crash
        anywhere leaves either no trial or one that the slot's next owner finds."""
        given_up = claim.retried_trial
        # Nobody had a fresh slot before us.
        existing = settle(study, claim.slot, retried_trial=given_up) if claim.fence > 1 else None
        if existing is None:
            self._ledger.check(claim)
            study.add_trial(stage.new_trial(claim.slot, given_up))
            # Looked up rather than taken: another owner may have created one at the same time, and then both agree.
            # It runs, as a rule; to look among the finished ones takes the longer the more there are.
            existing = settle(study, claim.slot, (TrialState.RUNNING,), given_up) or settle(
                study, claim.slot, retried_trial=given_up
            )
            assert existing is not None, "the trial that was just added"
        try:
            self._ledger.bind_trial(claim, existing.number, f"slot-{claim.slot:04d}")
        except LeaseLost:
            settle(study, claim.slot, retried_trial=given_up)  # what we made belongs to nobody
            raise
        trial = optuna.Trial(study, existing._trial_id)
        if existing.state is TrialState.RUNNING:
            with self._storage.together(existing._trial_id):
                stage.suggest(trial, derive_seed(self._campaign.spec.seed, claim.tier, claim.position, "parameters"))
                self._describe(claim, trial, stage)
        return trial

    def _train(self, claim: Claim, stage: Stage, trial: optuna.Trial, stop: Callable[[], bool]) -> Conversation:
        values, seed = stage.values(trial.params), self._trainer_seed(claim)
        settings = bind(self._trainable, self._settings, {**values, **derived(self._trainable, seed=seed)})
        attempt = self._folders.open(
            claim,
            run={
                "campaign": self._campaign.name,
                "tier_name": stage.plan.name,
                "trial_number": trial.number,
                "study_name": trial.study.study_name,
                "study_id": trial.study._study_id,
                "params": values,
                "trainer_seed": seed,
                "code": self._code,
                "objective": self._campaign.spec.objective.shown,
                "curves": self._campaign.spec.curves,
            },
            config=settings,
            stop=stop,
        )
        length = self._trainable.length(self._trainable.parse(settings))
        scheduler = self._scheduler(stage)
        lease = self._config.worker.lease
        conversation = Conversation(self._ledger, claim, trial, scheduler, length, lease, self._uploads, stop)
        request = TrialRequest(
            config=settings,
            data=self._data,
            folder=attempt.folder,
            memory=self._config.worker.trial_memory,
            trainable=self._trainable.name,
            objective=self._config.objective,
            seed=seed,
        )
        conversation.end = self._runner.run(request, conversation.on_epoch, stop)
        return conversation

    def _trainer_seed(self, claim: Claim) -> int:
        return derive_seed(self._campaign.spec.seed, claim.tier, claim.position, "trainer")

    def _describe(self, claim: Claim, trial: optuna.Trial, stage: Stage) -> None:
        """What a person sorts by in the dashboard; written once."""
        if VALUES in trial.user_attrs:
            return
        for name, value in stage.readable(trial.params).items():
            trial.set_user_attr(name, value)
        trial.set_user_attr("trial", run_name(claim.slot, stage.plan.name))
        trial.set_user_attr("trainer_seed", self._trainer_seed(claim))
        trial.set_user_attr(VALUES, stage.values(trial.params))

    def _conclude(
        self, claim: Claim, study: optuna.Study, trial: optuna.Trial, talk: Conversation, timed_out: bool
    ) -> None:
        end = talk.end
        if talk.decision is Decision.STOP:
            self._finish(claim, study, trial, Outcome.PRUNED, end, score=talk.trailing_score())
        elif end.kind == "finished":
            self._finish(claim, study, trial, Outcome.COMPLETE, end, score=end.score)
        elif end.kind == "failed":
            self._finish(claim, study, trial, Outcome.FAILED, end)
        elif end.kind == "stopped" and talk.decision is Decision.PAUSE:
            self._pause(claim, talk.last_epoch)
        elif end.kind == "died":
            logger.warning("slot %d: %s", claim.slot, end.message)
            self._uploads.settle()
            self._ledger.release(claim, crashed=True)
        elif end.kind == "environment":
            if self._folders.has(claim):
                raise EnvironmentFault(f"Trial {claim.slot} stopped, and is no worse for it: {end.message}")
            self._begin_anew(claim)
        elif timed_out:
            limit = self._config.worker.trial_timeout
            late = TrialEnd("failed", reason="timeout", message=f"trained longer than {limit}")
            self._finish(claim, study, trial, Outcome.FAILED, late)
        else:
            self._uploads.settle()
            self._ledger.release(claim)

    def _finish(
        self,
        claim: Claim,
        study: optuna.Study,
        trial: optuna.Trial,
        outcome: Outcome,
        end: TrialEnd,
        score: float | None = None,
    ) -> None:
        """Run folder first, then Optuna, then the ledger: whoever comes after a crash in between goes on from there."""
        self._ledger.check(claim)
        if outcome is not Outcome.FAILED and not self._folders.has(claim):
            self._begin_anew(claim)
            return
        attempt = self._folders.own(claim)
        figures: dict[str, float | None] = {}
        if outcome is not Outcome.FAILED and attempt is not None:
            known = end.num_parameters, attempt.epochs(), self._campaign.spec.metrics, self._length.score_epochs
            figures = {each.name: constraints.measured(each, *known) for each in self._space.constraints}
        for name in (name for name, value in figures.items() if value is None):
            text = f"the training reports no '{name}', which the space constrains"
            self._finish(claim, study, trial, Outcome.FAILED, replace(end, reason="missing_metric", message=text))
            return
        reason = (
            f"{end.reason}: {end.message}" if outcome is Outcome.FAILED else constraints.broken(self._space, figures)
        )
        said: dict[str, Any] = {NUM_PARAMETERS: end.num_parameters, "last_epoch": end.last_epoch, "reason": reason}
        said["device"] = end.device
        if attempt is not None:
            said |= sortable(attempt.epochs(), self._campaign.spec.metrics, self._length.score_epochs)
            attempt.finish(outcome, score, end.last_epoch, end.num_parameters, reason, end.device)
            self._folders.answer_for(claim, attempt, score, end.last_epoch)
        state = next(state for state, its_outcome in OUTCOMES.items() if its_outcome is outcome)
        told = score if outcome is Outcome.COMPLETE else None  # Optuna gives a pruned trial its last value by itself
        with self._storage.together(trial._trial_id):
            for name, value in said.items():
                if value is not None:
                    trial.set_user_attr(name, value)
            constraints.tell(trial, self._space, figures)
            if end.excess is None:
                study.tell(trial, told, state=state, skip_if_finished=True)
            else:
                tell_unfit(study, trial, end.excess)
        self._ledger.finish(claim, outcome, score, reason)
        if attempt is not None:
            self._uploads.done(attempt)
        logger.info("slot %d done: %s, score %s", claim.slot, outcome, score)

    def _pause(self, claim: Claim, epoch: int) -> None:
        attempt = self._folders.own(claim)
        if attempt is None or attempt.fence != claim.fence:
            self._begin_anew(claim)
            return
        attempt.pause()
        self._uploads.settle()
        self._ledger.pause(claim, epoch)
        logger.info("slot %d paused after epoch %d", claim.slot, epoch)

    def _begin_anew(self, claim: Claim) -> None:
        """Give back a slot whose run folder somebody deleted amid its training, which is no fault of the trial."""
        logger.warning("the run folder of slot %d was deleted while it trained; it is trained again", claim.slot)
        self._ledger.release(claim)


def outcome_of(trial: FrozenTrial) -> Outcome | None:
    """How a trial ended, None before it has. One that did not fit is PRUNED for Optuna's samplers, which learn from
    its constraint, and FAILED for everybody else: it has no score."""
    return Outcome.FAILED if is_unfit(trial) else OUTCOMES.get(trial.state)
