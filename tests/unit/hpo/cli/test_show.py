"""What `hpo show` says of a campaign, for people and for programs."""

from __future__ import annotations

import argparse
import json
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hpo.cli import show as module
from hpo.cli.config_loader import load
from hpo.cli.show import description, show
from hpo.domain.campaign import Campaign, CampaignState
from hpo.domain.trainable import Prepared
from hpo.usecases.campaigns import spec_of


@pytest.fixture
def campaign(tmp_path: Path) -> Campaign:
    config, space = load(["study=night", "trials=5", "seed=7", "trainer.train.epochs=3", "worker.num_workers=2"])
    return Campaign(1, spec_of(config, space, Prepared(tmp_path, None, "f" * 64)), CampaignState.RUNNING, decisions={})


def test_settings_that_were_changed_are_told_from_those_that_were_not(campaign: Campaign) -> None:
    found = description(campaign)
    assert found["settings"]["trainer.train.epochs"] == 3
    assert found["settings"]["worker.num_workers"] == 2
    assert "trainer.optim.name" not in found["settings"]
    assert not {"study", "trials", "seed"} & found["settings"].keys()
    assert (found["name"], found["budget"], found["seed"], found["data"]) == ("night", 5, 7, "planted:realistic")
    assert sum(tier["trials"] for tier in found["tiers"]) == 5
    assert found["tiers"][0]["dimensions"]["optim.lr"] == "0.0001 to 0.01, log"
    json.dumps(found)


@pytest.mark.parametrize("kind", ["text", "json"])
def test_both_forms_say_the_same(
    kind: str, campaign: Campaign, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @contextmanager
    def open_app() -> Any:
        yield SimpleNamespace(records=SimpleNamespace(find=lambda name: campaign))

    monkeypatch.setattr("hpo.wiring.open_app", open_app)
    show(argparse.Namespace(overrides=["study=night"], format=kind))
    said = capsys.readouterr().out
    if kind == "json":
        assert json.loads(said) == description(campaign)
        return
    for part in ("night, running", "5 trials, seed 7", "optim.lr: 0.0001 to 0.01, log", "trainer.train.epochs = 3"):
        assert part in said
    assert said.count("optim.lr: ") == 1, "the last tier names no dimension a second time"
    assert max(map(len, said.splitlines())) <= module.WIDTH
