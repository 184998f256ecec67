"""What a handler may leave in its job's directories: nothing outside is published, opened or deleted."""

import os
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from headway.domain.jobs import Job, OutputFile, UploadedFile
from headway.errors import InvalidOutputError
from headway.files import data_directory, outputs, removing
from headway.files.data_directory import DataDirectory
from headway.files.opening import open_directory
from headway.files.outputs import NAME_TAKEN, NOT_PLAIN, RENAMED
from headway.files.removing import remove
from headway.limits import OUTPUT_BYTES, OUTPUT_NOTES
from structlog.testing import capture_logs

from tests.conformance.records import new_job
from tests.support.nobody import as_nobody, give_to_nobody

LEVELS = 1_500
PRIVATE = "nobody's business"


@pytest.fixture
def files(tmp_path: Path) -> Iterator[DataDirectory]:
    with closing(DataDirectory.open(str(tmp_path / "data"))) as files:
        yield files


@pytest.fixture
def job(files: DataDirectory) -> Job:
    job = Job.queued(new_job())._replace(attempt=1, uploads=(UploadedFile("document", "a.pdf", "application/pdf", 3),))
    (files.job(job.id) / "inputs").mkdir(parents=True)
    return job


@pytest.fixture
def output(files: DataDirectory, job: Job) -> Path:
    output = Path(files.directories(job).output)
    output.mkdir()
    return output


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A directory with a file and a folder, which must be as they were at the end."""
    outside = tmp_path / "outside"
    (outside / "folder").mkdir(parents=True)
    for name in ("secret.txt", "folder/secret.txt"):
        (outside / name).write_text(PRIVATE)
    yield outside
    assert sorted(str(path.relative_to(outside)) for path in outside.rglob("*")) == [
        *("folder", "folder/secret.txt", "secret.txt")
    ]
    assert {path.read_text() for path in outside.rglob("*.txt")} == {PRIVATE}
    assert stat.S_IMODE(outside.stat().st_mode) == 0o755


def replace(path: Path, target: Path) -> None:
    """Put a link in place of a file or directory."""
    path.rename(path.with_name(f"was-{path.name}"))
    path.symlink_to(target)


def before(monkeypatch: pytest.MonkeyPatch, module: Any, function: str, act: Callable[[], None]) -> None:
    """Let `act` happen once, in the moment before `module` calls `function`."""
    real, acts = getattr(module, function), [act]

    def acting(*arguments: Any) -> Any:
        while acts:
            acts.pop()()
        return real(*arguments)

    monkeypatch.setattr(module, function, acting)


def read(files: DataDirectory, job: Job, name: str) -> bytes:
    with files.open_output(job.id, name) as opened:
        return opened.read()


# Publishing


@pytest.mark.parametrize("target", ["data", "outside", "missing", "outside/secret.txt"])
def test_an_output_directory_that_is_a_link_is_not_published(
    files: DataDirectory, job: Job, output: Path, outside: Path, target: str
) -> None:
    replace(output, outside.parent / target)
    assert files.has_output(job)
    with pytest.raises(InvalidOutputError):
        files.publish_output(job)
    with pytest.raises(FileNotFoundError):
        files.open_output(job.id, "secret.txt")


def test_an_output_directory_that_is_a_file_is_not_published(files: DataDirectory, job: Job, output: Path) -> None:
    output.rmdir()
    output.write_text("x")
    with pytest.raises(InvalidOutputError):
        files.publish_output(job)


def test_a_jobs_directory_that_is_a_link_is_not_published(
    files: DataDirectory, job: Job, output: Path, outside: Path
) -> None:
    output.rename(outside / output.name)
    replace(files.job(job.id), outside)
    with pytest.raises(InvalidOutputError):
        files.publish_output(job)
    (outside / output.name).rmdir()


def test_a_link_that_replaces_a_file_while_it_is_published_is_left_out(
    files: DataDirectory, job: Job, output: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (output / "report.txt").write_text("report")
    before(monkeypatch, outputs, "open_plain", lambda: replace(output / "report.txt", outside / "secret.txt"))
    assert files.publish_output(job) == ((), (f"{NOT_PLAIN}: report.txt",))


def test_a_hard_link_that_replaces_a_file_while_it_is_published_is_left_out(
    files: DataDirectory, job: Job, output: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (output / "report.txt").write_text("report")

    def link() -> None:
        (output / "report.txt").unlink()
        os.link(outside / "secret.txt", output / "report.txt")

    before(monkeypatch, outputs, "open_plain", link)
    assert files.publish_output(job) == ((), (f"{NOT_PLAIN}: report.txt",))


def test_a_link_that_replaces_the_directory_while_it_is_published_is_found_out(
    files: DataDirectory, job: Job, output: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (output / "secret.txt").write_text("harmless")
    before(monkeypatch, data_directory, "remove", lambda: replace(output, outside))
    with pytest.raises(InvalidOutputError):
        files.publish_output(job)
    with pytest.raises(FileNotFoundError):
        files.open_output(job.id, "secret.txt")


def test_pipes_sockets_and_devices_are_left_out_without_being_opened(
    files: DataDirectory, job: Job, output: Path
) -> None:
    os.mkfifo(output / "pipe")
    with closing(socket.socket(socket.AF_UNIX)) as listening:
        with_short_path = os.open(output, os.O_PATH)
        listening.bind(f"/proc/self/fd/{with_short_path}/socket")
        os.close(with_short_path)
    special = ["pipe", "socket"]
    if os.geteuid() == 0:
        os.mknod(output / "device", 0o600 | stat.S_IFCHR, os.makedev(1, 5))  # /dev/zero
        special.insert(0, "device")
    assert files.publish_output(job) == ((), tuple(f"{NOT_PLAIN}: {name}" for name in special))
    for name in special:
        with pytest.raises(FileNotFoundError):
            files.open_output(job.id, name)


def test_a_file_that_the_server_may_not_read_is_left_out(files: DataDirectory, job: Job, output: Path) -> None:
    for name in ("readable.txt", "unreadable.txt"):
        (output / name).write_text("x")
    give_to_nobody(files.root)
    (output / "unreadable.txt").chmod(0)
    with as_nobody():
        published, notes = files.publish_output(job)
    assert published == (OutputFile("readable.txt", 1, "text/plain"),)
    assert notes == (f"{NOT_PLAIN}: unreadable.txt",)


def test_a_sparse_file_is_published_with_its_size(files: DataDirectory, job: Job, output: Path) -> None:
    with (output / "sparse.bin").open("wb") as file:
        file.truncate(2**35)
    published, _ = files.publish_output(job)
    assert [file.size_bytes for file in published] == [2**35]


def test_more_bytes_than_a_job_may_have_are_invalid_output(files: DataDirectory, job: Job, output: Path) -> None:
    for name in ("one.bin", "two.bin"):
        with (output / name).open("wb") as file:
            file.truncate(OUTPUT_BYTES // 2)
    assert len(files.publish_output(job).files) == 2
    output.mkdir()
    with (output / "sparse.bin").open("wb") as file:
        file.truncate(10 * 1024**4)
    with pytest.raises(InvalidOutputError, match="too large"):
        files.publish_output(job)


def test_more_files_than_a_job_may_have_are_invalid_output(
    files: DataDirectory, job: Job, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs, "OUTPUT_FILES", 10)
    for number in range(11):
        (output / str(number)).symlink_to("anything")
    with pytest.raises(InvalidOutputError, match="too many files"):
        files.publish_output(job)
    (output / "0").unlink()
    assert files.publish_output(job).files == ()


def test_of_many_files_that_are_left_out_the_first_are_named(files: DataDirectory, job: Job, output: Path) -> None:
    for number in range(OUTPUT_NOTES + 30):
        (output / f"{number:03}").mkdir()
    *named, last = files.publish_output(job).notes
    assert named == [f"{NOT_PLAIN}: {number:03}" for number in range(OUTPUT_NOTES)]
    assert last == "the same is true of 30 more files"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (b"new\nline\r\x1b[31m\x7f.txt", "new_line__[31m_.txt"),
        ("invoice\u202efdp.exe".encode(), "invoice_fdp.exe"),
        ("c1\x9b \u2028 \u2066".encode(), "c1_ _ _"),
        ("Grüße.txt".encode("latin-1"), "Gr__e.txt"),
        (b"\xed\xa0\x80", "___"),
        (b"\xff" * 255, "_" * 255),
        (b"\n" * 255, "_" * 255),
    ],
)
def test_a_name_that_cannot_be_shown_is_replaced_and_the_file_kept(
    files: DataDirectory, job: Job, output: Path, written: bytes, shown: str
) -> None:
    (output / os.fsdecode(written)).write_text("kept")
    published, notes = files.publish_output(job)
    assert ([file.name for file in published], notes) == ([shown], (f"{RENAMED}: {shown}",))
    assert read(files, job, shown) == b"kept"


def test_a_file_never_takes_the_place_of_another_by_its_printable_name(
    files: DataDirectory, job: Job, output: Path
) -> None:
    for name, text in (("a_", "plain"), ("a\n", "odd"), ("b\n", "first"), ("b\r", "second")):
        (output / name).write_text(text)
    published, notes = files.publish_output(job)
    assert [file.name for file in published] == ["a_", "b_"]
    assert (read(files, job, "a_"), read(files, job, "b_")) == (b"plain", b"first")
    assert notes == (f"{RENAMED}: b_", f"{NAME_TAKEN}: a_", f"{NAME_TAKEN}: b_")


@pytest.mark.parametrize(
    "name", ["日本語.csv", "a b", ".hidden", "x" * 255, "😀" * 63, '"%5c\\', "cafe\u0301", "א.txt"]
)
def test_every_other_name_is_kept(files: DataDirectory, job: Job, output: Path, name: str) -> None:
    (output / name).write_text("x")
    published, notes = files.publish_output(job)
    assert ([file.name for file in published], notes) == ([name], ())


# Opening


def test_what_replaces_a_published_file_later_is_not_opened(
    files: DataDirectory, job: Job, output: Path, outside: Path
) -> None:
    for name in ("link.txt", "hard.txt", "pipe.txt", "folder.txt", "plain.txt"):
        (output / name).write_text("published")
    files.publish_output(job)
    published = files.job(job.id) / "files"
    for path in published.iterdir():
        if path.name != "plain.txt":
            path.unlink()
    (published / "link.txt").symlink_to(outside / "secret.txt")
    os.link(outside / "secret.txt", published / "hard.txt")
    os.mkfifo(published / "pipe.txt")
    (published / "folder.txt").mkdir()
    for name in ("link.txt", "hard.txt", "pipe.txt", "folder.txt", "../inputs", "none.txt"):
        with pytest.raises(FileNotFoundError):
            files.open_output(job.id, name)
    assert read(files, job, "plain.txt") == b"published"


def test_a_link_that_replaces_a_file_while_it_is_opened_is_not_followed(
    files: DataDirectory, job: Job, output: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (output / "report.txt").write_text("report")
    files.publish_output(job)
    report = files.job(job.id) / "files" / "report.txt"
    real = os.open

    def opening(path: Any, *arguments: Any, **options: Any) -> int:
        if path == "report.txt":
            replace(report, outside / "secret.txt")
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", opening)
    with pytest.raises(FileNotFoundError):
        files.open_output(job.id, "report.txt")


@pytest.mark.parametrize("replaced", ["files", "job"])
def test_a_directory_of_published_files_that_becomes_a_link_is_not_opened(
    files: DataDirectory, job: Job, output: Path, outside: Path, replaced: str
) -> None:
    (output / "secret.txt").write_text("harmless")
    files.publish_output(job)
    path = files.job(job.id)
    replace(path / "files" if replaced == "files" else path, outside if replaced == "files" else Path(f"was-{job.id}"))
    with pytest.raises(FileNotFoundError):
        files.open_output(job.id, "secret.txt")


def test_two_names_of_one_published_file_are_both_opened(files: DataDirectory, job: Job, output: Path) -> None:
    (output / "one.txt").write_text("twice")
    os.link(output / "one.txt", output / "two.txt")
    files.publish_output(job)
    assert (read(files, job, "one.txt"), read(files, job, "two.txt")) == (b"twice", b"twice")


# Repeating


def test_a_retry_does_not_take_a_link_for_its_input(files: DataDirectory, job: Job, outside: Path) -> None:
    (files.job(job.id) / "inputs" / "document").symlink_to(outside / "secret.txt")
    with pytest.raises(FileNotFoundError):
        files.link_inputs(job, new_job().id)


def test_a_retry_does_not_look_for_its_input_behind_a_link(files: DataDirectory, job: Job, outside: Path) -> None:
    (outside / "document").write_text(PRIVATE)
    replace(files.job(job.id) / "inputs", outside)
    with pytest.raises(NotADirectoryError):
        files.link_inputs(job, new_job().id)
    (outside / "document").unlink()


# Deleting

PLACES = pytest.mark.parametrize("place", ["work", "files", "output-1", "inputs", "work/a/b", "files/a"])


@PLACES
def test_a_link_anywhere_in_a_jobs_directory_is_deleted_and_not_followed(
    files: DataDirectory, job: Job, outside: Path, place: str
) -> None:
    (files.job(job.id) / "inputs").rmdir()
    link = files.job(job.id) / place
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(outside)
    files.discard_output(job)
    files.discard_work(job)
    assert place == "inputs" or not os.path.lexists(link)
    files.remove_job(job.id)
    assert not os.path.lexists(files.job(job.id))


def test_a_jobs_directory_that_is_a_link_is_deleted_and_not_followed(
    files: DataDirectory, job: Job, outside: Path
) -> None:
    (outside / "work").symlink_to(outside)
    replace(files.job(job.id), outside)
    files.discard_output(job)
    files.discard_work(job)
    assert (outside / "work").is_symlink(), "discarded behind the link"
    assert files.has_any(job.id)
    files.remove_job(job.id)
    assert not files.has_any(job.id)
    (outside / "work").unlink()


def test_uploads_that_are_a_link_are_cleared_and_not_followed(files: DataDirectory, outside: Path) -> None:
    (files.new_incoming() / "link").symlink_to(outside)
    (files.root / "incoming" / "link").symlink_to(outside)
    files.clear_incoming()
    assert list((files.root / "incoming").iterdir()) == []


def test_a_link_that_replaces_a_directory_while_it_is_deleted_is_not_followed(
    files: DataDirectory, job: Job, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = files.job(job.id) / "inputs"
    (inner / "deep").mkdir()
    real = open_directory

    def opening(name: str, within: int) -> Any:
        if name == "inputs":
            replace(inner, outside)
        return real(name, within)

    monkeypatch.setattr(removing, "open_directory", opening)
    files.remove_job(job.id)
    assert not files.has_any(job.id)


def test_a_tree_of_any_depth_is_deleted(files: DataDirectory, job: Job) -> None:
    """A path to its end would be longer than the system allows, and so would be a stack of calls or of descriptors."""
    directory = os.open(files.job(job.id), os.O_RDONLY)
    for _ in range(LEVELS):
        os.mkdir("d", dir_fd=directory)
        inner = os.open("d", os.O_RDONLY, dir_fd=directory)
        os.close(directory)
        directory = inner
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=directory))
    os.close(directory)
    files.remove_job(job.id)
    assert not files.has_any(job.id)


def test_directories_that_their_owner_may_not_read_are_deleted(files: DataDirectory, job: Job) -> None:
    own = files.job(job.id)
    for mode in (0o000, 0o500, 0o300):
        (own / f"{mode:o}" / "inner").mkdir(parents=True)
        (own / f"{mode:o}" / "file").write_text("x")
    give_to_nobody(files.root)
    for mode in (0o000, 0o500, 0o300):
        (own / f"{mode:o}").chmod(mode)
    with as_nobody():
        files.remove_job(job.id)
    assert not files.has_any(job.id)


def test_what_cannot_be_deleted_is_left_alone_and_the_rest_is_deleted(
    files: DataDirectory, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("busy", "idle"):
        (files.job(job.id) / name / "inner").mkdir(parents=True)
    real = os.rmdir

    def rmdir(path: Any, **options: Any) -> None:
        if path == "busy":
            raise OSError(16, "Device or resource busy")
        real(path, **options)

    monkeypatch.setattr(os, "rmdir", rmdir)
    files.remove_job(job.id)
    assert [path.name for path in files.job(job.id).iterdir()] == ["busy"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can leave files that others cannot delete")
def test_what_root_has_left_is_named_in_the_log_and_the_rest_is_deleted(files: DataDirectory, job: Job) -> None:
    """A container that a handler started may run as root."""
    own = files.job(job.id)
    for name in ("work/by-root", "work/ours/inner"):
        (own / name).mkdir(parents=True)
        (own / name / "file").write_text("x")
    give_to_nobody(files.root)
    for left in (own / "work" / "by-root", own / "work" / "by-root" / "file"):
        os.chown(left, 0, -1)
    (own / "work" / "by-root").chmod(0o755)
    with as_nobody(), capture_logs() as log:
        assert not files.remove_job(job.id)
    (line,) = log
    assert (line["job_id"], line["reason"]) == (job.id, "Permission denied")
    assert files.root / line["left"] == own / "work" / "by-root"
    assert [path for path in own.rglob("*") if path.is_file()] == [own / "work" / "by-root" / "file"]
    assert files.remove_job(job.id)


def test_no_file_is_deleted_for_an_id_that_no_job_has(files: DataDirectory) -> None:
    """A damaged row may have any."""
    assert files.remove_job("../headway.db")
    assert files.database.exists()


def test_nothing_is_removed_twice(tmp_path: Path) -> None:
    within = os.open(tmp_path, os.O_RDONLY)
    remove("nothing", within)
    os.close(within)
