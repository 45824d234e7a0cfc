"""The learning-rate range test: raise the rate step by step, watch the loss, suggest a rate (Smith 2017)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.config import TrainerConfig
from trainer.data.panel import TrainingData
from trainer.errors import NonFiniteError
from trainer.folds import FoldRun
from trainer.pictures import new_figure, save_figure
from trainer.precision import choose_precision

LOWEST, HIGHEST = 1e-6, 1.0
STEPS = 120
SMOOTHING = 0.9
# The test ends when the smoothed loss is this far above its lowest value, as a share of what was gained.
DIVERGED = 1.5


@dataclass(frozen=True)
class RateTest:
    """What happened: rates tried, smoothed losses at them, and the suggestion (None: the loss never fell)."""

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
    run = FoldRun(config, data.panel, data.folds[0], 0, choose_precision(config.train))
    run.model.train()
    rates: list[float] = []
    losses: list[float] = []
    average = 0.0
    batches = itertools.chain.from_iterable(run.batches(epoch) for epoch in itertools.count(1))
    for number, batch in enumerate(itertools.islice(batches, steps)):
        rate = LOWEST * (HIGHEST / LOWEST) ** (number / (steps - 1))
        for group in run.optimizer.param_groups:
            group["lr"] = rate
        try:
            loss = float(run.step(batch, progress=0.0)["loss"])
        except NonFiniteError:
            break
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        rates.append(rate)
        losses.append(average / (1 - SMOOTHING ** (number + 1)))
        if _diverged(losses):
            break
    return RateTest(tuple(rates), tuple(losses), _suggest(rates, losses))


def draw_rate_test(test: RateTest, path: Path) -> None:
    """Loss against rate, the suggestion marked."""
    figure, axes = new_figure(1, 1, width=7, height=4)
    axis = axes[0]
    axis.semilogx(test.rates, test.losses)
    if test.suggestion is not None:
        axis.axvline(test.suggestion, color="tab:red", linestyle="--", label=f"suggested: {test.suggestion:.1e}")
        axis.legend()
    axis.set_xlabel("learning rate")
    axis.set_ylabel("training loss, smoothed")
    axis.set_title("Learning-rate range test")
    save_figure(figure, path)


def _diverged(losses: Sequence[float]) -> bool:
    lowest = min(losses)
    gained = losses[0] - lowest
    return len(losses) > 10 and losses[-1] - lowest > DIVERGED * max(gained, 0.05 * abs(lowest))


def _suggest(rates: Sequence[float], losses: Sequence[float]) -> float | None:
    if not losses or not math.isfinite(min(losses)):
        return None
    best = losses.index(min(losses))
    # Noise makes any curve dip a little; what counts is a fall of more than a hundredth.
    return rates[best] / 10 if losses[best] < 0.99 * losses[0] else None
