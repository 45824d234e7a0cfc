"""Learning-rate schedules as functions of training progress: one table, no hidden state but the plateau's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer

from trainer.config import OptimConfig

# Each maps (progress after warm-up in 0..1, share of the peak rate at the end) to a share of the peak rate.
DECAYS: dict[str, Callable[[float, float], float]] = {
    "cosine": lambda progress, final: final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress)),
    # Smith & Topin 2018: down to far below the start; its way up is a cosine too, see `Schedule._warm_up`.
    "one_cycle": lambda progress, _: ONE_CYCLE_END + (1 - ONE_CYCLE_END) * 0.5 * (1 + math.cos(math.pi * progress)),
    "polynomial": lambda progress, final: final + (1 - final) * (1 - progress) ** 2,
    "exponential": lambda progress, final: final**progress,
    "plateau": lambda progress, _: 1.0,
    "constant": lambda progress, _: 1.0,
}
ONE_CYCLE_START = 1 / 25
ONE_CYCLE_END = 1e-4


class Schedule:
    """Sets the rate before every optimizer step; a pure function of the step, except for `plateau`."""

    def __init__(self, config: OptimConfig, total_steps: int) -> None:
        self._config = config
        self._decay = DECAYS[config.schedule]
        self._total = total_steps
        self._warmup = round(config.warmup_fraction * total_steps)
        self._best = -math.inf
        self._stale = 0
        self._factor = 1.0

    def rate(self, step: int) -> float:
        """Learning rate of optimizer step `step`, counted from 0."""
        if step < self._warmup:
            share = self._warm_up((step + 1) / (self._warmup + 1))
        else:
            progress = (step - self._warmup) / max(1, self._total - 1 - self._warmup)
            share = self._decay(min(1.0, progress), self._config.final_lr_fraction)
        return self._config.lr * share * self._factor

    def apply(self, optimizer: Optimizer, step: int) -> float:
        """Set the rate of step `step` on all parameter groups and return it."""
        rate = self.rate(step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        return rate

    def epoch_ended(self, score: float) -> None:
        """Tell the plateau rule the monitored metric of an epoch; other schedules ignore it."""
        if self._config.schedule != "plateau":
            return
        if score > self._best:
            self._best, self._stale = score, 0
            return
        self._stale += 1
        if self._stale > self._config.plateau_patience:
            self._factor *= self._config.plateau_factor
            self._stale = 0

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {"best": self._best, "stale": self._stale, "factor": self._factor}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        self._best, self._stale, self._factor = state["best"], state["stale"], state["factor"]

    def _warm_up(self, share: float) -> float:
        if self._config.schedule != "one_cycle":
            return share
        return ONE_CYCLE_START + (1 - ONE_CYCLE_START) * 0.5 * (1 - math.cos(math.pi * share))
