"""The examples of docs/trainable.md and docs/own-model.md are files that run."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["houses", "descent"])
def test_an_example_in_the_docs_is_the_file_that_is_tested(name: str) -> None:
    source = (ROOT / "tests" / "support" / "own" / f"{name}.py").read_text().rstrip()
    assert f"```python\n{source}\n```" in (ROOT / "docs" / "trainable.md").read_text()


@pytest.mark.parametrize(
    ("name", "language"), [("lagged.py", "python"), ("judgement.py", "python"), ("lagged.yaml", "yaml")]
)
def test_the_model_in_the_docs_is_the_file_that_is_tested(name: str, language: str) -> None:
    source = (ROOT / "tests" / "support" / "own" / name).read_text().rstrip()
    assert f"```{language}\n{source}\n```" in (ROOT / "docs" / "own-model.md").read_text()
