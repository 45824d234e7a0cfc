"""The composition root: the only file that picks adapters.

Optuna, MLflow and whatever trains are imported where they are needed: `hpo status` waits for none of them.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo.adapters import artifacts
from hpo.adapters.dashboard.trackers import Trackers
from hpo.adapters.engines.local import LocalEngine
from hpo.adapters.engines.ray import RayEngine
from hpo.adapters.engines.slurm import SlurmEngine
from hpo.adapters.ledger.postgres_ledger import PostgresLedger
from hpo.adapters.mlflow.address import shown, tracking_uri
from hpo.adapters.postgres.database import Database, open_database, prepare_mlflow
from hpo.adapters.postgres.embedded import EmbeddedPostgres
from hpo.adapters.processes import host as processes
from hpo.adapters.processes.clock import SystemClock
from hpo.domain.campaign import Campaign
from hpo.domain.errors import UsageError
from hpo.domain.redaction import redact_error
from hpo.usecases.host import Host
from hpo.usecases.records import Records, Stores

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

    from hpo.adapters.mlflow.single import Recorded
    from hpo.adapters.notices import Notices
    from hpo.domain.config import SearchConfig
    from hpo.domain.ports import ArtifactStore, Engine, Ledger, Tracker
    from hpo.engine.worker import Worker
    from hpo.usecases.session import Machine
    from search_spaces import Space


MAX_HOME = 3072
"""Bytes: a path has at most 4096 on Linux, and the longest file of a campaign follows the state folder."""
MAX_SHOWN = 120
_UNUSABLE = {"Cc": "a control character", "Cs": "bytes that are not UTF-8", "Zl": "a line separator"}


def home_folder() -> Path:
    """The state folder: HPO_HOME, or `.hpo` in the current folder.

    Raises:
        UsageError: no folder of that name can serve.
    """
    try:
        home = Path(os.environ.get("HPO_HOME") or ".hpo").expanduser().absolute()
        unusable = next(filter(None, (_UNUSABLE.get(unicodedata.category(letter)) for letter in str(home))), None)
        if unusable is None and len(os.fsencode(home)) > MAX_HOME:
            unusable = f"more than {MAX_HOME} bytes"
        home.exists()  # asks the system whether each part is short enough
    except (OSError, RuntimeError) as error:  # RuntimeError: `~name` of a user that does not exist
        unusable = error.strerror.lower() if isinstance(error, OSError) and error.strerror else "no such user after ~"
    if unusable is None:
        return home
    shown = ascii(os.environ.get("HPO_HOME", os.getcwd()))
    raise UsageError(
        f"HPO_HOME cannot be used ({unusable}): {shown[:MAX_SHOWN]}{'...' * (len(shown) > MAX_SHOWN)}; "
        "name another folder."
    )


def open_notices() -> Notices | None:
    """Who is told how a campaign ended: HPO_NOTIFY, which is taken out of the environment, as it holds passwords."""
    addresses = os.environ.pop("HPO_NOTIFY", "").strip()
    if not addresses:
        return None
    from hpo.adapters.notices import Notices

    return Notices(addresses)


@dataclass(frozen=True)
class App:
    """One process's adapters, each made when it is first asked for. A use case is given those that it needs."""

    home: Path
    database: Database

    @cached_property
    def ledger(self) -> Ledger:
        return PostgresLedger(self.database.url)

    @property
    def records(self) -> Records:
        return Records(self.home, self.ledger, artifacts=self.artifacts)

    @property
    def stores(self) -> Stores:
        return Stores(self.home, self.ledger, self.storage, self.tracker, artifacts=self.artifacts)

    @cached_property
    def artifacts(self) -> ArtifactStore | None:
        """Where run folders are uploaded to: HPO_ARTIFACTS."""
        url = artifacts.location()
        return None if url is None else artifacts.FsspecStore(url)

    @cached_property
    def storage(self) -> BaseStorage:
        from hpo.adapters.optuna.study_storage import study_storage

        return study_storage(self.database.url)

    @cached_property
    def tracker(self) -> Tracker:
        return Trackers(self._trackers)

    def _trackers(self) -> Sequence[Tracker]:
        from hpo.adapters.dashboard.campaign_studies import CampaignStudies
        from hpo.adapters.dashboard.pages import FILES, DashboardPages
        from hpo.adapters.mlflow.tracker import MLflowTracker
        from hpo.adapters.optuna.study_storage import study_storage

        uri = tracking_uri() or self.database.url_for("mlflow")
        # A storage of its own: the one that trials use has few connections, and nobody waits for a note.
        studies = CampaignStudies(lambda: study_storage(self.database.url))
        mlflow = MLflowTracker(uri, self.home / "mlflow-artifacts", studies.study_id)
        return mlflow, DashboardPages(studies, self.home / FILES, mlflow.address)

    def record_single(self, folder: Path, register: str | None) -> Recorded:
        """Write a single training of the trainer into MLflow (see `adapters.mlflow.single`)."""
        from hpo.adapters.mlflow.single import record
        from hpo.adapters.mlflow.store import Store
        from hpo.domain.campaign import DEFAULT_TRAINABLE
        from hpo.trainable.loading import load_trainable

        self.prepare_tracking()
        store = Store(tracking_uri() or self.database.url_for("mlflow"), self.home / "mlflow-artifacts")
        return record(store, folder, load_trainable(DEFAULT_TRAINABLE), register)

    @property
    def host(self) -> Host:
        return Host(processes.is_dead, processes.num_threads, processes.available_memory, device_of)

    @property
    def machine(self) -> Machine:
        from hpo.usecases.session import Machine

        return Machine(
            SystemClock(),
            self.database.revive,
            partial(engine_of, self.home),
            partial(build_worker, self.records, self.storage),
            self.host,
        )

    def prepare_tracking(self) -> str:
        """Make the tracking store ready; where it is, without its password."""
        given = tracking_uri()
        if given:
            return f"MLflow at {shown(given)} (MLFLOW_TRACKING_URI)"
        prepare_mlflow(self.database.url)
        return f"MLflow in the same database, artifacts in {self.home / 'mlflow-artifacts'}"


