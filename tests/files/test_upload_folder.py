"""Resumable uploads at a start: what cannot be read now may be read later, so only what is none is deleted."""

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from headway.domain.ids import JobIds
from headway.domain.uploads import KEPT, AnnouncedUpload
from headway.files.upload_folder import UNSYNCED, UploadFolder
from structlog.testing import capture_logs

from tests.support.nobody import as_nobody, give_to_nobody

NOW = datetime(2026, 3, 1, tzinfo=UTC)
KEPT_FOR_NOW = "an upload cannot be read now and is kept"


@pytest.fixture
def root() -> Iterator[Path]:
    """Not below pytest's own directory, which is private to root."""
    with tempfile.TemporaryDirectory() as root:
        yield Path(root)


@pytest.fixture
def folder(root: Path) -> UploadFolder:
    return UploadFolder(root)


@pytest.fixture
def upload(folder: UploadFolder) -> AnnouncedUpload:
    """Half of it has arrived, and a crash has cut off its part."""
    upload_id, at = JobIds().new(NOW)
    upload = AnnouncedUpload(
        id=upload_id,
        owner="local",
        key_id=None,
        length_bytes=10,
        metadata="",
        filename="a.txt",
        content_type="text/plain",
        created_at=at,
    )
    folder.create(upload)
    with folder.append(upload_id, 0) as part:
        part.write(b"hello")
    return upload


def about_without_rights(own: Path) -> None:
    (own / "about.json").chmod(0)


def bytes_without_rights(own: Path) -> None:
    (own / "bytes").chmod(0o400)


def directory_without_rights(own: Path) -> None:
    own.chmod(0)


@pytest.mark.parametrize("spoil", [about_without_rights, bytes_without_rights, directory_without_rights])
def test_an_upload_that_may_not_be_read_now_is_kept_and_named_in_the_log(
    root: Path, folder: UploadFolder, upload: AnnouncedUpload, spoil: Callable[[Path], None]
) -> None:
    own = root / upload.id
    modes = {path: path.stat().st_mode for path in (own, own / "about.json", own / "bytes")}
    give_to_nobody(root)
    spoil(own)
    with as_nobody(), capture_logs() as logged:
        assert folder.load(NOW) == []
    assert [(line["event"], line["upload"], line["reason"]) for line in logged] == [
        (KEPT_FOR_NOW, upload.id, os.strerror(errno.EACCES))
    ]
    for path, mode in modes.items():
        path.chmod(mode)
    assert folder.load(NOW) == [(upload, 5)]


def test_an_upload_that_cannot_be_synced_now_is_kept(
    folder: UploadFolder, upload: AnnouncedUpload, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", broken)
        assert folder.load(NOW) == []
    assert folder.load(NOW) == [(upload, 5)]


def test_a_damaged_description_is_kept_until_the_upload_would_have_expired(
    root: Path, folder: UploadFolder, upload: AnnouncedUpload
) -> None:
    about = root / upload.id / "about.json"
    whole = about.read_bytes()
    about.write_bytes(whole[:-1])
    with capture_logs() as logged:
        assert folder.load(NOW + KEPT - timedelta(seconds=1)) == []
    assert [(line["event"], line["upload"]) for line in logged] == [(KEPT_FOR_NOW, upload.id)]
    about.write_bytes(whole)
    assert folder.load(NOW) == [(upload, 5)]
    about.write_bytes(whole[:-1])
    assert folder.load(NOW + KEPT + timedelta(seconds=1)) == []
    assert list(root.iterdir()) == []


def test_what_is_no_upload_is_deleted(root: Path, folder: UploadFolder, upload: AnnouncedUpload) -> None:
    ids = JobIds()
    file, link, without_bytes, without_about, directory = (root / ids.new(NOW)[0] for _ in range(5))
    file.write_text("no directory")
    link.symlink_to(root / upload.id)
    about = (root / upload.id / "about.json").read_bytes()
    for each in (without_bytes, without_about, directory):
        each.mkdir()
    (without_bytes / "about.json").write_bytes(about.replace(upload.id.encode(), without_bytes.name.encode()))
    (without_about / "bytes").touch()
    (directory / "about.json").mkdir()
    with capture_logs() as logged:
        assert folder.load(NOW) == [(upload, 5)]
    assert KEPT_FOR_NOW not in {line["event"] for line in logged}
    assert [path.name for path in root.iterdir()] == [upload.id]
    assert not (root / upload.id / UNSYNCED).exists()
