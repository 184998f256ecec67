"""The data directory: its lock, and how files become durable and public."""

import fcntl
import os
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from headway.domain.ids import JobIds
from headway.domain.jobs import Job, NewJob, OutputFile
from headway.domain.media_types import content_type_of
from headway.errors import SetupError
from headway.files.data_directory import MEMORY, DataDirectory
from headway.files.outputs import NOT_PLAIN

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def job() -> Job:
    new = NewJob(
        id=JobIds().new(NOW)[0], owner="local", type="report", input_json="{}", created_at=NOW, run_at=NOW, retain_s=1
    )
    return Job.queued(new)._replace(attempt=2)


@pytest.fixture
def files(tmp_path: Path) -> DataDirectory:
    return DataDirectory.open(str(tmp_path / "data"))


def test_a_second_server_is_refused_with_the_first_ones_process_id(tmp_path: Path) -> None:
    """File locks belong to a process, whichever descriptor they are taken with, so this needs a second process."""
    first = DataDirectory.open(str(tmp_path / "data"))
    code = (
        "import sys; from headway.files.data_directory import DataDirectory; from headway.errors import SetupError\n"
        "try: DataDirectory.open(sys.argv[1])\n"
        "except SetupError as error: print(error)"
    )
    root = Path(__file__).parents[2]
    said = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "data")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    ).stdout
    assert f"process {os.getpid()}" in said
    assert "choose another --data-dir" in said
    first.close()
    DataDirectory.open(str(tmp_path / "data")).close()


def test_a_second_lock_in_one_process_is_refused_too(files: DataDirectory) -> None:
    with pytest.raises(SetupError, match=f"process {os.getpid()}"):
        DataDirectory.open(str(files.root))
    assert (files.root / "headway.lock").read_text() == f"{os.getpid()}\n"


def test_a_shorter_process_id_replaces_a_longer_one(tmp_path: Path) -> None:
    (tmp_path / "headway.lock").write_text("99999999999999\n")
    with_lock = DataDirectory.open(str(tmp_path))
    assert (tmp_path / "headway.lock").read_text() == f"{os.getpid()}\n"
    with_lock.close()


