"""Runs one training: in a process of its own forked from a warm parent, or in this process.

A trial process is given a configuration, the search part of the panel and a folder. It has no database. It talks
over one pipe, and ends itself when the other end closes, so that no worker's death leaves a trainer behind.
"""

from __future__ import annotations

import faulthandler
import logging
import multiprocessing
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path

from hpo.adapters.processes.ends import death, end_of, failure
from hpo.adapters.processes.seats import seats_folder, take_gpu, take_seat
from hpo.domain.ports import TrialEnd, TrialRequest
from hpo.domain.training import Decision, EpochReport, Reporter
from hpo.runs.folder import Attempt
from hpo.trainable.loading import load_trainable

POLL_SECONDS = 0.1
STOP_GRACE_SECONDS = 20.0
"""How long a trial may take to notice STOP before it is killed; its last epoch is on disk either way."""
FIRST_VICTIM = 500
"""What a trial adds to its score for when the system is out of memory (proc(5), oom_score_adj): so that it is ended
then, and not the worker, the supervisor or the database."""
PRELOAD = ["hpo.adapters.processes.runners"]
"""What the warm parent imports, whatever is trained."""
LAST = "last.pt"
"""The checkpoint that a trial goes on from."""
SAFE_PATH = "PYTHONSAFEPATH"
SECRETS = ("HPO_DATABASE_URL", "MLFLOW_TRACKING_", "PG", "AWS_", "AZURE_", "HPO_ARTIFACTS")
"""Beginnings of environment variables that name a store or open it. A trial needs none."""
_ORPHANED = 70


class PipeReporter:
    """The trial's side: hands each epoch over without waiting, except for the decision on the epoch before.

    Because epoch e+1 is never handed over before the decision on e is in, a STOP always ends the run with the same
    epochs, however late it arrives. What is said is said by a thread: the worker that it wakes may take the core from
    whoever wrote to the pipe.
    """

    def __init__(self, connection: Connection, attempt: Attempt) -> None:
        self._connection = connection
        self._attempt = attempt
        self._outbox: queue.SimpleQueue[EpochReport | TrialEnd] = queue.SimpleQueue()
        self._speaker = threading.Thread(target=self._speak, name="reports", daemon=True)
        self._speaker.start()
        self._answered = threading.Event()
        self._answered.set()
        self._stopped = False
        threading.Thread(target=self._listen, name="decisions", daemon=True).start()

    def report(self, report: EpochReport) -> Decision:
        self._answered.wait()
        if self._stopped:
            return Decision.STOP
        self._attempt.append_epoch(report)
        self._answered.clear()
        self._outbox.put(report)
        return Decision.CONTINUE

    def poll(self) -> Decision:
        return Decision.STOP if self._stopped else Decision.CONTINUE

    def decide(self) -> Decision:
        self._answered.wait()
        return self.poll()

    def end(self, end: TrialEnd) -> None:
        """Say how the trial ended, as the last word."""
        self._outbox.put(end)
        self._speaker.join()

    def _speak(self) -> None:
        message: EpochReport | TrialEnd | None = None
        while not isinstance(message, TrialEnd):
            message = self._outbox.get()
            try:
                self._connection.send(message)
            except OSError:
                os._exit(_ORPHANED)

    def _listen(self) -> None:
        while True:
            try:
                decision = self._connection.recv()
            except (EOFError, OSError):
                os._exit(_ORPHANED)
            if decision is Decision.STOP:
                self._stopped = True
            self._answered.set()


class ProcessRunner:
    """A process per trial, started from a fork server that has imported what trains but never touched CUDA.

    Make it before other threads run: for a moment the environment lacks what trials must not have.
    preload: modules that the fork server imports (`Trainable.preload`). per_gpu: workers that share a GPU. devices:
    that a training takes side by side.
    """

    def __init__(self, preload: Sequence[str] = (), per_gpu: int = 1, devices: int = 1) -> None:
        self._gpus = take_seat(seats_folder()), per_gpu, devices
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([*preload, *PRELOAD])
        # Safe path: without it the fork server, which is `python -c`, would look for modules in the working directory
        # first, and a folder there that is named as a package of ours would be taken for it.
        with _without(SECRETS), _safe_path():
            forkserver.ensure_running()

    def run(
        self, request: TrialRequest, on_epoch: Callable[[EpochReport], Decision], stop: Callable[[], bool]
    ) -> TrialEnd:
        ours, theirs = self._context.Pipe()
        # No daemon in multiprocessing's sense: a training over several devices starts processes of its own.
        process = self._context.Process(target=_train, args=(request, theirs, *self._gpus), name="trial")
        process.start()
        theirs.close()
        try:
            return self._converse(ours, on_epoch, stop) or death(process, request, stop)
        finally:
            ours.close()
            process.join(timeout=1.0)
            if process.is_alive():
                process.kill()
                process.join()

    def _converse(
        self, pipe: Connection, on_epoch: Callable[[EpochReport], Decision], stop: Callable[[], bool]
    ) -> TrialEnd | None:
        """The trial's end, or None when it ended without a word."""
        stop_since: float | None = None
        while stop_since is None or time.monotonic() - stop_since < STOP_GRACE_SECONDS:
            if stop_since is None and stop():
                stop_since = time.monotonic()
                _answer(pipe, Decision.STOP)
            try:
                if not pipe.poll(POLL_SECONDS):
                    continue
                message = pipe.recv()
            except (EOFError, ConnectionError):
                return None
            if isinstance(message, TrialEnd):
                return message
            if stop_since is None:
                goes_on = on_epoch(message) is Decision.CONTINUE
                _answer(pipe, Decision.CONTINUE if goes_on else Decision.STOP)
                if not goes_on:
                    stop_since = time.monotonic()
        return TrialEnd("stopped")

    def close(self) -> None:
        """Nothing is held between trials; the fork server ends with this process."""


