"""What an epoch says it took of the machine."""

from __future__ import annotations

import time

import psutil
import pytest
import torch

from trainer.device import DeviceWatch


def test_on_a_cpu_cores_and_memory_are_measured() -> None:
    watch = DeviceWatch(torch.device("cpu"))
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    measured = watch.metrics()
    assert measured.keys() == {"system/cpu_cores", "system/memory_bytes"}
    assert 0.05 < measured["system/cpu_cores"] < 1.5
    assert measured["system/memory_bytes"] == pytest.approx(psutil.Process().memory_info().rss, rel=0.2)


def test_a_process_that_waits_keeps_no_core_busy() -> None:
    watch = DeviceWatch(torch.device("cpu"))
    time.sleep(0.3)
    assert watch.metrics()["system/cpu_cores"] < 0.3
