"""What a person sees of a campaign that runs: a line that changes in a notebook, the terminal's view elsewhere."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from hpo.cli.progress import summary, time_left
from hpo.cli.terminal import Terminal
from hpo.domain.campaign import Campaign, SlotView


def current_display() -> Terminal:
    """The view that suits where this code runs."""
    if not _in_notebook():
        return Terminal()
    # Of a library that would draw progress bars here, and draws none.
    warnings.filterwarnings("ignore", message="IProgress not found")
    return Notebook()


class Notebook(Terminal):
    """One line below the cell, brought up to date."""

    @contextmanager
    def preparing(self) -> Iterator[Callable[[str, float], None]]:
        line = _Line()
        yield lambda step, fraction: line.show(f"Preparing the panel: {step} {fraction:.0%}")
        line.show("The panel is prepared.")

    @contextmanager
    def watching(self, campaign: Campaign, num_epochs: int) -> Iterator[Callable[[Sequence[SlotView]], None]]:
        line, objective = _Line(), campaign.spec.objective.shown

        def show(slots: Sequence[SlotView]) -> None:
            line.show(f"{campaign.name}: {summary(slots, objective, time_left(slots, datetime.now(UTC)))}")

        yield show


class _Line:
    def __init__(self) -> None:
        self._handle: Any = None
        self._shown = ""

    def show(self, text: str) -> None:
        if text == self._shown:
            return
        self._shown = text
        content = {"text/plain": text}
        if self._handle is None:
            from IPython.display import display

            self._handle = display(content, raw=True, display_id=True)  # type: ignore[no-untyped-call]  # IPython has none
        else:
            self._handle.update(content, raw=True)


def _in_notebook() -> bool:
    """Whether an IPython kernel runs this code, which is then loaded already."""
    shell = sys.modules.get("IPython")
    found = shell.get_ipython() if shell is not None else None
    return found is not None and getattr(found, "kernel", None) is not None
