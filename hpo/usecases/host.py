"""What use cases ask of the machine that they run on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hpo.domain.campaign import WorkerIdentity


@dataclass(frozen=True)
class Host:
    """is_dead: whether a worker's process has certainly ended. num_threads: CPU threads that a training may take.
    available_memory: bytes that processes can still take, at the moment."""

    is_dead: Callable[[WorkerIdentity], bool]
    num_threads: Callable[[], int]
    available_memory: Callable[[], int]
