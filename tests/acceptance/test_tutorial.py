"""The tutorial's commands, in order and as they stand, in a directory with a file of prices; only the training
is smaller."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.command import TINY_SPACE, clean_environment, hpo
from support.pages import SHELL, blocks, commands

COMMANDS = [command for block in blocks(*SHELL) if "tutorial" in block.place for command in commands(block)]
SMALLER = ("trials=4", "--space", "tiny.yaml")
"""What is added to the search, and to what would be done: the page's own has twenty trials of another space."""


def prices(seed: int = 0) -> pd.DataFrame:
    """A long file of 24 stocks that walk at random, for the days that the page speaks of."""
    draw = np.random.default_rng(seed)
    dates = pd.bdate_range("2018-01-02", "2023-06-29")
    frames = []
    for number in range(24):
        close = 50 * np.exp(np.cumsum(draw.normal(0, 0.02, len(dates))))
        opened = close * np.exp(draw.normal(0, 0.005, len(dates)))
        high, low = np.maximum(opened, close) * 1.01, np.minimum(opened, close) * 0.99
        volume = draw.integers(10_000, 1_000_000, len(dates)).astype(float)
        columns = {"open": opened, "high": high, "low": low, "close": close, "volume": volume}
        frames.append(pd.DataFrame({"date": dates, "symbol": f"S{number:02d}", **columns}))
    return pd.concat(frames, ignore_index=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("tutorial")
    prices().to_parquet(place / "prices.parquet")
    (place / "tiny.yaml").write_text(TINY_SPACE)
    yield place
    hpo(place / "home", "db", "stop")


def say(folder: Path, words: list[str]) -> str:
    ended = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=folder,
        env=clean_environment(folder / "home", PYTHONSAFEPATH="1"),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, f"{' '.join(words)}\n{ended.stdout}{ended.stderr}"
    return ended.stdout


def test_the_tutorial_can_be_walked_through(folder: Path) -> None:
    done = []
    for command in COMMANDS:
        words = list(command.words)
        assert words[0] == "hpo"
        if words[1] == "run":
            words = [word for word in words if not word.startswith("trials=")] + list(SMALLER)
        done.append(words[1])
        assert say(folder, words), words
        if "--dry-run" in words:  # the page's next step is the same command without it
            say(folder, [word for word in words if word != "--dry-run"])

    assert done == ["data", "run", "trials", "best", "compare", "predict"]
    assert len(pd.read_parquet(folder / "scores.parquet")) > 0
    assert (folder / "home" / "reports" / "first" / "report.html").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["hpo", "run", "--cfg", "job", "space=atft", "trainer/model=gru"],
        ["trainer", "config", "preset=small", "model=gru", "train.epochs=20"],
        ["hpo", "manifest", "night", "--image", "registry.example.org/tiertune:1", "--workers", "8", "--gpus", "1"],
    ],
    ids=["configuration", "trainer", "manifest"],
)
def test_what_only_prints_prints(folder: Path, words: list[str]) -> None:
    assert say(folder, words)


def test_the_directory_holds_nothing_that_was_not_asked_for(folder: Path) -> None:
    assert set(os.listdir(folder)) <= {"prices.parquet", "tiny.yaml", "home", "scores.parquet"}
