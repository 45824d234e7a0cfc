"""What is measured on the device during an epoch, and what its lack of memory is called."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import torch

from trainer.errors import DeviceMemoryError

# What torch's CPU allocator says, in a plain RuntimeError.
_CPU_ALLOCATOR = "DefaultCPUAllocator"


class DeviceWatch:
    """What this process takes of the machine from the watch's creation on."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._began, self._cpu_began = time.perf_counter(), time.process_time()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    @property
    def peak_bytes(self) -> int | None:
        """Peak of the bytes allocated on a CUDA device; None on a CPU."""
        return torch.cuda.max_memory_allocated(self._device) if self._device.type == "cuda" else None

    def metrics(self) -> dict[str, float]:
        """`system/cpu_cores` (kept busy on average) and `system/memory_bytes` (resident now); with CUDA also the peak
        `system/device_memory_bytes` and, where NVIDIA's management library is installed, `system/device_utilisation`
        (0 to 1)."""
        cores = (time.process_time() - self._cpu_began) / max(time.perf_counter() - self._began, 1e-9)
        measured = {"system/cpu_cores": cores, "system/memory_bytes": float(psutil.Process().memory_info().rss)}
        if self.peak_bytes is None:
            return measured
        measured["system/device_memory_bytes"] = float(self.peak_bytes)
        if importlib.util.find_spec("pynvml") is not None:
            measured["system/device_utilisation"] = torch.cuda.utilization(self._device) / 100.0
        return measured


def room(device: torch.device, host_share: int) -> int:
    """Bytes that a training may take: what is free on a CUDA device, else its share of this machine's memory."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else host_share


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
