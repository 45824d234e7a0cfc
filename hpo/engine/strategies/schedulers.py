"""Who says after each epoch whether a trial goes on, ends, or waits: one decision of one value."""

from __future__ import annotations

from typing import Protocol

import optuna
from optuna.trial import FrozenTrial

from hpo.domain.training import Decision


class Scheduler(Protocol):
    """Decides on the curves of a tier."""

    def decide(self, study: optuna.Study, trial: FrozenTrial) -> Decision:
        """What becomes of the trial after its newest epoch. The curves are the `intermediate_values` of the study's
        trials: running and paused ones are RUNNING, those of earlier tiers are copies.

        STOP ends the trial as pruned. PAUSE keeps its checkpoint and frees its worker; the slot is claimed again once
        the tier has no open slot left, the one with the fewest epochs first, and goes on after the epoch at which it
        paused. Asked again about the same curves, the answer must be the same: that makes a campaign that was killed
        exact.
        """
        ...


class Pruning:
    """Optuna's pruner, which the study carries, says when to stop; nothing is ever paused."""

    def decide(self, study: optuna.Study, trial: FrozenTrial) -> Decision:
        return Decision.STOP if study.pruner.prune(study, trial) else Decision.CONTINUE
