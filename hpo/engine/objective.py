"""One trial from claim to done: sample, bind, train, report, translate verdicts."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import OptunaError
from optuna.trial import FrozenTrial, TrialState

from hpo.domain.campaign import (
    Campaign,
    CheckpointRecord,
    Claim,
    Outcome,
    Progress,
    WorkerIdentity,
    derive_seed,
    run_name,
)
from hpo.domain.config import SearchConfig
from hpo.domain.errors import EnvironmentFault, LeaseLost, StoreUnavailable
from hpo.domain.ports import Ledger, TrialEnd, TrialRequest, TrialRunner
from hpo.engine.binding import bind
from hpo.engine.samplers import tell_unfit
from hpo.engine.stage import Stage, open_study, settle, stages
from hpo.engine.study_cache import StudyCache
from hpo.engine.tiers import NUM_PARAMETERS, VALUES
from hpo.runs.folder import Attempt, EpochRecord, SlotFolder
from search_spaces import Space
from trainer.config import TrainerConfig
from trainer.reports import EpochReport, Verdict

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
        runs: the campaign's folder of run folders. data: the search part of the panel.
        storage: Optuna's; the studies are made here, one per tier.
    """

    def __init__(
        self,
        campaign: Campaign,
        config: SearchConfig,
        space: Space,
        ledger: Ledger,
        storage: optuna.storages.BaseStorage,
        runner: TrialRunner,
        data: Path,
        runs: Path,
        identity: WorkerIdentity,
    ) -> None:
        self._identity = identity
        self._campaign, self._config, self._space = campaign, config, space
        # Made once: a new one would read all finished trials again.
        self._ledger, self._storage, self._runner = ledger, StudyCache(storage), runner
        self._data, self._runs = data, runs
        self._stages: dict[int, Stage] = {}

    def run(self, claim: Claim, stop: Callable[[], bool], overdue: Callable[[], bool]) -> None:
        """Take the claim's trial as far as it goes: to its end, or to `stop`, after which the slot is released.

        Raises:
            LeaseLost: the slot is somebody else's; nothing more was written.
            EnvironmentFault: the disk is full or not writable; the slot was released.
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
            score = trailing_mean(known.intermediate_values, self._config.trainer.train.score_epochs)
        self._ledger.finish(claim, outcome, score, known.user_attrs.get("reason"))

    def decide(self, campaign: Campaign, tier: int) -> Mapping[str, Any]:
        """The decision of a tier whose slots are all done."""
        stage = stages(campaign, self._config, self._space)[tier]
        return stage.decide(open_study(stage, self._storage, self._ledger).get_trials(deepcopy=False))

    def _stage(self, tier: int) -> Stage:
        """The tier's stage, with its study ready. Whoever holds a slot of it knows that all before it is decided."""
        if tier not in self._stages:
            campaign = self._ledger.find_campaign(self._campaign.name)
            assert campaign is not None, "a claimed slot has a campaign"
            stage = stages(campaign, self._config, self._space)[tier]
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
        config = bind(self._config.trainer, {**values, "train.seed": seed})
        attempt = SlotFolder(self._runs, claim.slot).open_attempt(
            claim.fence,
            run={
                "campaign": self._campaign.name,
                "tier": claim.tier,
                "tier_name": stage.plan.name,
                "slot": claim.slot,
                "trial_number": trial.number,
                "study_name": trial.study.study_name,
                "study_id": trial.study._study_id,
                "params": values,
                "trainer_seed": seed,
                "worker": asdict(self._identity),
            },
            config=config.model_dump(mode="json"),
        )
        conversation = Conversation(self._ledger, claim, trial, config, self._config.worker.lease)
        request = TrialRequest(
            config.model_dump(mode="json"), self._data, attempt.folder, self._config.worker.trial_memory
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
        trial.set_user_attr("run", run_name(claim.slot, stage.plan.name))
        trial.set_user_attr("trainer_seed", self._trainer_seed(claim))
        trial.set_user_attr(VALUES, stage.values(trial.params))

    def _conclude(
        self, claim: Claim, study: optuna.Study, trial: optuna.Trial, talk: Conversation, timed_out: bool
    ) -> None:
        end = talk.end
        if talk.pruned:
            self._finish(claim, study, trial, Outcome.PRUNED, end, score=talk.trailing_score())
        elif end.kind == "finished":
            self._finish(claim, study, trial, Outcome.COMPLETE, end, score=end.score)
        elif end.kind == "failed":
            self._finish(claim, study, trial, Outcome.FAILED, end)
        elif end.kind == "died":
            logger.warning("slot %d: %s", claim.slot, end.message)
            self._ledger.release(claim, crashed=True)
        elif end.kind == "environment":
            raise EnvironmentFault(f"Trial {claim.slot} {end.message}")
        elif timed_out:
            limit = self._config.worker.trial_timeout
            late = TrialEnd("failed", reason="timeout", message=f"trained longer than {limit}")
            self._finish(claim, study, trial, Outcome.FAILED, late)
        else:
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
        reason = None if outcome is not Outcome.FAILED else f"{end.reason}: {end.message}"
        attempt = self._own_attempt(claim)
        said: dict[str, Any] = {NUM_PARAMETERS: end.num_parameters, "last_epoch": end.last_epoch, "reason": reason}
        if attempt is not None:
            said |= sortable(attempt.epochs(), self._config.trainer.train.score_epochs)
            attempt.finish(outcome, score, end.last_epoch, end.num_parameters, reason)
            self._record_model(claim, attempt, score, end.last_epoch)
        state = next(state for state, its_outcome in OUTCOMES.items() if its_outcome is outcome)
        told = score if outcome is Outcome.COMPLETE else None  # Optuna gives a pruned trial its last value by itself
        with self._storage.together(trial._trial_id):
            for name, value in said.items():
                if value is not None:
                    trial.set_user_attr(name, value)
            if end.excess is None:
                study.tell(trial, told, state=state, skip_if_finished=True)
            else:
                tell_unfit(study, trial, end.excess)
        self._ledger.finish(claim, outcome, score, reason)
        logger.info("slot %d done: %s, score %s", claim.slot, outcome, score)

    def _own_attempt(self, claim: Claim) -> Attempt | None:
        """The claim's attempt, or the newest before it where this claim did not train; never a later owner's."""
        attempts = SlotFolder(self._runs, claim.slot).attempts()
        return next((attempt for attempt in reversed(attempts) if attempt.fence <= claim.fence), None)

    def _record_model(self, claim: Claim, attempt: Attempt, score: float | None, last_epoch: int | None) -> None:
        if last_epoch is None or not attempt.model.exists():
            return
        digest = hashlib.sha256(attempt.model.read_bytes()).hexdigest()
        record = CheckpointRecord(
            claim.slot, "model", last_epoch, str(attempt.model), self._identity.host, digest, score
        )
        self._ledger.record_checkpoint(claim, record)


def outcome_of(trial: FrozenTrial) -> Outcome | None:
    """How a trial ended, None before it has. One that did not fit is PRUNED for Optuna's samplers, which learn from
    its constraint, and FAILED for everybody else: it has no score."""
    unfit = trial.state is TrialState.PRUNED and trial.constraints
    return Outcome.FAILED if unfit else OUTCOMES.get(trial.state)


class Conversation:
    """What the search hears of one run, and answers."""

    def __init__(
        self, ledger: Ledger, claim: Claim, trial: optuna.Trial, config: TrainerConfig, lease: timedelta
    ) -> None:
        self._ledger, self._claim, self._trial, self._lease = ledger, claim, trial, lease
        self._num_epochs, self._score_epochs = config.num_epochs, config.train.score_epochs
        self._scores = dict(trial._get_latest_trial().intermediate_values)
        self.pruned = False
        self.end = TrialEnd("stopped")

    def on_epoch(self, report: EpochReport) -> Verdict:
        """Record the epoch if it is new, and ask the pruner about the newest one.

        Epochs that were judged before a resume are passed; the last of them is judged again, because its verdict may
        have been lost with the process that asked for it.
        """
        newest = max(self._scores, default=0)
        if report.epoch < newest:
            return Verdict.CONTINUE
        self._ledger.renew(
            self._claim,
            self._lease,
            Progress(report.epoch, report.score, report.metrics.get("system/samples_per_second")),
        )
        if report.epoch > newest:
            self._trial.report(report.score, report.epoch)
            self._scores[report.epoch] = report.score
        if report.epoch < self._num_epochs and self._trial.should_prune():
            self.pruned = True
            return Verdict.STOP
        return Verdict.CONTINUE

    def trailing_score(self) -> float:
        """Mean of the last `score_epochs` scores: the same measure a finished run is judged by."""
        return trailing_mean(self._scores, self._score_epochs)


def sortable(records: Sequence[EpochRecord], num_epochs: int) -> dict[str, float]:
    """What trials are sorted by in a dashboard: RankIC per horizon and target, each the mean over the last num_epochs
    epochs as the score is, and what the training took. {} before the first epoch."""
    if not records:
        return {}
    found = {"num_epochs": len(records), "seconds": round(sum(record.seconds for record in records), 3)}
    for name in records[-1].metrics:
        if name.startswith("valid/") and "rank_ic" in name and "loss" not in name:
            found[name] = trailing_mean({record.epoch: record.metrics[name] for record in records}, num_epochs)
    return found


def trailing_mean(scores: Mapping[int, float], num_epochs: int) -> float:
    """Mean of the last num_epochs scores, by epoch."""
    last = [scores[epoch] for epoch in sorted(scores)[-num_epochs:]]
    return sum(last) / len(last)
