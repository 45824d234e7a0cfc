"""What is measured on the device during an epoch, and what its lack of memory is called."""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import psutil
import pynvml
import torch

from trainer.errors import DeviceMemoryError

# What torch's CPU allocator says, in a plain RuntimeError.
_CPU_ALLOCATOR = "DefaultCPUAllocator"
# Seconds between two looks at a GPU's utilisation; the driver averages over about as long.
_BETWEEN_LOOKS = 0.25


class DeviceWatch:
    """What this process takes of the machine, from the entry of the context to its end or to a call of `metrics`."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._utilisation = _Utilisation(device) if device.type == "cuda" else None

    def __enter__(self) -> Self:
        self._began, self._cpu_began = time.perf_counter(), time.process_time()
        if self._utilisation is not None:
            torch.cuda.reset_peak_memory_stats(self._device)
            self._utilisation.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._utilisation is not None:
            self._utilisation.stop()

    @property
    def peak_bytes(self) -> int | None:
        """Peak of the bytes allocated on a CUDA device; None on a CPU."""
        return torch.cuda.max_memory_allocated(self._device) if self._device.type == "cuda" else None

    def metrics(self) -> dict[str, float]:
        """`system/cpu_cores` (kept busy on average) and `system/memory_bytes` (resident now); with CUDA also the peak
        `system/device_memory_bytes` and, where the driver tells it, `system/device_utilisation` (0 to 1, the share of
        the time in which the GPU computed anything, for this process or another)."""
        cores = (time.process_time() - self._cpu_began) / max(time.perf_counter() - self._began, 1e-9)
        measured = {"system/cpu_cores": cores, "system/memory_bytes": float(psutil.Process().memory_info().rss)}
        if self._utilisation is None or self.peak_bytes is None:
            return measured
        measured["system/device_memory_bytes"] = float(self.peak_bytes)
        mean = self._utilisation.mean()
        return measured if mean is None else {**measured, "system/device_utilisation": mean}


class _Utilisation(threading.Thread):
    """Looks at a GPU's utilisation until it is stopped. Virtual GPUs and MIG slices tell none."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(name="utilisation", daemon=True)
        self._handle = _management_handle(device)
        self._seen: list[int] = []
        self._ended = threading.Event()

    def run(self) -> None:
        while self._handle is not None and not self._ended.wait(_BETWEEN_LOOKS):
            self._look()

    def stop(self) -> None:
        self._ended.set()

    def mean(self) -> float | None:
        """Of the looks so far, 0 to 1; None where none succeeded."""
        if not self._seen:
            self._look()
        return sum(self._seen) / len(self._seen) / 100.0 if self._seen else None

    def _look(self) -> None:
        if self._handle is None:
            return
        with suppress(pynvml.NVMLError):
            self._seen.append(pynvml.nvmlDeviceGetUtilizationRates(self._handle).gpu)


def _management_handle(device: torch.device) -> Any:
    """NVIDIA's management library's name for a device of torch's; None where it knows none.

    By UUID: torch counts the devices that CUDA_VISIBLE_DEVICES leaves, the library counts all.
    """
    try:
        pynvml.nvmlInit()
        return pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
    except pynvml.NVMLError:
        return None


def room(device: torch.device, host_share: int) -> int:
    """Bytes that a training may take: of a CUDA device what is free and allowed to this process, else its share of this
    machine's memory."""
    if device.type != "cuda":
        return host_share
    free, total = torch.cuda.mem_get_info(device)
    return min(free, int(total * torch.cuda.get_per_process_memory_fraction(device)))


def processor_name(device: torch.device) -> str:
    """What computes: the kind of a GPU, or of the processor as the system calls it. Never which one of several."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
        return f"CPU {next(named, platform.machine())}"
    return f"CPU {platform.processor() or platform.machine()}"


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
