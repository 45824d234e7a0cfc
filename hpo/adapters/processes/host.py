"""Who a process is, and whether it still lives: the facts behind ending a dead worker's lease at once."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import psutil

from hpo.domain.campaign import WorkerIdentity

CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")
"""Where the kernel tells a container how many bytes it may use, or `max`."""
_CREATION_TOLERANCE_SECONDS = 2.0


def host_name() -> str:
    """This host, told apart from containers that share its name by their pid namespace."""
    name = socket.gethostname()
    namespace = Path("/proc/self/ns/pid")
    return f"{name}/{namespace.stat().st_ino}" if namespace.exists() else name


def this_process() -> WorkerIdentity:
    """The identity of the calling process."""
    return identity_of(os.getpid())


def identity_of(pid: int) -> WorkerIdentity:
    """Of a process of this host. Raises psutil.NoSuchProcess."""
    return WorkerIdentity(host_name(), pid, _started(psutil.Process(pid)))


def num_threads() -> int:
    """CPU threads a training here may take: OMP_NUM_THREADS, else what the system lets this process use."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdigit() and int(given):
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_memory() -> int:
    """Bytes that processes here can still take: what the machine has to spare, and no more than its container may."""
    spare = psutil.virtual_memory().available
    allowed = CONTAINER_LIMIT.read_text().strip() if CONTAINER_LIMIT.exists() else ""
    return min(spare, int(allowed)) if allowed.isdigit() else spare


def is_dead(identity: WorkerIdentity) -> bool:
    """True only when it is certain: same host, and no such process with that creation time."""
    if identity.host != host_name():
        return False
    try:
        process = psutil.Process(identity.pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return True
        return abs(_started(process) - identity.started) > _CREATION_TOLERANCE_SECONDS
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return True
    except psutil.AccessDenied:
        return False


def _started(process: psutil.Process) -> float:
    """When it was created: on Linux in seconds since the system's start, which nobody can set as a clock can be set;
    elsewhere in seconds since 1970."""
    status = Path(f"/proc/{process.pid}/stat")
    if not status.exists():
        return process.create_time()
    behind_name = status.read_text().rpartition(")")[2].split()
    return int(behind_name[19]) / os.sysconf("SC_CLK_TCK")  # field 22 of proc(5)'s table
