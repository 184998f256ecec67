"""Downloads that are read too slowly are cut off, and slow but steady ones are not."""

import contextlib
import socket
import time
from contextlib import AbstractContextManager
from typing import Any, cast

import pytest
from headway.loops import Loops
from headway.web.connections.slow_readers import MIN_BYTES_PER_S, SlowReaders, acknowledged_bytes

from tests.support.process import WAIT_TIMEOUT_S, eventually
from tests.support.serving import Serving

TIMEOUT_S = 10.0
PAUSE_S = 0.02
"""How long the readers of real downloads pause: their pace is what is tested."""
ENOUGH = int(TIMEOUT_S * MIN_BYTES_PER_S)


class Transport:
    """A client's connection, as far as it is checked."""

    def __init__(self) -> None:
        self.read_bytes: int | None = 0
        self.cut = False


class Clock:
    """The time now."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def readers(clock: Clock) -> SlowReaders:
    def read_bytes(transport: Any) -> int | None:
        return cast("Transport", transport).read_bytes

    def cut(transport: Any) -> None:
        transport.cut = True

    return SlowReaders(TIMEOUT_S, clock_s=clock, taken_bytes=read_bytes, cut=cut)


def watching(readers: SlowReaders, transport: Transport) -> AbstractContextManager[None]:
    return readers.watching(cast("Any", transport))


async def test_a_reader_below_the_minimum_rate_is_cut_at_the_end_of_the_limit(
    readers: SlowReaders, clock: Clock
) -> None:
    transport = Transport()
    with watching(readers, transport):
        for second in range(1, 10):
            clock.now_s, transport.read_bytes = float(second), second
            await readers._check()
        assert not transport.cut
        clock.now_s, transport.read_bytes = TIMEOUT_S, ENOUGH - 1
        await readers._check()
        assert transport.cut


async def test_a_steady_reader_is_never_cut(readers: SlowReaders, clock: Clock) -> None:
    transport = Transport()
    with watching(readers, transport):
        for second in range(100):
            clock.now_s, transport.read_bytes = float(second), int(second * MIN_BYTES_PER_S * 1.2)
            await readers._check()
    assert not transport.cut


async def test_a_finished_download_is_not_checked(readers: SlowReaders, clock: Clock) -> None:
    transport = Transport()
    with watching(readers, transport):
        pass
    clock.now_s = 10 * TIMEOUT_S
    await readers._check()
    assert not transport.cut


async def test_on_a_system_without_socket_statistics_nobody_is_cut_off(readers: SlowReaders, clock: Clock) -> None:
    transport = Transport()
    transport.read_bytes = None
    with watching(readers, transport):
        clock.now_s = 10 * TIMEOUT_S
        await readers._check()
    assert not transport.cut


async def test_the_check_is_a_supervised_loop(readers: SlowReaders) -> None:
    loops = Loops()
    assert readers.start(loops).name == "slow-readers"
    await loops.stop()


def test_a_download_at_a_byte_now_and_then_ends_and_others_go_on(serving: Serving) -> None:
    server = serving(":memory:", env={"HEADWAY_STREAM_STALL_TIMEOUT_S": "1"})
    job_id = server.submit("big-file")
    server.wait_for(job_id)
    request = f"GET /jobs/{job_id}/files/big.bin HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    with _asking(server.port, request) as slow, _asking(server.port, request) as steady:
        began_s, received = time.monotonic(), 0
        while "a download was cut" not in server.log():
            slow.recv(1)
            received += len(steady.recv(2_000))
            time.sleep(PAUSE_S)
            assert time.monotonic() - began_s < WAIT_TIMEOUT_S
        assert _rest(slow) < 1024 * 1024
        for _ in range(50):
            received += len(steady.recv(2_000))
            time.sleep(PAUSE_S)
        assert received > 50 * 1_000
        assert server.log().count("a download was cut") == 1


def test_a_large_result_that_is_not_read_is_cut_off(serving: Serving) -> None:
    server = serving(":memory:", env={"HEADWAY_STREAM_STALL_TIMEOUT_S": "1"})
    job_id = server.submit("largest-result")
    server.wait_for(job_id)
    request = f"GET /jobs/{job_id}/result HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    with _asking(server.port, request) as slow:
        eventually(lambda: "a download was cut" in server.log())
        assert _rest(slow) < 8 * 1024 * 1024


async def test_a_connection_that_has_gone_does_not_end_the_check_of_others() -> None:
    class Gone:
        def get_extra_info(self, _name: str) -> Any:
            class Closed:
                def getsockopt(self, *_: object) -> bytes:
                    raise ValueError("negative file descriptor")

            return Closed()

    assert acknowledged_bytes(cast("Any", Gone())) is None


def _rest(asking: socket.socket) -> int:
    """How much arrives before the connection ends."""
    received = 0
    with contextlib.suppress(ConnectionError):
        while data := asking.recv(64 * 1024):
            received += len(data)
    return received


def _asking(port: int, request: bytes) -> socket.socket:
    asking = socket.socket()
    asking.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    asking.settimeout(WAIT_TIMEOUT_S)
    asking.connect(("127.0.0.1", port))
    asking.sendall(request)
    return asking
