"""The learning-rate range test: raise the rate step by step, watch the loss, suggest a rate (Smith 2017)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import torch

from trainer.config import TrainerConfig
from trainer.data.panel import TrainingData
from trainer.errors import NonFiniteError
from trainer.tools.figures import Spec, channel, chart, save_figure
from trainer.training.feed import Batch
from trainer.training.folds import FoldRun, first_fold

LOWEST, HIGHEST = 1e-6, 1.0
STEPS = 120
SMOOTHING = 0.9
# The test ends when the smoothed loss is this far above the untrained model's, which is about 1.
DIVERGED = 0.1
# A fall by less than this share of the loss is noise.
SMALLEST_FALL = 0.003


@dataclass(frozen=True)
class RateTest:
    """What happened: rates tried, the smoothed change of the loss at them, the suggestion (None: it never fell).

    losses: each batch's loss less the untrained model's loss of the same batch, which takes out most of the noise.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggestion: float | None

    @property
    def advice(self) -> str:
        """A sentence to act on."""
        if self.suggestion is None:
            return "The loss fell at no rate: there may be no signal, or the loss weights leave nothing to learn."
        lowest = self.rates[self.losses.index(min(self.losses))]
        return f"The loss is lowest near {lowest:.1e} and rises after it; try optim.lr={self.suggestion:.1e}."


def find_rate(config: TrainerConfig, data: TrainingData, steps: int = STEPS) -> RateTest:
    """Train the first fold for `steps` steps at rates rising geometrically from LOWEST to HIGHEST.

    The suggestion is a tenth of the rate at which the smoothed loss was lowest. Ends early at divergence.
    """
    run = first_fold(config, data)
    run.model.train()
    with torch.no_grad():
        untrained = [float(run.loss(batch[0], progress=0.0)[0]) for batch in _first(run, steps)]
    rates: list[float] = []
    losses: list[float] = []
    average = 0.0
    for number, batch in enumerate(_first(run, steps)):
        rate = LOWEST * (HIGHEST / LOWEST) ** (number / (steps - 1))
        for group in run.optimizer.param_groups:
            group["lr"] = rate
        with torch.no_grad():
            change = float(run.loss(batch[0], progress=0.0)[0]) - untrained[number]
        average = SMOOTHING * average + (1 - SMOOTHING) * change
        rates.append(rate)
        losses.append(average / (1 - SMOOTHING ** (number + 1)))
        if not math.isfinite(change) or _diverged(losses):
            break
        try:
            run.step(batch, progress=0.0)
        except NonFiniteError:
            break
    return RateTest(tuple(rates), tuple(losses), _suggest(rates, losses, fmean(untrained)))


def draw_rate_test(test: RateTest, path: Path) -> None:
    """Loss against rate, the suggestion marked."""
    rows = [
        {"rate": rate, "change": change}
        for rate, change in zip(test.rates, test.losses, strict=True)
        if math.isfinite(change)
    ]
    lowest = min((row["change"] for row in rows), default=0.0)
    # The valley is what to look at, not how high the loss rose when it diverged.
    scale = {"domain": [1.2 * lowest, -1.2 * lowest]} if lowest < 0 else {}
    across = channel("rate", "learning rate", scale={"type": "log"}, axis={"format": "~e"})
    up = channel("change", "change of the loss, smoothed", scale=scale)
    line: Spec = {"mark": {"type": "line", "clip": True}, "encoding": {"x": across, "y": up}}
    zero: Spec = {"data": {"values": [{}]}, "mark": {"type": "rule"}, "encoding": {"y": {"datum": 0}}}
    layers = [line, zero]
    if test.suggestion is not None:
        at: Spec = {"data": {"values": [{}]}, "encoding": {"x": {"datum": test.suggestion}}}
        mark = {"type": "text", "color": "#b4540a", "align": "left", "dx": 6, "y": 10}
        layers += [
            {"mark": {"type": "rule", "color": "#b4540a", "strokeDash": [5, 3]}, **at},
            {"mark": {**mark, "text": f"suggested: {test.suggestion:.1e}"}, **at},
        ]
    title = "Learning-rate range test: loss less that of the untrained model"
    save_figure(chart(title, 560, 300, rows, *layers), path)


def _first(run: FoldRun, steps: int) -> Iterator[tuple[Batch, ...]]:
    """The batches of the first `steps` steps, the same at every call."""
    return itertools.islice(itertools.chain.from_iterable(map(run.batches, itertools.count(1))), steps)


def _diverged(losses: Sequence[float]) -> bool:
    """Whether the loss has risen well above its lowest value, and above the untrained model's."""
    return losses[-1] > DIVERGED and losses[-1] > 2 * abs(min(losses))


def _suggest(rates: Sequence[float], losses: Sequence[float], untrained: float) -> float | None:
    finite = [loss for loss in losses if math.isfinite(loss)]
    if not finite or min(finite) > -SMALLEST_FALL * abs(untrained):
        return None
    return rates[losses.index(min(finite))] / 10
