"""What a person sees of `hpo run` and `hpo resume`: rich in a terminal, plain lines in a pipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from hpo.cli.output import say
from hpo.cli.progress import Progress
from hpo.domain.campaign import Campaign, SlotView


class Terminal:
    """Implements `hpo.usecases.session.Display`."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._recommendation = ""
        self.tell_away: Callable[[str], object] = lambda text: None
        """Tells a person who has left the terminal."""

    def say(self, line: str) -> None:
        if line.startswith("Recommendation: "):
            self._recommendation = line
        say(line)

    def warn(self, line: str) -> None:
        self.say(f"Warning: {line}")
        self.tell_away(line)

    def outcome(self) -> str:
        """How the campaign ended, as far as it was said."""
        return self._recommendation or "Done."

    @contextmanager
    def preparing(self) -> Iterator[Callable[[str, float], None]]:
        if not self._console.is_terminal:
            yield lambda step, fraction: None
            return
        columns = (TextColumn("Preparing the panel: {task.description}"), BarColumn(), TimeRemainingColumn())
        with Bar(*columns, console=self._console, transient=True) as bar:
            task = bar.add_task("", total=1.0)
            yield lambda step, fraction: bar.update(task, description=step, completed=fraction)

    def watching(
        self, campaign: Campaign, num_epochs: int
    ) -> AbstractContextManager[Callable[[Sequence[SlotView]], None]]:
        return Progress(campaign, num_epochs, self._console)
