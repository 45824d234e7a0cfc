"""Starts a training: in this process, or in one for each device, which end together."""

from __future__ import annotations

import logging
import os
import queue
import signal
import tempfile
import threading
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import multiprocessing
from torch._C._distributed_c10d import FileStore
from torch.multiprocessing.spawn import start_processes

from trainer.config import TrainerConfig
from trainer.data import open_training
from trainer.errors import InputError, RankLostError, TrainerError
from trainer.reports import EpochReport, FitResult, Reporter, Verdict
from trainer.training.loop import fit
from trainer.training.parallel.ranks import CommonReporter, Ranks
from trainer.training.precision import choose_device

POLL_SECONDS = 0.1
DEATH_SECONDS = 1.0
"""How long a failure waits for the death that it may have come from."""
_ORPHANED = 70


def fit_prepared(
    config: TrainerConfig, data: Path, reporter: Reporter, folder: Path, start: Path | None = None
) -> FitResult:
    """`fit` on a prepared panel (`Prepared.search`), over `config.train.devices` devices of this machine.

    With several, each has a process; if one of them fails or dies, all end. Raises as `fit`; RankLostError where a
    process died.
    """
    if config.train.devices == 1:
        return fit(config, open_training(data), reporter, folder, start)
    check_devices(config)
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in range(config.train.devices)]
    ours, theirs = [pipe[0] for pipe in pipes], [pipe[1] for pipe in pipes]
    with tempfile.TemporaryDirectory() as meeting:
        job = _Job(config, data, folder, start, Path(meeting) / "ranks", *_first_device(config))
        started = start_processes(  # type: ignore[no-untyped-call]  # torch has no types here
            _train, (job, theirs), nprocs=config.train.devices, join=False, daemon=True, start_method="spawn"
        )
        assert started is not None, "they are not waited for"
        try:
            for connection in theirs:
                connection.close()
            return _converse(ours, started.processes, reporter)
        finally:
            for process in started.processes:
                process.kill()
            for process in started.processes:
                process.join()
            for connection in ours:
                connection.close()


def check_devices(config: TrainerConfig) -> None:
    """Raise InputError where this machine has fewer devices than the training takes side by side, or they cannot work
    together. CPU devices are processes, of which a machine has as many as CPUs."""
    wanted = config.train.devices
    if wanted == 1:
        return
    device = choose_device(config.train.device)
    if device.type == "cuda":
        there = torch.cuda.device_count()
    elif device.type == "cpu":
        there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    else:
        raise InputError(f"train.devices={wanted} needs CUDA devices or CPUs, not {device.type}; use train.devices=1.")
    if wanted > there:
        kind = "CUDA devices" if device.type == "cuda" else "CPUs"
        raise InputError(f"train.devices={wanted}: this machine has {there} {kind}; use at most that many.")


@dataclass(frozen=True)
class _Job:
    """What every process of a training is given.

    meeting: the file by which they find each other. first: the CUDA device of rank 0, the others have the next ones;
    None on a CPU. memory: the share of a device's memory that may be taken.
    """

    config: TrainerConfig
    data: Path
    folder: Path
    start: Path | None
    meeting: Path
    first: int | None
    memory: float


def _first_device(config: TrainerConfig) -> tuple[int | None, float]:
    device = choose_device(config.train.device)
    if device.type != "cuda":
        return None, 1.0
    return device.index, float(torch.cuda.get_per_process_memory_fraction(device))


def _converse(ours: Sequence[Connection], processes: Sequence[Any], reporter: Reporter) -> FitResult:
    """Pass on what the leading process reports until it has a result. Raises what a process failed with."""
    speaking, is_stopped = list(ours), False
    while True:
        ready = wait([*speaking, *(process.sentinel for process in processes)], timeout=POLL_SECONDS)
        for connection in [each for each in speaking if each in ready]:
            try:
                message = connection.recv()
            except (EOFError, OSError):
                speaking.remove(connection)  # its process has ended
                continue
            if isinstance(message, FitResult):
                return message
            if isinstance(message, Exception):
                if not isinstance(message, TrainerError):
                    _raise_for_the_dead(processes, DEATH_SECONDS)  # whose silence others stumble over
                raise message
            ours[0].send(reporter.report(message))
        _raise_for_the_dead(processes, 0.0)
        if not is_stopped and reporter.poll() is Verdict.STOP:
            is_stopped = True
            ours[0].send(None)


def _raise_for_the_dead(processes: Sequence[Any], seconds: float) -> None:
    """Raise RankLostError where a process has ended, or does so in the next seconds."""
    ended = wait([process.sentinel for process in processes], timeout=seconds)
    for rank, process in enumerate(processes):
        if process.sentinel in ended:
            process.join()
            raise RankLostError(_obituary(rank, process.exitcode))


def _obituary(rank: int, code: int | None) -> str:
    if code is not None and code < 0:
        hint = ", often the system's out-of-memory killer" if code == -signal.SIGKILL else ""
        how = f"was ended by {signal.Signals(-code).name}{hint}"
    else:
        how = f"ended with exit code {code} without a word"
    return f"the process of device {rank + 1} {how}."


class _Piped:
    """The leading process's reporter: every report waits for its verdict, and STOP may come at any time."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._verdicts: queue.SimpleQueue[Verdict] = queue.SimpleQueue()
        self._is_stopped = False
        threading.Thread(target=self._listen, name="verdicts", daemon=True).start()

    def report(self, report: EpochReport) -> Verdict:
        self._connection.send(report)
        return self._verdicts.get()

    def poll(self) -> Verdict:
        return Verdict.STOP if self._is_stopped else Verdict.CONTINUE

    def _listen(self) -> None:
        while True:
            try:
                verdict = self._connection.recv()
            except (EOFError, OSError):
                os._exit(_ORPHANED)  # whoever started the training is gone
            if verdict is None:
                self._is_stopped = True
            else:
                self._verdicts.put(verdict)


def _train(rank: int, job: _Job, connections: Sequence[Connection]) -> None:
    """A process of a training from its first line to its last."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal; whoever started it decides
    logging.basicConfig(level=logging.INFO if rank == 0 else logging.WARNING)
    for number, connection in enumerate(connections):
        if number != rank:
            connection.close()
    own = connections[rank]
    reporter = _Piped(own)
    try:
        result = _trained(rank, job, reporter)
        if rank == 0:
            own.send(result)
    except Exception as error:  # whatever it is ends all processes, with its words
        own.send(_said(error))
    threading.Event().wait()  # until whoever started it has heard, and ends it


def _said(error: Exception) -> Exception:
    if isinstance(error, TrainerError | MemoryError | OSError | ImportError):
        return error
    traceback.print_exc()
    return RuntimeError(f"{type(error).__name__}: {error}")


def _trained(rank: int, job: _Job, reporter: Reporter) -> FitResult:
    size, device = job.config.train.devices, "cpu"
    if job.first is not None:
        number = (job.first + rank) % torch.cuda.device_count()
        torch.cuda.set_device(number)
        torch.cuda.set_per_process_memory_fraction(job.memory, number)
        device = f"cuda:{number}"
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # they are on one machine, and nobody else is to listen
    meeting = FileStore(str(job.meeting), size)
    dist.init_process_group("gloo" if device == "cpu" else "nccl", store=meeting, rank=rank, world_size=size)
    ranks = Ranks(rank, size, device, dist.new_group(backend="gloo"))
    heard = CommonReporter(ranks, reporter if ranks.leads else None)
    return fit(job.config, open_training(job.data), heard, job.folder, job.start, ranks)
