"""Trainables of a user's own: what they are written with, loaded by and checked against.

from hpo.trainable import Metric, OwnTrainable, Trial, run_alone
"""

from hpo.domain.metric import Metric
from hpo.domain.trainable import Length, Trainable
from hpo.domain.training import TrialFailure
from hpo.trainable.alone import run_alone
from hpo.trainable.own import OwnTrainable
from hpo.trainable.trial import Trial

__all__ = ["Length", "Metric", "OwnTrainable", "Trainable", "Trial", "TrialFailure", "run_alone"]
