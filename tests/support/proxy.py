"""A road to a database server that can be slow, blocked, or cut at the worst moment."""

from __future__ import annotations

import random
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

from hpo.adapters.postgres.urls import parse

CHUNK = 1 << 16
WRITES = (b"COMMIT", b"INSERT ", b"UPDATE ")
"""In what a client sends: something is written, or has been from now on."""


class Proxy:
    """Listens on loopback and passes everything on to the server of a URL with a Unix socket.

    pause: seconds that every piece waits on its way. cut_share: of all writes, the share (by chance) that is passed on
    and has its connection closed before the answer, so that its sender cannot know whether it took place. num_cuts: how
    often that was.
    """

    def __init__(self, url: str, pause: float = 0.0, seed: int = 0) -> None:
        self._target, self._chance = parse(url), random.Random(seed)
        self.pause, self.cut_share = pause, 0.0
        self._open = threading.Event()
        self._open.set()
        self.num_cuts = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        user, port, database = self._target.username, self._listener.getsockname()[1], self._target.database
        return f"postgresql://{user}@127.0.0.1:{port}/{database}?sslmode=disable&gssencmode=disable"

    def block(self, seconds: float) -> None:
        """Pass nothing on for a while; connections stay open."""
        self._open.clear()
        time.sleep(seconds)
        self._open.set()

    def close(self) -> None:
        self.cut_share = 0.0
        self._open.set()
        self._listener.shutdown(socket.SHUT_RDWR)  # ends the waiting in accept
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server, suppress(OSError):
            server.connect(str(Path(str(self._target.query["host"])) / ".s.PGSQL.5432"))
            answers = threading.Thread(target=self._pass_on, args=(server, client, False), daemon=True)
            answers.start()
            self._pass_on(client, server, True)
            answers.join()

    def _pass_on(self, source: socket.socket, sink: socket.socket, is_client: bool) -> None:
        with suppress(OSError):
            while piece := source.recv(CHUNK):
                self._open.wait()
                time.sleep(self.pause)
                is_cut = is_client and any(word in piece for word in WRITES) and self._is_due()
                if is_cut:
                    source.shutdown(socket.SHUT_RDWR)  # no answer gets through from here on
                sink.sendall(piece)
                if is_cut:
                    time.sleep(0.05)  # the server is not to find the road closed before it has read this
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _is_due(self) -> bool:
        is_due = self._chance.random() < self.cut_share
        self.num_cuts += is_due
        return is_due
