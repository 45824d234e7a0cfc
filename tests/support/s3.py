"""An S3 server on loopback: moto's, in a process of its own that can be stopped and gone on with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec

from support.command import wait_for

BUCKET = "tiertune-test"
SERVER = """
import logging, sys
logging.getLogger("werkzeug").setLevel(logging.ERROR)
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True)
class S3:
    """environment: what a process needs to reach it. `HPO_ARTIFACTS` is the caller's: `url` names a prefix."""

    process: subprocess.Popen[str]
    environment: Mapping[str, str]

    def url(self, prefix: str) -> str:
        return f"s3://{BUCKET}/{prefix}"

    def pause(self) -> None:
        """It takes connections and answers nothing."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)


def missing() -> str | None:
    """Why there can be none here."""
    absent = [name for name in ("moto", "s3fs") if find_spec(name) is None]
    return f"{' and '.join(absent)} not installed (extra `dev`)" if absent else None


@contextmanager
def open_server() -> Iterator[S3]:
    """A server with an empty bucket."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        endpoint = f"http://127.0.0.1:{process.stdout.readline().strip()}"
        environment = {
            "AWS_ACCESS_KEY_ID": "a-key-of-the-test",
            "AWS_SECRET_ACCESS_KEY": "a-secret-of-the-test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": endpoint,
        }
        made = urllib.request.Request(f"{endpoint}/{BUCKET}", method="PUT")
        wait_for(lambda: urllib.request.urlopen(made, timeout=30).status == 200, 30)
        yield S3(process, environment)
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()
