"""`Content`: a request's body as it is read, decompressed no further than that."""

import asyncio
import gzip
import io
import zlib
from collections.abc import Iterator

import pytest
from aiohttp import StreamReader
from aiohttp.base_protocol import BaseProtocol
from headway.web.problems import Problem
from headway.web.requests.content import PIECE_BYTES, Content, Inflater
from hypothesis import given
from hypothesis import strategies as st

from tests.support.process import ServerProcess
from tests.support.raw import FORM, JSON, assert_problem, form, part, send

MIB = 1024 * 1024
BOMB = gzip.compress(bytes(64 * MIB))
LINES = 10_000


def source(*chunks: bytes) -> StreamReader:
    """A body that has arrived, as aiohttp keeps it."""
    loop = asyncio.get_running_loop()
    stream = StreamReader(BaseProtocol(loop), 2**24, loop=loop)
    for chunk in chunks:
        stream.feed_data(chunk)
    stream.feed_eof()
    return stream


async def read_all(content: Content) -> bytes:
    pieces = []
    while piece := await content.read():
        pieces.append(piece)
    assert content.at_eof()
    return b"".join(pieces)


async def test_a_bomb_is_decompressed_no_further_than_the_limit() -> None:
    content = Content(source(BOMB), "gzip", MIB)
    with pytest.raises(Problem) as raised:
        await read_all(content)
    assert raised.value.kind == "too-large"
    assert content.decoded_bytes <= MIB + PIECE_BYTES


async def test_content_that_nobody_reads_is_not_decompressed() -> None:
    content = Content(source(BOMB), "gzip", MIB)
    assert content.decoded_bytes == 0
    await content.read(1)
    assert content.decoded_bytes <= PIECE_BYTES


async def test_others_have_their_turn_between_the_pieces() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await read_all(Content(source(BOMB), "gzip", 64 * MIB))
    counting.cancel()
    assert turns >= 64 * MIB // PIECE_BYTES


async def test_compressed_bytes_that_make_nothing_count_too() -> None:
    with pytest.raises(Problem) as raised:
        await read_all(Content(source(gzip.compress(b"") * LINES), "gzip", 10 * LINES))
    assert raised.value.kind == "too-large"


RAW = zlib.compressobj(wbits=-zlib.MAX_WBITS)


@pytest.mark.parametrize(
    ("coding", "sent", "read"),
    [
        ("gzip", gzip.compress(b"a" * MIB), b"a" * MIB),
        ("gzip", gzip.compress(b"") * 500 + gzip.compress(b"a" * PIECE_BYTES) + gzip.compress(b"b"), None),
        ("gzip", gzip.compress(b""), b""),
        ("deflate", zlib.compress(b"a" * MIB), b"a" * MIB),
        ("deflate", RAW.compress(b"a" * MIB) + RAW.flush(), b"a" * MIB),
        ("identity", b"a" * MIB, b"a" * MIB),
        ("identity", b"", b""),
    ],
    ids=["gzip", "members", "nothing", "zlib", "deflate alone", "as it is", "empty"],
)
@pytest.mark.parametrize("step", [1_000, 2**20])
async def test_what_was_sent_is_read(coding: str, sent: bytes, read: bytes | None, step: int) -> None:
    content = Content(source(*_cut(sent, step)), coding, 2 * MIB)
    assert await read_all(content) == (b"a" * PIECE_BYTES + b"b" if read is None else read)


def _cut(data: bytes, step: int) -> Iterator[bytes]:
    return (data[start : start + step] for start in range(0, len(data), step))


@pytest.mark.parametrize(
    ("coding", "sent"),
    [
        ("gzip", gzip.compress(b"a" * 999, mtime=0)[:-1]),
        ("gzip", gzip.compress(b"a", mtime=0) + b"rubbish"),
        ("gzip", b"rubbish"),
        ("deflate", zlib.compress(b"a" * 999)[:-1]),
        ("deflate", zlib.compress(b"a") + b"rubbish"),
        ("deflate", b"x"),
    ],
)
async def test_a_damaged_stream_is_a_400(coding: str, sent: bytes) -> None:
    with pytest.raises(Problem) as raised:
        await read_all(Content(source(sent), coding, MIB))
    assert raised.value.kind == "malformed-request"


def test_a_full_piece_is_followed_by_what_is_left_of_it() -> None:
    inflater = Inflater("gzip")
    inflater.feed(gzip.compress(b"a" * (PIECE_BYTES + 1)))
    pieces = []
    while inflater.has_more:
        pieces.append(inflater.piece())
    assert [len(piece) for piece in pieces if piece] == [PIECE_BYTES, 1]
    inflater.finish()


