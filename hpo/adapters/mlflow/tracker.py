"""The tracker on MLflow: run folders become runs below the campaign's, the champion a registered model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from hpo.adapters.mlflow.projection import Projection
from hpo.adapters.mlflow.records import report_metrics, report_tags
from hpo.adapters.mlflow.registry import register, unregister
from hpo.adapters.mlflow.store import Store, locked
from hpo.domain.campaign import Campaign
from hpo.runs.durable import read_json


class MLflowTracker:
    """The Tracker on MLflow.

    Args:
        uri: a database (`postgresql+psycopg2://` with its search_path on MLflow's schema, `sqlite:///`) or anything
            else MLFLOW_TRACKING_URI may be.
        artifact_root: folder or artifact URI below which each campaign's artifacts go, where the store is a database;
            a tracking server has its own.
        study_id: of the campaign's study in optuna-dashboard, for links to it; None where there is none.

    Several trackers in several processes may work on one campaign at once.
    """

    def __init__(
        self,
        uri: str,
        artifact_root: Path | str | None = None,
        study_id: Callable[[Campaign], int | None] = lambda campaign: None,
    ) -> None:
        self._uri, self._artifact_root, self._study_id = uri, artifact_root, study_id
        self.close()

    def sync(self, campaign: Campaign, runs: Path) -> int:
        """See `Tracker.sync`. Where nothing changed it only looks at sizes and times of files."""
        if not runs.exists():
            return 0
        with self._store.answering():
            return self._projection(campaign, runs).sync(campaign)

    def register_champion(self, campaign: Campaign, run_folder: Path, model: Path, *, recommended: bool) -> str | None:
        """See `Tracker.register_champion`. A checkpoint is registered once; the alias never moves back."""
        runs = run_folder.parent.parent
        with self._store.answering():
            projection = self._projection(campaign, runs)
            projection.sync(campaign)
            with locked(runs):
                # A committee is the campaign's, and no single trial's.
                is_committee = campaign.crowned is not None and campaign.crowned.is_committee
                run_id = projection.campaign_run_id() if is_committee else projection.run_id(run_folder.parent)
                return register(self._store, projection.experiment, campaign, run_id, model, recommended=recommended)

    def attach_report(self, campaign: Campaign, runs: Path, files: Sequence[Path]) -> None:
        """See `Tracker.attach_report`. They are artifacts of the campaign's run, in its folder `report`; its
        figures become metrics, its verdict a tag."""
        with self._store.answering():
            projection = self._projection(campaign, runs)
            projection.sync(campaign)
            run_id = projection.campaign_run_id()
            for file in files:
                self._store.log_file(run_id, file, "report")
                if file.suffix == ".json":
                    report = read_json(file)
                    self._store.log(run_id, metrics=report_metrics(report), tags=report_tags(report))

    def delete(self, campaign: Campaign, runs: Path) -> None:
        """See `Tracker.delete`. The registered model and its versions go for good; the experiment with its runs goes
        to MLflow's own trash, which `mlflow gc` empties, under another name."""
        with self._store.answering():
            unregister(self._store, campaign)
            self._store.delete_experiment(campaign.name)
        self.close()

    def address(self, campaign: Campaign, runs: Path, slot: int | None) -> str | None:
        """Where the MLflow UI shows the slot's run, or the campaign's where slot is None; None before it was synced."""
        with self._store.answering():
            return self._projection(campaign, runs).address(slot)

    def close(self) -> None:
        """Forget the connection and all that was seen; a later call starts anew."""
        self._store = Store(self._uri, self._artifact_root)
        self._projections: dict[Path, Projection] = {}

    def _projection(self, campaign: Campaign, runs: Path) -> Projection:
        if runs not in self._projections:
            experiment = self._store.experiment(campaign.name)
            self._projections[runs] = Projection(self._store, experiment, runs, self._study_id(campaign))
        return self._projections[runs]
