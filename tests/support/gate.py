"""A door before a tracking server: open, locked, or with somebody behind it who talks nonsense."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import urlopen

ANSWERS = {"error": (500, b"Internal Server Error"), "nonsense": (200, b"<html>Please log in.</html>")}
SILENCE_SECONDS = 60.0


OWN = ("host", "connection", "transfer-encoding")
"""Headers of one connection, which are not passed on."""


class Gate:
    """Passes HTTP on to a server on loopback while `mood` is `open`.

    Other moods: `error` and `nonsense` answer by themselves, `silent` never does, `closed` breaks every connection off.
    num_refused: requests that were not passed on.
    """

    def __init__(self, port: int) -> None:
        self.mood, self.num_refused, self._port = "open", 0, port
        gate = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_request(self) -> None:
                gate._handle(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_request  # noqa: N815 (http.server's names)

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handle(self, request: BaseHTTPRequestHandler) -> None:
        body = _body(request)
        request.close_connection = True
        if self.mood == "open":
            self._pass_on(request, body)
            return
        self.num_refused += 1
        if self.mood == "silent":
            time.sleep(SILENCE_SECONDS)
        elif self.mood in ANSWERS:
            _answer(request, *ANSWERS[self.mood], "text/html")

    def _pass_on(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        server = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in OWN}
        server.request(request.command, request.path, body, headers)
        response = server.getresponse()
        _answer(request, response.status, response.read(), response.headers.get("Content-Type", "text/plain"))
        server.close()


def _body(request: BaseHTTPRequestHandler) -> bytes:
    """An empty file is sent in chunks, as a stream of unknown length."""
    if request.headers.get("Transfer-Encoding") != "chunked":
        return request.rfile.read(int(request.headers.get("Content-Length", 0)))
    body = b""
    while length := int(request.rfile.readline(), 16):
        body += request.rfile.read(length)
        request.rfile.readline()
    request.rfile.readline()
    return body


def _answer(request: BaseHTTPRequestHandler, code: int, body: bytes, kind: str) -> None:
    with suppress(ConnectionError):
        request.send_response(code)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(body)))
        request.send_header("Connection", "close")  # said, or the client asks once more on a connection that closes
        request.end_headers()
        request.wfile.write(body)


class TrackingServer:
    """`mlflow server` on SQLite below a folder."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        store = f"sqlite:///{folder / 'mlflow.db'}"
        artifacts = ("--artifacts-destination", str(folder / "artifacts"))
        command = (sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store, *artifacts)
        with (folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"],
                env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def is_up(self) -> bool:
        with suppress(OSError), urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5):
            return True
        return False

    def close(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, 9)
        self._process.wait()
