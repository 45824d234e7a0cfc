"""A real Ray cluster on this machine: each node has a raylet, a store and processes of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from support.arena import ENDED, family, status

NOTICES_SOON = {
    "health_check_initial_delay_ms": 500,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 3,
}
"""By default Ray takes a node for lost after a quarter of a minute."""


@contextmanager
def open_cluster(*nodes: Mapping[str, Any]) -> Iterator[Any]:
    """A cluster while the block runs, Ray's own `Cluster`. nodes: what each has, as `ray start` takes it; the first is
    the head."""
    import ray
    from ray._private.utils import get_ray_address_file
    from ray.cluster_utils import Cluster

    # Ray writes the newest cluster's address there, and expects the folder.
    Path(get_ray_address_file(None)).parent.mkdir(parents=True, exist_ok=True)
    cluster = Cluster(shutdown_at_exit=False)
    # A short path: sockets lie below it, and the system takes a hundred letters of theirs.
    with TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        try:
            add_node(cluster, **nodes[0], temp_dir=folder, _system_config=NOTICES_SOON)
            for node in nodes[1:]:
                add_node(cluster, **node)
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()


def add_node(cluster: Any, **resources: Any) -> Any:
    """One node more."""
    return cluster.add_node(include_dashboard=False, **resources)


def processes(node: Any) -> list[psutil.Process]:
    """The node's raylet and all below it: actors, workers, trials."""
    raylets = [process.pid for kind, process in node.live_processes() if kind == "raylet"]
    return [each for raylet in raylets for each in family(raylet) if status(each) not in ENDED]


def workers(node: Any) -> list[psutil.Process]:
    """The node's processes `hpo worker`."""
    return [each for each in processes(node) if "worker" in _words(each)]


def training(node: Any) -> list[psutil.Process]:
    """The workers whose trial's process, a leaf below their fork server, runs."""
    return [each for each in workers(node) if any(len(family(child.pid)) > 1 for child in _children(each))]


def pull_the_plug(cluster: Any, node: Any) -> None:
    """End everything that runs on the node at once, as a power cut does."""
    for process in processes(node):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    cluster.remove_node(node, allow_graceful=False)


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children()
    except psutil.NoSuchProcess:
        return []
