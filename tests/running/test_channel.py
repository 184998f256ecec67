"""The channel between the server and a child: every message arrives as it was sent, and garbage is recognised."""

import asyncio
import json
import math
import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import pytest
from headway.authoring.uploads import Upload
from headway.domain.attempts import Usage
from headway.domain.jobs import JobError, NewLogLine
from headway.limits import (
    CHECKPOINT_BYTES,
    LOG_LINE_CHARS,
    MESSAGE_CHARS,
    REASON_CHARS,
    RESULT_BYTES,
    RESULT_URL_CHARS,
    TRACEBACK_CHARS,
    WORD_CHARS,
)
from headway.ports.files import Directories
from headway.running.calling import Raised, Returned, Stopped
from headway.running.processes.async_channel import READ_AHEAD_BYTES, AsyncChannel
from headway.running.processes.channel import (
    HEAD,
    BlockingChannel,
    GarbledMessageError,
    decode,
    encode,
)
from headway.running.processes.messages import (
    LINES_PER_REPORT,
    Began,
    Cancel,
    Checkpoint,
    CheckpointAnswer,
    CheckpointOutcome,
    CleanUpFailed,
    HandlerEnded,
    Message,
    Report,
    Start,
    Stays,
    Used,
)
from headway.tracebacks import shortened

from tests.support.process import eventually

NOON = datetime(2026, 3, 1, 12, 0, 0, 125_000, tzinfo=UTC)
START = Start(
    source="/jobs/mine.py",
    type="resize",
    job_id="0195",
    attempt=2,
    owner="local",
    input_json='{"text":"Größe \U0001f600"}',
    checkpoint_json=None,
    directories=Directories("/w", "/o", "/d"),
    lock_path="/lock",
    uploads={"document": Upload(Path("/in/document"), "x.pdf", "application/pdf", 5)},
)
MESSAGES: list[Message] = [
    START,
    Cancel(),
    *(CheckpointAnswer(outcome) for outcome in CheckpointOutcome),
    Began(),
    Report((1, 2.5, None, "rows", "half \ud800 way", True), (NewLogLine(NOON, "info", "a line"),)),
    Report(None, ()),
    Report(None, (), 1_234),
    Checkpoint('{"page": 5}'),
    Returned('{"a":1}', "/reports/1"),
    Returned("null"),
    Raised(JobError("no-pictures", "No pictures", None, 422), final=True, traceback="Traceback…"),
    Stopped(),
    HandlerEnded(Returned('{"a":1}', "/reports/1")),
    HandlerEnded(Raised(JobError("no-pictures", "No pictures", None, 422), final=True)),
    CleanUpFailed("http()", "ValueError: broken", "Traceback…"),
    Stays(),
    Used(Usage(50_000_000, 0.25)),
]


def test_each_kind_of_message_is_tried() -> None:
    assert {type(message) for message in MESSAGES} == set(get_args(Message))


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_arrives_as_it_was_sent(message: Message) -> None:
    frame = encode(message)
    assert HEAD.unpack(frame[: HEAD.size])[1] == len(frame) - HEAD.size
    assert decode(frame[HEAD.size :]) == message


def test_a_number_that_json_does_not_have_arrives_too() -> None:
    report = decode(encode(Report((math.nan, math.inf, None, None, None, None), ()))[HEAD.size :])
    assert isinstance(report, Report)
    assert report.progress is not None
    assert math.isnan(report.progress[0])
    assert report.progress[1] == math.inf


def test_an_exception_stays_in_its_process() -> None:
    raised = Raised(JobError("t", "T", None, 500), exception=ValueError("here"))
    assert decode(encode(raised)[HEAD.size :]) == Raised(raised.error)


GARBAGE = [
    b"hello, world",
    b"",
    b"\xff\xfe",
    b"{}",
    b"[]",
    b"null",
    b'"Cancel"',
    b"[[]]",
    b'["Nothing"]',
    b'["Cancel", 1]',
    b'["Start", {}]',
    b'["Start", 5]',
    b'["Returned"]',
    b'["Raised", null, true, null]',
    b'["Report", [1], [], 0]',
    b'["Report", null, [["yesterday", "info", "x"]], 0]',
    b'["Report", null, [["2026-01-01T00:00:00", "info", "x"]], 0]',
    b'["Report", null, [], "many"]',
    b'["Report", null, [], 1e400]',
    b'["CheckpointAnswer", "perhaps"]',
    b'["Checkpoint"]',
    b'["Began"]\n{}',
    b'["HandlerEnded"]\n{}',
    b'["HandlerEnded", ["Stopped"]]\n{}',
    b'["Returned", null]\n\xff',
    b"\n{}",
    b"5\n{}",
    b'["HandlerEnded", ["Cancel"]]',
    b'["HandlerEnded", ["Returned"]]',
    b'["HandlerEnded", 5]',
    b'["Used", -1, 0.5]',
    b'["Used", 1e400, 0.5]',
    b'["Used", 4611686018427387904, 0.5]',
    b'["Used", 1, NaN]',
    b'["Used", 1, -0.5]',
    b"[" * 100_000,
]


@pytest.mark.parametrize("body", GARBAGE, ids=lambda body: repr(body[:40]))
def test_garbage_is_not_a_message(body: bytes) -> None:
    with pytest.raises(GarbledMessageError):
        decode(body)


