"""The one file that names dtypes: bf16 autocast over fp32 master weights, and where it is switched off."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from trainer.config import TrainConfig
from trainer.errors import InputError

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


def choose_precision(config: TrainConfig) -> Precision:
    """Device and precision of a run. Raises InputError, see `choose_device`."""
    device = choose_device(config.device)
    if config.precision == "fp32":
        return Precision(device, MASTER, "fp32, as asked for")
    if device.type != "cuda":
        why = "the precision that is searched under, on most CPUs not faster than fp32"
    elif torch.cuda.is_bf16_supported(including_emulation=False):
        why = "native on this GPU"
    else:
        why = "emulated on this GPU, where fp32 would be faster"
    return Precision(device, torch.bfloat16, f"bf16 autocast over fp32 master weights: {why}")
