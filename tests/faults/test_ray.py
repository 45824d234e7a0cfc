"""Campaigns whose workers are actors of a real Ray cluster of three nodes on this machine; nodes come and go."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from support.arena import ENDED, status, until
from support.plans import Fault
from support.ray_cluster import add_node, open_cluster, pull_the_plug, training, workers
from support.tree import Tree

from hpo.domain.campaign import SlotState

pytestmark = pytest.mark.slow_faults

NODES = (2, 3, 3)
"""CPUs of each, the head first; a worker takes one."""
MANY = ("trials=60", "worker.lease=PT3S", "trainer.train.epochs=8", "sampler.name=random", "pruner.name=nop")
"""What is proposed does not depend on which trials have ended: eight workers find out what one finds out."""
FEW = ("trials=24", "worker.lease=PT3S", "trainer.train.epochs=8")


def on_ray(num_workers: int) -> tuple[str, ...]:
    return "worker.engine=ray", f"worker.num_workers={num_workers}"


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """Of the test's campaign."""
    return str(request.node.name).removeprefix("test_").replace("_", "-")[:40]


@pytest.fixture
def nodes(tree: Tree, name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A cluster whose trials note the epochs of the test's campaign as they begin."""
    for variable, value in tree.trap(name).environment().items():
        monkeypatch.setenv(variable, value)
    with open_cluster(*({"num_cpus": number} for number in NODES)) as cluster:
        tree.environment["RAY_ADDRESS"] = cluster.address
        yield cluster


def all_workers(cluster: Any) -> list[Any]:
    return [worker for node in cluster.list_all_nodes() for worker in workers(node)]


def is_exact(tree: Tree, name: str) -> bool:
    """Whether every slot is done, once, and the stores agree."""
    return {slot.state for slot in tree.arena.slots(name)} == {SlotState.DONE} and tree.arena.examine(name) == []


def test_a_node_is_lost_amid_trials_and_another_comes(tree: Tree, nodes: Any, name: str) -> None:
    process = tree.start(name, *MANY, *on_ray(sum(NODES)))
    victim, deaths = min(nodes.worker_nodes, key=id), NODES[1]
    until(lambda: len(training(victim)) == deaths)
    tree.wait_for_epoch(name, deaths)
    pull_the_plug(nodes, victim)
    for _ in range(deaths):
        tree.arena.note_strike(name, "KILL")
    comes = add_node(nodes, num_cpus=deaths)
    until(lambda: len(workers(comes)) == deaths)
    tree.finish(process, name)

    tree.arena.score_all(name, [(Fault("node of a Ray cluster", "KILL"), "worker")] * deaths)
    calm = tree.undisturbed(*MANY)
    trials, decisions, *crowned = tree.arena.history(name)
    assert (trials, *crowned) == (calm[0], *calm[2:])
    # The joint model adds up what eight workers have found out in another order.
    assert [decision["values"] for decision in decisions] == [decision["values"] for decision in calm[1]]
    numbers = [sorted(trial.number for trial in tree.arena.trials(each)) for each in (name, "undisturbed")]
    assert numbers[0] == numbers[1]


def test_a_node_that_is_to_go_is_left_by_its_workers(tree: Tree, nodes: Any, name: str) -> None:
    process = tree.start(name, *FEW, *on_ray(3))
    until(lambda: len(all_workers(nodes)) == 3)
    leaves = next(node for node in nodes.worker_nodes if workers(node))
    until(lambda: len(training(leaves)) == len(workers(leaves)))
    notice = ("--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot", "--node-id", leaves.node_id)
    ray = [sys.executable, "-m", "ray.scripts.scripts", "drain-node", "--address", nodes.address, *notice]
    subprocess.run([*ray, "--deadline-remaining-seconds", "60"], check=True, capture_output=True)
    until(lambda: not workers(leaves))
    until(lambda: len(all_workers(nodes)) == 3)
    tree.finish(process, name)
    assert is_exact(tree, name)
    assert "lost" not in tree.output(name)


def test_ctrl_c_ends_the_workers_and_resume_goes_on(tree: Tree, nodes: Any, name: str) -> None:
    process = tree.start(name, *FEW, *on_ray(3))
    tree.wait_for_epoch(name)
    process.send_signal(signal.SIGINT)
    tree.finish(process, name, 130)
    until(lambda: all_workers(nodes) == [])
    tree.finish(tree.command("resume", f"study={name}", *on_ray(3)), name)
    assert is_exact(tree, name)


def test_workers_whose_command_is_killed_save_their_trials_and_end(tree: Tree, nodes: Any, name: str) -> None:
    process = tree.start(name, *FEW, *on_ray(3))
    tree.wait_for_epoch(name)
    orphans = all_workers(nodes)
    process.kill()
    process.wait()
    until(lambda: all(status(worker) in ENDED for worker in orphans))
    assert SlotState.RUNNING not in {slot.state for slot in tree.arena.slots(name)}, "a trial was not given back"
    tree.finish(tree.command("resume", f"study={name}", *on_ray(3)), name)
    assert is_exact(tree, name)
