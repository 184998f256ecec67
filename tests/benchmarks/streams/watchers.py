"""A load generator as a process of its own: many event streams, read raw, on one core.

It reads its instructions (see `Instructions`) as JSON from standard input, opens the streams, and once all have been
answered, it does one of two things and prints what the clients received.

- **Paced**: the producer of the frames has connected to the control socket, and publishes one for each byte from
  there; for a side that accepts frames by HTTP (`publish`), the generator is the producer. It requests the next frame
  once 90 % of the watchers have the last one.
- **Listening**: the producers, if any, publish at their own rate after a first byte. It reads until `expected` frames
  have been received, at most for `seconds`.

To be cheap it decodes nothing: frames are counted by their last bytes. Some of the watchers (every `sample_every`th)
also search for the timestamp that a frame carries as its job's message.
"""

import json
import math
import os
import select
import socket
import sys
import time
from dataclasses import dataclass, field
from typing import Any, Literal

from ..processes import cpu_s, raise_file_limit, resident_kib
from ..report import percentile
from .producing import HOST, STAMP_DIGITS, stamp

END_OF_FRAME = b"}\n\n"
"""The end of an event with data. Comments, chunk sizes and headers end differently."""
STAMP_AT = b'"message":"'
BUFFER_BYTES = 256 * 1024
ASK_AT_SHARE = 0.9
"""Early enough that the server does not wait for the generator, and late enough that the last frame is nearly done."""
TIME_LIMIT_S = 60.0
QUIET_S = 0.3
LOST_AFTER_S = 0.5
CONNECT_AT_ONCE = 100
NAP_S = 0.0003
"""A reader that immediately waits again makes each of the server's writes pay for waking it: a tenth of the server's
time here, which clients on other machines would not cost. It is part of the latencies.
"""


@dataclass
class Instructions:
    """What to do. `paths` are requested in turn; `pids` are the server's, to measure its CPU time and memory."""

    part: Literal["paced", "listening"]
    port: int
    paths: list[str]
    watchers: int
    seconds: float
    pids: list[int]
    control: int | None = None
    """The descriptor of the listening control socket, inherited."""
    publish: dict[str, str] | None = None
    """`path`, and the `head` and `tail` of a frame's data around its stamp."""
    warm_s: float = 0.5
    expected: int = 0
    sample_every: int = 1


@dataclass
class Counted:
    """What was received since the last reset."""

    frames: int = 0
    bytes: int = 0
    latencies_s: list[float] = field(default_factory=list)


