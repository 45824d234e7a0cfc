"""MLflow's store as the tracker uses it: one experiment a campaign, runs found by tag, every write repeatable."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from requests import RequestException
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from hpo.adapters.mlflow.address import secrets_in, shown
from hpo.adapters.mlflow.quiet import (
    Dataset,
    DatasetInput,
    InputTag,
    Metric,
    MlflowClient,
    MlflowException,
    Param,
    Run,
    RunTag,
)
from hpo.domain.campaign import experiment_name
from hpo.domain.errors import StoreUnavailable
from hpo.domain.redaction import redact_text
from hpo.runs.durable import writing

MAX_METRICS = 1000
MAX_PARAMS = 100
MAX_TAGS = 100
"""MLflow's limits for one batch."""
KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Tag by which the MLflow UI shows training runs, and not what it has for language models."""
LOCK = ".tracked.lock"
LOCK_SECONDS = 60.0
ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("logged_models", "artifact_location"),
)
"""Tables and columns in which MLflow keeps where artifacts lie."""
DATABASES = ("postgresql", "sqlite", "mysql", "mssql")


@dataclass(frozen=True)
class Experiment:
    """A campaign's experiment. key tells it from one of the same number in another or a renewed store."""

    id: str
    key: str


@dataclass(frozen=True)
class Point:
    """One value of a metric. time in milliseconds since 1970."""

    name: str
    value: float
    time: int
    step: int


