"""What optuna-dashboard shows beside Optuna's own records: notes with links, files of each trial, the report."""

from __future__ import annotations

import csv
import io
import json
import logging
import mimetypes
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta, upload_artifact
from optuna.artifacts._upload import ARTIFACTS_ATTR_PREFIX, ArtifactMeta
from optuna.storages import BaseStorage

from hpo.adapters.dashboard.pictures import learning_curve
from hpo.domain.campaign import Campaign
from hpo.runs.durable import encode, read_json
from hpo.runs.entries import EpochRecord, Result
from hpo.runs.folder import Attempt, SlotFolder, runs

FILES = "optuna-artifacts"
"""The folder below HPO_HOME that `optuna-dashboard --artifact-dir` takes."""

RULE = "\n\n---\n\n"
"""Parts the campaign's result, which is ours to renew, from the rest of a study's note."""

_TRIAL_FILES = "dashboard:artifacts:"
"""Beginning of the study attributes in which the dashboard looks for the files of trials."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _TrialPage:
    """A trial as notes are written to: `optuna.Trial` itself would draw parameters."""

    storage: BaseStorage
    study: optuna.Study
    _trial_id: int


class DashboardPages:
    """A Tracker that writes to Optuna's storage and a folder of files, never to what Optuna itself reads.

    Decoration: nothing here raises. What fails is logged, once, and tried again at the next pass.

    Args:
        storage: called when first needed. files: folder of the files' contents.
        run_address: (campaign, its runs, slot) -> where MLflow shows the slot's run, None while it does not.
    """

    def __init__(
        self,
        storage: Callable[[], BaseStorage],
        files: Path,
        run_address: Callable[[Campaign, Path, int], str | None],
    ) -> None:
        self._storage, self._files, self._run_address = storage, files, run_address
        self._problem: str | None = None
        self.close()

    def sync(self, campaign: Campaign, folder: Path) -> int:
        """A note for every trial that began, and the files of those that ended; the number of items written."""
        num_written = 0
        for slot in runs(folder):
            with self._never_in_the_way():
                num_written += self._sync_slot(campaign, folder, slot)
        return num_written

    def attach_report(self, campaign: Campaign, folder: Path, files: Sequence[Path]) -> None:
        """The report's files, with pictures of its key charts, at the last study; its verdict in the note of each."""
        with self._never_in_the_way():
            studies = [study for study in map(self._study, _study_names(campaign)) if study is not None]
            report = next((read_json(file) for file in files if file.suffix == ".json"), None)
            if not studies or report is None:
                return
            for file in files:
                self._put_file(studies[-1], file)
            slot = (campaign.champion or {}).get("slot")
            address = None if slot is None else self._run_address(campaign, folder, slot)
            for study in studies:
                _renew_result(study, _result_note(report, slot, address, studies[-1].study_name))
                self._decorate_copies(study, SlotFolder(folder, slot or 1).current(), address)

    def register_champion(self, campaign: Campaign, run_folder: Path, model: Path, *, recommended: bool) -> str | None:
        """Optuna has no registry: None."""
        return None

    def delete(self, campaign: Campaign, folder: Path) -> None:
        """The files of its studies and their trials; the studies themselves are Optuna's."""
        for study in filter(None, map(self._study, _study_names(campaign))):
            for key, value in study._storage.get_study_system_attrs(study._study_id).items():
                if key.startswith((ARTIFACTS_ATTR_PREFIX, _TRIAL_FILES)):
                    (self._files / json.loads(value)["artifact_id"]).unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Forget the connection and all that was seen; a later call starts anew."""
        self._opened: BaseStorage | None = None
        self._seen: dict[tuple[str, int], tuple[int, bool]] = {}
        self._studies: dict[str, optuna.Study] = {}

    @contextmanager
    def _never_in_the_way(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # whatever it is, a note is not worth a search
            problem = f"{type(error).__name__}: {error}".splitlines()[0]
            if problem != self._problem:
                logger.warning("optuna-dashboard lacks some notes and files (%s); `hpo sync` tries again", problem)
            self._problem = problem

    def _sync_slot(self, campaign: Campaign, folder: Path, slot: SlotFolder) -> int:
        key = (campaign.name, slot.slot)
        if self._seen.get(key, (0, False))[1]:
            return 0
        attempt = slot.current()
        result = None if attempt is None else attempt.result()
        if attempt is None or self._seen.get(key) == (attempt.fence, result is not None):
            return 0
        num_written = self._decorate(attempt, result, self._run_address(campaign, folder, slot.slot))
        self._seen[key] = (attempt.fence, result is not None)
        return num_written

    def _decorate(self, attempt: Attempt, result: Result | None, address: str | None) -> int:
        run = attempt.run()
        study = self._study(run["study_name"])
        if study is None:
            return 0
        trial_id = study._storage.get_trial_id_from_study_id_trial_number(study._study_id, run["trial_number"])
        return self._decorate_trial(study, trial_id, attempt, result, address)

    def _decorate_copies(self, study: optuna.Study, champion: Attempt | None, address: str | None) -> None:
        """The champion where a later tier was given a copy of it: there it is what people look at."""
        if champion is None:
            return
        slot = champion.run()["slot"]
        for trial in study.get_trials(deepcopy=False):
            if trial.user_attrs.get("slot") == slot and "copied_from" in trial.user_attrs:
                self._decorate_trial(study, trial._trial_id, champion, champion.result(), address)

    def _decorate_trial(
        self, study: optuna.Study, trial_id: int, attempt: Attempt, result: Result | None, address: str | None
    ) -> int:
        run, storage = attempt.run(), study._storage
        ours = [trial_note(run, said, link) for said in (result, None) for link in (address, None)]
        num_written = int(_write_note(_TrialPage(storage, study, trial_id), ours[0], in_place_of=ours))
        if result is None:
            return num_written
        present = storage.get_study_system_attrs(study._study_id)
        for name, content in trial_files(attempt):
            identity = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{run['study_name']}#{run['trial_number']}/{name}"))
            # Optuna closes a trial's own attributes with the trial; the dashboard reads these as well.
            key = f"{_TRIAL_FILES}{trial_id}:{identity}"
            if key in present:
                continue
            self._store().write(identity, io.BytesIO(content))
            kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
            meta = ArtifactMeta(artifact_id=identity, filename=name, mimetype=kind, encoding=None)
            storage.set_study_system_attr(study._study_id, key, json.dumps(asdict(meta)))
            num_written += 1
        return num_written

    def _put_file(self, study: optuna.Study, file: Path) -> None:
        """A file of the study; one of the same name gets its content."""
        for meta in get_all_artifact_meta(study):
            if meta.filename == file.name:
                with file.open("rb") as content:
                    self._store().write(meta.artifact_id, content)
                return
        upload_artifact(artifact_store=self._store(), file_path=str(file), study_or_trial=study)

    def _store(self) -> FileSystemArtifactStore:
        self._files.mkdir(parents=True, exist_ok=True)
        return FileSystemArtifactStore(self._files)

    def _study(self, name: str) -> optuna.Study | None:
        """None for one that is not there (yet)."""
        if name not in self._studies:
            try:
                self._opened = self._opened or self._storage()
                self._studies[name] = optuna.load_study(study_name=name, storage=self._opened)
            except KeyError:
                return None
        return self._studies[name]


def trial_note(run: Mapping[str, Any], result: Result | None, address: str | None) -> str:
    """Markdown for whoever opens a trial. run: its run.json; address: of its run in MLflow."""
    lines = [f"**Trial {run['slot']}** of the campaign **{run['campaign']}**, tier {run['tier_name']}"]
    if result is not None:
        score = "" if result.score is None else f", score {result.score:+.4f}"
        lines.append(f"{result.outcome}{score}{f': {result.reason}' if result.reason else ''}")
    if address:
        lines.append(f"[Its run in MLflow]({address}) (with `hpo dashboard mlflow` up)")
    return "\n\n".join(lines)


def trial_files(attempt: Attempt) -> Iterator[tuple[str, bytes]]:
    """(name, content) of what a finished trial shows: its curve, its epochs as a table, its resolved configuration."""
    records = attempt.epochs()
    if records:
        yield "learning_curve.svg", learning_curve(records, attempt.run())
        yield "epochs.csv", epochs_table(records)
    yield "config.json", encode(attempt.config())


def epochs_table(records: Sequence[EpochRecord]) -> bytes:
    """CSV, a row per epoch: epoch, score, seconds, and every metric."""
    text = io.StringIO()
    names = list(dict.fromkeys(name for record in records for name in record.metrics))
    table = csv.DictWriter(text, ["epoch", "score", "seconds", *names], lineterminator="\n")
    table.writeheader()
    for record in records:
        table.writerow({"epoch": record.epoch, "score": record.score, "seconds": record.seconds, **record.metrics})
    return text.getvalue().encode()


def _result_note(report: Mapping[str, Any], slot: int | None, address: str | None, last_study: str) -> str:
    sentence = str(report["verdict"])
    lines = [f"**{sentence[0].upper()}{sentence[1:]}.**"]
    if slot is not None:
        lines.append(f"Champion: trial {slot}" + (f", [its run in MLflow]({address})" if address else ""))
    lines.append(f"The report and pictures of its key charts are among the files of the study `{last_study}`.")
    return "\n\n".join(lines)


def _renew_result(study: optuna.Study, result: str) -> None:
    from optuna_dashboard import get_note

    before = get_note(study)
    rest = before.partition(RULE)[2] if RULE in before else before
    _write_note(study, f"{result}{RULE}{rest}", in_place_of=[before])


def _write_note(page: Any, text: str, in_place_of: Sequence[str]) -> bool:
    """Whether it had to be written: not where it stands already, nor over a person's own words."""
    from optuna_dashboard import get_note, save_note

    before = get_note(page)
    if before == text or (before and before not in in_place_of):
        return False
    save_note(page, text)
    return True


def _study_names(campaign: Campaign) -> list[str]:
    return [tier.study_name(campaign.name) for tier in campaign.spec.tiers]
