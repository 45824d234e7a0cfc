"""What every store of artifacts promises: a folder, S3 and the twin in memory; what HPO_ARTIFACTS is refused for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.s3 import S3

from hpo.adapters.artifacts import FsspecStore, location
from hpo.domain.errors import StoreUnavailable, UsageError
from hpo.domain.ports import ArtifactStore
from hpo.testing.memory_artifacts import MemoryArtifacts

Write = Callable[[str, bytes], Path]


@pytest.fixture(params=["memory", "file", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ArtifactStore]:
    if request.param == "memory":
        yield MemoryArtifacts()
    elif request.param == "file":
        yield FsspecStore(f"file://{tmp_path / 'store'}")
    else:
        yield FsspecStore(request.getfixturevalue("s3").url(f"contract/{tmp_path.name}"))


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def new(name: str, content: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return new


def test_what_is_put_is_there(store: ArtifactStore, tmp_path: Path, write: Write) -> None:
    store.probe()
    assert store.sizes("runs") == {}, "the probe leaves nothing behind"
    big = bytes(range(256)) * 40_000
    files = {
        "runs/a/last.pt.1": write("one", big),
        "runs/a/daily/e 1.npz.2": write("two", b"two"),
        "finals/x": tmp_path / "two",
    }
    store.put(files)
    store.put(files)
    assert store.sizes("runs") == {"runs/a/last.pt.1": len(big), "runs/a/daily/e 1.npz.2": 3}
    assert store.sizes("runs/a/daily") == {"runs/a/daily/e 1.npz.2": 3}
    assert store.sizes("run") == {}, "a prefix is a folder"
    store.get({"runs/a/last.pt.1": tmp_path / "back", "runs/a/daily/e 1.npz.2": tmp_path / "also back"})
    assert (tmp_path / "back").read_bytes() == big
    assert (tmp_path / "also back").read_bytes() == b"two"


def test_what_is_deleted_or_never_was_is_absent(store: ArtifactStore, tmp_path: Path, write: Write) -> None:
    store.put({"runs/a": write("a", b"a"), "runs/b": write("b", b"b")})
    store.delete(["runs/a", "runs/never"])
    store.delete([])
    assert store.sizes("runs") == {"runs/b": 1}
    for key in ("runs/a", "nowhere/at all"):
        with pytest.raises(FileNotFoundError):
            store.get({key: tmp_path / "none"})
    store.put({})
    store.get({})


def test_a_twin_that_is_away_says_so(tmp_path: Path, write: Write) -> None:
    store = MemoryArtifacts()
    store.is_away = True
    for call in (store.probe, lambda: store.put({"a": write("a", b"a")}), lambda: store.sizes("a")):
        with pytest.raises(StoreUnavailable, match="is away"):
            call()


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("/shared/runs", r"HPO_ARTIFACTS cannot be read; it has the form s3://bucket/prefix, gs://"),
        ("s4://bucket", r"Did you mean 's3://'\?"),
        ("s3://", r"behind s3:// stands a bucket: s3://bucket/prefix"),
        ("s3:///prefix", r"stands a bucket"),
        ("s3://key:geheim@bucket/prefix", r"stands a bucket: s3://bucket/prefix, and no password\."),
        ("gs://bucket?token=geheim", r"stands a bucket: gs://"),
        ("file://folder", r"behind file:// stands an absolute folder: file:///folder"),
        ("ftp://me:geheim@host/x", r"it has the form"),
    ],
)
def test_a_url_that_cannot_be_meant_is_refused(url: str, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPO_ARTIFACTS", url)
    with pytest.raises(UsageError, match=sentence) as refused:
        location()
    assert "geheim" not in str(refused.value)


def test_what_has_to_be_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fsspec.get_filesystem_class", _not_installed)
    monkeypatch.setenv("HPO_ARTIFACTS", "gs://bucket/prefix")
    with pytest.raises(UsageError, match=r"HPO_ARTIFACTS=gs://\.\.\. needs pip install 'tiertune\[gcs\]'"):
        location()


def test_without_the_variable_there_is_no_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HPO_ARTIFACTS", raising=False)
    assert location() is None
    monkeypatch.setenv("HPO_ARTIFACTS", f"file://{tmp_path}/")
    assert location() == f"file://{tmp_path}"


def test_a_store_that_refuses_says_so_in_a_sentence(s3: S3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"^HPO_ARTIFACTS \(s3://no-such-bucket\) .*there is no such bucket\.$"):
        FsspecStore("s3://no-such-bucket").probe()
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match=r"HPO_ARTIFACTS \(file://.*\) cannot be used: .*Not a directory"):
        FsspecStore(f"file://{tmp_path}/file/below").probe()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StoreUnavailable, match=r"Could not connect to the endpoint URL") as away:
        FsspecStore("s3://bucket").probe()
    assert "a-secret-of-the-test" not in str(away.value)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(StoreUnavailable, match=r"no credentials were found; set AWS_ACCESS_KEY_ID and"):
        FsspecStore("s3://bucket").probe()


def _not_installed(protocol: str) -> None:
    raise ImportError(protocol)
