"""Optimizers by name, clipping, and the weight averages that are scored in the weights' place."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainer.config import OptimConfig, TrainConfig
from trainer.errors import NonFiniteError

MOMENTUM = 0.9
SHIFTS = ("bias", "offset", "threshold")
"""Ends of the names of parameters that are added, not multiplied by; those of several heads are matrices."""


def _library(name: str) -> Callable[..., Optimizer]:
    """A class of pytorch_optimizer, imported only when asked for: the import takes a second."""
    import pytorch_optimizer

    cls: Callable[..., Optimizer] = getattr(pytorch_optimizer, name)
    return cls


def _lookahead(groups: list[dict[str, Any]], **options: Any) -> Optimizer:
    return _library("Lookahead")(torch.optim.AdamW(groups, **options))


def _sam(groups: list[dict[str, Any]], **options: Any) -> Optimizer:
    return _library("SAM")(groups, torch.optim.AdamW, **options)


# Every optimizer takes parameter groups and the peak learning rate; decay stands in the groups.
OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "adamw": lambda groups, lr: torch.optim.AdamW(groups, lr=lr, fused=True),
    "sgd": lambda groups, lr: torch.optim.SGD(groups, lr=lr, momentum=MOMENTUM, nesterov=True),
    "lamb": lambda groups, lr: _library("Lamb")(groups, lr=lr),
    "lion": lambda groups, lr: _library("Lion")(groups, lr=lr),
    "lars": lambda groups, lr: _library("LARS")(groups, lr=lr, momentum=MOMENTUM),
    "sam": _sam,
    "lookahead": _lookahead,
    "ranger": lambda groups, lr: _library("Ranger")(groups, lr=lr),
}


def build_optimizer(model: nn.Module, config: OptimConfig) -> Optimizer:
    """The optimizer of `config.name` over all parameters. Decayed are the matrices that multiply; vectors, scalars and
    shifts (`SHIFTS`) are not."""
    learning = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    decayed = [p for name, p in learning.items() if p.ndim >= 2 and not name.endswith(SHIFTS)]
    others = [p for name, p in learning.items() if p.ndim < 2 or name.endswith(SHIFTS)]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return OPTIMIZERS[config.name]([group for group in groups if group["params"]], lr=config.lr)


def needs_second_pass(optimizer: Optimizer) -> bool:
    """Whether a step evaluates the gradient again at perturbed weights (SAM)."""
    return hasattr(optimizer, "second_step")


def clip_gradients(parameters: Iterable[nn.Parameter], config: OptimConfig) -> Tensor:
    """Apply the limits that are switched on, in the order adaptive, value, norm.

    Returns the norm of the whole gradient before any limit, on the device, not waited for: it is not finite exactly
    when some gradient element is not.
    """
    learning = [(weight, weight.grad) for weight in parameters if weight.grad is not None]
    weights = [weight for weight, _ in learning]
    norm = nn.utils.get_total_norm([gradient for _, gradient in learning])
    if config.clip_adaptive:
        from pytorch_optimizer.optimizer.agc import agc

        with torch.no_grad():
            for weight, gradient in learning:
                gradient.copy_(agc(weight, gradient, agc_clip_val=config.clip_adaptive))
    if config.clip_value:
        nn.utils.clip_grad_value_(weights, config.clip_value)
    if config.clip_norm:
        nn.utils.clip_grad_norm_(weights, config.clip_norm)
    return norm


class StepGuard:
    """Ends a run with NonFiniteError when a loss or gradient is not finite.

    On the CPU before the step that it would spoil. On CUDA asking would make the host wait at every step: there the
    error is raised at the next look, every `LOOK_EVERY` steps and in `settle`, which comes before anything is saved.
    """

    LOOK_EVERY = 50

    def __init__(self, device: torch.device, *, wait: bool | None = None) -> None:
        self._wait = device.type != "cuda" if wait is None else wait
        self._sound = torch.ones((), dtype=torch.bool, device=device)
        self._steps = 0

    def step(self, finite: Tensor, update: Callable[[], None]) -> None:
        """Run `update` (the optimizer step) after a look at `finite` (scalar, bool), where one is due."""
        self._steps += 1
        self.watch(finite)
        if self._steps % self.LOOK_EVERY == 0:
            self.settle()
        update()

    def watch(self, finite: Tensor) -> None:
        """Take note of a gradient, also of one that is computed within an update."""
        self._sound = self._sound & finite
        if self._wait:
            self.settle()

    def settle(self) -> None:
        """Wait for the device and raise NonFiniteError if any step so far was not finite."""
        if not bool(self._sound):
            raise NonFiniteError(
                "the loss or its gradient is not finite; lower optim.lr, or limit the gradient with optim.clip_norm."
            )


class WeightAverage:
    """EMA (after every step) or SWA (after every late epoch) of a model's weights; or neither.

    `scored` is the module whose scores count: the average where there is one yet, else the model itself.
    """

    def __init__(self, model: nn.Module, config: TrainConfig) -> None:
        self._model = model
        self._decay = config.ema_decay
        self._first_swa_epoch = config.epochs - round(config.swa_fraction * config.epochs) + 1
        self._swa = config.swa_fraction > 0
        self._average = copy.deepcopy(model).requires_grad_(False) if self._decay or self._swa else None
        self._count = 0  # on the host: one on the device would be waited for at every step

    @property
    def scored(self) -> nn.Module:
        """The module to validate and to keep."""
        return self._model if self._average is None or not self._count else self._average

    def step_ended(self) -> None:
        """After an optimizer step."""
        if self._decay:
            # While few steps are averaged the decay is smaller, so that the random start does not linger.
            self._update(1.0 - min(self._decay, (1.0 + self._count) / (10.0 + self._count)))

    def epoch_ended(self, epoch: int) -> None:
        """After the last step of `epoch` (counted from 1), before its validation."""
        if self._swa and epoch >= self._first_swa_epoch:
            self._update(1.0 / (1.0 + self._count))

    def state_dict(self) -> dict[str, Any] | None:
        """What a resumed run needs; None without averaging."""
        return None if self._average is None else {"count": self._count, "weights": self._average.state_dict()}

    def load_state_dict(self, state: dict[str, Any] | None) -> None:
        """Go on from `state_dict`."""
        if self._average is not None and state is not None:
            self._count = state["count"]
            self._average.load_state_dict(state["weights"])

    @torch.no_grad()
    def _update(self, share: float) -> None:
        """Move the average by `share` of its distance to the weights; the first time onto them."""
        assert self._average is not None
        averages, weights = (list[Tensor](module.parameters()) for module in (self._average, self._model))
        torch._foreach_lerp_(averages, weights, share if self._count else 1.0)
        for kept, value in zip(self._average.buffers(), self._model.buffers(), strict=True):
            kept.copy_(value)
        self._count += 1
