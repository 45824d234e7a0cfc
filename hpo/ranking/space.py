"""Which of the trainer's settings fit together, and which have an effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hpo.domain.errors import UsageError
from hpo.domain.settings import flatten
from search_spaces import Space, Value
from search_spaces.dimensions import possible_values
from trainer.config import TrainerConfig, is_read, knobs_of, own_paths

KIND, WIDTH, HEADS = "model.kind", "model.hidden_size", "model.num_heads"
"""The settings of which, for some of the first, the third must divide the second."""

DECAYING = ("cosine", "polynomial", "exponential")
"""Schedules that end at `final_lr_fraction`."""


def check_own(settings: TrainerConfig) -> None:
    """Raise trainer.errors.InputError where a model, a loss term or a metric of the user's own is none."""
    if not own_paths(settings):
        return
    from trainer.metrics import check_own_metric
    from trainer.models import model_class  # imports torch, as the user's files do
    from trainer.training.losses import check_own_term

    model_class(settings.model.kind)
    check_own_term(settings.loss)
    check_own_metric(settings.train.own_metric)


def check_heads(space: Space, settings: TrainerConfig) -> None:
    """Refuse a space unless every number of heads divides every width, whether sampled or held.

    Raises:
        UsageError: naming the first pair that disagrees.
    """
    searched = {d.name: possible_values(d) for d in space.dimensions if d.name in (KIND, WIDTH, HEADS)}
    kinds: Sequence[Value] = searched.get(KIND, (settings.model.kind,))
    if not any("num_heads" in knobs_of(str(kind)) for kind in kinds):
        return
    widths: Sequence[Value] = searched.get(WIDTH, (settings.model.hidden_size,))
    heads: Sequence[Value] = searched.get(HEADS, (settings.model.num_heads,))
    if isinstance(widths, range):
        widths = widths[:2]  # what divides the first and the step divides all; a range may be astronomically long
    for count in heads:
        for width in widths:
            if int(count) < 1 or int(width) % int(count):
                raise UsageError(
                    f"{HEADS} {count} does not divide {WIDTH} {width}; every number of heads that can be sampled or is "
                    "held must divide every width that can be."
                )


def effective(settings: TrainerConfig) -> Mapping[str, Any]:
    """The settings that a training reads, by dotted name; the others change nothing."""
    kind, optim, train = settings.model.kind, settings.optim, settings.train
    flat = flatten(settings.model_dump(mode="json"))
    idle = [name for name in flat if not is_read(kind, name)]
    if optim.schedule != "plateau":
        idle += ["optim.plateau_factor", "optim.plateau_patience"]
    if settings.loss.own_term is None:
        idle += ["loss.own"]
    if optim.schedule not in DECAYING:
        idle += ["optim.final_lr_fraction"]
    read = {name: value for name, value in flat.items() if name not in idle}
    num_averaged = round(train.swa_fraction * train.epochs)
    if "train.swa_fraction" in read:
        read["train.swa_fraction"] = num_averaged if num_averaged > 1 else 0  # the average of one epoch is that epoch
    return read
