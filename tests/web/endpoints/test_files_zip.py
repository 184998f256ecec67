"""`GET /jobs/{id}/files.zip`: all output files in one archive, which is made while it is sent."""

import asyncio
import http.client
import io
import os
import struct
import subprocess
import zipfile
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from headway.domain.jobs import OutputFile
from headway.errors import OutputNotFoundError
from headway.web.responses.archive import PIECE_BYTES, Archive

from tests.support.process import WAIT_TIMEOUT_S, ServerProcess
from tests.support.raw import assert_problem, send
from tests.support.serving import LATER, UNKNOWN, Serving, ended

BIG_BYTES = 12 * 1024 * 1024
JOBS = f"""
import os
from pathlib import Path
from headway import BlockingContext, job

@job("big-files")
def big_files(ctx: BlockingContext) -> None:
    for name in ("a.bin", "b.bin"):
        (ctx.output_dir / name).write_bytes(os.urandom({BIG_BYTES}))
"""


def archive_of(server: ServerProcess, job_id: str) -> zipfile.ZipFile:
    reply = server.request("GET", f"/jobs/{job_id}/files.zip")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/zip")
    found = zipfile.ZipFile(io.BytesIO(reply.body))
    assert found.testzip() is None
    return found


def test_the_archive_has_every_file_as_it_is(server: ServerProcess, tmp_path: Path) -> None:
    job = server.wait_for(server.submit("writes-files", {"text": "Grüße"}))
    path = f"/jobs/{job['jobId']}/files.zip"
    found = archive_of(server, job["jobId"])
    assert found.namelist() == [file["name"] for file in job["files"]]
    for file in job["files"]:
        assert found.read(file["name"]) == server.request("GET", file["url"]).body
    head = server.request("HEAD", path)
    assert (head.status, head.body) == (200, b"")
    name = f"writes-files-{job['jobId']}.zip"
    assert head.headers["Content-Disposition"] == f"attachment; filename=\"{name}\"; filename*=UTF-8''{name}"
    (tmp_path / name).write_bytes(server.request("GET", path).body)
    listed = subprocess.run(["unzip", "-t", name], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert listed.returncode == 0, listed.stdout


def test_files_beyond_one_page_are_in_it_too(server: ServerProcess) -> None:
    found = archive_of(server, ended(server, "many-files", {"count": 450}))
    assert [(name, found.read(name)) for name in found.namelist()] == [
        (f"{number:05}.txt", str(number).encode()) for number in range(450)
    ]
    assert archive_of(server, ended(server, "many-files", {"count": 0})).namelist() == []


def test_there_is_no_archive_where_there_is_no_result(server: ServerProcess) -> None:
    waiting = server.submit("noop", query=LATER)
    assert_problem(send(server, "GET", f"/jobs/{UNKNOWN}/files.zip"), 404, "not-found")
    early = send(server, "GET", f"/jobs/{waiting}/files.zip")
    assert_problem(early, 409, "not-finished")
    assert int(early.headers["Retry-After"]) >= 1
    assert_problem(send(server, "GET", f"/jobs/{ended(server, 'fails', {'text': 'x'})}/files.zip"), 409, "job-failed")
    deleted = ended(server, "writes-files", {"text": "x"})
    server.request("DELETE", f"/jobs/{deleted}/result")
    assert_problem(send(server, "GET", f"/jobs/{deleted}/files.zip"), 410, "gone")


def test_an_archive_that_cannot_be_completed_is_cut_off(serving: Serving, tmp_path: Path) -> None:
    (tmp_path / "big.py").write_text(JOBS)
    server = serving(tmp_path / "data", "--jobs", str(tmp_path / "big.py"))
    job_id = ended(server, "big-files")
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=WAIT_TIMEOUT_S)
    connection.request("GET", f"/jobs/{job_id}/files.zip")
    reply = connection.getresponse()
    assert (reply.status, reply.read(2)) == (200, b"PK")
    # The connection's buffers hold a few megabytes, so the second file has not been opened yet.
    assert send(server, "DELETE", f"/jobs/{job_id}/result").status == 204
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        reply.read()
    connection.close()
    assert send(server, "GET", "/healthz").status == 200


async def made(directory: Path, *names: str, sizes: int | None = None) -> Any:
    async def pages() -> Any:
        yield [
            OutputFile(name, (directory / name).stat().st_size if sizes is None else sizes, "text/plain")
            for name in names
        ]

    whole = b"".join(
        [
            piece
            async for piece in Archive(lambda name: (directory / name).open("rb"), asyncio.Semaphore(1)).pieces(pages())
        ]
    )
    return zipfile.ZipFile(io.BytesIO(whole))


async def test_no_name_leads_anywhere_and_none_hides_another(tmp_path: Path) -> None:
    names = ("..\\..\\evil.txt", "C:x.txt", "C_x.txt", "a.txt", "A.TXT", "trailing. ", "...", "日本.csv")
    for name in names:
        (tmp_path / name).write_text(name)
    found = await made(tmp_path, *names)
    assert found.namelist() == [
        *("..___..___evil.txt".replace("___", "_"), "C_x.txt", "C_x (2).txt", "a.txt", "A (2).TXT", "trailing", "_"),
        "日本.csv",
    ]
    assert [found.read(entry).decode() for entry in found.infolist()] == list(names)


class Searched(set[str]):
    """A set that counts how often it was searched."""

    times = 0

    def __contains__(self, name: object) -> bool:
        self.times += 1
        return super().__contains__(name)


@pytest.mark.parametrize("name", ["?.txt", "???", "ä*.TXT"])
def test_numbers_for_very_many_equal_names_are_not_searched_from_the_start(name: str) -> None:
    archive = Archive(lambda _: io.BytesIO(), asyncio.Semaphore(1))
    archive._names = searched = Searched()
    taken = name.replace("?", "_").replace("*", "_").removesuffix(".txt") + " (7)"
    own = [archive._own_name(taken), *(archive._own_name(name) for _ in range(1_000))]
    assert len({each.casefold() for each in own}) == 1_001
    assert own[1:3] == [own[1], own[1].replace(".", " (2).") if "." in own[1] else f"{own[1]} (2)"]
    assert searched.times <= 3 * len(own)


@pytest.mark.parametrize("size", [4, 6])
async def test_a_file_of_another_size_than_recorded_is_an_error(tmp_path: Path, size: int) -> None:
    (tmp_path / "a.txt").write_bytes(b"12345")
    with pytest.raises(OutputNotFoundError, match="has changed"):
        await made(tmp_path, "a.txt", sizes=size)


async def test_a_file_beyond_4_gib_gets_zip64_sizes(tmp_path: Path) -> None:
    """Announced by the record's size: so many bytes would take minutes."""
    (tmp_path / "a.bin").write_bytes(os.urandom(2 * PIECE_BYTES))

    async def pages() -> Any:
        yield [OutputFile("a.bin", 5 * 1024**3, "text/plain")]

    async with aclosing(
        Archive(lambda name: (tmp_path / name).open("rb"), asyncio.Semaphore(1)).pieces(pages())
    ) as pieces:
        first = await anext(pieces)
        with pytest.raises(OutputNotFoundError):
            await anext(pieces)
    version, extra = struct.unpack_from("<H", first, 4)[0], struct.unpack_from("<H", first, 30 + len("a.bin"))[0]
    assert (version, extra) == (45, 1)  # APPNOTE.TXT, 4.4.3 and 4.5.3
