"""Optimizers by name, clipping, and the weight averages that are scored in the weights' place."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from trainer.config import OptimConfig, TrainConfig
from trainer.errors import NonFiniteError

MOMENTUM = 0.9
SHIFTS = ("bias", "offset", "threshold")
"""Ends of the names of parameters that are added, not multiplied by; those of several heads are matrices."""

Tensors: TypeAlias = tuple[Tensor, ...] | list[Tensor]


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
                weight.grad = agc(weight, gradient, agc_clip_val=config.clip_adaptive)
    if config.clip_value:
        nn.utils.clip_grad_value_(weights, config.clip_value)
    if config.clip_norm:
        nn.utils.clip_grad_norm_(weights, config.clip_norm)
    return norm


class StepGuard:
    """Keeps a step whose loss or gradient is not finite from the weights, and ends the run with NonFiniteError.

    On the CPU at once, before the step. On CUDA asking would make the host wait at every step: there the weights are
    put back on the device, and the error is raised at the next look, every `LOOK_EVERY` steps and in `settle`.
    """

    LOOK_EVERY = 50

    def __init__(self, parameters: list[nn.Parameter], device: torch.device, *, wait: bool | None = None) -> None:
        self._parameters = parameters
        self._wait = device.type != "cuda" if wait is None else wait
        self._sound = torch.ones((), dtype=torch.bool, device=device)
        self._steps = 0

    def step(self, finite: Tensor, update: Callable[[], None]) -> None:
        """Run `update` (the optimizer step) unless `finite` (scalar, bool) says that it would spoil the weights."""
        self._steps += 1
        self.watch(finite)
        if self._steps % self.LOOK_EVERY == 0:
            self.settle()
        if self._wait:
            update()
            return
        before = [parameter.detach().clone() for parameter in self._parameters]
        update()
        with torch.no_grad():
            for parameter, old in zip(self._parameters, before, strict=True):
                parameter.copy_(torch.where(self._sound, parameter, old))

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
        self._average: AveragedModel | None = None
        if self._decay:
            self._average = AveragedModel(model, multi_avg_fn=self._ema_update)
        elif self._swa:
            self._average = AveragedModel(model)
        if self._average is not None:
            self._average.requires_grad_(False)

    @property
    def scored(self) -> nn.Module:
        """The module to validate and to keep."""
        if self._average is None or int(self._average.n_averaged) == 0:
            return self._model
        module: nn.Module = self._average.module
        return module

    def step_ended(self) -> None:
        """After an optimizer step."""
        if self._decay and self._average is not None:
            self._average.update_parameters(self._model)

    def epoch_ended(self, epoch: int) -> None:
        """After the last step of `epoch` (counted from 1), before its validation."""
        if self._swa and self._average is not None and epoch >= self._first_swa_epoch:
            self._average.update_parameters(self._model)

    def state_dict(self) -> dict[str, Any] | None:
        """What a resumed run needs; None without averaging."""
        return None if self._average is None else self._average.state_dict()

    def load_state_dict(self, state: dict[str, Any] | None) -> None:
        """Go on from `state_dict`."""
        if self._average is not None and state is not None:
            self._average.load_state_dict(state)

    def _ema_update(self, averages: Tensors, weights: Tensors, _: Tensor | int) -> None:
        # While few steps are averaged the decay is smaller, so that the random start does not linger. The count is
        # read from the average, where it lies on the CPU, and not from the argument, which may be on the device.
        count = 0 if self._average is None else int(self._average.n_averaged)
        decay = min(self._decay, (1.0 + count) / (10.0 + count))
        with torch.no_grad():
            torch._foreach_lerp_(averages, weights, 1.0 - decay)