@contextmanager
def open_app(home: Path | None = None, was_there: bool = False) -> Iterator[App]:
    """The application with its database up and migrated; connections are given back at the end.

    was_there: somebody has just reached the database, so that one that does not answer is restarting and waited for.

    Raises:
        UsageError: an unusable HPO_HOME, HPO_DATABASE_URL, MLFLOW_TRACKING_URI or HPO_ARTIFACTS.
        EnvironmentFault: the database cannot be started or reached.
    """
    folder = home or home_folder()
    tracking_uri()
    artifacts.location()
    with open_database(folder, os.environ.get("HPO_DATABASE_URL"), was_there) as database:
        app = App(folder, database)
        try:
            yield app
        finally:
            opened = vars(app)  # cached properties live here once they were asked for
            if "tracker" in opened:
                app.tracker.close()
            if "ledger" in opened:
                app.ledger.close()
            if "storage" in opened:
                app.storage.remove_session()


def embedded_database(action: str) -> str:
    """Start, stop or describe the embedded server; what happened, in a sentence."""
    if os.environ.get("HPO_DATABASE_URL"):
        raise UsageError("HPO_DATABASE_URL names a server of your own: there is no embedded database to manage.")
    server = EmbeddedPostgres(home_folder())
    if action == "start":
        server.keep()
        return "The embedded database is up, and stays up until `hpo db stop`."
    if action == "stop":
        return "The embedded database is stopped." if server.stop() else "The embedded database was not running."
    return f"The embedded database is {'up' if server.is_running() else 'down'}."


def serve(app: App, which: str, host: str, port: int | None, say: Callable[[str], None]) -> None:
    """Serve a user interface on the database until interrupted. UsageError, EnvironmentFault: it cannot be served."""
    from hpo.adapters.dashboard import servers

    servers.serve(which, app.database, app.home, host, port, say)


