"""Workers as actors of a Ray cluster: each keeps one `hpo worker` process on the node where Ray has put it."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo.adapters.engines.local import LocalEngine
from hpo.adapters.engines.logs import last_lines, log_file
from hpo.domain.errors import EnvironmentFault, UsageError
from hpo.engine.supervisor import ENVIRONMENT, INTERRUPTED

POLL_SECONDS = 2.0
"""Ray is asked no more often which nodes are to go."""

CALL_SECONDS = 20.0
"""How long a call of an actor may take that only looks at its process."""

TRAVELS = ("HPO_", "MLFLOW_", "PG", "AWS_", "OMP_")
"""Variables of the command that a worker is given wherever it runs, by how they begin. They are arguments of the actor:
Ray shows the variables of a `runtime_env` to everybody who sees its dashboard, and these hold passwords."""

OURS = {"max_restarts": 0, "max_task_retries": 0, "max_concurrency": 8, "lifetime": None}
"""Options of the actor that follow from what the supervisor does: it alone replaces workers."""

KEPT = {"RAY_kill_child_processes_on_worker_exit": "false"}
"""A worker outlives its actor by as long as it takes to drain: its standard input has closed."""


class Place:
    """The actor: an engine for one worker, on the node where it was put."""

    def __init__(
        self, number: int, command: Sequence[str], logs: Path, home: Path, variables: Mapping[str, str], folder: Path
    ) -> None:
        """command: without the interpreter, which is the node's own. folder: where the command was given, if it is
        there on the node too."""
        os.environ.update(variables)
        if folder.is_dir():
            os.chdir(folder)
        self._number = number
        self._engine = LocalEngine([sys.executable, *command], logs=logs, home=home, num_workers=1)
        self._engine.start([number])

    def node(self) -> str:
        """Of Ray's, by its identity."""
        import ray

        return str(ray.get_runtime_context().get_node_id())

    def wait(self) -> tuple[int, str]:
        """Until the worker has ended: its exit code, negative for a signal, and its last words."""
        while (code := self._engine.poll()[self._number]) is None:
            time.sleep(0.1)
        return code, self.last_words()

    def drain(self) -> None:
        self._engine.drain()

    def kill(self) -> None:
        self._engine.kill()

    def last_words(self) -> str:
        return self._engine.last_words(self._number)


@dataclass
class Seat:
    """What the driver knows of one worker. ready: the call that answers once it has begun; end: when it has ended."""

    actor: Any
    ready: Any
    end: Any
    node: str | None = None
    is_asked: bool = False
    code: int | None = None
    words: str | None = None


