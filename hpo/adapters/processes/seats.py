"""Which of a machine's GPUs a worker's trials train on."""

from __future__ import annotations

import fcntl
import os
import sys
import tempfile
from itertools import count
from pathlib import Path

_TAKEN: list[int] = []
"""Descriptors whose locks last as long as this process."""


def seats_folder() -> Path:
    """Where the workers of this user on this machine find out about each other."""
    return Path(tempfile.gettempdir()) / f"tiertune-seats-{os.getuid()}"


def take_seat(folder: Path) -> int:
    """The lowest number, from 1, that no living process has taken; this one keeps it until it ends."""
    folder.mkdir(mode=0o700, exist_ok=True)
    for number in count(1):
        descriptor = os.open(folder / str(number), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
        else:
            _TAKEN.append(descriptor)
            return number
    raise AssertionError("unreachable")


def take_gpu(seat: int, per_gpu: int, devices: int = 1) -> None:
    """Make one of the visible GPUs the current one, the workers of a machine going round them, and let this process
    take its part of the card's memory. devices: that a training takes, from the current one on."""
    if "torch" not in sys.modules:
        return
    import torch

    if not torch.cuda.is_available():
        return
    device = (seat - 1) * devices % torch.cuda.device_count()
    torch.cuda.set_device(device)
    if per_gpu > 1:
        torch.cuda.set_per_process_memory_fraction(1 / per_gpu, device)
