"""A worker on another kind of machine is let in, or refused where the campaign asks for one arithmetic."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.simulated import configuration, open_campaign

from hpo.adapters.mlflow.null_tracker import NullTracker
from hpo.domain.errors import UsageError
from hpo.engine.stage import open_study, stages
from hpo.testing.clock import FakeClock
from hpo.testing.memory_ledger import MemoryLedger
from hpo.testing.memory_storage import MemoryStorage
from hpo.usecases.arithmetic import DEVICE, refuse_other_arithmetic
from hpo.usecases.campaigns import length_of
from hpo.usecases.records import Stores
from hpo.wiring import device_of

NATIVE, EMULATED = "CPU A, bf16; torch 2", "CPU B, bf16, emulated; torch 2"
CONFIG, SPACE = configuration("mixed", 4)


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    return Stores(tmp_path, MemoryLedger(FakeClock()), MemoryStorage(), NullTracker())


def join(stores: Stores, here: str | None) -> None:
    refuse_other_arithmetic(stores, open_campaign(stores.ledger, CONFIG, SPACE), CONFIG, SPACE, here)


def test_the_first_worker_says_what_the_others_must_be(stores: Stores) -> None:
    join(stores, NATIVE)
    join(stores, NATIVE)
    with pytest.raises(UsageError, match=r"computes otherwise .* here with CPU B.* there with CPU A"):
        join(stores, EMULATED)
    join(stores, NATIVE)


def test_a_trial_that_was_trained_before_says_it_too(stores: Stores) -> None:
    campaign = open_campaign(stores.ledger, CONFIG, SPACE)
    study = open_study(stages(campaign, CONFIG, SPACE, length_of(CONFIG))[1], stores.storage, stores.ledger)
    study.ask().set_user_attr(DEVICE, EMULATED)
    with pytest.raises(UsageError, match="there with CPU B"):
        join(stores, NATIVE)


def test_a_trainable_that_does_not_say_what_it_computes_with_is_named(stores: Stores) -> None:
    with pytest.raises(UsageError, match=r"no effect with trainable=ranker.*describe_device"):
        join(stores, None)


def test_a_machine_says_what_it_computes_with_from_a_process_of_its_own() -> None:
    said = device_of(CONFIG)
    assert said is not None
    assert "bf16" in said
    assert "torch 2" in said
