"""What is measured on the device during an epoch, and what its lack of memory is called."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from trainer.errors import DeviceMemoryError

# What torch's CPU allocator says, in a plain RuntimeError.
_CPU_ALLOCATOR = "DefaultCPUAllocator"


class DeviceWatch:
    """Peak memory since its creation, and utilisation where NVIDIA's management library is installed; CUDA only."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    @property
    def peak_bytes(self) -> int | None:
        """Peak of the bytes allocated; None on a CPU."""
        return torch.cuda.max_memory_allocated(self._device) if self._device.type == "cuda" else None

    def metrics(self) -> dict[str, float]:
        """`system/device_memory_bytes`, `system/device_utilisation` (0 to 1); empty on a CPU."""
        if self.peak_bytes is None:
            return {}
        measured = {"system/device_memory_bytes": float(self.peak_bytes)}
        if importlib.util.find_spec("pynvml") is not None:
            measured["system/device_utilisation"] = torch.cuda.utilization(self._device) / 100.0
        return measured


def describe_device() -> str:
    """One line on what `train.device=auto` means on this machine."""
    if not torch.cuda.is_available():
        return f"CPU, {torch.get_num_threads()} threads (no CUDA device seen by torch {torch.__version__})"
    count = torch.cuda.device_count()
    gpu = torch.cuda.get_device_properties(0)
    return f"{count} x {gpu.name}, {gpu.total_memory / 2**30:.0f} GiB (torch {torch.__version__})"


@contextmanager
def memory_errors(device: torch.device) -> Iterator[None]:
    """Turn every form of "out of memory" into DeviceMemoryError."""
    remedy = "lower train.batch_size or model.hidden_size, or raise train.accumulate"
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise DeviceMemoryError(f"out of memory on {device}: {remedy}.") from error
    except RuntimeError as error:
        if _CPU_ALLOCATOR not in str(error):
            raise
        raise DeviceMemoryError(f"out of memory on {device}: {remedy}.") from error
