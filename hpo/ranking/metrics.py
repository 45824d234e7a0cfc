"""The ranker's metrics: names, labels, and the series that follow from others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hpo.domain.trainable import Metric

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VARIANTS = {
    "": "raw",
    "neutral_": "style-neutral",
    "lag1_": "raw, executed one day later",
    "neutral_lag1_": "style-neutral, executed one day later",
}
"""Prefix of a metric's name -> what the scores are compared with."""


BELIEVABLE = {"rank_ic": 0.25, "icir": 2.5}
"""Kind of metric -> the highest validation score that real data may give. RankICs of .03 to .08 are good."""


def doubt(metric: str, score: float) -> str:
    """Why a score is beyond belief, empty where it is not."""
    limit = next((limit for kind, limit in BELIEVABLE.items() if kind in metric), float("inf"))
    if abs(score) <= limit:
        return ""
    return (
        f"Beyond belief: the best validation {metric} is {score:.2f}, where real data give less than {limit:g}. "
        "Something in the data is known only later: look at the data's warnings and at the newest features first."
    )


def metrics_of(horizons: Sequence[int]) -> tuple[Metric, ...]:
    """Everything a campaign may maximise; RankIC over all horizons first."""
    found = []
    for prefix, compared in VARIANTS.items():
        kind = "" if not prefix else f", {compared}"
        found.append(Metric(f"{prefix}rank_ic", f"RankIC{kind}", overlap=max(horizons), no_skill=0.0))
        for horizon in horizons:
            of = f", {horizon} day{'s' if horizon > 1 else ''}{kind}"
            found.append(Metric(f"{prefix}rank_ic_{horizon}d", f"RankIC{of}", overlap=horizon, no_skill=0.0))
            found.append(Metric(f"{prefix}icir_{horizon}d", f"ICIR{of}", overlap=horizon, no_skill=0.0))
    return tuple(found)


def with_means(daily: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """The series and, by `rank_ic`, `neutral_rank_ic`, ..., their mean over horizons on each day that has them all."""
    import numpy as np

    families: dict[str, list[NDArray[np.float32]]] = {}
    for name, series in daily.items():
        families.setdefault(name.rpartition("_")[0], []).append(series)
    means = {family: np.mean(np.stack(members), axis=0, dtype=np.float32) for family, members in families.items()}
    return {**daily, **{family: np.asarray(mean) for family, mean in means.items()}}
