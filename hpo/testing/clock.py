"""Time that tests turn by hand."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta


class FakeClock:
    """Stands still until it is told to move; sleeping moves it at once. Thread-safe."""

    def __init__(self, start: datetime = datetime(2020, 1, 1, tzinfo=UTC)) -> None:
        self._start = start
        self._elapsed = timedelta()
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """The start plus everything that was advanced or slept."""
        return self._start + self._elapsed

    def monotonic(self) -> float:
        """Seconds advanced or slept since the start."""
        return self._elapsed.total_seconds()

    def sleep(self, duration: timedelta) -> None:
        """Advance by the duration without waiting."""
        self.advance(duration)

    def advance(self, duration: timedelta) -> None:
        """Move on. A negative duration is a ValueError: this clock is monotonic too."""
        if duration < timedelta():
            raise ValueError(f"a clock cannot be moved back by {-duration}")
        with self._lock:
            self._elapsed += duration
