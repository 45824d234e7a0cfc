"""`hpo run --dry-run` says what a run would do, and leaves nothing but the prepared data."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.command import TINY_SPACE

from hpo.cli import EXIT_DONE, EXIT_INPUT, main, preview
from hpo.domain.training import TrialFailure
from hpo.ranking import fitting
from search_spaces import load_space

SOURCE = "planted:clean?stocks=20&days=300"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HPO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HPO_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nowhere")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE, encoding="utf-8")
    return tmp_path / "home"


def dry(*words: str) -> int:
    return main(["run", "study=night", "--space", "tiny.yaml", "--data", SOURCE, "--dry-run", *words])


def test_a_dry_run_says_what_would_be_done_and_makes_the_prepared_data_alone(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dry("trials=10", "worker.num_workers=2", "objective=rank_ic_5d") == EXIT_DONE
    said = capsys.readouterr().out
    assert "Campaign  night, maximising RankIC, 5 days" in said
    tiers = re.findall(r"^  (\d) (\w+): (\d+) trials? of (.+)$", said, re.MULTILINE)
    assert [(number, name, what) for number, name, _, what in tiers] == [
        ("1", "capacity", "optim.lr, model.hidden_size"),
        ("2", "regularisation", "model.dropout"),
        ("3", "refinement", "all of them"),
    ]
    assert sum(int(count) for _, _, count, _ in tiers) == 10
    assert "Budget    10 trials of the space 'tiny'" in said
    assert "Length    3 epochs a trial, 30 at most" in said
    assert "Workers   2" in said
    days = re.findall(r"train (\S+) to (\S+) .*validation (\S+) to (\S+) ", said)
    holdout = re.findall(r"holdout (\S+) to (\S+) ", said)
    assert len(days) == len(holdout) == 1
    assert list(days[0] + holdout[0]) == sorted(days[0] + holdout[0])
    assert re.search(r"Memory    0\.\d\d GiB \(first trial\)", said)
    assert "Device    CPU" in said
    assert re.search(r"Time      about 0:00:\d\d at most: \d+\.\d s for the first trial's first epoch", said)
    assert [folder.name for folder in home.iterdir()] == ["cache"]


def test_conditional_dimensions_are_named_with_their_condition() -> None:
    first = load_space("mixed").tiers[0].dimensions
    assert preview._names(first) == (
        "model.kind; optim.lr (where model.kind is atft_gat_fan); model.learning_rate (where model.kind is lightgbm)"
    )


def test_what_a_run_would_refuse_is_refused(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dry("trials=10", "pruner.name=median", "pruner.options.n_startup_trials=-1") == EXIT_INPUT
    assert "n_startup_trials" in capsys.readouterr().err


def test_a_constraint_on_nothing_that_is_measured_is_refused(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("tiny.yaml").write_text(f"{TINY_SPACE}constraints: {{num_parameter: 100}}\n", encoding="utf-8")
    assert dry("trials=10") == EXIT_INPUT
    assert "the constraint 'num_parameter' is on nothing that is measured" in capsys.readouterr().err


def test_an_epoch_that_takes_too_long_is_not_waited_for(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preview, "LONGEST", 0.0)
    assert dry("trials=10") == EXIT_DONE
    assert "Time      more than 0 s an epoch" in capsys.readouterr().out


def test_a_first_trial_that_fails_is_said_to(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(*_: object) -> None:
        raise TrialFailure("nonfinite", "the loss is not finite")

    monkeypatch.setattr(fitting, "fit", fit)
    assert dry("trials=10") == EXIT_DONE
    assert "Time      not known: the first trial would fail (the loss is not finite)" in capsys.readouterr().out


def test_a_budget_in_epochs_and_more_workers_than_trials(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preview, "_time", lambda trainable, first, prepared, num_epochs: f"{num_epochs:g} epochs")
    assert dry("epochs=7", "worker.num_workers=8") == EXIT_DONE
    said = capsys.readouterr().out
    assert "Budget    7 epochs; if none is pruned, 2 trials of the space 'tiny'" in said
    assert "Time      3 epochs" in said, "two trials of three epochs, side by side"
