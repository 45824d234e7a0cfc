"""Messages, report and pages are literal: phrases that puzzled readers stay out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PHRASES = (
    "turns nothing",
    "to be had",
    "chose nothing",
    "choice allowed for",
    "independent ones",
    "beside what all share",
    "the choice made up",
    "gain on the default",
    "net, a year",
    "one close later",
    "two words for one",
    "nobody who is dead",
    "goes back in time",
    "go back in time",
)
PLACES = [
    *(
        file
        for folder in ("hpo", "tiertune", "trainer", "search_spaces")
        for file in sorted((ROOT / folder).rglob("*.py"))
    ),
    *sorted((ROOT / "hpo/report/templates").iterdir()),
    *sorted((ROOT / "search_spaces/catalog").iterdir()),
    *(
        ROOT / "docs" / name
        for name in (
            "architecture.md",
            "extending.md",
            "faults.md",
            "glossary.md",
            "gpu.md",
            "kubernetes.md",
            "ray.md",
            "slurm.md",
            "statistics.md",
            "trainable.md",
        )
    ),
    ROOT / "README.md",
]


@pytest.mark.parametrize("phrase", PHRASES)
def test_a_phrase_that_puzzled_readers_is_not_used(phrase: str) -> None:
    spaced = re.compile(phrase.replace(" ", r"\s+"))
    assert [str(file.relative_to(ROOT)) for file in PLACES if spaced.search(file.read_text(encoding="utf-8"))] == []
