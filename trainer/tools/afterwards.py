"""What is done with a run that was trained: scored on the holdout, asked for new scores, looked into."""

from __future__ import annotations

from pathlib import Path

from trainer.config import TABULAR_KINDS
from trainer.data import Prepared, open_holdout, open_training, prepare
from trainer.data.panel import TrainingData
from trainer.errors import InputError
from trainer.metrics import summarise
from trainer.scoring.prediction import predict as predict_rows
from trainer.scoring.scorer import Scorer, evaluate, load_scorer
from trainer.tools.diagnose import diagnose, draw_diagnosis
from trainer.tools.history import History
from trainer.tools.runs import RunFolder, mean_of_last
from trainer.tools.terminal import preparation_progress, say, show_layers, show_scores

FORMATS = (".parquet", ".csv")


def score(folder: Path, cache: Path, *, holdout: bool) -> None:
    """Show a run's metrics on the validation days and, where wanted, on the holdout, which is counted.

    Raises InputError where nothing was trained there, or the data are not those it was trained with.
    """
    run = RunFolder.existing(folder)
    scorer = load_scorer(run.model)
    count, lines = scorer.config.train.score_epochs, run.epochs()
    names = [name.removeprefix("valid/") for name in (lines[-1]["metrics"] if lines else ()) if name[:6] == "valid/"]
    columns = {"validation": {name: mean_of_last(lines, count, f"valid/{name}") for name in names}}
    if holdout:
        seen, days = _on_holdout(scorer, run, cache)
        columns["holdout"] = dict(seen)
        number = run.opened_holdout(seen)
    show_scores(columns, scorer.horizons)
    monitor = scorer.config.train.monitor
    if not holdout:
        say(f"{monitor} {_shown(columns['validation'].get(monitor))} on validation; add --holdout to open the holdout.")
        return
    say(
        f"{monitor} {_shown(seen.get(monitor))} on {days} holdout days, which this run has now been looked at on "
        f"{number} time{'s' if number > 1 else ''}: whoever chooses by it makes them validation days."
    )


def _on_holdout(scorer: Scorer, run: RunFolder, cache: Path) -> tuple[dict[str, float], int]:
    prepared, _ = _data_of(scorer, run, cache)
    data = open_holdout(prepared.holdout)
    return summarise(evaluate(scorer, data.panel, data.days)), len(data.days)


def _data_of(scorer: Scorer, run: RunFolder, cache: Path) -> tuple[Prepared, TrainingData]:
    """What the run was trained with. Raises InputError where its source has changed since."""
    with preparation_progress() as progress:
        prepared = prepare(scorer.config.data, scorer.config.model.window, cache, progress)
    data = open_training(prepared.search)
    if data.panel.dates[-1] != scorer.last_day:
        raise InputError(
            f"{scorer.config.data.source} has changed since {run.folder} was trained: the days for training and "
            f"validation end on {data.panel.dates[-1]}, not {scorer.last_day}; put the old data back, or train again."
        )
    return prepared, data


def look_into(folder: Path, cache: Path) -> None:
    """Say what a run's curves tell and what its final weights look like; a picture in its folder.

    Raises InputError where nothing was trained there, or the data are not those it was trained with.
    """
    run = RunFolder.existing(folder)
    lines, scorer = run.epochs(), load_scorer(run.model)
    history = History.of([line["score"] for line in lines], [line["metrics"] for line in lines])
    for sentence in history.findings:
        say(sentence)
    if scorer.config.model.kind in TABULAR_KINDS:
        return
    _, data = _data_of(scorer, run, cache)
    found = diagnose(scorer.config, data, steps=0, start=run.model)
    draw_diagnosis(found, folder / "diagnose.png")
    show_layers(found, f"layers, after epoch {len(lines)}")
    for sentence in found.advice:
        say(sentence)
    say(f"picture: {folder / 'diagnose.png'}")


def predict(folder: Path, data: Path, output: Path, *, everything: bool) -> None:
    """Write a run's scores of new data, a row per date and symbol.

    everything: also of the days it has learnt from. Raises InputError for a file that cannot be read or meant.
    """
    if output.suffix not in FORMATS:
        raise InputError(f"--output {output}: the name must end in {' or '.join(FORMATS)}, which chooses the format.")
    if not data.exists():
        raise InputError(f"--data {data}: there is no such file or folder.")
    if output.resolve() in (data.resolve(), *(path.resolve() for path in data.glob("*"))):
        raise InputError(f"--output {output} is a part of the data themselves; choose another name.")
    scorer = load_scorer(RunFolder.existing(folder).model)
    made = predict_rows(str(data), scorer, after=None if everything else scorer.last_day)
    if output.suffix == ".csv":
        made.table.to_csv(output, index=False)
    else:
        made.table.to_parquet(output, index=False)
    *notes, last = made.notes
    for note in notes:
        say(note)
    say(f"{last}: {output}")


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:+.4f}"
