"""A tracker without a store, for searches whose run folders are record enough."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hpo.domain.campaign import Campaign


class NullTracker:
    """Writes nothing, is always up to date."""

    def sync(self, campaign: Campaign, runs: Path) -> int:
        """Nothing to write: 0."""
        return 0

    def attach_report(self, campaign: Campaign, runs: Path, files: Sequence[Path]) -> None:
        """There is nothing to attach them to."""

    def register_champion(self, campaign: Campaign, run_folder: Path, model: Path, *, recommended: bool) -> str | None:
        """There is no registry: None."""
        return None

    def delete(self, campaign: Campaign, runs: Path) -> None:
        """There is nothing."""

    def close(self) -> None:
        """Nothing is held."""
