"""Files by key in an object store or a folder, as HPO_ARTIFACTS names it: whatever fsspec reaches."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hpo.domain.errors import StoreUnavailable, UsageError, nearest
from hpo.domain.redaction import redact_error

VARIABLE = "HPO_ARTIFACTS"
SCHEMES = {"s3": "s3", "gs": "gcs", "file": "file"}
"""Beginning of the URL -> fsspec's name of it."""
EXTRAS = {"s3": "s3", "gs": "gcs"}
"""What has to be installed for it: `tiertune[s3]`."""
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    # An outage is seen within seconds: whoever uploads tries again by itself.
    "s3": {"config_kwargs": {"connect_timeout": 5, "read_timeout": 30, "retries": {"max_attempts": 2}}},
    "gs": {},
    "file": {"auto_mkdir": True},
}
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[^?#@\s]*)?")
_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
}


def location() -> str | None:
    """HPO_ARTIFACTS, checked: `s3://bucket/prefix`, `gs://bucket/prefix` or `file:///folder`; None: it is not set.

    Raises:
        UsageError: it is no such URL, or what it needs is not installed. Passwords in it are not shown.
    """
    given = os.environ.get(VARIABLE, "").strip()
    if not given:
        return None
    scheme, separator, rest = given.partition("://")
    forms = "s3://bucket/prefix, gs://bucket/prefix or file:///folder"
    if not separator or scheme not in SCHEMES:
        hint = nearest(f"{scheme}://", [f"{each}://" for each in SCHEMES]) if separator and "@" not in given else ""
        raise UsageError(f"{VARIABLE} cannot be read; it has the form {forms}.{hint}")
    is_right = rest.startswith("/") if scheme == "file" else bool(_BUCKET.fullmatch(rest))
    if not is_right:
        place = "an absolute folder: file:///folder" if scheme == "file" else f"a bucket: {scheme}://bucket/prefix"
        raise UsageError(f"{VARIABLE} cannot be read; behind {scheme}:// stands {place}, and no password.")
    if scheme in EXTRAS:
        _check_installed(scheme)
    return given.rstrip("/")


def _check_installed(scheme: str) -> None:
    import fsspec

    try:
        fsspec.get_filesystem_class(SCHEMES[scheme])
    except ImportError:
        raise UsageError(f"{VARIABLE}={scheme}://... needs pip install 'tiertune[{EXTRAS[scheme]}]'.") from None


class FsspecStore:
    """See `hpo.domain.ports.ArtifactStore`. Credentials and endpoints are those of the environment, as the cloud's own
    tools take them.

    Every call opens what it needs: nothing is cached between two.
    """

    def __init__(self, url: str) -> None:
        """url: as `location` gives it."""
        import fsspec

        self.where = url
        self._scheme = url.partition("://")[0]
        kind = fsspec.get_filesystem_class(SCHEMES[self._scheme])
        self._root: str = kind._strip_protocol(url)
        with self._asking():
            self._files: Any = kind(skip_instance_cache=True, use_listings_cache=False, **OPTIONS[self._scheme])

    def probe(self) -> None:
        key = f"probe-{uuid.uuid4().hex}"
        with self._asking():
            self._files.pipe_file(self._path(key), b"tiertune")
            if self._files.cat_file(self._path(key)) != b"tiertune":
                raise OSError("what was written is not what is read")
        self.delete([key])

    def put(self, files: Mapping[str, Path]) -> None:
        if not files:
            return
        with self._asking():
            if self._scheme == "file":
                for key, file in files.items():
                    self._put_whole(file, self._path(key))
            else:
                self._files.put([str(file) for file in files.values()], [self._path(key) for key in files])

    def get(self, files: Mapping[str, Path]) -> None:
        if not files:
            return
        with self._asking(absent_is_said=True):
            self._files.get([self._path(key) for key in files], [str(file) for file in files.values()])

    def sizes(self, prefix: str) -> Mapping[str, int]:
        with self._asking():
            try:
                found = self._files.find(self._path(prefix), detail=True)
            except FileNotFoundError:
                if self._scheme != "file":
                    raise  # the bucket: a prefix that holds nothing is empty
                return {}
        start = len(self._root.rstrip("/")) + 1
        return {path[start:]: int(entry["size"]) for path, entry in found.items()}

    def delete(self, keys: Collection[str]) -> None:
        if not keys:
            return
        with self._asking():
            if self._scheme == "file":
                for key in keys:
                    with suppress(FileNotFoundError):
                        self._files.rm_file(self._path(key))
            else:
                with suppress(FileNotFoundError):
                    self._files.rm([self._path(key) for key in keys])

    def _path(self, key: str) -> str:
        return f"{self._root.rstrip('/')}/{key}"

    def _put_whole(self, file: Path, path: str) -> None:
        """Into a folder: an object store shows a file when all of it is there, and so does this."""
        unfinished = f"{path}.{uuid.uuid4().hex}.tmp"
        self._files.put_file(str(file), unfinished)
        os.replace(unfinished, path)

    @contextmanager
    def _asking(self, absent_is_said: bool = False) -> Iterator[None]:
        """Every library behind fsspec has errors of its own; to the search they all mean that the store is away."""
        try:
            yield
        except Exception as error:
            if absent_is_said and isinstance(error, FileNotFoundError):
                raise
            raise StoreUnavailable(f"{VARIABLE} ({self.where}) cannot be used: {self._reason(error)}.") from None

    def _reason(self, error: Exception) -> str:
        name = type(error).__name__
        if "Credentials" in name:
            return f"no credentials were found; set {_CREDENTIALS.get(self._scheme, 'them')}"
        if isinstance(error, PermissionError):
            return "it refuses access with these credentials"
        if isinstance(error, FileNotFoundError):
            return "there is no such bucket" if self._scheme != "file" else "there is no such folder"
        first = (redact_error(str(error)).strip().splitlines() or [""])[0].rstrip(".")
        return f"{first} ({name})" if first else name
