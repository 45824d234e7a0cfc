"""The one file that names dtypes: bf16 autocast over fp32 master weights, and where it is switched off."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import torch

from trainer.errors import InputError

logger = logging.getLogger(__name__)

# Weights, optimizer state, losses, metrics, normalisation statistics and stored scores.
MASTER = torch.float32


@dataclass(frozen=True)
class Precision:
    """The dtype of matrix products in the model, and why it was chosen (a sentence for the log)."""

    device: torch.device
    compute: torch.dtype
    reason: str

    def autocast(self) -> AbstractContextManager[None]:
        """Around the model's forward only; backward follows it by itself, losses and metrics stay outside."""
        return torch.autocast(self.device.type, dtype=self.compute, enabled=self.compute is not MASTER)

    @property
    def bytes_per_activation(self) -> int:
        """Bytes of one element of a matrix product's result."""
        return self.compute.itemsize


def choose_device(name: str) -> torch.device:
    """`auto` or a torch device name.

    Raises InputError for a name that torch does not know or a device that is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
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
    return device


def choose_precision(name: Literal["bf16", "fp32"], device: torch.device) -> Precision:
    """The precision of a run; the choice and its reason are logged."""
    if name == "fp32":
        precision = Precision(device, MASTER, "fp32: asked for")
    elif device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        how = "native on this GPU" if native else "emulated on this GPU, slower than fp32 would be"
        precision = Precision(device, torch.bfloat16, f"bf16 autocast, fp32 master weights: {how}")
    else:
        how = "the precision being searched under; on most CPUs not faster than fp32"
        precision = Precision(device, torch.bfloat16, f"bf16 autocast, fp32 master weights: {how}")
    logger.info("precision on %s: %s", device, precision.reason)
    return precision
