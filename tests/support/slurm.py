"""A real Slurm of one node, as the user who runs the tests, with its state in a temporary folder."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo")
SECONDS = 60.0

SETTINGS = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
MpiDefault=none
ProctrackType=proctrack/pgid
TaskPlugin=task/none
ReturnToService=2
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmdSpoolDir={folder}/spool
StateSaveLocation={folder}/state
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SchedulerType=sched/builtin
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
KillWait=3
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE OverTimeLimit=0 State=UP
"""


def missing() -> str:
    """What of Slurm is not installed here."""
    return ", ".join(name for name in PROGRAMS if _where(name) is None)


def _where(name: str) -> str | None:
    """Debian puts the daemons where root alone looks for them."""
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")


@contextmanager
def open_cluster(folder: Path) -> Iterator[Path]:
    """A cluster while the block runs; yields its configuration, for SLURM_CONF."""
    host = socket.gethostname().split(".")[0]
    for name in ("spool", "state"):
        (folder / name).mkdir(parents=True)
    settings = folder / "slurm.conf"
    settings.write_text(
        SETTINGS.format(host=host, user=getpass.getuser(), folder=folder, ports=_free_ports(), cpus=os.cpu_count())
    )
    environment = {**os.environ, "SLURM_CONF": str(settings)}
    programs = [[str(_where("slurmctld")), "-D", "-c"], [str(_where("slurmd")), "-D", "-N", host]]
    started = [
        subprocess.Popen(p, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT) for p in programs
    ]
    try:
        deadline = time.monotonic() + SECONDS
        while "idle" not in _states(environment):
            if time.monotonic() > deadline:
                raise TimeoutError((folder / "slurmctld.log").read_text()[-500:])
            time.sleep(0.2)
        yield settings
    finally:
        for program in reversed(started):
            program.terminate()
        for program in started:
            program.wait(timeout=SECONDS)


def _states(environment: dict[str, str]) -> str:
    asked = ["sinfo", "--noheader", "--format=%T"]
    return subprocess.run(asked, env=environment, capture_output=True, text=True, check=False).stdout


def _free_ports() -> list[int]:
    sockets = [socket.socket() for _ in range(2)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
