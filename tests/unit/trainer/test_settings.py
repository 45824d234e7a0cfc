"""Settings files are read as plain values; whatever is not plain is refused in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer.errors import InputError
from trainer.settings import read

HOSTILE = {
    "nested": ("a: " + "[" * 50_000, "nested deeper than 20 levels"),
    "JSON, nested": ('{"a": ' * 5_000, "nested deeper than 20 levels"),
    "a bomb of aliases": ("a: &a [1, 1]\nb: &b [*a, *a]\nc: [*b, *b]", r"aliases are not taken \(line 2\)"),
    "an alias of itself": ("a: &a {b: *a}", "aliases are not taken"),
    "a number too long": ("a: " + "1" * 5_000, "Exceeds the limit"),
    "a day that is none": ("a: 2020-13-45", "month must be"),
    "large": ("a: 1\n# " + "x" * 300_000, "larger than 200,000 bytes"),
    "a list": ("[1]", "must hold a mapping"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused_in_a_sentence(tmp_path: Path, case: str) -> None:
    text, sentence = HOSTILE[case]
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=sentence) as refusal:
        read(file)
    assert "config.yaml" in str(refusal.value)


def test_a_device_that_never_ends_is_refused() -> None:
    with pytest.raises(InputError, match="larger than"):
        read(Path("/dev/zero"))


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("train: {epochs: 3}", encoding="utf-8-sig")
    assert read(tmp_path / "config.yaml") == {"train": {"epochs": 3}}
