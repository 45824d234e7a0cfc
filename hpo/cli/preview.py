"""What a run would do, before it does it: data and split, budget over the tiers, length, device and memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hpo.domain.campaign import CampaignSpec
from hpo.domain.config import SearchConfig
from hpo.domain.trainable import Prepared
from hpo.engine.binding import bind
from hpo.engine.tiers import dimensions_of
from hpo.usecases.campaigns import length_of, prepare_data, spec_of, trainable_of
from hpo.usecases.session import Face
from search_spaces import Space

GIB = 2**30


def preview(config: SearchConfig, space: Space, face: Face, cache: Path) -> None:
    """Say it. The data are prepared in the cache, as a run would; no store is opened.

    Raises:
        UsageError: whatever a run would refuse before it asks its stores.
    """
    with face.preparing() as progress:
        prepared = prepare_data(cache, config, progress)
    spec = spec_of(config, space, prepared)
    for line in _lines(config, space, prepared, spec):
        face.say(line)


def _lines(config: SearchConfig, space: Space, prepared: Prepared, spec: CampaignSpec) -> Iterator[str]:
    trainable, settings = trainable_of(config)
    length = length_of(config)
    yield f"Campaign  {spec.name}, maximising {spec.objective.shown}"
    yield from prepared.lines or prepared.split
    yield from (f"Warning: {warning}" for warning in prepared.warnings)
    yield f"Budget    {_trials(spec.budget)} of the space '{space.name}'"
    for tier in spec.tiers:
        names = [dimension.name for dimension in dimensions_of(space, tier.name)]
        what = "all of them" if len(names) == len(space.dimensions) and len(spec.tiers) > 1 else ", ".join(names)
        yield f"  {tier.number} {tier.name}: {_trials(tier.num_slots)} of {what}"
    yield f"Length    {length.num_epochs} epochs a trial, {spec.budget * length.num_epochs} at most"
    yield f"Workers   {config.worker.num_workers}"
    device = trainable.describe_device()
    if device is not None:
        yield f"Device    {device}"
    first = trainable.parse(bind(trainable, trainable.plain(settings), space.defaults()))
    needed = trainable.memory_needed(first, prepared.search)
    yield f"Memory    {'not known before it starts' if needed is None else f'{needed / GIB:.2f} GiB'} (first trial)"
    yield "Time      not known before a trial is done: a run shows what is left from then on"
    yield "Nothing was trained, and no store was opened."


def _trials(number: int) -> str:
    return "1 trial" if number == 1 else f"{number} trials"
