"""From a study's trials to the fitted model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from optuna.trial import FrozenTrial

from hpo.engine.joint.coordinates import Array, Coordinates
from hpo.engine.joint.model import Belief, Evidence, Posterior, Prior
from hpo.engine.joint.observations import Observations, Reading, believing, epoch_noise, observe, read

RECORD = "joint"
"""System attribute of a trial: `how` it was proposed, in words, and the `fit`, the model's parameters, that it was
proposed with. The next fit starts from there."""

MAX_WITH_BLOCKS = 60
"""With more trials, one reading of each is kept, the latest."""

MAX_TRIALS = 300
"""With more trials, the best third of this number and the latest stay."""

FITS = ((20, 15, 1), (60, 8, 3), (MAX_TRIALS, 5, 5), (None, 5, 10))
"""Up to so many trials, a fit takes so many quasi-Newton steps, and is made at every so manieth trial."""

THOROUGH = 40
"""Steps of the fit that a choice is made by."""


@dataclass(frozen=True)
class Fitted:
    """The model of a study's trials. vector: its parameters. points: [trials], where they lie."""

    evidence: Evidence
    posterior: Posterior
    vector: Array
    seen: Observations
    points: Array


def believe(trials: Sequence[FrozenTrial], coordinates: Coordinates, sign: float) -> Belief | None:
    """What an earlier search suggests about a configuration, as far as it had the same parameters: the mean of its own
    model. None where its trials say nothing."""
    fitted = fit(trials, coordinates, sign)
    return None if fitted is None else fitted.posterior.mean


def fit(
    trials: Sequence[FrozenTrial],
    coordinates: Coordinates,
    sign: float,
    thorough: bool = False,
    belief: Belief | None = None,
) -> Fitted | None:
    """The model of these trials; None before any says something.

    A running trial whose end is not known is believed to end as the model expects, so that others keep away from it.
    sign: -1 where the study minimises. thorough: fit to the end, whatever it takes. belief: from an earlier search.
    """
    readings = _thinned(read(trials, sign, only_last=len(trials) > MAX_WITH_BLOCKS))
    if not readings:
        return None
    points = coordinates.encode_all(trials)
    seen = observe(readings, epoch_noise(trials[-MAX_TRIALS:]))
    beliefs = () if belief is None else (belief,)
    most_at_once = int((~np.isnan(points)).sum(axis=1).max()) if coordinates.conditions else len(coordinates.axes)
    prior = Prior.of(len(coordinates.axes), most_at_once, coordinates.heads)
    evidence = Evidence(points[seen.trials], coordinates.unordered, seen, prior, *beliefs)
    vector = evidence.fit(*_begin(trials, len(evidence.prior.mean), thorough))
    posterior = Posterior(evidence, vector)
    pending = np.array([n for n, trial in enumerate(trials) if not trial.state.is_finished()], dtype=np.intp)
    if len(pending):
        seen = believing(seen, pending, posterior.mean(points[pending]))
        evidence = Evidence(points[seen.trials], coordinates.unordered, seen, evidence.prior, *beliefs)
        posterior = Posterior(evidence, vector)
    return Fitted(evidence, posterior, vector, seen, points)


def _begin(trials: Sequence[FrozenTrial], num_parameters: int, thorough: bool) -> tuple[Array | None, int]:
    """Where the fit starts, and its number of steps: 0 where the newest fit will do."""
    records = (trial.system_attrs[RECORD] for trial in reversed(trials) if RECORD in trial.system_attrs)
    starts = (np.array(record["fit"]) for record in records)
    start = next((start for start in starts if len(start) == num_parameters), None)
    if thorough:
        return start, THOROUGH
    _, steps, every = next(row for row in FITS if row[0] is None or len(trials) <= row[0])
    return start, 0 if start is not None and len(trials) % every else steps


def _thinned(readings: list[Reading]) -> list[Reading]:
    """At most MAX_TRIALS of single readings."""
    if len({reading.trial for reading in readings}) <= MAX_TRIALS:
        return readings
    best = sorted(readings, key=lambda reading: -reading.score)[: MAX_TRIALS // 3]
    kept = {reading.trial for reading in best}
    rest = [reading for reading in readings if reading.trial not in kept]
    kept |= {reading.trial for reading in rest[len(kept) - MAX_TRIALS :]}
    return [reading for reading in readings if reading.trial in kept]
