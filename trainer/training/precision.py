"""The one file that names dtypes: bf16 autocast over fp32 master weights, and where it is switched off."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from trainer.config import TrainConfig
from trainer.errors import InputError

# Weights, optimizer state, losses, metrics, normalisation statistics and stored scores.
MASTER = torch.float32


PRODUCTS = frozenset({functional.linear, functional.scaled_dot_product_attention})
"""The products that are rounded: nearly all of the work in our models. Convolutions and GRU cells stay in fp32."""


class RoundedProducts(TorchFunctionMode):
    """bf16 where the processor has no bf16 instructions: the operands of matrix products are rounded to bf16 and summed
    in fp32, as in a GPU's tensor cores; their gradients pass the same rounding. torch's own bf16 kernels take several
    times as long on such a processor."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if func not in PRODUCTS:
            return func(*args, **given)
        operands = [_rounded(value) for value in args]
        return func(*operands, **{name: _rounded(value) for name, value in given.items()})


def _rounded(value: Any) -> Any:
    is_master = isinstance(value, Tensor) and value.dtype is MASTER
    return value.to(torch.bfloat16).to(MASTER) if is_master else value


@dataclass(frozen=True)
class Precision:
    """The dtype of matrix products in the model, and why it was chosen (a sentence for the log).

    is_emulated: the device cannot multiply in that dtype; operands are rounded to it instead.
    """

    device: torch.device
    compute: torch.dtype
    reason: str
    is_emulated: bool = False

    def autocast(self) -> AbstractContextManager[Any]:
        """Around the model's forward only; backward follows it by itself, losses and metrics stay outside."""
        if self.is_emulated:
            return RoundedProducts()
        return torch.autocast(self.device.type, dtype=self.compute, enabled=self.compute is not MASTER)


def choose_device(name: str) -> torch.device:
    """`auto` or a torch device name; a CUDA device comes with its index.

    Raises InputError for a name that torch does not know or a device that is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(
            f"train.device={name!r} is not a device torch knows; use auto, cpu, cuda or cuda:0."
        ) from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"train.device={name!r}: this machine has {torch.cuda.device_count()} CUDA devices; use train.device=auto."
        )
    if device.type == "cuda" and device.index is None:
        # The current device belongs to a thread: another one would take "cuda" for the first.
        return torch.device("cuda", torch.cuda.current_device())
    return device


def choose_precision(config: TrainConfig) -> Precision:
    """Device and precision of a run. Raises InputError, see `choose_device`."""
    device = choose_device(config.device)
    if config.precision == "fp32":
        return Precision(device, MASTER, "fp32, as asked for")
    if device.type == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        why = "this CPU has no bf16 instructions, so products are rounded to bf16 around fp32 arithmetic"
        return Precision(device, torch.bfloat16, f"bf16 over fp32 master weights: {why}", is_emulated=True)
    if device.type != "cuda":
        why = "the precision that is searched under, on most CPUs not faster than fp32"
    elif torch.cuda.is_bf16_supported(including_emulation=False):
        why = "native on this GPU"
    else:
        why = "emulated on this GPU, where fp32 would be faster"
    return Precision(device, torch.bfloat16, f"bf16 autocast over fp32 master weights: {why}")
