"""Prints what a fine-tuning is said to need, and what this process grew by while it took three steps, in bytes.

Settings as JSON. A process holds on to freed memory unless glibc is told otherwise: MALLOC_MMAP_THRESHOLD_=131072.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

import numpy as np
from lora.memory import needed
from lora.settings import Settings
from lora.text import BYTES
from lora.tuning import Tuning


def kernel_says(name: str) -> int:
    """A line of proc(5)'s status of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def train(settings: Settings) -> None:
    """Three optimizer steps on random bytes."""
    shape = (3 * settings.batch, 2, settings.passage)
    pairs = np.random.default_rng(0).integers(0, BYTES, shape).astype(np.int32)
    assert Tuning(settings).train_epoch(1, pairs, lambda: False) is not None


wanted = Settings.model_validate(json.loads(sys.argv[1]))
said = needed(wanted)
train(wanted.model_copy(update={"hidden_size": 8, "batch": 2, "passage": 8}))  # libraries load and settle
gc.collect()
before = kernel_says("VmRSS")
Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
train(wanted)
print(said, kernel_says("VmHWM") - before)  # noqa: T201
