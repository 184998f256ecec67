"""`OrphanSweep` with a real record and directory: what it deletes, and that nothing waits for it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import rmtree as remove_tree

import pytest
from headway.domain.ids import JobIds
from headway.domain.jobs import NewJob, OutputFile
from headway.domain.outcomes import Completed
from headway.errors import StoreUnavailableError
from headway.files.data_directory import DataDirectory
from headway.loops import Loops
from headway.operating.orphans import SWEEP_BATCH, OrphanSweep

from tests.conformance.backends import SqliteBackend
from tests.conformance.records import BROKEN, DONE, ended_job, forget_ids, new_job, running_job


class Turns:
    """The pauses of a loop: it takes its next turn when it is let."""

    def __init__(self) -> None:
        self._paused = asyncio.Semaphore(0)
        self._resumed = asyncio.Semaphore(0)

    async def sleep(self, _seconds: float) -> None:
        self._paused.release()
        await self._resumed.acquire()

    async def end(self) -> None:
        """Wait for the end of the turn."""
        async with asyncio.timeout(10):
            await self._paused.acquire()

    async def next(self) -> None:
        """Let the loop take another turn, and wait for its end."""
        self._resumed.release()
        await self.end()


class Counted(DataDirectory):
    """A data directory that counts how many directories have been looked at."""

    looked_at = 0

    def job_ids(self) -> Iterator[str]:
        for job_id in super().job_ids():
            self.looked_at += 1
            yield job_id


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[SqliteBackend]:
    made = SqliteBackend(tmp_path)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Counted]:
    made = Counted.open(str(tmp_path))
    yield made
    made.close()


def with_directory(files: DataDirectory, ids: JobIds, at: datetime | None = None) -> NewJob:
    """A job that has its directory, but no record yet."""
    job_id, created_at = ids.new(at or datetime.now(UTC))
    directory = files.job(job_id)
    directory.mkdir()
    (directory / "file").write_text("x")
    return new_job(id=job_id, created_at=created_at)


async def test_directories_without_a_record_are_deleted(backend: SqliteBackend, files: Counted) -> None:
    ids, turns = JobIds(), Turns()
    kept, *orphans = (with_directory(files, ids) for _ in range(4))
    await backend.store.insert(kept)
    sweep = OrphanSweep(backend.store, files, ids)
    sweep.start(Loops(turns.sleep))
    await turns.end()
    assert [files.job(orphan.id).exists() for orphan in orphans] == [False] * 3
    assert files.job(kept.id).exists()
    await sweep.stop()


async def test_directories_are_looked_at_again_after_the_record_could_not_be_read(
    backend: SqliteBackend, files: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, turns = JobIds(), Turns()
    orphan = with_directory(files, ids)
    sweep = OrphanSweep(backend.store, files, ids)
    with monkeypatch.context() as unreadable:
        unreadable.setattr(backend.store, "existing", _unavailable)
        sweep.start(Loops(turns.sleep))
        await turns.end()
    assert files.job(orphan.id).exists()
    await turns.next()
    assert not files.job(orphan.id).exists()
    await sweep.stop()


async def _unavailable(_job_ids: object) -> frozenset[str]:
    raise StoreUnavailableError("the store cannot be read")


async def test_a_job_that_has_ended_keeps_its_uploads_and_the_output_that_its_record_names(
    backend: SqliteBackend, files: Counted
) -> None:
    """A crash can come after an attempt has written files and before its end is recorded; or right after that."""
    store, turns = backend.store, Turns()
    forget_ids()
    output = Completed("1", files=(OutputFile("a.txt", 1, "text/plain"),))
    ended = [await ended_job(store, outcome) for outcome in (output, DONE, BROKEN)]
    running = await running_job(store)
    for job in (*ended, running):
        for name in ("inputs", "work", "output-1", "files"):
            (files.job(job.id) / name).mkdir(parents=True)
    sweep = OrphanSweep(store, files, JobIds())
    sweep.start(Loops(turns.sleep))
    await turns.end()
    left = [{path.name for path in files.job(job.id).iterdir()} for job in (*ended, running)]
    assert left == [{"inputs", "files"}, {"inputs"}, {"inputs"}, {"inputs", "work", "output-1", "files"}]
    await sweep.stop()


async def test_an_orphan_that_leads_elsewhere_is_deleted_and_not_followed(
    backend: SqliteBackend, files: Counted, tmp_path: Path
) -> None:
    ids, turns = JobIds(), Turns()
    kept, link, folder = (with_directory(files, ids) for _ in range(3))
    await backend.store.insert(kept)
    remove_tree(files.job(link.id))
    files.job(link.id).symlink_to(files.job(kept.id))
    (files.job(folder.id) / "link").symlink_to(files.job(kept.id))
    sweep = OrphanSweep(backend.store, files, ids)
    sweep.start(Loops(turns.sleep))
    await turns.end()
    assert list(files.job_ids()) == [kept.id]
    assert (files.job(kept.id) / "file").read_text() == "x"
    await sweep.stop()


async def test_a_submission_that_is_being_accepted_is_not_an_orphan(backend: SqliteBackend, files: Counted) -> None:
    """Its files are there before its row. The clock may have been set back since the sweep began."""
    ids, turns = JobIds(), Turns()
    sweep = OrphanSweep(backend.store, files, ids)
    accepted = with_directory(files, ids, datetime.now(UTC) - timedelta(days=1))
    sweep.start(Loops(turns.sleep))
    await turns.end()
    assert files.looked_at == 1
    assert files.job(accepted.id).exists()
    await sweep.stop()


async def test_the_start_looks_at_no_directory_and_each_turn_at_a_batch(backend: SqliteBackend, files: Counted) -> None:
    ids, turns = JobIds(), Turns()
    for _ in range(SWEEP_BATCH + 1):
        files.job(ids.new(datetime.now(UTC))[0]).mkdir()
    sweep = OrphanSweep(backend.store, files, ids)
    sweep.start(Loops(turns.sleep))
    assert files.looked_at == 0
    await turns.end()
    assert files.looked_at == SWEEP_BATCH
    await turns.next()
    assert files.looked_at == SWEEP_BATCH + 1
    assert list(files.job_ids()) == []
    await sweep.stop()


async def test_the_loop_ends_when_all_directories_have_been_looked_at(backend: SqliteBackend, files: Counted) -> None:
    loops = Loops(lambda _: asyncio.sleep(0))
    sweep = OrphanSweep(backend.store, files, JobIds())
    sweep.start(loops)
    (task,) = (task for task in asyncio.all_tasks() if task.get_name() == "orphans")
    await asyncio.wait_for(task, 10)
    assert loops.failing == []
