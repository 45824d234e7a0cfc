"""Networks and trees in one campaign, killed with everything below it, ends where the undisturbed one ends."""

from __future__ import annotations

import random
from pathlib import Path

import psutil
import pytest
from support.arena import family
from support.tree import Tree

NUM_TRIALS, NUM_KILLS = 10, 3
SETTINGS = (f"trials={NUM_TRIALS}", "trainer.train.epochs=3")
SPACE = """
settings: {model.window: 5, model.rounds_per_epoch: 2, train.batch_size: 512}
tiers:
  kind:
    model.kind: {type: choice, choices: [gru, lightgbm], default: gru}
    optim.lr: {type: float, low: 1.0e-4, high: 3.0e-2, log: true, default: 2.0e-3, when: {model.kind: gru}}
  capacity:
    model.hidden_size: {type: choice, choices: [4, 8, 16], ordered: true, default: 8, when: {model.kind: gru}}
    model.num_leaves: {type: integer, low: 4, high: 32, default: 8, when: {model.kind: lightgbm}}
  regularisation:
    model.dropout: {type: float, low: 0.0, high: 0.4, default: 0.1, when: {model.kind: gru}}
    model.feature_fraction: {type: float, low: 0.2, high: 1.0, default: 1.0, when: {model.kind: lightgbm}}
"""


@pytest.mark.slow_faults
def test_kills_change_nothing_where_dimensions_exist_under_choices(tree: Tree) -> None:
    moments, name = random.Random(1), "of-two-kinds"
    tree.space = Path(tree.home / "two-kinds.yaml")
    tree.space.write_text(SPACE)
    expected = tree.undisturbed(*SETTINGS, name="undisturbed-two-kinds")
    for _ in range(NUM_KILLS):
        process = tree.start(name, *SETTINGS)
        tree.wait_for_epoch(name, moments.randint(1, 5), 300.0)
        assert process.poll() is None, tree.output(name)
        for victim in family(psutil.Process(process.pid).pid):
            victim.kill()
        process.wait()
    tree.run(name, *SETTINGS)
    assert tree.arena.history(name) == expected
    kinds = [trial.params["model.kind"] for trial in tree.arena.trials(name)]
    assert min(kinds.count(kind) for kind in ("gru", "lightgbm")) >= 2
    assert tree.arena.examine(name) == []
