"""A campaign that exists with other settings: the remedy is one that exists."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from hpo.domain.campaign import CampaignSpec, TierPlan
from hpo.domain.config import SearchConfig
from hpo.domain.errors import UsageError
from hpo.usecases.campaigns import _how_to_go_on, check_devices

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


def over(devices: int, **worker: object) -> SearchConfig:
    train = {"devices": devices, "device": "cpu"}
    return SearchConfig.model_validate({"trainer": {"train": train}, "worker": worker})


def test_devices_that_are_shared_or_not_there_are_refused_before_anything_is_trained() -> None:
    check_devices(over(1, per_gpu=4))
    check_devices(over(len(os.sched_getaffinity(0))))
    with pytest.raises(UsageError, match=r"takes 2 devices whole: worker\.per_gpu=4 would share them; set it to 1\."):
        check_devices(over(2, per_gpu=4))
    with pytest.raises(UsageError, match=r"train\.devices=64: this machine has \d+ CPUs"):
        check_devices(over(64))
    check_devices(over(64, engine="slurm"))  # which machine trains is not known here
