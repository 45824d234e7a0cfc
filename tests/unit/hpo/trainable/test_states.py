"""Checkpoints of a user's own training: whole, or told from whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpo.domain.errors import EnvironmentFault
from hpo.trainable import states
from hpo.trainable.states import Saved


def test_a_state_is_read_as_it_was_saved(tmp_path: Path) -> None:
    saved = Saved(3, {"weights": [1.0, 2.0]})
    states.save(tmp_path / "model.pt", saved)
    assert states.load(tmp_path / "model.pt") == saved
    assert [file.name for file in tmp_path.iterdir()] == ["model.pt"], "nothing unfinished is left"


@pytest.mark.parametrize(
    "harm", [lambda raw: raw[:-1], lambda raw: b"x" + raw[1:], lambda raw: b"", lambda raw: raw * 2]
)
def test_other_bytes_are_not_run(harm: object, tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    states.save(file, Saved(1, "state"))
    file.write_bytes(harm(file.read_bytes()))
    assert not states.is_whole(file)
    with pytest.raises(EnvironmentFault, match=r"model\.pt is damaged .*use an older checkpoint"):
        states.load(file)


def test_the_newest_whole_state_is_gone_on_from(tmp_path: Path) -> None:
    assert states.load_newest(tmp_path) is None
    for epoch in (1, 2, 3):
        states.save_last(tmp_path, Saved(epoch, f"after {epoch}"))
    newest = states.load_newest(tmp_path)
    assert newest is not None
    assert newest.epoch == 3
    (tmp_path / states.LAST).write_bytes(b"torn")
    before = states.load_newest(tmp_path)
    assert before is not None
    assert (before.epoch, before.state) == (2, "after 2")
