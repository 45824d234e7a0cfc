"""One fold's training: its model, optimizer and data position, advanced an epoch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.config import TrainerConfig
from trainer.data.panel import Fold, Panel, TrainingData
from trainer.errors import InputError
from trainer.models import build_model
from trainer.training.batches import Span, plan
from trainer.training.evaluate import daily_metrics, score_days
from trainer.training.feed import Batch, Feed
from trainer.training.labels import Labels, make_labels
from trainer.training.losses import build_loss
from trainer.training.optim import StepGuard, WeightAverage, build_optimizer, clip_gradients, needs_second_pass
from trainer.training.parallel.ranks import ALONE, Ranks
from trainer.training.precision import MASTER, Precision, choose_precision
from trainer.training.replay import Replay, can_replay
from trainer.training.schedules import Schedule


@dataclass
class Sums:
    """Sums over the steps of an epoch, on the device, read once at its end."""

    steps: int = 0
    values: dict[str, Tensor] = field(default_factory=dict)

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Add one step's scalars."""
        self.steps += 1
        for name, value in values.items():
            self.values[name] = self.values[name] + value if name in self.values else value.clone()

    def means(self) -> dict[str, float]:
        """Every scalar's mean over the steps."""
        return {name: float(value) / self.steps for name, value in self.values.items()}