class Store:
    """The tracking store at `uri`. Methods may raise what MLflow raises; `answering` makes that StoreUnavailable."""

    def __init__(self, uri: str, artifact_root: Path | str | None) -> None:
        self.uri = uri
        self._artifact_root = artifact_root.resolve().as_uri() if isinstance(artifact_root, Path) else artifact_root
        self._client: MlflowClient | None = None

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Whatever the store or the artifact folder refuses becomes StoreUnavailable, without its password."""
        try:
            yield
        except (MlflowException, SQLAlchemyError, RequestException, OSError) as error:
            told = redact_text(str(error), *secrets_in(self.uri)).strip()
            said = told.splitlines()[0] if told else type(error).__name__
            raise StoreUnavailable(
                f"MLflow at {shown(self.uri)} does not take the records: {said.rstrip('.')}. "
                "The run folders hold them; `hpo sync` brings MLflow up to date later."
            ) from None  # its own words may hold the password

    @property
    def client(self) -> MlflowClient:
        """Connects at the first call. A database that is down is noticed at once; MLflow itself insists for minutes."""
        if self._client is None:
            if self._is_database:
                engine = create_engine(self.uri, poolclass=NullPool)
                engine.connect().close()
            self._client = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
        return self._client

    def experiment(self, campaign: str) -> Experiment:
        """The campaign's experiment `tiertune/<campaign>`, created or restored where need be."""
        name = experiment_name(campaign)
        found = self.client.get_experiment_by_name(name)
        if found is None:
            try:
                self.client.create_experiment(
                    name, artifact_location=self._location(campaign), tags={"tiertune.campaign": campaign, **KIND}
                )
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            found = self.client.get_experiment_by_name(name)
            assert found is not None, "an experiment that was just created"
        elif found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
        self._follow(found.artifact_location, self._location(campaign))
        return Experiment(found.experiment_id, f"{found.experiment_id}@{found.creation_time}")

    def delete_experiment(self, campaign: str) -> None:
        """Put the campaign's experiment and runs into MLflow's trash, its artifacts away if they lie on this machine.

        It is renamed: one in the trash would keep its name, and be restored with its runs by the next of that name.
        """
        name = experiment_name(campaign)
        found = self.client.get_experiment_by_name(name)
        if found is not None:
            if found.lifecycle_stage == "deleted":
                self.client.restore_experiment(found.experiment_id)
            for model in self.client.search_logged_models([found.experiment_id]):
                self.client.delete_logged_model(model.model_id)
            self.client.rename_experiment(found.experiment_id, f"{name} (deleted, {found.experiment_id})")
            self.client.delete_experiment(found.experiment_id)
        location = self._location(campaign)
        if location is not None and location.startswith("file:"):
            shutil.rmtree(_path(location), ignore_errors=True)

    def _follow(self, noted: str, here: str | None) -> None:
        """Note the new place of a campaign's artifacts where the state folder was moved with them in it: MLflow keeps
        absolute addresses and has no call to change them."""
        if here is None or noted == here or not (noted.startswith("file:") and here.startswith("file:")):
            return
        if _path(noted).exists() or not _path(here).exists():
            return
        engine = create_engine(self.uri, poolclass=NullPool)
        with engine.begin() as connection:
            for table, column in ADDRESSES:
                connection.execute(
                    text(
                        f"UPDATE {table} SET {column} = :here || substr({column}, :rest) "
                        f"WHERE substr({column}, 1, :length) IN (:noted, :below)"
                    ).bindparams(here=here, rest=len(noted) + 1, length=len(noted) + 1, noted=noted, below=f"{noted}/")
                )

    def is_there(self, run_id: str) -> bool:
        """False for a run that somebody deleted."""
        try:
            stage = self.client.get_run(run_id).info.lifecycle_stage
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return False
        return bool(stage == "active")

    def find_or_create(
        self, experiment: Experiment, key: Mapping[str, str], name: str, tags: Mapping[str, str], start: int | None
    ) -> str:
        """The id of the one run that carries the tags `key`, which are added to `tags` where it is created."""
        found = self._find(experiment, key)
        if found is not None:
            return str(found.info.run_id)
        created = self.client.create_run(experiment.id, start, {**tags, **key}, name)
        # Another machine may have done the same meanwhile: all keep the first.
        first = self._find(experiment, key)
        if first is None or first.info.run_id == created.info.run_id:
            return str(created.info.run_id)
        self.client.delete_run(created.info.run_id)
        return str(first.info.run_id)

    def log(
        self,
        run_id: str,
        metrics: Sequence[Point] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> int:
        """Write in as few batches as MLflow's limits allow; the number of items. What is there already stays one."""
        points = [Metric(point.name, point.value, point.time, point.step) for point in metrics]
        settings = [Param(name, value) for name, value in (params or {}).items()]
        marks = [RunTag(name, value) for name, value in (tags or {}).items()]
        while points or settings or marks:
            self.client.log_batch(run_id, points[:MAX_METRICS], settings[:MAX_PARAMS], marks[:MAX_TAGS])
            points, settings, marks = points[MAX_METRICS:], settings[MAX_PARAMS:], marks[MAX_TAGS:]
        return len(metrics) + len(params or {}) + len(tags or {})

    def log_dataset(self, run_id: str, dataset: Dataset) -> None:
        """What the run is trained on; said twice it is there once."""
        context = InputTag("mlflow.data.context", "training")
        self.client.log_inputs(run_id, [DatasetInput(dataset, [context])])

    def set_status(self, run_id: str, status: str, end: int | None = None) -> None:
        """end: milliseconds since 1970, for a status that ends the run; None: now."""
        if status in ("RUNNING", "SCHEDULED"):
            self.client.update_run(run_id, status)
        else:
            self.client.set_terminated(run_id, status, end)

    def log_folder(self, run_id: str, folder: Path) -> int:
        """The files of a folder as the run's artifacts; those of the same name are replaced."""
        self.client.log_artifacts(run_id, str(folder))
        return len(list(folder.iterdir()))

    def log_file(self, run_id: str, file: Path, folder: str) -> None:
        """A file as the run's artifact in one of its folders; one of the same name is replaced."""
        self.client.log_artifact(run_id, str(file), folder)

    def _find(self, experiment: Experiment, key: Mapping[str, str]) -> Run | None:
        condition = " and ".join(f"tags.`{name}` = '{value}'" for name, value in key.items())
        found = self.client.search_runs(
            [experiment.id], condition, max_results=1, order_by=["attributes.start_time ASC", "attributes.run_id ASC"]
        )
        return found[0] if found else None

    def _location(self, campaign: str) -> str | None:
        return f"{self._artifact_root}/{campaign}" if self._is_database and self._artifact_root else None

    @property
    def _is_database(self) -> bool:
        return self.uri.startswith(DATABASES)


def _path(uri: str) -> Path:
    return Path(url2pathname(urlsplit(uri).path))


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock: one process at a time projects it, and a killed one lets go.

    Raises StoreUnavailable where another process holds it for longer than a minute.
    """
    path = folder / LOCK
    with writing(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise StoreUnavailable(
                        f"another process has been writing to MLflow for a minute ({path})"
                    ) from None
                time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)
