"""What a user would have had: refits at regular days through the holdout, each scoring until the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpo.domain.metric import Metric
from hpo.report import formatting
from hpo.report.evidence import DailySeries
from hpo.report.statistics.intervals import mean_interval, paired_interval
from hpo.runs.durable import writing
from hpo.usecases.records import Records
from hpo.usecases.refit.finalize import unrefitted
from hpo.usecases.refit.members import Refits, Say, label, open_parts


@dataclass(frozen=True)
class Walk:
    """The joined series. units: [D] of the holdout; starts: the positions at which the models were trained again;
    series: metric -> [D]; file: where they were written."""

    units: NDArray[np.generic]
    starts: tuple[int, ...]
    series: DailySeries
    file: Path


def walk_forward(records: Records, name: str, every: int, num_seeds: int, say: Say) -> Walk:
    """Train what the campaign deploys again every `every` units of the holdout, on all that was known by then, and
    score the units until the next refit. Broken off and called again, it goes on.

    Raises:
        UsageError: as `open_parts`.
    """
    parts = open_parts(records, [name])
    part = parts[0]
    with records.ledger.exclusive(f"final {label(parts)}"):
        records.ledger.count_holdout_opening(part.campaign.id)
        refits = Refits(records, parts, num_seeds, say)
        before = unrefitted(records, refits.folder, parts)
        starts = tuple(range(0, len(before.units), every))
        say(f"Training {refits.num_members} models at {len(starts)} days of the holdout, every {every}:")
        pieces = []
        for start in starts:
            scored = part.trainable.score(refits.committee(start), part.holdout)
            assert scored is not None, "the unrefitted were scored"
            pieces.append({metric: values[start : start + every] for metric, values in scored.series.items()})
    series = {metric: np.concatenate([piece[metric] for piece in pieces]) for metric in pieces[0]}
    walk = Walk(before.units, starts, series, refits.folder / f"walk-forward-{every}.csv")
    _write(walk)
    for line in _lines(walk, before.series, part.campaign.spec.objective):
        say(line)
    return walk


def _write(walk: Walk) -> None:
    trained = np.repeat(walk.units[list(walk.starts)], np.diff([*walk.starts, len(walk.units)]))
    table = pd.DataFrame({"date": walk.units, "trained_before": trained, **walk.series})
    unfinished = walk.file.with_name(f".{walk.file.name}.tmp")
    with writing(walk.file):
        table.to_csv(unfinished, index=False)
        unfinished.replace(walk.file)


def _lines(walk: Walk, before: Mapping[str, NDArray[np.float32]], metric: Metric) -> list[str]:
    joined, unrefitted_ones = walk.series[metric.name], before[metric.name]
    bounds = zip(walk.starts, [*walk.starts[1:], len(joined)], strict=True)
    blocks = [
        f"  {walk.units[start]} to {walk.units[stop - 1]}: {formatting.score(_mean(joined[start:stop]))}; unrefitted "
        f"{formatting.score(_mean(unrefitted_ones[start:stop]))}"
        for start, stop in bounds
    ]
    return [
        *blocks,
        f"Walk-forward {metric.shown}: {formatting.with_interval(mean_interval(joined, metric.overlap))}; less the "
        f"unrefitted: {formatting.with_interval(paired_interval(joined, unrefitted_ones, metric.overlap))}.",
        f"Series: {walk.file}",
    ]


def _mean(values: NDArray[np.float32]) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else None