def build_worker(
    records: Records,
    storage: BaseStorage,
    campaign: Campaign,
    config: SearchConfig,
    space: Space,
    data: Path,
    code: str,
    drain: threading.Event,
) -> Worker:
    """A worker of this process on the campaign.

    code: the fingerprint of the code that trains here. The number of threads is settled here, so that a trial's
    resolved configuration gives the same bits when it is trained again; and so is a trial's share of the memory,
    before any trial takes some.
    """
    from hpo.adapters.processes.runners import ProcessRunner
    from hpo.engine.objective import Objective
    from hpo.engine.uploads import StoredUploads
    from hpo.engine.worker import Worker
    from hpo.trainable.loading import libraries, load_trainable

    trainable = load_trainable(config.trainable)
    settings = trainable.plain(trainable.on_machine(trainable.parse(config.trainer), processes.num_threads()))
    worker = config.worker
    if worker.trial_memory is None:
        worker = worker.model_copy(update={"trial_memory": processes.available_memory() // worker.num_workers})
    config = config.model_copy(update={"trainer": settings, "worker": worker})
    identity, stored = processes.this_process(), records.stored(campaign)
    devices = trainable.num_devices(trainable.parse(settings))
    preload = [*trainable.preload, *libraries(config.trainable)]
    runner = ProcessRunner(preload, config.worker.per_gpu, devices)
    uploads = None if stored is None else StoredUploads(stored, records.ledger, identity, config.worker.upload_lag)
    objective = Objective(
        campaign,
        config,
        space,
        trainable,
        records.ledger,
        storage,
        runner,
        data,
        records.runs(campaign.name),
        identity,
        code,
        uploads=uploads,
    )
    return Worker(
        records.ledger,
        objective,
        campaign,
        identity,
        config.worker,
        SystemClock(),
        processes.is_dead,
        drain,
    )


def device_of(config: SearchConfig) -> str | None:
    """What a training would run on here. Asked in a process of its own: a worker imports no torch and opens no GPU."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:
        return apart.submit(_describe_device, config.trainable, config.trainer).result()


def _describe_device(trainable_name: str, settings: Mapping[str, Any]) -> str | None:
    from hpo.trainable.loading import load_trainable

    trainable = load_trainable(trainable_name)
    return trainable.describe_device(trainable.parse(settings))


def engine_of(home: Path, config: SearchConfig) -> Engine:
    """Where the campaign's workers run. UsageError: what such an engine needs is not installed."""
    logs, worker = home / "logs" / config.study, config.worker
    if worker.engine == "slurm":
        return SlurmEngine(worker_command(config), logs=logs, home=home, name=config.study, options=worker.sbatch)
    supervised = [*worker_command(config), "--supervised"]
    if worker.engine == "ray":
        from hpo.usecases.campaigns import trainable_of

        trainable, settings = trainable_of(config)
        gpus = trainable.num_devices(settings) / worker.per_gpu
        return RayEngine(supervised, logs=logs, home=home, gpus=gpus, options=worker.ray)
    return LocalEngine(supervised, logs=logs, home=home, num_workers=config.worker.num_workers)


def worker_command(config: SearchConfig) -> Sequence[str]:
    """The program that a worker is, wherever it runs."""
    settings = [f"study={config.study}", *worker_overrides(config)]
    # -P: a folder in the working directory that is named `hpo` or `trainer` is not ours.
    return [sys.executable, "-P", "-m", "hpo", "worker", *settings]


def worker_overrides(config: SearchConfig) -> Sequence[str]:
    """Run-time settings that a worker must share with its supervisor."""
    settings = config.worker.model_dump(mode="json", exclude={"timeout", "engine", "sbatch", "ray"})
    return [f"worker.{name}={'null' if value is None else value}" for name, value in settings.items()]


class _Discreet(logging.Formatter):
    """Log lines and their tracebacks without passwords."""

    def format(self, record: logging.LogRecord) -> str:
        return redact_error(super().format(record))


def log_to(file: Path | None) -> None:
    """Send the library's log lines to a file, or to stderr."""
    handler: logging.Handler = logging.StreamHandler() if file is None else logging.FileHandler(file)
    handler.setFormatter(_Discreet("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger("hpo")
    root.addHandler(handler)
    root.setLevel(logging.INFO)
