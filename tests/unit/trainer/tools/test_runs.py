"""A single training's folder: what lies in it, and how it goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpo.runs.folder import Attempt
from trainer.__main__ import main
from trainer.data.panel import TrainingData
from trainer.reports import EpochReport
from trainer.tools import commands
from trainer.tools.runs import RunFolder, free_folder, mean_of_last
from trainer.training import checkpoint

TINY = [
    *("data.horizons=[1,5]", "model.kind=mlp", "model.window=4", "model.hidden_size=8", "train.batch_size=200"),
    *("train.precision=fp32", "train.device=cpu"),
]


@pytest.fixture(autouse=True)
def tiny_source(make_data: Callable[..., TrainingData], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every source is the tiny panel."""
    monkeypatch.setattr(commands, "_data", lambda config, cache: make_data())


def train(folder: Path, *words: str) -> int:
    return main([*TINY, *words, "--folder", str(folder)])


def weights(folder: Path) -> dict[str, Any]:
    return {name: value.tolist() for name, value in checkpoint.load(folder / "model.pt")["weights"][0].items()}


def test_a_run_leaves_what_a_trial_leaves_and_is_read_like_one(tmp_path: Path) -> None:
    assert train(tmp_path, "train.epochs=2") == 0
    attempt, state = Attempt(tmp_path), checkpoint.load(tmp_path / "last.pt")
    assert [record.score for record in attempt.epochs()] == [report["score"] for report in state["reports"]]
    assert attempt.config()["train"]["epochs"] == 2
    assert set(attempt.daily(2)) == set(state["reports"][1]["daily"])
    result = attempt.result()
    assert result is not None
    assert (result.outcome, result.last_epoch) == ("complete", 2)
    assert "epoch 2: score" in (tmp_path / "train.log").read_text()


def test_a_failed_run_says_why(tmp_path: Path) -> None:
    assert train(tmp_path, "optim.lr=1e30") == 1
    said = json.loads((tmp_path / "result.json").read_text())
    assert (said["outcome"], said["score"]) == ("failed", None)
    assert said["reason"].startswith("non_finite: ")


def test_a_lengthened_run_with_the_same_rates_is_the_uninterrupted_one(tmp_path: Path) -> None:
    """Under a constant schedule a longer run and its beginning have the same rates."""
    for name, epochs in (("whole", 3), ("parts", 2)):
        assert (
            train(tmp_path / name, "optim.schedule=constant", "optim.warmup_fraction=0", f"train.epochs={epochs}") == 0
        )
    assert main(["--resume", str(tmp_path / "parts"), "train.epochs=3"]) == 0
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")
    again = (tmp_path / "parts" / "metrics.jsonl").read_text()
    assert main(["--resume", str(tmp_path / "parts")]) == 0
    assert (tmp_path / "parts" / "metrics.jsonl").read_text() == again


def test_a_longer_run_says_what_happens_to_the_rate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(tmp_path, "train.epochs=2")
    capsys.readouterr()
    assert main(["--resume", str(tmp_path), "train.epochs=4"]) == 0
    assert "epochs 1 to 2 had the learning rates of a schedule over 2 epochs" in capsys.readouterr().out
    assert json.loads((tmp_path / "config.json").read_text())["train"]["epochs"] == 4
    assert len(RunFolder(tmp_path).epochs()) == 4


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["optim.lr=0.5"], "was trained with optim.lr=0.002, and goes on with that"),
        (["train.epochs=1"], "has trained 2 epochs; train.epochs=1 is less"),
    ],
)
def test_another_configuration_is_not_resumed(
    words: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path, "train.epochs=2")
    before = (tmp_path / "config.json").read_bytes()
    assert main(["--resume", str(tmp_path), *words]) == 2
    assert sentence in capsys.readouterr().err
    assert (tmp_path / "config.json").read_bytes() == before


def test_what_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--resume", str(tmp_path)], ["score", str(tmp_path)], [*TINY, "--from", str(tmp_path)]):
        assert main(words) == 2
        assert "is no folder of a training" in capsys.readouterr().err
    (tmp_path / "config.json").write_text("{}")
    assert main(["--resume", str(tmp_path)]) == 2
    assert "holds no checkpoint to go on from" in capsys.readouterr().err


def test_an_epoch_is_written_once_and_again_where_it_was_another(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for epoch, score in ((1, 0.1), (2, 0.2), (1, 0.1), (2, 0.3)):
        run.add(EpochReport(epoch, score, {"valid/x": score}, {}, 1.0))
    assert [line["score"] for line in run.epochs()] == [0.1, 0.3]
    assert mean_of_last(run.epochs(), 2, "valid/x") == pytest.approx(0.2)
    assert mean_of_last(run.epochs(), 2, "valid/y") is None
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3')
    assert len(run.epochs()) == 2


def test_runs_of_one_second_have_folders_of_their_own(tmp_path: Path) -> None:
    assert [free_folder(tmp_path, "now").name for _ in range(3)] == ["now", "now-2", "now-3"]


def test_openings_of_the_holdout_are_counted(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert [run.opened_holdout({"rank_ic": 0.1}) for _ in range(3)] == [1, 2, 3]
    assert len(json.loads((tmp_path / "holdout.json").read_text())["openings"]) == 3
