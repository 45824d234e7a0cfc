"""What an epoch says it took of the machine, and what a lack of memory is called; CUDA is stood in for."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import psutil
import pynvml
import pytest
import torch

from trainer.errors import DeviceMemoryError
from trainer.training import device
from trainer.training.device import DeviceWatch, describe_device, memory_errors, processor_name, room

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
HOST = {"system/cpu_cores", "system/memory_bytes"}


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CUDA device as far as it is asked."""
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 5_000)
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByUUID", {"GPU-0a-1b": "the card"}.__getitem__)
    rates = iter([20, 60, 40])
    monkeypatch.setattr(
        pynvml, "nvmlDeviceGetUtilizationRates", lambda handle: SimpleNamespace(gpu=next(rates), memory=0)
    )
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (7_000, 9_000))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    card = SimpleNamespace(name="Card", total_memory=8 << 30, uuid="0a-1b")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: card)


def test_on_a_cpu_cores_and_memory_are_measured() -> None:
    with DeviceWatch(CPU) as watch:
        end = time.process_time() + 0.2
        while time.process_time() < end:
            pass
        measured = watch.metrics()
    assert measured.keys() == HOST
    assert 0.05 < measured["system/cpu_cores"] < 1.5
    assert measured["system/memory_bytes"] == pytest.approx(psutil.Process().memory_info().rss, rel=0.2)
    assert watch.peak_bytes is None


def test_a_process_that_waits_keeps_no_core_busy() -> None:
    with DeviceWatch(CPU) as watch:
        time.sleep(0.3)
    assert watch.metrics()["system/cpu_cores"] < 0.3


@pytest.mark.usefixtures("gpu")
def test_with_a_gpu_its_peak_and_its_mean_utilisation_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_BETWEEN_LOOKS", 0.02)
    threads = threading.active_count()
    with DeviceWatch(GPU) as watch:
        while watch._utilisation and len(watch._utilisation._seen) < 3:
            time.sleep(0.01)
        measured = watch.metrics()
    assert measured["system/device_memory_bytes"] == 5_000.0
    assert measured["system/device_utilisation"] == pytest.approx(0.4)
    assert measured.keys() >= HOST
    while threading.active_count() > threads:
        time.sleep(0.01)


@pytest.mark.usefixtures("gpu")
def test_an_epoch_shorter_than_the_first_look_is_looked_at_once() -> None:
    with DeviceWatch(GPU) as watch:
        assert watch.metrics()["system/device_utilisation"] == 0.2


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("missing", ["nvmlInit", "nvmlDeviceGetHandleByUUID", "nvmlDeviceGetUtilizationRates"])
def test_a_slice_of_a_gpu_tells_no_utilisation(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    monkeypatch.setattr(pynvml, missing, refuse)
    with DeviceWatch(GPU) as watch:
        measured = watch.metrics()
    assert measured.keys() == HOST | {"system/device_memory_bytes"}


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(("fraction", "expected"), [(1.0, 7_000), (0.25, 2_250)])
def test_room_is_what_is_free_on_the_device_and_allowed(
    fraction: float, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_per_process_memory_fraction", lambda device: fraction)
    assert room(GPU, 100) == expected


def test_room_on_a_cpu_is_the_share_of_the_host() -> None:
    assert room(CPU, 100) == 100


@pytest.mark.usefixtures("gpu")
def test_gpus_are_described() -> None:
    assert describe_device().startswith("2 x Card, 8 GiB (torch ")


def test_a_cpu_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert describe_device().startswith(f"CPU, {torch.get_num_threads()} threads")


def test_a_processor_has_a_name_by_which_machines_of_one_kind_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    assert processor_name(CPU).startswith("CPU ")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Card")
    assert processor_name(GPU) == "Card"


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), RuntimeError("DefaultCPUAllocator: not enough")],
    ids=["cuda", "python", "torch on a CPU"],
)
def test_every_lack_of_memory_has_one_name(error: Exception) -> None:
    with pytest.raises(DeviceMemoryError, match=r"out of memory on cpu: lower train\.batch_size"), memory_errors(CPU):
        raise error


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="shapes"), memory_errors(CPU):
        raise RuntimeError("shapes do not match")
