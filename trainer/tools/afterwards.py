"""What is done with a run that was trained: scored on the holdout, asked for new scores."""

from __future__ import annotations

from pathlib import Path

from trainer.data import open_holdout, open_training, prepare
from trainer.errors import InputError
from trainer.metrics import summarise
from trainer.scoring.prediction import predict as predict_rows
from trainer.scoring.scorer import Scorer, evaluate, load_scorer
from trainer.tools.runs import RunFolder, mean_of_last
from trainer.tools.terminal import preparation_progress, say, show_scores

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
    with preparation_progress() as progress:
        prepared = prepare(scorer.config.data, scorer.config.model.window, cache, progress)
    last = open_training(prepared.search).panel.dates[-1]
    if last != scorer.last_day:
        raise InputError(
            f"{scorer.config.data.source} has changed since {run.folder} was trained: the days for training and "
            f"validation end on {last}, not {scorer.last_day}; put the old data back, or train again."
        )
    data = open_holdout(prepared.holdout)
    return summarise(evaluate(scorer, data.panel, data.days)), len(data.days)


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