class Watchers:
    """The streams of one run."""

    def __init__(self, instructions: Instructions) -> None:
        self._instructions = instructions
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._sampled: set[int] = set()
        self._tails: dict[int, bytes] = {}
        self._buffer = bytearray(BUFFER_BYTES)
        self.counted = Counted()
        self.by_stream: dict[int, int] = {}
        self.comments: dict[int, int] = {}
        self.closed = 0

    def open(self) -> None:
        """Connect all, a few at a time; when this returns, each has received its headers and first events."""
        for first in range(0, self._instructions.watchers, CONNECT_AT_ONCE):
            batch = [self._connect(n) for n in range(first, min(first + CONNECT_AT_ONCE, self._instructions.watchers))]
            for connection in batch:
                self._greeted(connection)
        self.settle()

    def close(self) -> None:
        for connection in self._sockets.values():
            connection.close()
        self._epoll.close()

    def _connect(self, number: int) -> socket.socket:
        connection = socket.create_connection((HOST, self._instructions.port), timeout=TIME_LIMIT_S)
        path = self._instructions.paths[number % len(self._instructions.paths)]
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nAccept: text/event-stream\r\n\r\n".encode())
        return connection

    def _greeted(self, connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            received = connection.recv(65_536)
            assert received, f"a stream was closed before it began: {head!r}"
            head += received
        assert head.startswith(b"HTTP/1.1 200"), head
        connection.setblocking(False)
        number = connection.fileno()
        if len(self._sockets) % self._instructions.sample_every == 0:
            self._sampled.add(number)
        self._sockets[number] = connection
        self.by_stream[number] = self.comments[number] = 0
        self._epoll.register(number, select.EPOLLIN)

    def settle(self) -> None:
        """Read until nothing more is received, and reset the counters."""
        while self.read(QUIET_S):
            pass
        self.counted = Counted()
        self.by_stream = dict.fromkeys(self.by_stream, 0)
        self.comments = dict.fromkeys(self.comments, 0)

    def read(self, timeout_s: float, most: int = 512) -> int:
        """Read what has been received, from at most this many streams; returns from how many."""
        counted, buffer, sockets, by_stream = self.counted, self._buffer, self._sockets, self.by_stream
        events = self._epoll.poll(timeout_s, most)
        for number, _ in events:
            try:
                length = sockets[number].recv_into(buffer)
            except ConnectionError:
                length = 0
            if not length:
                self._lose(number)
                continue
            frames = buffer.count(END_OF_FRAME, 0, length)
            if self._tails or buffer[length - 1] != 0x0A or buffer[length - 2] == 0x7D:
                frames += self._straddling(number, length)
            counted.bytes += length
            if not frames:
                self.comments[number] += 1  # a read without a frame: a heartbeat
                continue
            counted.frames += frames
            by_stream[number] += frames
            if number in self._sampled:
                self._note_latencies(length)
        if 0 < len(events) < most:
            time.sleep(NAP_S)
        return len(events)

    def _straddling(self, number: int, length: int) -> int:
        """How many frames (0 or 1) ended across this read and the one before; keeps what the next may complete."""
        tail = self._tails.pop(number, b"")
        view = self._buffer[: min(length, 2)]
        last = (tail + self._buffer[max(0, length - 2) : length])[-2:]
        if last.endswith(b"}") or last == b"}\n":
            self._tails[number] = bytes(last)
        return (tail + view).count(END_OF_FRAME)

    def _note_latencies(self, length: int) -> None:
        now_ns = time.monotonic_ns()
        at = self._buffer.find(STAMP_AT, 0, length)
        while at >= 0:
            at += len(STAMP_AT)
            digits = self._buffer[at : at + STAMP_DIGITS]
            if digits.isdigit():
                self.counted.latencies_s.append((now_ns - int(digits)) / 1e9)
            at = self._buffer.find(STAMP_AT, at, length)

    def _lose(self, number: int) -> None:
        self._epoll.unregister(number)
        self._sockets.pop(number).close()
        self.closed += 1


class Producer:
    """The other end of the control connection: requests one frame at a time."""

    def __init__(self, connection: socket.socket, publish: dict[str, str] | None, port: int) -> None:
        self._connection = connection
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection.settimeout(TIME_LIMIT_S)
        self._publish = publish
        self._asked = 0
        if publish is not None:
            length = len(publish["head"].encode()) + STAMP_DIGITS + len(publish["tail"].encode())
            head = f"POST {publish['path']} HTTP/1.1\r\nHost: {HOST}:{port}\r\nContent-Length: {length}\r\n\r\n"
            self._head = (head + publish["head"]).encode()
            self._tail = publish["tail"].encode()

    def ask(self) -> None:
        """Request the next frame."""
        if self._publish is None:
            self._connection.sendall(b".")
            return
        if self._asked:
            answer = self._connection.recv(65_536)  # of the last one: never more than one is in flight
            assert answer.startswith(b"HTTP/1.1 2"), answer
        self._connection.sendall(self._head + stamp().encode() + self._tail)
        self._asked += 1


def paced(instructions: Instructions, watchers: Watchers, producer: Producer) -> dict[str, Any]:
    """Frames as fast as possible: the next when 90 % of the watchers have the last."""
    _pace(watchers, producer, instructions, instructions.warm_s)
    watchers.settle()
    cpu_before_s, own_before_s = cpu_s(instructions.pids), cpu_s([os.getpid()])
    offered, taken_s = _pace(watchers, producer, instructions, instructions.seconds)
    server_cpu_s, own_cpu_s = cpu_s(instructions.pids) - cpu_before_s, cpu_s([os.getpid()]) - own_before_s
    while watchers.read(QUIET_S):
        pass
    received = watchers.counted
    return {
        "offered": offered,
        "seconds": taken_s,
        "frames": received.frames,
        "delivered": sum(min(frames, offered) for frames in watchers.by_stream.values())
        / offered
        / instructions.watchers,
        "bytes_per_frame": received.bytes / max(1, received.frames),
        "server_cpu_s": server_cpu_s,
        "generator_cpu": own_cpu_s / taken_s,
        **_latencies(received),
    }


def _pace(watchers: Watchers, producer: Producer, instructions: Instructions, seconds: float) -> tuple[int, float]:
    """How many frames were offered, and after how many seconds 90 % of the watchers had the last one."""
    enough = math.ceil(instructions.watchers * ASK_AT_SHARE)
    base = watchers.counted.frames
    lost = offered = 0
    started_s = read_s = time.monotonic()
    while read_s - started_s < seconds:
        producer.ask()
        wanted = base + offered * instructions.watchers - lost + enough
        offered += 1
        asked_s = time.monotonic()
        while watchers.counted.frames < wanted:
            if watchers.read(LOST_AFTER_S / 10):
                read_s = time.monotonic()
            elif time.monotonic() - max(read_s, asked_s) > LOST_AFTER_S:
                lost = base + offered * instructions.watchers - watchers.counted.frames
                break
    return offered, read_s - started_s


def listening(instructions: Instructions, watchers: Watchers, producer: Producer | None) -> dict[str, Any]:
    """Frames that producers publish at their own rate."""
    resident_before_kib = resident_kib(instructions.pids)
    if producer is not None:
        producer.ask()
    cpu_before_s, own_before_s, started_s = cpu_s(instructions.pids), cpu_s([os.getpid()]), time.monotonic()
    last_s = started_s
    while (left_s := started_s + instructions.seconds - time.monotonic()) > 0:
        if watchers.read(min(left_s, 0.1)):
            last_s = time.monotonic()
        if (
            instructions.expected
            and watchers.counted.frames >= instructions.expected
            and time.monotonic() - last_s > QUIET_S
        ):
            break
    taken_s = time.monotonic() - started_s
    received = watchers.counted
    return {
        "seconds": taken_s,
        "frames": received.frames,
        "least_comments": min(watchers.comments.values()),
        "closed": watchers.closed,
        "resident_kib": max(resident_before_kib, resident_kib(instructions.pids)),
        "server_cpu_s": cpu_s(instructions.pids) - cpu_before_s,
        "generator_cpu": (cpu_s([os.getpid()]) - own_before_s) / taken_s,
        **_latencies(received),
    }


def _latencies(received: Counted) -> dict[str, float | None]:
    if not received.latencies_s:
        return {"p50_ms": None, "p99_ms": None}
    return {f"p{share}_ms": percentile(received.latencies_s, share / 100) * 1000 for share in (50, 99)}


def main() -> None:
    raise_file_limit()
    instructions = Instructions(**json.load(sys.stdin))
    watchers = Watchers(instructions)
    watchers.open()
    producer = _producer(instructions)
    if instructions.part == "paced":
        assert producer is not None
        result = paced(instructions, watchers, producer)
    else:
        result = listening(instructions, watchers, producer)
    json.dump(result, sys.stdout)


def _producer(instructions: Instructions) -> Producer | None:
    if instructions.publish is not None:
        return Producer(socket.create_connection((HOST, instructions.port)), instructions.publish, instructions.port)
    if instructions.control is None:
        return None
    with socket.socket(fileno=instructions.control) as listening_socket:
        listening_socket.settimeout(TIME_LIMIT_S)
        return Producer(listening_socket.accept()[0], None, instructions.port)


if __name__ == "__main__":
    main()
