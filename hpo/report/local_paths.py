"""Keeps the paths of the machine out of a report, which is passed on: home folder, HPO_HOME, data files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def file_name(source: str) -> str:
    """A path's last part; the built-in market keeps its whole description."""
    return source if source.startswith("planted:") else Path(source).name


def known_places(files: Iterable[str], state: Path) -> dict[str, str]:
    """What a report must not tell -> what it says instead.

    files: paths as configured, or what stands for one (a built-in market, a name of the catalog). state: HPO_HOME.
    """
    folders = {str(Path.home()): "~", str(state): "HPO_HOME", str(state.resolve()): "HPO_HOME"}
    names = {path: file_name(path) for path in files}
    return {place: said for place, said in {**folders, **names}.items() if place not in ("", "/", said)}


def without_places(anything: Any, places: Mapping[str, str]) -> Any:
    """Plain values with every known place in their texts replaced, the longest first."""
    if isinstance(anything, str):
        for place in sorted(places, key=len, reverse=True):
            anything = anything.replace(place, places[place])
        return anything
    if isinstance(anything, Mapping):
        return {name: without_places(value, places) for name, value in anything.items()}
    if isinstance(anything, (list, tuple)):
        return [without_places(value, places) for value in anything]
    return anything
