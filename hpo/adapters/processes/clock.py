"""Time for waiting and for display."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The current time, timezone-aware UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds, never going backwards."""
        return time.monotonic()

    def sleep(self, duration: timedelta) -> None:
        """Block the calling thread for the duration."""
        time.sleep(max(0.0, duration.total_seconds()))
