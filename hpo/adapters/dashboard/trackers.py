"""Several trackers as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from hpo.domain.campaign import Campaign
from hpo.domain.ports import Tracker


class Trackers:
    """Tells each of its trackers in turn; one may build on what those before it wrote.

    make: the trackers, asked for when there is something to tell: their libraries are slow to import.
    """

    def __init__(self, make: Callable[[], Sequence[Tracker]]) -> None:
        self._make = make

    @cached_property
    def _trackers(self) -> Sequence[Tracker]:
        return self._make()

    def sync(self, campaign: Campaign, runs: Path) -> int:
        """See `Tracker.sync`: the sum over all."""
        return sum(tracker.sync(campaign, runs) for tracker in self._trackers)

    def attach_report(self, campaign: Campaign, runs: Path, files: Sequence[Path]) -> None:
        """See `Tracker.attach_report`."""
        for tracker in self._trackers:
            tracker.attach_report(campaign, runs, files)

    def register_champion(self, campaign: Campaign, run_folder: Path, model: Path, *, recommended: bool) -> str | None:
        """See `Tracker.register_champion`: the first URI there is."""
        uris = [
            tracker.register_champion(campaign, run_folder, model, recommended=recommended)
            for tracker in self._trackers
        ]
        return next((uri for uri in uris if uri is not None), None)

    def delete(self, campaign: Campaign, runs: Path) -> None:
        """See `Tracker.delete`."""
        for tracker in self._trackers:
            tracker.delete(campaign, runs)

    def close(self) -> None:
        """Close those that were made."""
        for tracker in vars(self).get("_trackers", ()):
            tracker.close()