class RayEngine:
    """One actor per worker. An actor that is lost, with its node or alone, has ended; the supervisor starts another,
    which Ray puts where there is room. A node that Ray drains, because it will be taken away, drains its workers."""

    def __init__(
        self, command: Sequence[str], *, logs: Path, home: Path, gpus: float, options: Mapping[str, Any]
    ) -> None:
        """command: what a worker runs, Python first. gpus: that a worker takes, where the cluster has any.
        options: further ones for Ray's actors, as `ActorClass.options` takes them.

        Raises:
            UsageError: Ray is not installed, or refuses an option.
        """
        try:
            import ray
        except ImportError:
            raise UsageError(
                "worker.engine=ray needs Ray here and on every node of the cluster: pip install 'tiertune[ray]'."
            ) from None
        taken = sorted(OURS.keys() & options.keys())
        if taken:
            raise UsageError(f"worker.ray.{taken[0]} is settled by the search itself; leave it out.")
        self._ray: Any = ray
        self._command, self._logs, self._home, self._gpus = command[1:], logs, home, gpus
        self._options = {"num_cpus": 1, "scheduling_strategy": "SPREAD", **options, **OURS}
        runtime = dict(options.get("runtime_env", {}))
        self._options["runtime_env"] = {**runtime, "env_vars": {**KEPT, **runtime.get("env_vars", {})}}
        try:
            ray.remote(Place).options(**self._options)
        except (TypeError, ValueError) as error:
            raise UsageError(f"worker.ray: Ray refuses the options {dict(options)}: {error}") from None
        self._seats: dict[int, Seat] = {}
        self._looked = -POLL_SECONDS

    def start(self, numbers: Iterable[int]) -> None:
        self._connect()
        options = dict(self._options)
        if "num_gpus" not in options and self._ray.cluster_resources().get("GPU", 0) > 0:
            options["num_gpus"] = self._gpus
        place = self._ray.remote(Place).options(**options)
        variables = {name: value for name, value in os.environ.items() if name.startswith(TRAVELS)}
        for number in numbers:
            actor = place.remote(number, self._command, self._logs, self._home, variables, Path.cwd())
            self._seats[number] = Seat(actor, actor.node.remote(), actor.wait.remote())

    def poll(self) -> Mapping[int, int | None]:
        alive = {number: seat for number, seat in self._seats.items() if seat.code is None}
        if alive:
            for seat in alive.values():
                self._look_at(seat)
            self._heed_notices([seat for seat in alive.values() if seat.code is None])
        return {number: seat.code for number, seat in self._seats.items()}

    def drain(self) -> None:
        for seat in self._seats.values():
            if seat.code is None and self._is_over(seat.ready):
                seat.actor.drain.remote()
            elif seat.code is None:
                self._ray.kill(seat.actor)

    def kill(self) -> None:
        for seat in self._seats.values():
            if seat.code is None and self._is_over(seat.ready):
                seat.actor.kill.remote()
            elif seat.code is None:
                self._ray.kill(seat.actor)

    def last_words(self, number: int) -> str:
        seat = self._seats.get(number)
        if seat is None:
            return ""
        if seat.code is None and self._is_over(seat.ready):
            try:
                return str(self._ray.get(seat.actor.last_words.remote(), timeout=CALL_SECONDS))
            except self._ray.exceptions.RayError:
                pass
        return seat.words or last_lines(log_file(self._logs, number))

    def _connect(self) -> None:
        """To the cluster that RAY_ADDRESS names, or that runs on this machine."""
        if self._ray.is_initialized():
            return
        where = os.environ.get("RAY_ADDRESS", "")
        if where.startswith("ray://"):
            raise UsageError(
                "RAY_ADDRESS names a server of Ray Client, which the search does not use; start it on a node of the "
                "cluster, without RAY_ADDRESS or with RAY_ADDRESS=HOST:6379."
            )
        try:
            _knock(where)
            with _own_signals():
                self._ray.init(address="auto", log_to_driver=False, logging_level="ERROR")
        except (OSError, RuntimeError, ValueError) as error:
            raise EnvironmentFault(
                f"worker.engine=ray finds no Ray cluster{f' at {where}' * bool(where)}; start this on one of its nodes "
                f"(`ray start`), or set RAY_ADDRESS=HOST:6379. The reason: {str(error).strip().splitlines()[0]}"
            ) from None

    def _is_over(self, call: Any) -> bool:
        return bool(self._ray.wait([call], timeout=0)[0])

    def _look_at(self, seat: Seat) -> None:
        """Notice that the worker has ended, or that its actor is lost."""
        if not self._is_over(seat.end):
            return
        errors = self._ray.exceptions
        try:
            code, seat.words = self._ray.get(seat.end)
        except errors.ActorUnavailableError:  # it may live: asked again, it answers, or is dead
            seat.end = seat.actor.wait.remote()
            return
        except errors.RayActorError as error:
            code, seat.words = self._lost(error)
        # A node that goes ends its workers as a scheduler does at a time limit.
        seat.code = INTERRUPTED if seat.is_asked and code <= 0 else code
        seat.actor = None  # nobody holds it now: Ray ends it

    def _lost(self, error: Any) -> tuple[int, str | None]:
        """The exit code and last words of a worker whose actor ended before it."""
        said = str(error).strip()
        if error.actor_init_failed:
            return ENVIRONMENT, f"It could not be started on its node: {said.splitlines()[-1]}"
        return INTERRUPTED if error.preempted else -signal.SIGKILL, None

    def _heed_notices(self, seats: Sequence[Seat]) -> None:
        """Drain the workers of nodes that are about to be taken away."""
        if time.monotonic() - self._looked < POLL_SECONDS:
            return
        self._looked = time.monotonic()
        going = self._ray._private.state.state.get_draining_nodes()  # what Ray Train asks; there is no public way
        for seat in seats if going else ():
            if seat.node is None and self._is_over(seat.ready):
                try:
                    seat.node = self._ray.get(seat.ready)
                except self._ray.exceptions.RayError:
                    continue
            if seat.node in going and not seat.is_asked:
                seat.is_asked = True
                seat.actor.drain.remote()


def _knock(address: str) -> None:
    """OSError where nobody listens at HOST:PORT: Ray itself would go on trying for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=CALL_SECONDS).close()


@contextmanager
def _own_signals() -> Iterator[None]:
    """Ray makes SIGTERM end the process at once; here it is a request to stop."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