def test_a_message_that_is_too_large_is_not_sent() -> None:
    encode(Checkpoint("x" * CHECKPOINT_BYTES))
    with pytest.raises(ValueError, match="a Checkpoint has at most 1,049,600 bytes, not 1,050,"):
        encode(Checkpoint("x" * (CHECKPOINT_BYTES + 2_000)))


WORST_LINE = NewLogLine(NOON, "warning", "\N{DESERET CAPITAL LETTER EW}" * LOG_LINE_CHARS)
LARGEST = [
    Report(
        (-(2**63) + 1,) * 3 + ("\U00010427" * WORD_CHARS, "\U00010427" * MESSAGE_CHARS, "\U00010427" * WORD_CHARS),
        (WORST_LINE,) * LINES_PER_REPORT,
        2**63,
    ),
    Checkpoint('"' * CHECKPOINT_BYTES),
    Returned('"' * RESULT_BYTES, "/" * RESULT_URL_CHARS),
    HandlerEnded(Returned('"' * RESULT_BYTES, "/" * RESULT_URL_CHARS)),
    Raised(
        JobError.stated("\U00010427" * 10_000, "\U00010427" * 10_000, "\U00010427" * 10_000, 500),
        traceback=shortened("\0" * 2 * TRACEBACK_CHARS),
    ),
    CleanUpFailed("f" * 100, "\U00010427" * REASON_CHARS, shortened("\0" * 2 * TRACEBACK_CHARS)),
]


@pytest.mark.parametrize("message", LARGEST, ids=lambda message: type(message).__name__)
def test_the_largest_message_of_each_kind_arrives(message: Message) -> None:
    assert decode(encode(message)[HEAD.size :]) == message


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


async def test_both_ends_understand_each_other(ends: tuple[socket.socket, socket.socket]) -> None:
    server = AsyncChannel(ends[0])
    child = BlockingChannel(ends[1].detach())
    server.send(START)
    assert await asyncio.to_thread(child.receive) == START
    child.send(Began())
    child.send(Stopped())
    assert [await server.receive(), await server.receive()] == [Began(), Stopped()]
    assert not child.readable(0)
    server.close()
    assert await asyncio.to_thread(child.receive) is None
    server.send(Cancel())  # to nobody
    child._socket.close()


async def test_a_message_that_breaks_off_is_the_end(ends: tuple[socket.socket, socket.socket]) -> None:
    server = AsyncChannel(ends[0])
    ends[1].sendall(encode(Began()) + encode(Checkpoint("{}"))[:-1])
    ends[1].close()
    assert [await server.receive(), await server.receive()] == [Began(), None]
    server.close()


async def test_large_messages_pass_in_pieces_in_both_directions_before_the_end_of_the_channel(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    server = AsyncChannel(ends[0])
    child = BlockingChannel(ends[1].detach())
    start = replace(START, input_json='"%s"' % ("x" * 4_000_000))
    server.send(start)
    server.send(Cancel())
    server.finish()
    server.send(Cancel())  # after the end
    received = await asyncio.to_thread(lambda: [child.receive() for _ in range(3)])
    assert received == [start, Cancel(), None]
    checkpoint = Checkpoint('"%s"' % ("y" * 900_000))
    sending = asyncio.get_running_loop().run_in_executor(None, child.send, checkpoint, Began())
    assert [await server.receive() for _ in range(2)] == [checkpoint, Began()]
    await sending
    with child:
        pass
    assert await server.receive() is None
    server.close()


async def test_a_child_that_sends_more_than_is_asked_for_waits(ends: tuple[socket.socket, socket.socket]) -> None:
    server = AsyncChannel(ends[0])
    child = BlockingChannel(ends[1].detach())
    checkpoint = Checkpoint('"%s"' % ("y" * 900_000))
    sending = asyncio.get_running_loop().run_in_executor(None, child.send, *[checkpoint] * 3)
    await asyncio.to_thread(eventually, lambda: not server._reading)
    assert READ_AHEAD_BYTES < len(server._received) < 900_000
    assert not sending.done()
    assert [await server.receive() for _ in range(3)] == [checkpoint] * 3
    await sending
    with child:
        server.hear_no_more()
    assert await server.receive() is None
    server.close()
    server.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"print to the wrong file\n",
        HEAD.pack(200, 5) + b"12345",
        HEAD.pack(4, 5) + b"12345",
        HEAD.pack(4, 0xFFFF_FFFF),  # a report of 4 GiB, which nobody reads
        HEAD.pack(8, 23) + b'["Report", null, [], 0]',  # a report under the head of a result, which may be larger
    ],
)
async def test_what_a_child_scribbles_on_the_socket_is_recognised(
    sent: bytes, ends: tuple[socket.socket, socket.socket]
) -> None:
    server = AsyncChannel(ends[0])
    ends[1].sendall(sent)
    ends[1].close()
    with pytest.raises(GarbledMessageError):
        await server.receive()
    server.close()


def test_messages_are_json_with_their_kind_first_and_what_is_json_already_comes_as_it_is() -> None:
    assert json.loads(encode(Began())[HEAD.size :]) == ["Began"]
    assert encode(Checkpoint('{"page": 5}'))[HEAD.size :] == b'["Checkpoint"]\n{"page": 5}'
    ended = HandlerEnded(Returned('"\\n"', "/reports/1"))
    assert encode(ended)[HEAD.size :] == b'["HandlerEnded", ["Returned", "/reports/1"]]\n"\\n"'
