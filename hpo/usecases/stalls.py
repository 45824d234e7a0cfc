"""Trials that have finished no epoch for long: they may hang, and nobody else would say so."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from hpo.domain.campaign import SlotState, SlotView

PATIENCE = timedelta(minutes=15)
"""A shorter silence is never worth a word."""

TIMES = 10
"""How many times as long as the longest epoch seen so far a silence must last."""


class Stalls:
    """Looks at a campaign's slots again and again, by a clock of its own. An attempt's silence is told once."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[tuple[int, int | None], float]] = {}
        self._told: set[tuple[int, int, int | None]] = set()
        self._longest = 0.0

    def look(self, slots: Sequence[SlotView], now: float) -> list[str]:
        """Sentences on slots that are silent for too long. now: seconds, on a clock that is never put back."""
        running = {view.slot: view for view in slots if view.state is SlotState.RUNNING}
        self._seen = {slot: seen for slot, seen in self._seen.items() if slot in running}
        found = []
        for slot, view in running.items():
            place = view.fence, view.epoch
            before, since = self._seen.get(slot, (place, now))
            if before != place:
                if before[0] == place[0]:
                    self._longest = max(self._longest, now - since)
                since = now
            self._seen[slot] = place, since
            silence = now - since
            if silence > max(PATIENCE.total_seconds(), TIMES * self._longest) and (slot, *place) not in self._told:
                self._told.add((slot, *place))
                found.append(self._sentence(view, silence))
        return found

    def _sentence(self, view: SlotView, silence: float) -> str:
        where = f" on {view.worker.host}" if view.worker else ""
        usual = f", where the longest took {_minutes(self._longest)}" if self._longest else ""
        return (
            f"trial {view.slot}{where} has finished no epoch for {_minutes(silence)}{usual}: it may hang. "
            "`worker.trial_timeout=1h`, at the next `hpo resume`, ends trials that take longer than that."
        )


def _minutes(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes"
