"""Several trackers as one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hpo.adapters.dashboard.trackers import Trackers
from hpo.adapters.mlflow.null_tracker import NullTracker
from hpo.domain.campaign import Campaign, CampaignSpec, CampaignState, TierPlan

CAMPAIGN = Campaign(1, CampaignSpec("night", {}, {}, (TierPlan(1, "capacity", 1),), 0), CampaignState.RUNNING)


class Store(NullTracker):
    """Counts what it is told."""

    def __init__(self, number: int, uri: str | None, heard: list[str]) -> None:
        self._number, self._uri, self._heard = number, uri, heard

    def sync(self, campaign: Campaign, runs: Path) -> int:
        self._heard.append(f"sync {self._number}")
        return self._number

    def attach_report(self, campaign: Campaign, runs: Path, files: Sequence[Path]) -> None:
        self._heard.append(f"report {self._number}")

    def register_champion(self, campaign: Campaign, run_folder: Path, model: Path, *, recommended: bool) -> str | None:
        self._heard.append(f"champion {self._number} {recommended}")
        return self._uri

    def close(self) -> None:
        self._heard.append(f"close {self._number}")


def test_each_is_told_in_turn_and_none_is_made_before(tmp_path: Path) -> None:
    heard: list[str] = []

    def make() -> Sequence[Store]:
        heard.append("made")
        return Store(2, None, heard), Store(3, "models:/night/1", heard)

    trackers = Trackers(make)
    trackers.close()
    assert heard == [], "closing makes none"
    assert trackers.sync(CAMPAIGN, tmp_path) == 5
    trackers.attach_report(CAMPAIGN, tmp_path, [])
    assert trackers.register_champion(CAMPAIGN, tmp_path, tmp_path, recommended=False) == "models:/night/1"
    trackers.close()
    told = ["sync 2", "sync 3", "report 2", "report 3", "champion 2 False", "champion 3 False", "close 2", "close 3"]
    assert heard == ["made", *told]
