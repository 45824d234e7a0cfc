"""Checkpoint files: whole or refused."""

from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import Path

import pytest
import torch

from trainer.errors import CheckpointError
from trainer.training import checkpoint

STATE = {"weights": {"w": torch.arange(1000.0)}, "epoch": 3, "scores": [0.1, 0.2]}


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    checkpoint.save(STATE, tmp_path / "x.pt")
    loaded = checkpoint.load(tmp_path / "x.pt")
    assert torch.equal(loaded["weights"]["w"], STATE["weights"]["w"])
    assert (loaded["epoch"], loaded["scores"]) == (3, [0.1, 0.2])
    assert [path.name for path in tmp_path.iterdir()] == ["x.pt"]


@pytest.mark.parametrize("position", [0, 100, 2000, -1, -20, -60])
def test_one_flipped_bit_is_noticed(position: int, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    checkpoint.save(STATE, path)
    raw = bytearray(path.read_bytes())
    raw[position] ^= 1
    path.write_bytes(raw)
    with pytest.raises(CheckpointError, match=r"x\.pt is damaged"):
        checkpoint.load(path)


@pytest.mark.parametrize("kept", [0, 10, 1000, -1])
def test_a_truncated_file_is_noticed(kept: int, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    checkpoint.save(STATE, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoint.load(path)


def test_code_in_a_file_is_never_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "run",))  # type: ignore[return-value]  # any call would do

    checkpoint.save({"evil": Evil()}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="not a checkpoint of this program") as refusal:
        checkpoint.load(tmp_path / "x.pt")
    assert "weights_only" not in str(refusal.value)  # torch's advice how to run it after all
    assert not (tmp_path / "run").exists()
    assert pickle.loads(pickle.dumps(Evil())) is None  # the bait works where it is swallowed
    assert (tmp_path / "run").exists()


def test_another_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "FORMAT", 0)
    checkpoint.save(STATE, tmp_path / "x.pt")
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="format 0"):
        checkpoint.load(tmp_path / "x.pt")


def test_the_newest_whole_file_is_found(tmp_path: Path) -> None:
    assert checkpoint.newest_valid(tmp_path) is None
    for epoch in (1, 2, 3):
        checkpoint.save_last({"epoch": epoch}, tmp_path)
    assert checkpoint.newest_valid(tmp_path) == tmp_path / checkpoint.LAST
    (tmp_path / checkpoint.LAST).write_bytes(b"torn")
    found = checkpoint.load_newest(tmp_path)
    assert found is not None
    assert (found[0].name, found[1]["epoch"]) == (checkpoint.PREVIOUS, 2)
    (tmp_path / checkpoint.PREVIOUS).unlink()
    assert checkpoint.newest_valid(tmp_path) is None


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save_last({"epoch": 1}, tmp_path)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save_last({"epoch": 2}, tmp_path)
    assert checkpoint.load(tmp_path / checkpoint.LAST)["epoch"] == 1
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint.LAST]


@pytest.mark.parametrize("payload", [[1, 2], None, torch.nn.Linear(2, 2)])
def test_what_is_whole_but_holds_something_else_is_refused(tmp_path: Path, payload: object) -> None:
    buffer = io.BytesIO()
    torch.save(payload, buffer)
    raw = buffer.getvalue()
    (tmp_path / "x.pt").write_bytes(raw + checkpoint.MARK + hashlib.sha256(raw).digest())
    with pytest.raises(CheckpointError, match=r"x\.pt is not a checkpoint of this program") as refusal:
        checkpoint.load(tmp_path / "x.pt")
    assert "\n" not in str(refusal.value)