@given(st.lists(st.binary(max_size=20), max_size=20), st.lists(st.integers(0, 9), max_size=60), st.booleans())
def test_lines_and_pieces_are_those_of_a_file(chunks: list[bytes], steps: list[int], packed: bool) -> None:
    """A step reads a line, or puts something back, or reads as many bytes."""
    asyncio.run(_compare(chunks, steps, packed=packed))


async def _compare(chunks: list[bytes], steps: list[int], *, packed: bool) -> None:
    sent = b"".join(chunks)
    stream = source(gzip.compress(sent)) if packed else source(*filter(None, chunks))
    content, file = Content(stream, "gzip" if packed else "identity", MIB, LINES), io.BytesIO(sent)
    for step in steps:
        if step == 0:
            assert await content.readline() == file.readline()
            continue
        piece = await content.read(step)
        assert file.read(len(piece)) == piece
        assert len(piece) <= step
        if step > 5:
            content.unread_data(piece)
            file.seek(-len(piece), io.SEEK_CUR)
    assert await read_all(content) == file.read()


async def test_lines_are_limited_in_length_and_number() -> None:
    with pytest.raises(Problem, match="malformed-request"):
        await Content(source(b"x" * 10_000), "identity", MIB, LINES).readline()
    content = Content(source(b"\n" * 100), "identity", MIB, 3)
    assert [await content.readline() for _ in range(3)] == [b"\n"] * 3
    with pytest.raises(Problem, match="malformed-request"):
        await content.readline()


# On a server


@pytest.mark.parametrize(
    ("method", "path", "status"), [("POST", "/nowhere", 404), ("POST", "/jobs/nope", 404), ("DELETE", "/jobs", 405)]
)
def test_a_body_that_an_answer_does_not_need_is_not_decompressed(
    server: ServerProcess, method: str, path: str, status: int
) -> None:
    headers = [*JSON, ("Content-Encoding", "gzip")]
    assert send(server, method, path, headers, b"this is no gzip").status == status
    assert send(server, method, path, headers, BOMB).status == status


def test_codings_in_several_headers_are_a_415(server: ServerProcess) -> None:
    headers = [*JSON, ("Content-Encoding", "identity"), ("Content-Encoding", "gzip")]
    reply = send(server, "POST", "/jobs/noop", headers, gzip.compress(b"{}"))
    assert_problem(reply, 415, "unsupported-media-type")


@pytest.mark.parametrize("before", [b"\n", b"\r\n", b"x"], ids=["line feeds", "lines", "one long line"])
def test_a_form_whose_parts_do_not_begin_is_given_up_early(server: ServerProcess, before: bytes) -> None:
    problem = assert_problem(
        send(server, "POST", "/jobs/reads-upload", FORM, before * (4 * MIB)), 400, "malformed-request"
    )
    assert "outside the parts" in problem["detail"]


@pytest.mark.parametrize("fields", [["X: y"] * 20, ["X: " + "y" * 9_000]], ids=["number", "size"])
def test_the_headers_of_a_part_are_limited(server: ServerProcess, fields: list[str]) -> None:
    body = form(part("document", b"hello", "a.txt", *fields))
    assert_problem(send(server, "POST", "/jobs/reads-upload", FORM, body), 400, "malformed-request")


def test_a_preamble_and_an_epilogue_of_a_few_lines_are_skipped(server: ServerProcess) -> None:
    body = b"for old mail readers\r\n\r\n" + form(part("document", b"hello", "a.txt")) + b"\r\nthat was all\r\n"
    assert send(server, "POST", "/jobs/reads-upload", FORM, body).status == 202


def test_a_part_that_names_a_charset_too_long_is_a_400(server: ServerProcess) -> None:
    body = form(part("_charset_", b"x" * 100), part("document", b"hello", "a.txt"))
    assert_problem(send(server, "POST", "/jobs/reads-upload", FORM, body), 400, "malformed-request")


@pytest.mark.parametrize("coding", ["identity", "gzip"])
async def test_a_connection_that_was_lost_before_the_body_was_read_is_not_an_error_of_the_server(coding: str) -> None:
    loop = asyncio.get_running_loop()
    unfinished = StreamReader(BaseProtocol(loop), 2**24, loop=loop)
    unfinished.feed_data(gzip.compress(b"begun")[:12])
    content = Content(unfinished, coding, MIB)
    with pytest.raises(ConnectionError):
        await read_all(content)
