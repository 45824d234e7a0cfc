"""Import paths lead to what they name, or to a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer import imports
from trainer.errors import InputError
from trainer.models import Ranker


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    source = "from trainer.models import Ranker\n\n\nclass Mine(Ranker):\n    pass\n"
    (tmp_path / "imported_by_path.py").write_text(source)
    (tmp_path / "breaks_on_import.py").write_text("x = 1\n\nx / 0\n")
    (tmp_path / "wants_another.py").write_text("import no_such_library\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_path_leads_to_the_class_and_its_own_file_alone(folder: Path) -> None:
    found = imports.load("imported_by_path:Mine")
    assert issubclass(found, Ranker)
    assert imports.files_of("imported_by_path:Mine") == (folder / "imported_by_path.py",)


@pytest.mark.parametrize(("name", "expected"), [("a.b:C", True), ("gru", False), ("a:", False), (":C", False)])
def test_a_path_has_a_module_and_an_object(name: str, expected: bool) -> None:
    assert imports.is_path(name) is expected


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("nowhere_at_all:Mine", "there is no module 'nowhere_at_all', neither installed nor in"),
        ("imported_by_path:Mien", "the module imported_by_path has no 'Mien'"),
        (
            "wants_another:Mine",
            "wants_another cannot be imported: ModuleNotFoundError: No module named 'no_such_library'",
        ),
        ("breaks_on_import:Mine", r"ZeroDivisionError: division by zero \(.*breaks_on_import\.py, line 3\)"),
    ],
)
def test_what_cannot_be_loaded_is_said_in_a_sentence(path: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        imports.load(path)
