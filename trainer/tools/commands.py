"""The bodies of the trainer's commands; torch is imported here and not by `--help`."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from trainer.config import TABULAR_KINDS, TrainerConfig
from trainer.data import open_training, prepare
from trainer.data.panel import TrainingData
from trainer.errors import InputError, TrainingFailure
from trainer.reports import Ending, FitResult
from trainer.settings import flatten
from trainer.tools.composition import compose_config
from trainer.tools.contract import Outcome, check_model
from trainer.tools.diagnose import diagnose, draw_diagnosis
from trainer.tools.lr_find import draw_rate_test, find_rate
from trainer.tools.profiling import profile_steps
from trainer.tools.runs import Recorder, RunFolder, lengthen, refuse_other_settings
from trainer.tools.terminal import TerminalReporter, preparation_progress, say, show_layers, show_result, show_runs
from trainer.training.parallel.launch import fit_prepared


def train(config: TrainerConfig, folder: Path, cache: Path) -> bool:
    """Train, show the result; whether it was interrupted (everything up to the last whole epoch is saved then)."""
    return train_from(config, folder, cache, None)


def train_from(config: TrainerConfig, folder: Path, cache: Path, origin: Path | None) -> bool:
    """`train`, with the weights of another run (its folder) at the start."""
    start = None if origin is None else RunFolder.existing(origin).model
    return _trained(config, folder, cache, start).ending is Ending.STOPPED


def resume(folder: Path, overrides: Sequence[str], cache: Path) -> bool:
    """Go on with a run, longer where its number of epochs is given anew; whether it was interrupted.

    Raises InputError where another setting is given, or there is nothing to go on from.
    """
    file = RunFolder.existing(folder).folder / "config.json"
    before, config = compose_config([], file), compose_config(overrides, file)
    flat, now = (flatten(each.model_dump(mode="json")) for each in (before, config))
    refuse_other_settings(flat, now, folder)
    if remark := lengthen(folder, config):
        say(f"note: {remark}")
    return train(config, folder, cache)


def train_each(configs: Mapping[str, TrainerConfig], folder: Path, cache: Path) -> bool:
    """Train one after another, each in a numbered folder of its own, and show a table; whether it was interrupted.
    configs: by what was typed for each."""
    rows: list[tuple[str, float | TrainingFailure, Path]] = []
    for number, (words, config) in enumerate(configs.items(), start=1):
        say(f"[{number}/{len(configs)}] {words}")
        place = folder / str(number)
        try:
            result = _trained(config, place, cache)
        except TrainingFailure as failure:  # a rate that diverges says nothing of the next one
            rows.append((words, failure, place))
            continue
        if result.ending is Ending.STOPPED:
            return True
        rows.append((words, result.score, place))
    show_runs(rows)
    failures = [outcome for _, outcome, _ in rows if isinstance(outcome, TrainingFailure)]
    if len(failures) == len(rows):
        raise failures[-1]
    return False


def _trained(config: TrainerConfig, folder: Path, cache: Path, start: Path | None = None) -> FitResult:
    prepared = _prepared(config, cache)
    run = RunFolder(folder)
    run.start(config, start)
    reporter = TerminalReporter(config.num_epochs)
    try:
        with run.logging(), reporter.listening():
            result = fit_prepared(config, prepared, Recorder(run, reporter), folder, start)
    except TrainingFailure as failure:
        run.finish("failed", reason=f"{failure.reason}: {failure}")
        raise
    if result.reports:
        show_result(result, config.data.horizons)
    if result.ending is Ending.STOPPED:
        command = f"trainer --resume {shlex.quote(str(folder))}"
        say(f"stopped; epochs 1 to {len(result.reports)} are saved. To go on: {command}")
    else:
        run.finish("complete", result)
        say(f"weights and checkpoint: {folder}")
    return result


def lr_find(config: TrainerConfig, folder: Path, cache: Path) -> bool:
    """The range test: a picture and a suggestion."""
    test = find_rate(config, _network(config, cache))
    draw_rate_test(test, _picture(folder, "lr_find.png"))
    say(test.advice)
    return False


def look_inside(config: TrainerConfig, folder: Path, cache: Path) -> bool:
    """The diagnosis: a picture, a table, sentences."""
    found = diagnose(config, _network(config, cache))
    draw_diagnosis(found, _picture(folder, "diagnose.png"))
    show_layers(found)
    for sentence in found.advice:
        say(sentence)
    return False


def profile(config: TrainerConfig, folder: Path, cache: Path) -> bool:
    """The profiler's table, also written beside."""
    measured = profile_steps(config, _network(config, cache))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "profile.txt").write_text(measured.table, encoding="utf-8")
    say(measured.table)
    say(measured.advice)
    return False


def check(config: TrainerConfig, folder: Path, cache: Path) -> bool:
    """The promises of a model, and which of them hold. Raises InputError where one does not."""
    kind = _by_gradients(config).model.kind

    def tell(outcome: Outcome) -> None:
        say(f"{'broken' if outcome.seen else 'holds ':6}  {outcome.name}: {outcome.rule}")
        if outcome.seen:
            say(f"        seen: {outcome.seen}.")

    outcomes = check_model(config.model, tell)
    num_broken = sum(outcome.seen is not None for outcome in outcomes)
    say(f"{len(outcomes)} checks ran, {num_broken} broken.")
    if num_broken:
        raise InputError(f"model.kind={kind} breaks {num_broken} of the {len(outcomes)} promises of a model.")
    return False


# Each returns whether it was interrupted.
RUNNERS: dict[str, Callable[[TrainerConfig, Path, Path], bool]] = {
    "train": train,
    "lr-find": lr_find,
    "diagnose": look_inside,
    "profile": profile,
    "check-model": check,
}


def _network(config: TrainerConfig, cache: Path) -> TrainingData:
    """The data, for a look into a training by gradients. Raises InputError for a model that has none."""
    return _data(_by_gradients(config), cache)


def _by_gradients(config: TrainerConfig) -> TrainerConfig:
    if config.model.kind in TABULAR_KINDS:
        raise InputError(
            f"model.kind={config.model.kind} is not trained by gradients, so that there is nothing to look into; "
            "choose linear, mlp, gru or atft_gat_fan."
        )
    return config


def _data(config: TrainerConfig, cache: Path) -> TrainingData:
    return open_training(_prepared(config, cache))


def _prepared(config: TrainerConfig, cache: Path) -> Path:
    with preparation_progress() as progress:
        prepared = prepare(config.data, config.model.window, cache, progress)
    for warning in prepared.warnings:
        say(f"warning: {warning}")
    return prepared.search


def _picture(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    say(f"picture: {folder / name}")
    return folder / name