class FoldRun:
    """A model trained on the days of one fold; `config.train.seed` and `index` seed all that is random in it.

    ranks: processes that train it together, each on its share of the days of every span.
    Raises InputError where the fold has no labelled stock-day.
    """

    def __init__(
        self, config: TrainerConfig, feed: Feed, fold: Fold, index: int, precision: Precision, ranks: Ranks = ALONE
    ) -> None:
        self._config, self._feed, self._fold, self._index, self._ranks = config, feed, fold, index, ranks
        self._precision, panel = precision, feed.panel
        labelled = check_labelled(panel, feed.labels, fold, index)
        self.plan = plan(labelled, fold.train, config.model.window, config.train)
        torch.manual_seed(int(np.random.SeedSequence([config.train.seed, index]).generate_state(1)[0]))
        self.model = build_model(config.model, len(panel.feature_names), len(panel.horizons)).to(precision.device)
        self._loss = build_loss(config.loss, panel.horizons)
        self.optimizer = build_optimizer(self.model, config.optim)
        self.schedule = Schedule(config.optim, self.plan.steps * config.train.epochs)
        self.average = WeightAverage(self.model, config.train)
        self._guard = StepGuard(precision.device)
        replays = ranks.size == 1 and can_replay(config, self.plan, precision.device)
        self._replay = Replay(self.plan, precision.device) if replays else None

    def batches(self, epoch: int) -> Iterator[tuple[Batch, ...]]:
        """What every optimizer step of `epoch` passes through the model; the same at every call."""
        rng = np.random.default_rng([self._config.train.seed, self._index, epoch])
        return self._feed.steps(tuple(map(self._own_part, spans)) for spans in self.plan.epoch(rng))

    def _own_part(self, span: Span) -> Span:
        """What this process passes through the model of a span."""
        return span if self._ranks.size == 1 else replace(span, days=self._ranks.work(span.days), whole=span.days)

    def train_epoch(self, epoch: int, stop: Callable[[], bool]) -> dict[str, float] | None:
        """All optimizer steps of `epoch` (counted from 1): mean loss, its parts, gradient norm, last rate, samples.

        Returns None, between two steps, when `stop()`. Raises NonFiniteError before a step that would spoil the
        weights.
        """
        self.model.train()
        sums = Sums()
        rate = 0.0
        step = (epoch - 1) * self.plan.steps
        for batches in self.batches(epoch):
            if stop():
                return None
            rate = self.schedule.apply(self.optimizer, step)
            sums.add(self.step(batches, (epoch - 1) / self._config.train.epochs))
            step += 1
        self._guard.settle()
        self.average.epoch_ended(epoch)
        means = sums.means()
        return {**means, "lr": rate, "samples": means["samples"] * sums.steps}

    @torch.no_grad()
    def validate(self) -> tuple[dict[str, float], dict[str, NDArray[np.float32]]]:
        """Validation loss, and the daily series of the scored module on the fold's validation days."""
        days, window = self._fold.valid, self._config.model.window
        own = score_days(self.average.scored, self._feed, self._ranks.work(days), window, self._precision)
        scores = self._ranks.whole(own, days)
        loss, parts = self._loss(scores.nan_to_num(), *self._feed.targets(days), progress=1.0)
        scalars = {"loss": float(loss), **{f"loss_{name}": float(value) for name, value in parts.items()}}
        return scalars, daily_metrics(scores, self._feed.panel, days, self._config.train.own_metric)

    @property
    def num_parameters(self) -> int:
        """Weights that are learnt."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def judged(self, score: float) -> None:
        """Tell the schedule the monitored metric of the epoch."""
        self.schedule.epoch_ended(score)

    def weights(self) -> dict[str, Tensor]:
        """A copy of the scored module's state, on the CPU."""
        return {name: value.detach().cpu().clone() for name, value in self.average.scored.state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs, beside the epoch."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "average": self.average.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.average.load_state_dict(state["average"])

    def step(self, batches: tuple[Batch, ...], progress: float) -> dict[str, Tensor]:
        """One optimizer step at the rate that is set; the scalars of `gradient`.

        progress: share of the epochs that is behind, for the phases of the loss. Raises NonFiniteError.
        """
        scalars = self.gradient(batches, progress)

        def again() -> float:
            self._guard.watch(_is_finite(self.gradient(batches, progress)))
            return 0.0  # the optimizer wants a number and does nothing with it; reading the loss would wait for it

        def update() -> None:
            if needs_second_pass(self.optimizer):
                self.optimizer.step(again)
            else:
                self.optimizer.step()

        self._guard.step(_is_finite(scalars), update)
        self.average.step_ended()
        return scalars

    def gradient(self, batches: tuple[Batch, ...], progress: float) -> dict[str, Tensor]:
        """Leave the clipped mean gradient of the batches in the parameters.

        Returns, on the device and not waited for: mean `loss` and its parts `loss_*`, `grad_norm` before clipping,
        `samples`.
        """
        self.optimizer.zero_grad(set_to_none=self._replay is None)
        sums = Sums()
        parts = len(batches)
        variant = parts, *self._loss.weights(progress).items()
        for batch in batches:
            if self._replay is None:
                sums.add(self._descend(batch, progress, parts))
            else:
                sums.add(self._replay(batch, lambda padded: self._descend(padded, progress, parts), variant))
        samples = sums.values.pop("samples")
        self._ranks.add_gradients(self.model.parameters())
        norm = clip_gradients(self.model.parameters(), self._config.optim)
        means = {name: value / parts for name, value in sums.values.items()}
        return {**means, "grad_norm": norm, "samples": samples}

    def _descend(self, batch: Batch, progress: float, parts: int) -> dict[str, Tensor]:
        """Add a span's share of the gradient of a step in so many parts to the parameters'. Returns the span's `loss`,
        its parts `loss_*` and the number of `samples`."""
        judged = self._judged(batch)
        loss, terms = self._loss(*judged, progress)
        torch.autograd.backward(loss / parts)
        samples = judged[-1].any(-1).sum()
        return {"loss": loss.detach(), "samples": samples, **{f"loss_{name}": value for name, value in terms.items()}}

    def loss(self, batch: Batch, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of one span and its parts: forward under autocast, everything after it in full precision."""
        return self._loss(*self._judged(batch), progress)

    def _judged(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Scores, labels, returns and whether there is a label, of all days of a span: [T, S, H] each."""
        with self._precision.autocast():
            scores = self.model(*batch.inputs)[batch.span.context :]
        given = scores, batch.label, batch.returns, batch.labelled
        if batch.span.whole is None:
            return given
        # Neighbours outside the span, which differ from process to process, have no label.
        own = torch.stack([each[:, : len(batch.span.stocks)].to(MASTER) for each in given], dim=-1)
        scores, label, returns, labelled = self._ranks.whole(own, batch.span.whole).unbind(-1)
        return scores, label, returns, labelled > 0


def first_fold(config: TrainerConfig, data: TrainingData) -> FoldRun:
    """The first fold of a training, for tools that look at one. Raises as `FoldRun` and `choose_precision` do."""
    precision = choose_precision(config.train)
    feed = Feed(data.panel, make_labels(data.panel, config.data), config.model, precision.device)
    return FoldRun(config, feed, data.folds[0], 0, precision)


def _is_finite(scalars: dict[str, Tensor]) -> Tensor:
    """Whether a step's loss and whole gradient are, as a scalar on the device."""
    return torch.isfinite(scalars["loss"]) & torch.isfinite(scalars["grad_norm"])


def check_labelled(panel: Panel, labels: Labels, fold: Fold, index: int) -> NDArray[np.bool_]:
    """Whether a usable stock-day of the fold's training has a label: [len(days), S]. InputError where none has."""
    rows = slice(fold.train.start, fold.train.stop)
    labelled: NDArray[np.bool_] = np.isfinite(labels.label[rows]).any(-1) & panel.mask[rows]
    if not labelled.any():
        raise InputError(
            f"fold {index + 1} has no labelled stock-day between {panel.dates[fold.train.start]} and "
            f"{panel.dates[fold.train.stop - 1]}; widen data.split or lower data.min_price."
        )
    return labelled