def test_a_file_system_without_locks_is_refused_with_that_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(_descriptor: int, _operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("headway.files.data_directory.fcntl.flock", no_locks)
    with pytest.raises(SetupError, match=r"cannot be locked \(No locks available\)"):
        DataDirectory.open(str(tmp_path))


def test_a_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("x")
    with pytest.raises(SetupError, match="cannot be used"):
        DataDirectory.open(str(tmp_path / "data"))


def test_a_memory_directory_is_deleted_when_closed() -> None:
    first, second = DataDirectory.open(MEMORY), DataDirectory.open(MEMORY)
    assert first.root != second.root
    assert first.root.is_dir()
    first.close()
    second.close()
    assert not first.root.exists()


def test_uploads_become_the_jobs_inputs(files: DataDirectory, job: Job) -> None:
    incoming = files.new_incoming()
    assert files.new_incoming() != incoming
    (incoming / "document").write_bytes(b"pdf")
    files.accept_incoming(incoming, job.id)
    assert files.input(job.id, "document").read_bytes() == b"pdf"
    assert not incoming.exists()
    assert list(files.job_ids()) == [job.id]


def test_uploads_that_were_never_accepted_are_cleared(files: DataDirectory) -> None:
    (files.new_incoming() / "document").write_bytes(b"pdf")
    files.clear_incoming()
    assert list((files.root / "incoming").iterdir()) == []


def test_only_plain_files_are_published(files: DataDirectory, job: Job, tmp_path: Path) -> None:
    output = Path(files.directories(job).output)
    (output / "folder").mkdir(parents=True)
    (output / "folder" / "deep.txt").write_text("x")
    (output / "link.txt").symlink_to("/etc/passwd")
    os.mkfifo(output / "pipe")
    (output / "Grüße & more.txt").write_text("hello")
    (output / "a.csv").write_text("")
    published, notes = files.publish_output(job)
    assert published == (
        OutputFile("Grüße & more.txt", 5, "text/plain"),
        OutputFile("a.csv", 0, "text/csv"),
    )
    assert notes == tuple(f"{NOT_PLAIN}: {name}" for name in ("folder", "link.txt", "pipe"))
    assert (files.job(job.id) / "files" / "a.csv").exists()
    assert not output.exists()


def test_a_hard_link_to_a_file_outside_is_not_published(files: DataDirectory, job: Job, tmp_path: Path) -> None:
    output = Path(files.directories(job).output)
    output.mkdir(parents=True)
    secret = tmp_path / "secret.txt"
    secret.write_text("nobody's business")
    os.link(secret, output / "outside.txt")
    (output / "one.txt").write_text("twice")
    os.link(output / "one.txt", output / "two.txt")
    published, notes = files.publish_output(job)
    assert [file.name for file in published] == ["one.txt", "two.txt"]
    assert notes == (f"{NOT_PLAIN}: outside.txt",)
    assert secret.read_text() == "nobody's business"


def test_new_directories_are_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        files = DataDirectory.open(str(tmp_path / "deep" / "data"))
        (tmp_path / "shared").mkdir(mode=0o775)
        shared = DataDirectory.open(str(tmp_path / "shared"))
    finally:
        os.umask(before)
    assert modes(files.root, files.root / "jobs", files.root / "incoming", files.root / "types") == [0o700] * 4
    assert modes(shared.root, shared.root / "jobs") == [0o775, 0o700]  # the operator's own directory keeps its mode
    assert modes(files.database, shared.database, files.root / "headway.lock") == [0o600] * 3


def modes(*paths: Path) -> list[int]:
    return [stat.S_IMODE(path.stat().st_mode) for path in paths]


def test_without_output_nothing_is_published(files: DataDirectory, job: Job) -> None:
    assert files.publish_output(job) == ((), ())


def test_a_later_attempts_output_replaces_an_earlier_ones(files: DataDirectory, job: Job) -> None:
    for attempt, name in ((1, "old.txt"), (2, "new.txt")):
        current = job._replace(attempt=attempt)
        Path(files.directories(current).output).mkdir(parents=True)
        (Path(files.directories(current).output) / name).write_text("x")
        files.publish_output(current)
    assert [file.name for file in (files.job(job.id) / "files").iterdir()] == ["new.txt"]


def test_discarding_deletes_only_what_it_names(files: DataDirectory, job: Job) -> None:
    own = files.job(job.id)
    for name in ("work", "output-1", "output-2", "files", "inputs"):
        (own / name).mkdir(parents=True)
    files.lock_file(job.id).touch()
    files.discard_output(job)
    assert {path.name for path in own.iterdir()} == {"work", "output-1", "inputs"}
    assert files.lock_file(job.id).exists()
    files.discard_work(job)
    assert {path.name for path in own.iterdir()} == {"inputs"}
    files.remove_job(job.id)
    files.remove_job(job.id)
    assert not own.exists()


def test_a_job_that_ends_without_files_leaves_no_directory(files: DataDirectory, job: Job) -> None:
    files.job(job.id).mkdir()
    files.discard_work(job)
    assert not files.has_any(job.id)
    files.discard_work(job)


def test_a_lock_file_goes_with_its_job_or_at_the_next_start_unless_it_is_locked(files: DataDirectory, job: Job) -> None:
    files.lock_file(job.id).touch()
    assert not files.has_any(job.id)
    files.discard_lock(job.id)
    files.discard_lock(job.id)
    assert not files.lock_file(job.id).exists()
    left, locked = files.lock_file("left"), files.lock_file("locked")
    left.touch()
    with locked.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        files.clear_locks()
        assert locked.exists()
    assert not left.exists()


def test_only_directories_of_jobs_count_as_jobs(files: DataDirectory, job: Job) -> None:
    (files.root / "jobs" / "lost+found").mkdir()
    files.job(job.id).mkdir()
    assert list(files.job_ids()) == [job.id]


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("report.html", "text/html"),
        ("notes.MD", "text/markdown"),
        ("run.log", "text/plain"),
        ("data.sqlite", "application/vnd.sqlite3"),
        ("data.csv.gz", "application/gzip"),
        ("data.tar.xz", "application/x-xz"),
        ("data:text/html,x", "application/octet-stream"),
        ("nothing", "application/octet-stream"),
        ("odd.zzzzz", "application/octet-stream"),
    ],
)
def test_the_media_type_comes_from_the_name(name: str, content_type: str) -> None:
    assert content_type_of(name) == content_type


# What workers elsewhere send and read


def test_a_file_that_arrived_becomes_output_of_its_attempt_and_replaces_one_of_its_name(
    files: DataDirectory, job: Job
) -> None:
    for text in ("first", "second"):
        arrived = files.new_incoming() / "file"
        arrived.write_text(text)
        files.add_output(job, arrived, "report.txt")
        assert not arrived.exists()
    published = files.publish_output(job)
    assert [(each.name, each.size_bytes) for each in published.files] == [("report.txt", len("second"))]
    with files.open_output(job.id, "report.txt") as opened:
        assert opened.read() == b"second"


def test_an_upload_is_opened_by_its_field_and_no_link_is_followed(files: DataDirectory, job: Job) -> None:
    incoming = files.new_incoming()
    (incoming / "scan").write_bytes(b"PDF")
    (incoming / "link").symlink_to(files.database)
    files.accept_incoming(incoming, job.id)
    with files.open_input(job.id, "scan") as opened:
        assert opened.read() == b"PDF"
    for field in ("link", "none"):
        with pytest.raises(FileNotFoundError):
            files.open_input(job.id, field)
