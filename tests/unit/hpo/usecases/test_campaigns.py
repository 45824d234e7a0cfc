"""A campaign that exists with other settings: the remedy is one that exists."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hpo.domain.campaign import CampaignSpec, TierPlan
from hpo.usecases.campaigns import _how_to_go_on

SAME = {"config": "c", "space": "s", "data": "d", "code": "k"}
STORED = CampaignSpec("night", {}, SAME, (TierPlan(1, "capacity", 2),), 0)


@pytest.mark.parametrize(
    ("changed", "remedy"),
    [
        ({"config": "x"}, "Go on with it as it was (`hpo resume study=night`)"),
        (
            {"code": "x"},
            "Go on with it with the code it was started with, or start another with what is here now "
            "(`hpo resume study=night --fork NAME`)",
        ),
        ({"data": "x", "code": "x", "space": "x"}, "Go on with it with the code and data it was started with"),
    ],
)
def test_what_resume_cannot_bring_back_is_asked_for(changed: dict[str, str], remedy: str) -> None:
    assert _how_to_go_on(STORED, replace(STORED, fingerprints={**SAME, **changed})).startswith(remedy)
