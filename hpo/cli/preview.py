"""What a run would do, before it does it: data and split, budget over the tiers, length, device and memory."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from hpo.domain.campaign import CampaignSpec
from hpo.domain.config import SearchConfig
from hpo.domain.trainable import Prepared, Trainable
from hpo.domain.training import Decision, EpochReport, TrialFailure
from hpo.engine.binding import bind
from hpo.engine.tiers import dimensions_of
from hpo.usecases.campaigns import length_of, prepare_data, spec_of, trainable_of
from hpo.usecases.session import Display
from search_spaces import Dimension, Space

GIB = 2**30
LONGEST = 30.0
"""Seconds that the timed epoch may take."""


class Stopwatch:
    """Hears one epoch of a training, and ends it. seconds: what it took, None where that is more than LONGEST."""

    def __init__(self) -> None:
        self.seconds: float | None = None
        self._deadline = time.monotonic() + LONGEST

    def report(self, report: EpochReport) -> Decision:
        """Take the first epoch's time."""
        self.seconds = report.seconds
        return Decision.STOP

    def poll(self) -> Decision:
        """Stop an epoch that is too long."""
        return Decision.STOP if time.monotonic() > self._deadline else Decision.CONTINUE

    def decide(self) -> Decision:
        """Nothing is gone on with."""
        return Decision.STOP


def preview(config: SearchConfig, space: Space, display: Display, cache: Path) -> None:
    """Say it. The data are prepared in the cache, as a run would, and one epoch is trained to be timed; no store is
    opened.

    Raises:
        UsageError: whatever a run would refuse before it asks its stores.
    """
    with display.preparing() as progress:
        prepared = prepare_data(cache, config, progress)
    spec = spec_of(config, space, prepared)
    for line in _lines(config, space, prepared, spec):
        display.say(line)


def _lines(config: SearchConfig, space: Space, prepared: Prepared, spec: CampaignSpec) -> Iterator[str]:
    trainable, settings = trainable_of(config)
    length = length_of(config)
    yield f"Campaign  {spec.name}, maximising {spec.objective.shown}"
    yield from prepared.lines or prepared.split
    yield from (f"Warning: {warning}" for warning in prepared.warnings)
    in_epochs = "" if config.epochs is None else f"{config.epochs} epochs; if none is pruned, "
    yield f"Budget    {in_epochs}{_trials(spec.budget)} of the space '{space.name}'"
    for tier in spec.tiers:
        tuned = dimensions_of(space, tier.name)
        is_all = len(tuned) == len(space.dimensions) and len(spec.tiers) > 1
        yield f"  {tier.number} {tier.name}: {_trials(tier.num_slots)} of {'all of them' if is_all else _names(tuned)}"
    yield f"Length    {length.num_epochs} epochs a trial, {spec.budget * length.num_epochs} at most"
    yield f"Workers   {config.worker.num_workers}"
    device = trainable.describe_device()
    if device is not None:
        yield f"Device    {device}"
    first = trainable.parse(bind(trainable, trainable.plain(settings), space.defaults()))
    needed = trainable.memory_needed(first, prepared.search)
    yield f"Memory    {'not known before it starts' if needed is None else f'{needed / GIB:.2f} GiB'} (first trial)"
    side_by_side = min(config.worker.num_workers, spec.budget)
    yield f"Time      {_time(trainable, first, prepared, spec.budget * length.num_epochs / side_by_side)}"
    yield "Nothing was kept of the timed epoch, and no store was opened."


def _time(trainable: Trainable[Any], first: Any, prepared: Prepared, num_epochs: float) -> str:
    """What the first trial's first epoch took, and that often. num_epochs: of each worker, one after another."""
    watch = Stopwatch()
    try:
        with tempfile.TemporaryDirectory() as folder:
            trainable.fit(first, prepared.search, watch, Path(folder))
    except TrialFailure as failure:
        return f"not known: the first trial would fail ({failure})"
    if watch.seconds is None:
        return f"more than {LONGEST:.0f} s an epoch, {_shown(LONGEST * num_epochs)} in all"
    return (
        f"about {_shown(watch.seconds * num_epochs)} at most: {watch.seconds:.1f} s for the first trial's first "
        "epoch, the same for all; pruning shortens it, other values may lengthen it, the report comes on top"
    )


def _names(dimensions: Sequence[Dimension]) -> str:
    """`model.kind; model.num_layers, model.dropout (where model.kind is gru)`."""
    groups: dict[str, list[str]] = {}
    for dimension in dimensions:
        groups.setdefault(dimension.shown_when, []).append(dimension.name)
    return "; ".join(", ".join(names) + (f" (where {where})" if where else "") for where, names in groups.items())


def _shown(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _trials(number: int) -> str:
    return "1 trial" if number == 1 else f"{number} trials"
