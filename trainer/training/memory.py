"""How much device memory a configuration will need, known before it starts and without a device."""

from __future__ import annotations

import logging
import math
import weakref
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from trainer.config import TABULAR_KINDS, SplitConfig, TrainerConfig, own_paths
from trainer.errors import DoesNotFitError
from trainer.imports import is_path
from trainer.models import build_model
from trainer.models.graph import REFRESH_DAYS, Graph
from trainer.training.batches import Span, SpanPlan, day_chunks, size_plan
from trainer.training.evaluate import chunk_budget
from trainer.training.feed import PREFETCHED, RESIDENT_SHARE, resident_bytes
from trainer.training.fitters.samples import table_bytes
from trainer.training.losses import build_loss
from trainer.training.precision import MASTER, Precision, choose_device, choose_precision
from trainer.training.replay import can_replay

logger = logging.getLogger(__name__)

# Copies of the weights that an optimizer keeps beside them and their gradients; `sam` needs a third within a step.
STATE_COPIES = {"adamw": 2, "sgd": 1, "lamb": 2, "lion": 1, "lars": 1, "sam": 3, "lookahead": 3, "ranger": 3}
# CUDA's allocator rounds every tensor up to this; cuBLAS keeps a workspace (32 MiB on Hopper, less before it).
ALLOCATION_UNIT = 512
LIBRARY_WORKSPACE = 32 * 2**20


def check_fits(config: TrainerConfig, panel_shape: tuple[int, int, int], available: int) -> None:
    """Raise DoesNotFitError where training `config` on a panel of [D, S, F] needs more than `available` bytes.

    Costs the second that `estimate` takes only where the configuration is large beside `available`, or the model is
    the user's own.
    """
    is_own = is_path(config.model.kind)
    if not is_own and upper_bound(config, panel_shape) <= available:
        return
    needed = known_estimate(config, panel_shape, available)
    if needed is None or needed <= available:
        return
    size = f"the size of {config.model.kind}" if is_own else "model.hidden_size"
    raise DoesNotFitError(
        f"it needs about {_gib(needed)} of memory where {_gib(available)} are available; lower {size}, "
        "train.batch_size or model.window.",
        excess=needed / max(1, available) - 1,
    )


def known_estimate(
    config: TrainerConfig, panel_shape: tuple[int, int, int], available: int | None = None
) -> int | None:
    """`estimate`; None where the user's code does what fake tensors cannot follow: its training will show."""
    try:
        return estimate(config, panel_shape, available)
    except Exception as error:  # of a user's code
        if not own_paths(config):
            raise
        logger.info("the memory that %s needs is not known before it starts: %s", own_paths(config), error)
        return None


def upper_bound(config: TrainerConfig, panel_shape: tuple[int, int, int]) -> int:
    """More than `estimate`, usually several times as much, in no time: from the widths of the layers alone."""
    days, stocks, features = panel_shape
    model, processes = config.model, _processes(config)
    if model.kind in TABULAR_KINDS:
        return estimate(config, panel_shape)
    span_days, span_stocks = _plan(config, days, stocks).largest
    span_stocks = min(stocks, span_stocks * (1 + config.model.neighbours))
    chunk = _chunk(config, days, stocks)
    units = 2 * (16 + model.window + model.num_neighbours) * (features + model.hidden_size * (model.num_layers + 1))
    rows = span_days * span_stocks + (chunk.context + len(chunk.days)) * stocks
    panel = resident_bytes((*panel_shape, len(config.data.horizons)))
    return panel + processes * (LIBRARY_WORKSPACE + 4 * rows * units)