class InProcessRunner:
    """The same conversation without a process, for debugging and fast tests."""

    def run(
        self, request: TrialRequest, on_epoch: Callable[[EpochReport], Decision], stop: Callable[[], bool]
    ) -> TrialEnd:
        return _fit(request, DirectReporter(Attempt(request.folder), on_epoch, stop))

    def close(self) -> None:
        """Nothing is held."""


class DirectReporter:
    """What PipeReporter is, within one process."""

    def __init__(self, attempt: Attempt, on_epoch: Callable[[EpochReport], Decision], stop: Callable[[], bool]) -> None:
        self._attempt, self._on_epoch, self._stop = attempt, on_epoch, stop
        self._decision = Decision.CONTINUE

    def report(self, report: EpochReport) -> Decision:
        if self._decision is Decision.CONTINUE:
            self._attempt.append_epoch(report)
            if self._on_epoch(report) is not Decision.CONTINUE:
                self._decision = Decision.STOP
            return Decision.CONTINUE  # the epoch is taken; STOP is seen at the next step, as in a process of its own
        return Decision.STOP

    def poll(self) -> Decision:
        return Decision.STOP if self._stop() else self._decision

    def decide(self) -> Decision:
        return self.poll()


@contextmanager
def _without(beginnings: tuple[str, ...]) -> Iterator[None]:
    """The environment lacks these variables while the block runs."""
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(beginnings)}
    try:
        yield
    finally:
        os.environ.update(hidden)


@contextmanager
def _safe_path() -> Iterator[None]:
    """Python that is started while the block runs does not look for modules in the working directory."""
    before = os.environ.get(SAFE_PATH)
    os.environ[SAFE_PATH] = "1"
    try:
        yield
    finally:
        del os.environ[SAFE_PATH]
        if before is not None:
            os.environ[SAFE_PATH] = before


def _answer(pipe: Connection, decision: Decision) -> None:
    try:
        pipe.send(decision)
    except ConnectionError:
        return  # the trial died; the next poll finds out how


def _train(request: TrialRequest, connection: Connection, seat: int, per_gpu: int, devices: int) -> None:
    """A trial process from its first line to its last."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal; the worker decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with suppress(OSError):  # a full disk will be said of something that matters more than this log
        _send_output_to(request.folder / "trial.log")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True)
    _offer_memory()
    take_gpu(seat, per_gpu, devices)
    reporter = PipeReporter(connection, Attempt(request.folder))
    reporter.end(_fit(request, reporter))
    os._exit(0)  # no interpreter shutdown: nothing is left to save, and torch's takes a while


def _offer_memory() -> None:
    with suppress(OSError):  # not on this system, or not allowed here
        Path("/proc/self/oom_score_adj").write_text(str(FIRST_VICTIM))


def _send_output_to(log: Path) -> None:
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)
    faulthandler.enable(file=2)


def _fit(request: TrialRequest, reporter: Reporter) -> TrialEnd:
    try:
        return _trained(request, reporter)
    except Exception as error:  # the boundary of the trial: nothing that it raises reaches the worker
        return failure(error, request.folder)


def _trained(request: TrialRequest, reporter: Reporter) -> TrialEnd:
    trainable = load_trainable(request.trainable)
    settings = trainable.parse(request.config)
    # Never where the trial has begun already, whatever has become of the memory since.
    if request.memory is not None and not (request.folder / LAST).exists():
        trainable.check_memory(settings, request.data, request.memory)
    return end_of(trainable.fit(settings, request.data, reporter, request.folder, seed=request.seed))
