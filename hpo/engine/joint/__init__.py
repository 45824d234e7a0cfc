"""One model of everything a campaign has seen: it proposes configurations, and says which one is best."""

from hpo.engine.joint.choice import REQUIRED, Choice, choose
from hpo.engine.joint.fitting import RECORD
from hpo.engine.joint.sampler import JointSampler

__all__ = ["RECORD", "REQUIRED", "Choice", "JointSampler", "choose"]
