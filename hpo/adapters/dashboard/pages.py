"""A campaign's pages in optuna-dashboard: its study, notes with links, files of each trial, the report."""

from __future__ import annotations

import csv
import io
import json
import logging
import mimetypes
import re
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

from hpo.adapters.dashboard.campaign_studies import CampaignStudies
from hpo.adapters.dashboard.pictures import learning_curve
from hpo.adapters.dashboard.shown import RUN
from hpo.domain.campaign import Campaign
from hpo.runs.durable import encode, read_json
from hpo.runs.entries import EpochRecord, Result
from hpo.runs.folder import Attempt, runs

FILES = "optuna-artifacts"
"""The folder below HPO_HOME that `optuna-dashboard --artifact-dir` takes."""

RULE = "\n\n---\n\n"
"""Parts the campaign's result, which is ours to renew, from the rest of its study's note."""

TRIAL_FILES = ("learning_curve.svg", "epochs.csv", "config.json")

_OURS = re.compile(
    r"\*\*Trial \d+\*\* of the campaign \*\*\S+\*\*, tier \S+(\n\n(complete|pruned|failed).*)?"
    r"(\n\n\[Its run in MLflow\]\(\S+\) \(with `hpo dashboard mlflow` up\))?"
)
"""A trial's note as we left it: written anew, while one that a person changed stays."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Read:
    """What a study's notes are read from, read once: a trial's is among those of all others."""

    attributes: Mapping[str, Any]

    def get_study_system_attrs(self, study_id: int) -> Mapping[str, Any]:
        """As a storage is asked for them."""
        return self.attributes


@dataclass(frozen=True)
class _TrialPage:
    """A trial as notes are written to: `optuna.Trial` itself would draw parameters."""

    storage: BaseStorage | _Read
    study: optuna.Study
    _trial_id: int


class DashboardPages:
    """A Tracker that keeps each campaign's study, with notes, links and files, and never writes to what the search
    reads.

    Decoration: nothing here but `delete` raises. What fails is logged, once, and tried again at the next pass.

    Args:
        studies: the campaigns' studies. files: folder of the files' contents.
        run_address: (campaign, its runs, slot) -> where MLflow shows the slot's run, or the campaign's where slot is
            None; None while it does not.
    """

    def __init__(
        self,
        studies: CampaignStudies,
        files: Path,
        run_address: Callable[[Campaign, Path, int | None], str | None],
    ) -> None:
        self._studies, self._files, self._run_address = studies, files, run_address
        self._problem: str | None = None
        self.close()

    def sync(self, campaign: Campaign, folder: Path) -> int:
        """The study as the tiers' are; a note for every trial that began here, and the files of those that ended. The
        number of items written."""
        num_written = 0
        with self._never_in_the_way():
            num_written += self._studies.sync(campaign)
        with self._never_in_the_way():
            num_written += self._sync_pages(campaign, folder)
        return num_written

    def attach_report(self, campaign: Campaign, folder: Path, files: Sequence[Path]) -> None:
        """The report's files at the campaign's study; its verdict and pictures of its key charts in the note."""
        with self._never_in_the_way():
            self.sync(campaign, folder)
            report = next((read_json(file) for file in files if file.suffix == ".json"), None)
            if report is None:
                return
            study = self._studies.study(campaign)
            for file in files:
                self._put_file(study, file)
            slot = (campaign.champion or {}).get("slot")
            address = None if slot is None else self._run_address(campaign, folder, slot)
            _renew_result(study, _result_note(report, slot, address, study))

    def register_champion(self, campaign: Campaign, run_folder: Path, model: Path, *, recommended: bool) -> str | None:
        """Optuna has no registry: None."""
        return None

    def delete(self, campaign: Campaign, folder: Path) -> None:
        """The campaign's study, and all files at it or at the tiers' studies, which are Optuna's to delete."""
        for identity in self._studies.files(campaign):
            (self._files / identity).unlink(missing_ok=True)
        self._studies.delete(campaign)
        self.close()

    def close(self) -> None:
        """Forget the connection and all that was seen; a later call starts anew."""
        self._studies.close()
        self._seen: dict[tuple[str, int], tuple[int, bool]] = {}

    @contextmanager
    def _never_in_the_way(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # whatever it is, a page is not worth a search
            problem = f"{type(error).__name__}: {error}".splitlines()[0]
            if problem != self._problem:
                logger.warning(
                    "optuna-dashboard does not show all of the campaign (%s); `hpo sync` tries again", problem
                )
            self._problem = problem

    def _sync_pages(self, campaign: Campaign, folder: Path) -> int:
        news: dict[int, tuple[Attempt, Result | None]] = {}
        for slot in runs(folder):
            seen = self._seen.get((campaign.name, slot.slot), (0, False))
            attempt = None if seen[1] else slot.current()
            result = None if attempt is None else attempt.result()
            if attempt is not None and seen != (attempt.fence, result is not None):
                news[slot.slot] = attempt, result
        if not news:
            return 0
        places = self._studies.trial_ids(campaign, news)
        study = self._studies.study(campaign)
        num_written = self._describe(study, campaign, folder)
        read = _Read(study._storage.get_study_system_attrs(study._study_id))
        for number, place in places.items():
            attempt, result = news[number]
            with self._never_in_the_way():
                address = self._run_address(campaign, folder, number)
                num_written += self._decorate(study, read, place, attempt, result, address)
                self._seen[campaign.name, number] = attempt.fence, result is not None
        return num_written

    def _describe(self, study: optuna.Study, campaign: Campaign, folder: Path) -> int:
        """What the study is and where MLflow has the campaign."""
        address = self._run_address(campaign, folder, None)
        is_new = address is not None and study.user_attrs.get(RUN) != address
        if is_new:
            study.set_user_attr(RUN, address)
        return int(is_new) + int(_write_note(study, study_note(campaign)))

    def _decorate(
        self,
        study: optuna.Study,
        read: _Read,
        trial_id: int,
        attempt: Attempt,
        result: Result | None,
        address: str | None,
    ) -> int:
        run = attempt.run()
        pages = [_TrialPage(place, study, trial_id) for place in (study._storage, read)]
        note = trial_note(run, result, address)
        num_written = int(_write_note(pages[0], note, lambda text: bool(_OURS.fullmatch(text)), pages[1]))
        metas: dict[str, str | None] = {}
        contents = {} if result is None else dict(trial_files(attempt))
        for name in TRIAL_FILES:
            identity = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{run['campaign']}#{run['slot']}/{name}"))
            meta = None
            if name in contents:
                self._store().write(identity, io.BytesIO(contents[name]))
                kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
                meta = json.dumps(asdict(ArtifactMeta(identity, name, kind, encoding=None)))
            metas[ARTIFACTS_ATTR_PREFIX + identity] = meta
        return num_written + self._studies.attach(trial_id, metas, {} if address is None else {RUN: address})

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


def study_note(campaign: Campaign) -> str:
    """Markdown for whoever opens the campaign's study."""
    tiers = ", ".join(f"`{tier.study_name(campaign.name)}`" for tier in campaign.spec.tiers)
    return "\n\n".join(
        (
            f"# Campaign {campaign.name}",
            f"Maximises {campaign.spec.objective.shown} on the validation data. Every trial stands here once, under "
            "the number that it has in `hpo status`, in the report and in MLflow, with the real values of all settings "
            "that are searched.",
            "*Best Trial* is the highest score as it was measured. What the campaign ends with is chosen by the "
            "posterior of a joint model, which trusts a lucky score less: see the report.",
            f"For reading: it is made from the studies {tiers}, with which the search works, and made again when it is "
            "changed. Notes of your own stay.",
        )
    )


def trial_note(run: Mapping[str, Any], result: Result | None, address: str | None) -> str:
    """Markdown for whoever opens a trial. run: its run.json; address: of its run in MLflow."""
    lines = [f"**Trial {run['slot']}** of the campaign **{run['campaign']}**, tier {run['tier_name']}"]
    if result is not None:
        score = "" if result.score is None else f", score {result.score:+.4f}"
        reason = "".join(f": {line}" for line in (result.reason or "").splitlines()[:1])
        lines.append(f"{result.outcome}{score}{reason}")
    if address:
        lines.append(f"[Its run in MLflow]({address}) (with `hpo dashboard mlflow` up)")
    return "\n\n".join(lines)


def trial_files(attempt: Attempt) -> Iterator[tuple[str, bytes]]:
    """(name, content) of what a finished trial shows: its curve, its epochs as a table, its resolved configuration."""
    records = attempt.epochs()
    curve, epochs, config = TRIAL_FILES
    if records:
        yield curve, learning_curve(records, attempt.run())
        yield epochs, epochs_table(records)
    yield config, encode(attempt.config())


def epochs_table(records: Sequence[EpochRecord]) -> bytes:
    """CSV, a row per epoch: epoch, score, seconds, and every metric."""
    text = io.StringIO()
    names = list(dict.fromkeys(name for record in records for name in record.metrics))
    table = csv.DictWriter(text, ["epoch", "score", "seconds", *names], lineterminator="\n")
    table.writeheader()
    for record in records:
        table.writerow({"epoch": record.epoch, "score": record.score, "seconds": record.seconds, **record.metrics})
    return text.getvalue().encode()


def _result_note(report: Mapping[str, Any], slot: int | None, address: str | None, study: optuna.Study) -> str:
    sentence = str(report["verdict"])
    lines = [f"**{sentence[0].upper()}{sentence[1:]}.**"]
    if slot is not None:
        lines.append(f"Champion: trial {slot}" + (f", [its run in MLflow]({address})" if address else ""))
    lines.append("The report is among the files of this study; these are its key charts.")
    files = {meta.filename: meta.artifact_id for meta in get_all_artifact_meta(study)}
    charts = {key: chart for section in report["sections"].values() for key, chart in section["charts"].items()}
    for key, chart in charts.items():
        if picture := files.get(f"report.{key}.svg"):
            lines.append(f"**{chart['title']}**\n\n![{chart['title']}](/artifacts/{study._study_id}/{picture})")
    return "\n\n".join(lines)


def _renew_result(study: optuna.Study, result: str) -> None:
    from optuna_dashboard import get_note

    before = get_note(study)
    rest = before.partition(RULE)[2] if RULE in before else before
    _write_note(study, f"{result}{RULE}{rest}", lambda text: True)


def _write_note(
    page: Any, text: str, is_ours: Callable[[str], bool] = lambda text: False, read_from: Any = None
) -> bool:
    """Whether it had to be written: not where it stands already, nor over a person's own words."""
    from optuna_dashboard import get_note, save_note

    before = get_note(read_from or page)
    if before == text or (before and not is_ours(before)):
        return False
    save_note(page, text)
    return True
