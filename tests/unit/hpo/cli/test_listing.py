"""Rows as a table, as CSV, JSON and Parquet; the catalog of spaces; a campaign named by a plain word."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pandas as pd
import pytest

from hpo import __version__
from hpo.cli import EXIT_DONE, EXIT_INPUT, listing, main
from hpo.cli.parser import NAMED, parse

ROWS = [
    {"trial": 1, "score": 0.0123456, "reason": None, "params.mode": 3, "params.free": None},
    {"trial": 2, "score": None, "reason": "error: a, b", "params.mode": "auto", "params.free": None},
]


def test_a_table_leaves_out_what_is_empty(capsys: pytest.CaptureFixture[str]) -> None:
    listing._write(ROWS, "table")
    assert capsys.readouterr().out.splitlines() == [
        "trial  score    reason       mode",
        "1      0.01235  -            3",
        "2      -        error: a, b  auto",
    ]


def test_programs_get_every_column(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    listing._write(ROWS, "json")
    assert json.loads(capsys.readouterr().out) == ROWS
    listing._write(ROWS, "csv", tmp_path / "trials.csv")
    read = list(csv.DictReader(io.StringIO((tmp_path / "trials.csv").read_text())))
    assert read[1] == {"trial": "2", "score": "", "reason": "error: a, b", "params.mode": "auto", "params.free": ""}
    listing._write(ROWS, "parquet", tmp_path / "trials.parquet")
    frame = pd.read_parquet(tmp_path / "trials.parquet")
    assert list(frame) == list(ROWS[0])
    assert frame["params.mode"].tolist() == ["3", "auto"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["trials.csv", "trials.parquet"]


def test_the_catalog_and_a_space_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spaces", "--format", "json"]) == EXIT_DONE
    assert {"quickstart", "atft", "trees"} <= {row["name"] for row in json.loads(capsys.readouterr().out)}
    assert main(["spaces", "trees"]) == EXIT_DONE
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "capacity model.learning_rate 0.1 0.01 to 0.3, log" in lines
    assert "capacity model.num_leaves 31 4, 8, 16, 31, 64, 128" in lines
    assert main(["spaces", "treess"]) == EXIT_INPUT
    capsys.readouterr()
    assert main(["spaces", "mixed", "--format", "json"]) == EXIT_DONE
    rows = {row["setting"]: row["exists where"] for row in json.loads(capsys.readouterr().out)}
    assert rows["model.kind"] is None
    assert rows["model.num_leaves"] == "model.kind is lightgbm"


def test_what_cannot_be_written_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trials", "night", "--format", "parquet"]) == EXIT_INPUT
    assert "add --output FILE" in capsys.readouterr().err


@pytest.mark.parametrize("command", sorted(NAMED))
def test_a_plain_word_names_the_campaign(command: str) -> None:
    more = {"predict": ["--data", "x.csv"], "manifest": ["--image", "x"]}.get(command, [])
    assert parse([command, "night", *more]).overrides == ["study=night"]
    assert parse([command, "study=night", *more]).overrides == ["study=night"]
    assert parse([command, "--study", "night", *more]).overrides == ["study=night"]


def test_every_command_about_a_campaign_speaks_one_dialect() -> None:
    assert parse(["run", "trials=4", "--study", "night"]).overrides == ["trials=4", "study=night"]
    assert parse(["finalize", "night", "study=trees"]).names == ["night", "trees"]
    compared = parse(["compare", "study=night#7", "day"])
    assert (compared.first, compared.second) == ("night#7", "day")


def test_one_campaign_is_named_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["status", "night", "study=day"])
    assert "study=night and study=day: this command works on one campaign" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        parse(["run", "study=day", "--study", "night"])
    assert parse(["resume", "night", "trials=40"]).overrides == ["study=night", "trials=40"]
    assert parse(["run", "night"]).overrides == ["night"], "a misspelt setting starts no campaign"


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"tiertune {__version__}\n"
