"""Requests a second: the bare peer, and the load generators that are run against it and Headway in turn."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.process import ROOT, Reply

from ..processes import LOAD_CORE, SERVER_CORE, cpu_s, on_core

CONNECTIONS = 64
SECONDS = 3
MINIMAL = "a minimal durable server"
"""The name of the peer `minimal` in tables."""
OF_ITS_OWN = {"content-length", "date"}
"""Headers that a server generates itself; the bare peer copies all others."""


@dataclass(frozen=True)
class Request:
    """A request that a load generator repeats."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def raw(self) -> bytes:
        headers = {"Host": "localhost", **self.headers}
        if self.body:
            headers["Content-Length"] = str(len(self.body))
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"{self.method} {self.path} HTTP/1.1\r\n{head}\r\n".encode() + self.body


@dataclass(frozen=True)
class Asked:
    """A running server: its port and process."""

    port: int
    pid: int


@contextmanager
def peer(reply: Reply, module: str, *arguments: str) -> Iterator[Asked]:
    """`bare` or `minimal`, which answers with this response, on the server's core."""
    with on_core(SERVER_CORE):
        process = subprocess.Popen(
            [sys.executable, "-m", f"tests.benchmarks.throughput.{module}", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True,
        )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        headers = {name: value for name, value in reply.headers.items() if name.lower() not in OF_ITS_OWN}
        json.dump({"status": reply.status, "headers": headers, "body": reply.body.decode()}, process.stdin)
        process.stdin.close()
        yield Asked(int(process.stdout.readline()), process.pid)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def load(asked: Asked, request: Request, *, connections: int = CONNECTIONS, seconds: float = SECONDS) -> dict[str, Any]:
    """One run of the load generator in Python: responses a second, counts by status, and latencies."""
    with on_core(LOAD_CORE):
        before_s = cpu_s([asked.pid])
        done = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.throughput.load", str(asked.port), str(connections), str(seconds)],
            input=request.raw(), stdout=subprocess.PIPE, check=True, cwd=ROOT,
        )  # fmt: skip
        used_s = cpu_s([asked.pid]) - before_s
    found: dict[str, Any] = json.loads(done.stdout)
    return {**found, "cpu_us_each": used_s / sum(found["statuses"].values()) * 1e6}


def has_wrk() -> bool:
    return shutil.which("wrk") is not None


def wrk(asked: Asked, request: Request, *, connections: int = CONNECTIONS, seconds: int = SECONDS) -> dict[str, Any]:
    """The same by wrk, which is written in C. It only reports whether there were statuses other than 2xx and 3xx."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    for name, value in request.headers.items():
        command += ["-H", f"{name}: {value}"]
    with on_core(LOAD_CORE):
        before_s = cpu_s([asked.pid])
        command.append(f"http://127.0.0.1:{asked.port}{request.path}")
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
        used_s = cpu_s([asked.pid]) - before_s
    assert "Non-2xx" not in done.stdout, done.stdout
    assert "Socket errors" not in done.stdout, done.stdout
    return {
        "per_second": float(_found(r"Requests/sec:\s+([\d.]+)", done.stdout)[1]),
        "p50_ms": _ms(_found(r"50%\s+([\d.]+)(us|ms|s)", done.stdout)),
        "p99_ms": _ms(_found(r"99%\s+([\d.]+)(us|ms|s)", done.stdout)),
        "cpu_us_each": used_s / int(_found(r"(\d+) requests in", done.stdout)[1]) * 1e6,
    }


def _found(pattern: str, text: str) -> re.Match[str]:
    found = re.search(pattern, text)
    assert found, text
    return found


def _ms(found: re.Match[str]) -> float:
    return float(found[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[found[2]]
