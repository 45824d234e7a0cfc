"""Serves optuna-dashboard and the MLflow UI on our database; no URL with a password ever stands on a command line."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from hpo.adapters.dashboard.links import PORTS
from hpo.adapters.optuna.study_storage import study_storage
from hpo.adapters.postgres.database import Database, prepare_mlflow
from hpo.domain.errors import EnvironmentFault, UsageError

POOL = "MLFLOW_SQLALCHEMYSTORE_"
"""Settings that keep a tracker's connections few; a server needs more."""
GRACE_SECONDS = 5.0
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def serve(which: str, database: Database, home: Path, host: str, port: int | None, say: Callable[[str], None]) -> None:
    """Serve until interrupted; say: where the address goes.

    Raises:
        UsageError: MLflow's records are elsewhere. EnvironmentFault: the port is taken.
    """
    number = port or PORTS[which]
    if host not in LOOPBACK:
        say(f"Warning: on {host} everybody who can reach this machine can read and change your studies.")
    _check_port(host, number)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    say(f"{which}: http://{host}:{number} (Ctrl-C ends it)")
    {"optuna": _serve_optuna, "mlflow": _serve_mlflow}[which](database, home, host, number)


def _check_port(host: str, port: int) -> None:
    """Said before anything slow is started, and in the same words for both servers."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise EnvironmentFault(f"Cannot listen on {host}:{port}: {reason}; choose another --port.") from None


def _serve_optuna(database: Database, home: Path, host: str, port: int) -> None:
    from optuna.artifacts import FileSystemArtifactStore
    from optuna_dashboard import run_server

    from hpo.adapters.dashboard.pages import FILES

    files = home / FILES
    files.mkdir(parents=True, exist_ok=True)
    run_server(study_storage(database.url), host=host, port=port, artifact_store=FileSystemArtifactStore(files))


def _serve_mlflow(database: Database, home: Path, host: str, port: int) -> None:
    elsewhere = os.environ.get("MLFLOW_TRACKING_URI")
    if elsewhere:
        raise UsageError("MLFLOW_TRACKING_URI is set: this search's records are there; open that server's own pages.")
    prepare_mlflow(database.url)
    own = {name: value for name, value in os.environ.items() if not name.startswith(POOL)}
    environment = {
        **own,
        "PYTHONSAFEPATH": "1",  # its workers too: a folder that is named as a package is not that package
        "MLFLOW_BACKEND_STORE_URI": database.url_for("mlflow"),
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": (home / "mlflow-artifacts").as_uri(),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # ten processes for features that nobody uses here
    }
    command = [sys.executable, "-P", "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"]
    # A session of its own, so that all of its processes can be ended together, however we are asked to end.
    server = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        code = server.wait()
    finally:
        _end(server)
    if code:
        raise EnvironmentFault(f"The MLflow server ended by itself with exit code {code}; what it said stands above.")


def _end(server: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        with suppress(subprocess.TimeoutExpired):
            server.wait(GRACE_SECONDS)
