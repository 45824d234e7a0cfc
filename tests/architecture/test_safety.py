"""Nothing that is read can run: no pickle, no unsafe YAML, no shell, no evaluated text, in any file of the packages."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from hpo.cli.parser import parse
from search_spaces import SpaceError, parse_space
from trainer import settings
from trainer.errors import CacheFault, CheckpointError, InputError
from trainer.training import checkpoint

ROOT = Path(__file__).parents[2]
FILES = [
    path
    for package in ("hpo", "tiertune", "trainer", "search_spaces", "alembic")
    for path in (ROOT / package).rglob("*.py")
]
REQUIRED = {
    "torch.load": {"weights_only": True},
    "np.load": {"allow_pickle": False},
    "np.save": {"allow_pickle": False},
}
FORBIDDEN = (
    "pickle.load",
    "pickle.loads",
    "joblib.load",
    "pd.read_pickle",
    "eval",
    "exec",
    "os.system",
    "yaml.unsafe_load",
)
OWN_STATES = ("hpo/trainable/states.py", "hpo/trainable/own.py")
"""What a user's own training has saved of itself may be any Python object; only that training reads it back, from the
state folder (decision 13)."""
MARK = "was here"


def calls(tree: ast.AST) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every call with a plain name, and its constant keywords."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            keywords = {k.arg: k.value.value for k in node.keywords if k.arg and isinstance(k.value, ast.Constant)}
            yield ast.unparse(node.func), keywords


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_call_trusts_what_it_reads(path: Path) -> None:
    for name, keywords in calls(ast.parse(path.read_text(encoding="utf-8"))):
        is_own_state = name.startswith("pickle.load") and str(path.relative_to(ROOT)) in OWN_STATES
        assert name not in FORBIDDEN or is_own_state
        assert not keywords.get("shell"), name
        for keyword, value in REQUIRED.get(name, {}).items():
            assert keywords.get(keyword) is value, f"{name} without {keyword}={value}"
        safe = path.name in ("loading.py", "settings.py")
        assert name != "yaml.load" or safe, "there the loaders are safe ones, see below"


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.target, MARK)


def test_a_checkpoint_that_would_run_is_refused(tmp_path: Path) -> None:
    """Its checksum is right: whoever made it knew how."""
    checkpoint.save({"weights": [Bomb(tmp_path / "ran")]}, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match="not a checkpoint of this program"):
        checkpoint.load(tmp_path / "model.pt")
    assert not (tmp_path / "ran").exists()
    torch.load(tmp_path / "model.pt", weights_only=False)
    assert (tmp_path / "ran").read_text() == MARK, "the bomb is a real one"


def test_yaml_makes_no_objects(tmp_path: Path) -> None:
    text = f"!!python/object/apply:pathlib.Path.write_text [{tmp_path / 'ran'}, {MARK}]"
    (tmp_path / "settings.yaml").write_text(text)
    with pytest.raises(InputError):
        settings.read(tmp_path / "settings.yaml")
    with pytest.raises(SpaceError):
        parse_space(f"settings: {text}\n", "mine", "mine.yaml")
    assert not (tmp_path / "ran").exists()
    assert yaml.safe_load("1") == 1


def test_arrays_of_objects_are_refused(tmp_path: Path) -> None:
    from trainer.data import cache, open_training

    np.save(tmp_path / "features.npy", np.array([Bomb(tmp_path / "ran")], dtype=object), allow_pickle=True)
    cache.seal(tmp_path, {"dates": [], "symbols": [], "feature_names": []})
    with pytest.raises(CacheFault, match=r"features\.npy .*cannot be read as an array"):
        open_training(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_dashboards_listen_on_loopback_unless_asked() -> None:
    assert parse(["dashboard", "optuna"]).host == "127.0.0.1"
    assert parse(["dashboard", "mlflow"]).host == "127.0.0.1"
