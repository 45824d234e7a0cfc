"""Workers of one machine find different seats, whoever started them, and a dead one's seat is free again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hpo.adapters.processes.seats import seats_folder, take_gpu, take_seat

SITS = """
import sys
from pathlib import Path
from hpo.adapters.processes.seats import take_seat
print(take_seat(Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


def sitting(folder: Path) -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen(
        [sys.executable, "-c", SITS, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def test_a_seat_is_held_until_its_process_is_dead(tmp_path: Path) -> None:
    folder = tmp_path / "seats"
    processes, numbers = zip(*(sitting(folder) for _ in range(3)), strict=True)
    try:
        assert numbers == (1, 2, 3)
        assert take_seat(folder) == 4
        processes[1].kill()
        processes[1].wait()
        assert take_seat(folder) == 2
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_the_seats_of_a_machine_are_a_user_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getuid", lambda: 1234)
    assert seats_folder().name == "tiertune-seats-1234"


@pytest.mark.parametrize(
    ("seat", "per_gpu", "device", "fraction"), [(1, 1, 0, None), (2, 1, 1, None), (3, 2, 0, 0.5), (6, 4, 1, 0.25)]
)
def test_workers_are_dealt_out_to_the_gpus(
    seat: int, per_gpu: int, device: int, fraction: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: dict[str, object] = {}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda number: said.update(device=number))
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda part, number: said.update(part=part, of=number)
    )
    take_gpu(seat, per_gpu)
    assert said == {"device": device} | ({} if fraction is None else {"part": fraction, "of": device})


def test_a_training_over_several_gpus_has_the_next_ones_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    first: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    monkeypatch.setattr(torch.cuda, "set_device", first.append)
    for seat in (1, 2, 3, 4, 5):
        take_gpu(seat, 1, devices=2)
    assert first == [0, 2, 4, 6, 0]


def test_without_a_gpu_nothing_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "set_device", None)
    take_gpu(1, 1)
