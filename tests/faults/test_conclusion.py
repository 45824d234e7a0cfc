"""The end of a campaign, when the champion is chosen, measured and registered, broken off at every step."""

from __future__ import annotations

import signal

import pytest
from mlflow import MlflowClient
from support.plans import Fault
from support.traps import CONCLUSION
from support.tree import Tree

from hpo.adapters.postgres.urls import url_for

pytestmark = pytest.mark.slow_faults

NAME = "broken-off"
KEPT = 1
SETTINGS = ("trials=4", f"worker.keep_checkpoints={KEPT}", "committee.rule=single")


def test_a_conclusion_killed_at_every_step_is_made_in_the_end(tree: Tree) -> None:
    """The same command again and again: each goes a step further than the one before."""
    faults = []
    for point in CONCLUSION:
        tree.finish(tree.start(NAME, *SETTINGS, trap=tree.trap(NAME, point, "KILL")), NAME, -signal.SIGKILL)
        tree.arena.note_strike(NAME, "KILL")
        faults.append((Fault(point, "KILL"), "supervisor"))
        assert not (tree.home / "runs" / NAME / "concluded.json").exists()
    tree.run(NAME, *SETTINGS)

    tree.arena.score_all(NAME, faults)
    folder = tree.home / "reports" / NAME
    names = {file.name for file in folder.iterdir() if file.suffix != ".svg"}
    assert names == {"report.html", "report.json", "report.data.txt", "digests.json"}
    assert (folder / "report.intervals.svg").exists()
    client = MlflowClient(url_for(tree.arena.url, "mlflow"))
    versions = client.search_model_versions(f"name = 'tiertune-{NAME}'")
    assert [str(version.version) for version in versions] == ["1"]
    aliases = client.get_registered_model(f"tiertune-{NAME}").aliases
    assert aliases == {} or aliases == {"champion": "1"}, "as the report recommends"
    kept = list((tree.home / "runs" / NAME).glob("slot-*/attempt-*/model.pt"))
    assert KEPT <= len(kept) <= KEPT + 2, "the champion's, the default's and the best ones'"

    said = len(tree.output(NAME))
    tree.run(NAME, *SETTINGS)
    assert "Report:" not in tree.output(NAME)[said:], "it was made once more"
