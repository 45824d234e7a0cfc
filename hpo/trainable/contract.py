"""What every trainable promises, as checks by name: the ranker passes them, and a user's own is asked the same."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo.domain.errors import HpoError
from hpo.domain.trainable import Prepared, Trainable
from hpo.domain.training import Decision, Ending, EpochReport, FitResult, TrialFailure

MODEL = "model.pt"


class Broken(Exception):
    """A promise that does not hold: the value seen, and what to change."""


@dataclass(frozen=True)
class Outcome:
    """One check's end. seen: None where it holds."""

    name: str
    rule: str
    seen: str | None


class Listener:
    """A search that answers STOP after an epoch, or never; and asks a training to break off after another."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.reports: list[EpochReport] = []
        self._stop_after, self._decision = stop_after, Decision.CONTINUE

    def report(self, report: EpochReport) -> Decision:
        if self._decision is Decision.STOP:
            return Decision.STOP
        self.reports.append(report)
        if report.epoch == self._stop_after:
            self._decision = Decision.STOP
        return Decision.CONTINUE

    def poll(self) -> Decision:
        return self._decision

    def decide(self) -> Decision:
        return self._decision

    @property
    def scores(self) -> list[float]:
        return [report.score for report in self.reports]


class Bench:
    """A trainable with settings and prepared data, and a new folder for each training."""

    def __init__(self, trainable: Trainable[Any], settings: Mapping[str, Any], folder: Path) -> None:
        self.trainable, self._folder, self._number = trainable, folder, 0
        self.settings = trainable.parse({**trainable.plain(trainable.parse({})), **settings})
        self.length = trainable.length(self.settings)
        self._prepared: Prepared | None = None
        self._whole: tuple[Listener, FitResult, Path] | None = None

    @property
    def prepared(self) -> Prepared:
        if self._prepared is None:
            self._prepared = self.trainable.prepare(self.settings, self._folder / "cache")
        return self._prepared

    def new_folder(self) -> Path:
        self._number += 1
        folder = self._folder / f"training-{self._number}"
        folder.mkdir()
        return folder

    def train(self, folder: Path, stop_after: int | None = None) -> tuple[Listener, FitResult]:
        listener = Listener(stop_after)
        return listener, self.trainable.fit(self.settings, self.prepared.search, listener, folder, seed=7)

    def whole(self) -> tuple[Listener, FitResult, Path]:
        """A training that nothing happened to, made once."""
        if self._whole is None:
            folder = self.new_folder()
            self._whole = (*self.train(folder), folder)
        return self._whole


def settings_are_complete(bench: Bench) -> None:
    """Settings survive the way through JSON: what is parsed, dumped and parsed again is the same."""
    plain = bench.trainable.plain(bench.settings)
    again = bench.trainable.plain(bench.trainable.parse(plain))
    if plain != again:
        raise Broken(f"{plain} became {again}; let every field of the settings class hold what JSON can say")


def length_is_positive(bench: Bench) -> None:
    """A training has at least one epoch, and a score is the mean of at least one."""
    length = bench.length
    if length.num_epochs < 1 or not 1 <= length.score_epochs <= length.num_epochs:
        raise Broken(f"{length}; give the settings a field `epochs` of 1 or more, and no more `score_epochs` than that")


def metrics_have_names(bench: Bench) -> None:
    """There is a metric to be judged by, and no two have one name."""
    names = [metric.name for metric in bench.trainable.metrics(bench.settings)]
    if not names or len(set(names)) < len(names):
        raise Broken(f"the metrics are {names}; return at least one from `metrics`, each with a name of its own")


def data_have_one_fingerprint(bench: Bench) -> None:
    """Preparing the data again finds the same data: one fingerprint for one content."""
    first, second = bench.prepared, bench.trainable.prepare(bench.settings, bench._folder / "cache")
    if first.fingerprint != second.fingerprint or not first.search.exists():
        raise Broken(
            f"{first.fingerprint[:12]} at {first.search}, then {second.fingerprint[:12]}; let `prepare` (or the files "
            "that it reads) depend on the settings alone"
        )


def every_epoch_is_reported(bench: Bench) -> None:
    """A training reports the epochs 1 to its length, each with a finite score."""
    listener, result, _ = bench.whole()
    epochs = [report.epoch for report in listener.reports]
    ends_early = result.ending is Ending.EARLY_STOPPED and epochs
    if epochs != list(range(1, (len(epochs) if ends_early else bench.length.num_epochs) + 1)):
        raise Broken(f"the epochs {epochs} of {bench.length.num_epochs}; report each once, in order")
    if not all(map(math.isfinite, listener.scores)):
        raise Broken(f"the scores {listener.scores}; report finite numbers alone")


def score_is_the_mean_of_the_last_epochs(bench: Bench) -> None:
    """What a training is judged by is the mean of its last epochs, and no lucky one of them."""
    listener, result, _ = bench.whole()
    last = listener.scores[-bench.length.score_epochs :]
    if not math.isclose(result.score, sum(last) / len(last), rel_tol=1e-6, abs_tol=1e-9):
        raise Broken(f"{result.score} for the last scores {last}; return their mean from `fit`")


def a_model_is_left(bench: Bench) -> None:
    """A training that ends leaves a whole model to score and deploy with."""
    _, result, folder = bench.whole()
    if not (folder / MODEL).exists() or not bench.trainable.is_whole(folder / MODEL) or not result.last_epoch:
        raise Broken(f"no whole {MODEL}, last epoch {result.last_epoch}; call trial.save(state) after every epoch")


def series_have_the_score_as_mean(bench: Bench) -> None:
    """A series, where there is one, has the reported score as its mean, and the same units in every epoch."""
    listener, _, _ = bench.whole()
    name = bench.trainable.metrics(bench.settings)[0].name
    series = [bench.trainable.derive(report.daily).get(name) for report in listener.reports]
    lengths = {len(values) for values in series if values is not None}
    if len(lengths) > 1:
        raise Broken(f"series of {sorted(lengths)} values; report the same units in every epoch")
    for report, values in zip(listener.reports, series, strict=True):
        numbers = [] if values is None else [float(value) for value in values]
        # Units without a value for one of several horizons are missing from the mean over all of them.
        if not numbers or not all(map(math.isfinite, numbers)):
            continue
        mean = sum(numbers) / len(numbers)
        if not math.isclose(mean, report.score, rel_tol=1e-3, abs_tol=1e-6):
            raise Broken(f"the mean {mean} for the score {report.score}; report the mean of the series as the score")


def the_same_seed_trains_the_same(bench: Bench) -> None:
    """Two trainings with one seed give the same scores."""
    first, second = bench.whole()[0], bench.train(bench.new_folder())[0]
    if first.scores != second.scores:
        raise Broken(f"{first.scores}, then {second.scores}; make every random generator from trial.seed")


def a_stop_ends_the_training(bench: Bench) -> None:
    """Answered STOP, a training ends without reporting another epoch."""
    listener, result = bench.train(bench.new_folder(), stop_after=1)
    if result.ending is not Ending.STOPPED and bench.length.num_epochs > 1:
        raise Broken(f"the ending {result.ending}; return when trial.should_stop() is true")
    if len(listener.reports) != 1:
        raise Broken(f"{len(listener.reports)} epochs; return when trial.should_stop() is true")


def a_resumed_training_is_the_same(bench: Bench) -> None:
    """A training that is broken off and begun again has the scores of one that is not."""
    # After two epochs at least: one that asks whether to stop before it saves has then saved once.
    folder, at = bench.new_folder(), min(max(2, bench.length.num_epochs // 2), bench.length.num_epochs)
    before, _ = bench.train(folder, stop_after=at)
    after, _ = bench.train(folder)
    whole = bench.whole()[0].scores
    if after.scores[: len(whole)] != whole:
        raise Broken(
            f"{before.scores}, then {after.scores}, for {whole} undisturbed; save everything that the next epoch "
            "needs, and go on from trial.load()"
        )


def the_model_can_be_scored(bench: Bench) -> None:
    """A model is scored on the holdout unit by unit, if the trainable keeps one and scores at all."""
    if bench.prepared.holdout is None:
        return
    scored = bench.trainable.score(bench.whole()[2] / MODEL, bench.prepared.holdout)
    if scored is not None and any(len(values) != len(scored.units) for values in scored.series.values()):
        raise Broken("series and units of different lengths; return one value for each unit of the holdout")


def code_is_named(bench: Bench) -> None:
    """The files whose content decides results are there to be fingerprinted."""
    files = bench.trainable.code()
    if not files or not all(file.is_file() for file in files):
        raise Broken(
            f"{[str(file) for file in files]}; define the trainable in a file, or return its files from `code`"
        )


CHECKS: tuple[Callable[[Bench], None], ...] = (
    settings_are_complete,
    length_is_positive,
    metrics_have_names,
    code_is_named,
    data_have_one_fingerprint,
    every_epoch_is_reported,
    score_is_the_mean_of_the_last_epochs,
    a_model_is_left,
    series_have_the_score_as_mean,
    the_same_seed_trains_the_same,
    a_stop_ends_the_training,
    a_resumed_training_is_the_same,
    the_model_can_be_scored,
)


def check_trainable(
    trainable: Trainable[Any], settings: Mapping[str, Any], say: Callable[[Outcome], None] = lambda outcome: None
) -> list[Outcome]:
    """Every check's outcome, in order. settings: over the defaults, to make trainings short."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(trainable, settings, Path(folder))
        for check in CHECKS:
            outcome = Outcome(check.__name__, str(check.__doc__).strip(), _seen(check, bench))
            say(outcome)
            found.append(outcome)
    return found


def _seen(check: Callable[[Bench], None], bench: Bench) -> str | None:
    try:
        check(bench)
    except Broken as broken:
        return str(broken)
    except (HpoError, TrialFailure) as error:
        return str(error)
    except SystemExit as end:
        return f"the training ended its process with sys.exit({end.code or 0}); return from the function instead"
    except Exception as error:  # the user's code may raise anything
        return f"{type(error).__name__}: {error}"
    return None
