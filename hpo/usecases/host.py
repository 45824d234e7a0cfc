"""What use cases ask of the machine that they run on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hpo.domain.campaign import WorkerIdentity
from hpo.domain.config import SearchConfig


@dataclass(frozen=True)
class Host:
    """is_dead: whether a worker's process has certainly ended. num_threads: CPU threads that a training may take.
    available_memory: bytes that processes can still take, at the moment. device: what a training would run on."""

    is_dead: Callable[[WorkerIdentity], bool]
    num_threads: Callable[[], int]
    available_memory: Callable[[], int]
    device: Callable[[SearchConfig], str | None]
