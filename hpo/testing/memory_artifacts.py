"""A store of artifacts in memory, which can be away: the twin of `hpo.adapters.artifacts`."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from pathlib import Path

from hpo.domain.errors import StoreUnavailable


class MemoryArtifacts:
    """See `hpo.domain.ports.ArtifactStore`. is_away: nothing answers while it is set."""

    where = "memory://test"

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.is_away = False
        self._lock = threading.Lock()

    def probe(self) -> None:
        self._knock()

    def put(self, files: Mapping[str, Path]) -> None:
        for key, file in files.items():
            self._knock()
            content = file.read_bytes()
            with self._lock:
                self.contents[key] = content

    def get(self, files: Mapping[str, Path]) -> None:
        for key, file in files.items():
            self._knock()
            with self._lock:
                if key not in self.contents:
                    raise FileNotFoundError(key)
                content = self.contents[key]
            file.write_bytes(content)

    def sizes(self, prefix: str) -> Mapping[str, int]:
        self._knock()
        with self._lock:
            return {key: len(value) for key, value in self.contents.items() if key.startswith(f"{prefix}/")}

    def delete(self, keys: Collection[str]) -> None:
        self._knock()
        with self._lock:
            for key in keys:
                self.contents.pop(key, None)

    def _knock(self) -> None:
        if self.is_away:
            raise StoreUnavailable(f"{self.where} is away")
