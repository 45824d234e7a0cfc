"""A report is passed on, and where somebody keeps their data and their state is nobody's business."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def file_name(source: str) -> str:
    """A path's last part; the built-in market keeps its whole description."""
    return source if source.startswith("planted:") else Path(source).name


def known_places(data: str, space: str, state: Path) -> dict[str, str]:
    """What a report must not tell -> what it says instead.

    data: the panel's path as configured, or a built-in market. space: a file or a name of the catalog. state: HPO_HOME.
    """
    folders = {str(Path.home()): "~", str(state): "HPO_HOME", str(state.resolve()): "HPO_HOME"}
    files = {path: file_name(path) for path in (data, space)}
    return {place: said for place, said in {**folders, **files}.items() if place not in ("", "/", said)}


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
