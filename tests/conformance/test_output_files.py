"""`Reader.files` and `Reader.file`: a job has the first hundred of its output files, and the store has all of them."""

import pytest
from headway.domain.jobs import FILES_SHOWN, Job, OutputFile
from headway.domain.outcomes import Completed
from headway.errors import ClaimLostError
from headway.ports.jobs import JobStore

from tests.conformance.backends import Backend
from tests.conformance.records import DAY_S, OWNER, at, ended_job, finish, running_job

MANY = 1_001
ODD = ("", "\n", "%", "'", '"', "\\", "ä", "z" * 255, "日", "\U0010ffff")


def files_named(*names: str) -> tuple[OutputFile, ...]:
    return tuple(OutputFile(name, size, "text/plain") for size, name in enumerate(sorted(names)))


def numbered(count: int) -> tuple[OutputFile, ...]:
    return files_named(*(f"{number:05}.txt" for number in range(count)))


async def ended_with(store: JobStore, files: tuple[OutputFile, ...]) -> Job:
    return await ended_job(store, Completed("1", files), retain_s=DAY_S)


async def read_all(store: JobStore, job: Job, limit: int) -> list[OutputFile]:
    """All files of the job, page by page; every page but the last is full."""
    found: list[OutputFile] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await store.files(job, cursor, limit)
        assert len(page.files) == limit or page.next_cursor is None
        found += page.files
        cursor = page.next_cursor
    return found


@pytest.mark.parametrize("count", [0, 1, FILES_SHOWN, FILES_SHOWN + 1, 200, 201, MANY])
async def test_a_job_has_the_first_of_its_files_and_their_number(store: JobStore, count: int) -> None:
    files = numbered(count)
    job = await ended_with(store, files)
    assert (job.files, job.files_total) == (files[:FILES_SHOWN], count)
    assert await read_all(store, job, 200) == list(files)


@pytest.mark.parametrize("limit", [1, 7, 199, 200, 350, MANY - 1, MANY])
async def test_pages_of_any_size_have_every_file_once(store: JobStore, limit: int) -> None:
    files = numbered(450 if limit == 1 else MANY)
    job = await ended_with(store, files)
    assert await read_all(store, job, limit) == list(files)


@pytest.mark.parametrize("count", [len(ODD), MANY])
async def test_files_are_found_and_paged_whatever_their_names(store: JobStore, count: int) -> None:
    files = files_named(*ODD[1:], *(f"{number:05}" for number in range(count)))
    job = await ended_with(store, files)
    assert await read_all(store, job, 3) == list(files)
    for file in files[::20] + files[-len(ODD) :]:
        assert await store.file(job, file.name) == file
    for name in ("", "0", "00000 ", "00000.txt", "zz"):
        assert await store.file(job, name) is None


@pytest.mark.parametrize("cursor", ["!", "00100", "00100.txt", "00100.txt.", "0099", "\n", "ä", "\U0010ffff" * 300])
async def test_a_cursor_need_not_be_a_name(store: JobStore, cursor: str) -> None:
    files = numbered(MANY)
    job = await ended_with(store, files)
    later = [file for file in files if file.name > cursor]
    assert (await store.files(job, cursor, 150)).files == later[:150]


async def test_a_restarted_server_reads_the_same_files(backend: Backend) -> None:
    files = numbered(MANY)
    job = await ended_with(backend.store, files)
    await backend.close()
    store = await backend.open()
    read = await store.get(OWNER, job.id)
    assert (read.files, read.files_total) == (job.files, MANY)
    assert await read_all(store, read, 200) == list(files)


async def test_files_belong_to_their_job_alone(store: JobStore) -> None:
    first, second = [await ended_with(store, numbered(count)) for count in (MANY, 300)]
    assert len(await read_all(store, first, 200)) == MANY
    assert len(await read_all(store, second, 200)) == 300
    await store.delete(OWNER, first.id, at(2))
    assert len(await read_all(store, second, 200)) == 300


@pytest.mark.parametrize("way", ["delete", "delete_result", "expire"])
async def test_the_files_go_with_their_job_or_its_result(store: JobStore, way: str) -> None:
    job = await ended_with(store, numbered(MANY))
    if way == "expire":
        assert await store.expire(at(2 * DAY_S), 10) == 1
    else:
        await getattr(store, way)(OWNER, job.id, at(2))
    assert (await store.files(job, "", 200)).files == []
    assert await store.file(job, "00000.txt") is None
    if way == "delete_result":
        now = await store.get(OWNER, job.id)
        assert (now.files, now.files_total) == ((), 0)


async def test_the_files_of_a_stale_attempt_are_not_recorded(store: JobStore) -> None:
    job = await running_job(store)
    await finish(store, job, Completed("1", numbered(150)), 9)
    with pytest.raises(ClaimLostError):
        await finish(store, job, Completed("1", numbered(MANY)), 10)
    job = await store.get(OWNER, job.id)
    assert len(await read_all(store, job, 200)) == job.files_total == 150


async def test_a_cancelled_job_has_none_of_the_files(store: JobStore) -> None:
    job = await running_job(store)
    await store.cancel(OWNER, job.id, at(5))
    ended = await finish(store, job, Completed("1", numbered(MANY)), 9)
    assert (ended.files, ended.files_total) == ((), 0)
    assert await store.file(job._replace(files_total=MANY), "00000.txt") is None
