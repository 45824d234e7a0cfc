"""The refit at the end of a campaign, killed at every step."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from mlflow import MlflowClient
from support.traps import REFIT
from support.tree import Tree

from hpo.adapters.postgres.urls import url_for
from hpo.usecases.refit.record import FOLDER

NAME, OTHER = "refitted", "undisturbed"
SETTINGS = ("trials=2", "worker.num_workers=1")


def finals(tree: Tree, name: str) -> dict[str, dict[str, str]]:
    """Of each committee of refitted models: member -> SHA-256 of its weights, with the campaign's name left out."""
    return {
        file.name: {
            member.removeprefix(name): listed["sha256"]
            for member, listed in json.loads(file.read_text())["members"].items()
        }
        for file in Path(tree.home / FOLDER / name).glob("*.json")
        if "members" in json.loads(file.read_text())
    }


@pytest.mark.slow_faults
def test_a_refit_killed_at_every_step_ends_with_the_same_models(tree: Tree) -> None:
    """The same command again and again, each time a step further, and a campaign that nothing happened to."""
    tree.run(NAME, *SETTINGS)
    for point in REFIT:
        trap = tree.trap(NAME, point, "KILL", nth=5 if point == "amid the refits" else 1)
        tree.finish(tree.start(NAME, *SETTINGS, "finalize=true", trap=trap), NAME, -signal.SIGKILL)
        tree.arena.note_strike(NAME, "KILL")
    tree.run(NAME, *SETTINGS, "finalize=true")
    tree.run(OTHER, *SETTINGS, "finalize=true")

    assert finals(tree, NAME) == finals(tree, OTHER) != {}
    client = MlflowClient(url_for(tree.arena.url, "mlflow"))
    assert len(client.search_model_versions(f"name = 'tiertune-{NAME}'")) == 2, "as searched, and refitted"
    said = len(tree.output(NAME))
    tree.run(NAME, *SETTINGS, "finalize=true")
    assert "Training" not in tree.output(NAME)[said:], "it was made once more"