def estimate(config: TrainerConfig, panel_shape: tuple[int, int, int], available: int | None = None) -> int:
    """Peak bytes that training `config` allocates on a CUDA device of which `available` bytes are free (None: enough),
    for a panel of [D, S, F]. Of several devices on each; on a CPU, whose memory they share, by all together.

    Counted are the panel, or the batches under way where it is streamed, and per fold weights, gradients, optimizer
    state and averages; on top the larger of a training step (forward, loss, backward of the largest span) and a chunk
    of validation, or both where steps are replayed, since a CUDA graph keeps its memory. Tensors are followed through
    both on fake tensors of the device that would train, without computing anything, so the count is that of the
    operators that would run there; workspaces of libraries are not seen, only the usual one of cuBLAS is added, and the
    one of cuDNN for `gru` is large.
    """
    days, stocks, features = panel_shape
    horizons = len(config.data.horizons)
    if config.model.kind in TABULAR_KINDS:
        return config.data.split.num_folds * table_bytes(panel_shape, horizons)
    plan, chunk = _plan(config, days, stocks), _chunk(config, days, stocks)
    with FakeTensorMode():
        weights = 4 * sum(p.numel() for p in build_model(config.model, features, horizons).parameters())
        whole_days, span_stocks = plan.largest
        judged = whole_days - config.model.window + 1
        span_days = -(-judged // config.train.devices) + config.model.window - 1
        refreshes = 2 + 7 * span_days // (5 * REFRESH_DAYS)  # of neighbours, each of which may bring others
        span_stocks = min(stocks, span_stocks * (1 + config.model.neighbours * refreshes))
        training = step_bytes(config, features, span_days, span_stocks, judged)
        scoring = score_bytes(config, features, chunk.context + len(chunk.days), stocks)
        judging = judge_bytes(config, math.ceil(days * _share_judged(config.data.split)), stocks)
    averages = 1 if config.train.ema_decay or config.train.swa_fraction else 0
    # Weights and gradients of one fold are within `training`.
    folds = config.data.split.num_folds
    fixed = folds * (STATE_COPIES[config.optim.name] + averages) * weights + (folds - 1) * 2 * weights
    panel = resident_bytes((days, stocks, features, horizons))
    batch = resident_bytes((span_days, span_stocks, features, horizons))
    if available is not None and panel > RESIDENT_SHARE * available:
        panel = (PREFETCHED + 2) * batch
    validation = max(scoring, judging)
    moment = max(training, validation + weights)
    if config.train.devices == 1 and can_replay(config, plan, choose_device(config.train.device)):
        moment = folds * (training + batch) + validation
    return panel + _processes(config) * (fixed + moment + LIBRARY_WORKSPACE)


def step_bytes(config: TrainerConfig, features: int, days: int, stocks: int, judged: int | None = None) -> int:
    """Peak of weights, gradients and activations in one forward, loss and backward of a [days, stocks] span.

    judged: days of the loss, where the span is one process's share of so many. Under FakeTensorMode nothing is
    computed; outside it the step is really taken, on zeros.
    """
    horizons = config.data.horizons
    scored = days - config.model.window + 1
    with LiveBytes() as live, _counted_on(config):
        model = build_model(config.model, features, len(horizons))
        batch = _inputs(config, features, days, stocks)
        total = judged or scored
        target = torch.zeros(total, stocks, len(horizons))
        labelled = torch.ones(total, stocks, len(horizons), dtype=torch.bool)
        with _native(config).autocast():
            scores = model(*batch)[-scored:]
        if total > scored:
            scores = torch.cat([scores.to(MASTER), torch.zeros(total - scored, stocks, len(horizons))])
        loss, _ = build_loss(config.loss, horizons)(scores, target, target.clone(), labelled)
        torch.autograd.backward(loss)
    return int(live.peak)


def score_bytes(config: TrainerConfig, features: int, days: int, stocks: int) -> int:
    """Peak of weights and activations in scoring a [days, stocks] chunk; see `step_bytes`."""
    with LiveBytes() as live, _counted_on(config), torch.no_grad():
        model = build_model(config.model, features, len(config.data.horizons)).eval()
        batch = _inputs(config, features, days, stocks)
        with _native(config).autocast():
            model(*batch)
    return int(live.peak)


def judge_bytes(config: TrainerConfig, days: int, stocks: int) -> int:
    """Peak of computing the validation loss of [days, stocks]; see `step_bytes`."""
    horizons = config.data.horizons
    with LiveBytes() as live, _counted_on(config), torch.no_grad():
        scores, label, returns = torch.zeros(3, days, stocks, len(horizons)).unbind()
        build_loss(config.loss, horizons)(scores, label, returns, torch.ones_like(label, dtype=torch.bool))
    return int(live.peak)


def _share_judged(split: SplitConfig) -> float:
    """Of a panel that ends before the holdout, the days that a fold validates; with dates as if by the fractions."""
    return split.valid_fraction / (split.train_fraction + split.valid_fraction) / split.num_folds


def _processes(config: TrainerConfig) -> int:
    """Processes of a training that share one device's memory."""
    return config.train.devices if choose_device(config.train.device).type == "cpu" else 1


def _plan(config: TrainerConfig, days: int, stocks: int) -> SpanPlan:
    return size_plan(np.arange(stocks), range(days), days * stocks, config.model.window, config.train)


def _chunk(config: TrainerConfig, days: int, stocks: int) -> Span:
    """The largest that validation scores at once."""
    return next(day_chunks(range(days), config.model.window, stocks, chunk_budget(choose_device(config.train.device))))


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"


def _counted_on(config: TrainerConfig) -> torch.device:
    # cuDNN's recurrent layers ask a tensor for its address, which a fake one has not.
    return torch.device("cpu") if config.model.kind == "gru" else choose_device(config.train.device)


def _native(config: TrainerConfig) -> Precision:
    # What a GPU would keep in bf16 is counted as bf16, also where this CPU would only round to it.
    device = str(_counted_on(config))
    return replace(choose_precision(config.train.model_copy(update={"device": device})), is_emulated=False)


def _inputs(config: TrainerConfig, features: int, days: int, stocks: int) -> tuple[Tensor, Tensor, Graph | None]:
    x, mask = torch.zeros(days, stocks, features), torch.ones(days, stocks, dtype=torch.bool)
    neighbours = config.model.neighbours
    if not neighbours:
        return x, mask, None
    shape = (days, stocks, neighbours)
    return x, mask, Graph(torch.zeros(shape, dtype=torch.int64), torch.zeros(shape))


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types here
    """Counts the bytes of all tensors made inside it that are alive, and their peak, in `now` and `peak`."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has no types here
        self.now: int = 0
        self.peak: int = 0
        self._seen: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._count(leaf.untyped_storage())
        return result

    def _count(self, storage: Any) -> None:
        if storage in self._seen:
            return
        self._seen.add(storage)
        size = -(-storage.nbytes() // ALLOCATION_UNIT) * ALLOCATION_UNIT
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, size)

    def _forget(self, size: int) -> None:
        self.now -= size
