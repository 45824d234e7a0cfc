"""A prepared panel that is damaged is named, never trained on, and built again as it was."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
import pytest

from trainer.config import DataConfig
from trainer.data import Prepared, open_holdout, open_training, prepare, verify
from trainer.errors import CacheFault

Bars = Callable[..., pd.DataFrame]
Write = Callable[..., str]


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip_a_byte(file: Path) -> None:
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 4
    file.write_bytes(raw)


def garble(file: Path) -> None:
    file.write_bytes(os.urandom(file.stat().st_size))


DAMAGES: Mapping[str, Callable[[Path], None]] = {
    "truncated": truncate,
    "flipped": flip_a_byte,
    "garbage": garble,
    "deleted": Path.unlink,
}

FILES = ("meta.json", *(f"{half}/{name}" for half in ("search", "holdout") for name in ("meta.json", "features.npy")))
FILES += ("search/mask.npy", "search/returns.npy", "search/target_raw.npy", "holdout/target_neutral_lag1.npy")


@pytest.fixture
def again(bars: Bars, write: Write, small: Mapping[str, object], tmp_path: Path) -> Callable[[], Prepared]:
    config = DataConfig.model_validate({"source": write(bars()), **small})
    return lambda: prepare(config, 4, tmp_path / "cache")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_every_damage_to_every_file_is_named_and_mended(again: Callable[[], Prepared], name: str, damage: str) -> None:
    first = again()
    folder = first.search.parent
    before = contents(folder)
    assert verify(folder) == []
    DAMAGES[damage](folder / name)
    problems = verify(folder)
    assert len(problems) == 1
    assert str(folder / name) in problems[0]
    assert "cannot be read" in problems[0] if damage == "deleted" else "is damaged" in problems[0]
    second = again()
    assert second.fingerprint == first.fingerprint
    assert second.warnings == (f"the prepared panel was built again: {problems[0]}", *first.warnings)
    assert contents(folder) == before
    assert verify(folder) == []
    assert again().warnings == first.warnings


@pytest.mark.parametrize("damage", ["truncated", "garbage", "deleted"])
@pytest.mark.parametrize("name", ["meta.json", "features.npy", "target_raw.npy"])
def test_a_trial_that_meets_it_says_so_by_a_type_of_its_own(
    again: Callable[[], Prepared], name: str, damage: str
) -> None:
    prepared = again()
    for half, opened in ((prepared.search, open_training), (prepared.holdout, open_holdout)):
        DAMAGES[damage](half / name)
        with pytest.raises(CacheFault, match=name.replace(".", r"\.")):
            opened(half)
    shutil.rmtree(prepared.search)
    with pytest.raises(CacheFault, match=r"meta\.json cannot be read"):
        open_training(prepared.search)


def test_a_removed_panel_is_built_as_it_was(again: Callable[[], Prepared]) -> None:
    first = again()
    before = contents(first.search.parent)
    shutil.rmtree(first.search.parent)
    assert again() == first
    assert contents(first.search.parent) == before


def test_what_a_killed_build_left_behind_is_removed(again: Callable[[], Prepared], tmp_path: Path) -> None:
    first = again()
    shutil.rmtree(first.search.parent)
    left = first.search.parent.with_name(f"{first.search.parent.name}.1.tmp")
    left.mkdir()
    again()
    assert not left.exists()


def test_checksums_are_compared_once_in_a_process(
    again: Callable[[], Prepared], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = again().search.parent
    again()
    read: list[Path] = []
    room = sys.modules["trainer.data.cache"]
    monkeypatch.setattr(room, "_sha256", lambda file: read.append(file) or "")
    assert verify(folder) == []
    assert read == []
    os.utime(folder / "search" / "mask.npy", (1, 1))
    assert len(verify(folder)) == 1
    assert read == [folder / "search" / "mask.npy"]


@pytest.mark.parametrize("content", ["", "[1, 2", "[" * 100_000, "[]", "7", '{"checksum": null}', '{"a": ["b"]}'])
def test_a_damaged_memory_of_sources_is_begun_anew(again: Callable[[], Prepared], tmp_path: Path, content: str) -> None:
    source = tmp_path / "prices.parquet"
    os.utime(source, (1_600_000_000, 1_600_000_000))
    first = again()
    register = tmp_path / "cache" / "sources.json"
    sound = register.read_text()
    assert str(source) in json.loads(sound)
    register.write_text(content)
    assert again() == first
    assert register.read_text() == sound
    register.write_text(sound.replace("160000000", "160000001"))
    assert again() == first
    assert register.read_text() == sound
