"""The sides of the stream benchmarks: Headway and its peers, each on the server's core, serving the same frames."""

import importlib.util
import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from tests.support.process import ROOT, ServerProcess

from ..processes import LOAD_CORE, SERVER_CORE, on_core, raise_file_limit
from ..report import Play, Table
from . import nginx
from .peers import KINDS
from .producing import HOST, STAMP_DIGITS
from .watchers import Instructions

JOBS = ROOT / "tests" / "benchmarks" / "benchmark_jobs.py"
LIMITS = {"HEADWAY_MAX_STREAMS": "100000", "HEADWAY_MAX_STREAMS_PER_CLIENT": "100000"}
MODULES = {
    "aiohttp": ["aiohttp"],
    "aiohttp-sse": ["aiohttp_sse"],
    "sse-starlette": ["sse_starlette", "uvicorn"],
    "sse-starlette, tuned": ["sse_starlette", "uvicorn", "httptools"],
}
QUIET_JOBS = 100
IN_FUTURE = "2999-01-01T00:00:00Z"


@dataclass(frozen=True)
class Frame:
    """The data of a frame around its stamp."""

    head: str = ""
    tail: str = ""


@dataclass(frozen=True)
class Pace:
    """How many frames each of many sources publishes, and at which rate."""

    sources: int
    updates: int
    per_second: float


@dataclass(frozen=True)
class Serving:
    """A running side: the paths of its streams, to be watched in turn; `publish` as in `watchers.Instructions`."""

    port: int
    pids: list[int]
    paths: list[str]
    publish: dict[str, str] | None = None


class Side(Protocol):
    """A server in the comparison. `control` is the port that its producers are triggered by (see `producing`)."""

    name: str

    def missing(self) -> str | None:
        """Why it cannot run, or `None`."""
        ...

    def one_source(self, control: int, /) -> AbstractContextManager[Serving]:
        """One source for all watchers, which publishes on demand."""
        ...

    def many_sources(self, control: int, pace: Pace, /) -> AbstractContextManager[Serving] | None:
        """A source for each stream, which publishes by the clock; `None` if the side does not support this."""
        ...

    def quiet(self) -> AbstractContextManager[Serving]:
        """Streams with nothing but heartbeats."""
        ...


def playing(play: Play, table: Table, frame: Frame | None = None) -> list[Side]:
    """The requested sides that can run, Headway first; the table notes why others do not."""
    frame = frame or Frame()
    wanted: list[Side] = [Headway(), *(PythonPeer(kind, frame) for kind in KINDS), Nchan(frame)]
    if play.sides:
        wanted = [side for side in wanted if side.name in play.sides]
    table.notes += [f"{side.name} does not run: {why}" for side in wanted if (why := side.missing())]
    return [side for side in wanted if not side.missing()]


def watched(instructions: Instructions) -> dict[str, Any]:
    """One run of the load generator on its core: what the clients received."""
    raise_file_limit()
    with on_core(LOAD_CORE):
        done = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.streams.watchers"],
            input=json.dumps(asdict(instructions)), text=True, stdout=subprocess.PIPE, check=True, cwd=ROOT,
            pass_fds=() if instructions.control is None else (instructions.control,),
        )  # fmt: skip
    received: dict[str, Any] = json.loads(done.stdout)
    return received


@contextmanager
def control_socket() -> Iterator[tuple[int, int]]:
    """The listening socket that connects producers and load generator, which inherits it: descriptor and port."""
    with socket.create_server((HOST, 0)) as listening:
        yield listening.fileno(), listening.getsockname()[1]


class Headway:
    """The real server; frames come from `ctx.progress` in handlers."""

    name = "headway"

    def missing(self) -> None:
        return None

    @contextmanager
    def one_source(self, control: int) -> Iterator[Serving]:
        """The tick limit is lifted."""
        with headway(HEADWAY_TICK_S="0") as server:
            job_id = server.submit("publish-on-demand", {"port": control})
            server.wait_for(job_id, "running")
            yield Serving(server.port, [server.process.pid], [f"/jobs/{job_id}/progress"])

    @contextmanager
    def many_sources(self, control: int, pace: Pace) -> Iterator[Serving]:
        """With default ticks."""
        with headway(HEADWAY_MAX_TASKS=str(pace.sources)) as server:
            fields = {"port": control, "updates": pace.updates, "per_second": pace.per_second}
            job_ids = [server.submit("publish-by-the-clock", fields) for _ in range(pace.sources)]
            server.wait_for(job_ids[-1], "running")
            yield Serving(server.port, [server.process.pid], [f"/jobs/{job_id}/progress" for job_id in job_ids])

    @contextmanager
    def quiet(self) -> Iterator[Serving]:
        with headway() as server:
            job_ids = [server.submit("noop", query=f"?runAt={IN_FUTURE}") for _ in range(QUIET_JOBS)]
            yield Serving(server.port, [server.process.pid], [f"/jobs/{job_id}/progress" for job_id in job_ids])


@contextmanager
def headway(data_dir: str = ":memory:", **env: str) -> Iterator[ServerProcess]:
    """A server with the benchmarks' jobs, on the server's core."""
    raise_file_limit()
    with ExitStack() as stack:
        with on_core(SERVER_CORE):
            server = stack.enter_context(ServerProcess(data_dir, "--jobs", str(JOBS), env={**LIMITS, **env}))
        yield server


def frame_of_headway() -> Frame:
    """A running job's frame as Headway sends it, to be sent by the peers too."""
    with headway() as server:
        for state in server.states(server.submit("report-once")):
            if state["message"]:
                text = json.dumps(state, separators=(",", ":"), ensure_ascii=False)
                return Frame(*re.split(rf"\d{{{STAMP_DIGITS}}}", text))
    raise AssertionError("the job reported nothing")


class PythonPeer:
    """One of `peers.KINDS`."""

    def __init__(self, kind: str, frame: Frame) -> None:
        self.name = kind
        self._frame = frame

    def missing(self) -> str | None:
        absent = [name for name in MODULES[self.name] if importlib.util.find_spec(name) is None]
        return f"{', '.join(absent)} not installed: pip install -e '.[benchmarks]'" if absent else None

    def one_source(self, control: int) -> AbstractContextManager[Serving]:
        return self._serving(control, "/watch")

    def many_sources(self, control: int, pace: Pace) -> AbstractContextManager[Serving]:
        return self._serving(control, f"/own?updates={pace.updates}&per_second={pace.per_second}")

    def quiet(self) -> AbstractContextManager[Serving]:
        return self._serving(0, "/watch")

    @contextmanager
    def _serving(self, control: int, path: str) -> Iterator[Serving]:
        raise_file_limit()
        command = [sys.executable, "-m", "tests.benchmarks.streams.peers", self.name]
        with on_core(SERVER_CORE):
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            json.dump({**asdict(self._frame), "control": control}, process.stdin)
            process.stdin.close()
            yield Serving(int(process.stdout.readline()), [process.pid], [path])
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


class Nchan:
    """nginx's push module; the load generator posts the frames."""

    name = "nchan"

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def missing(self) -> str | None:
        return nginx.missing()

    @contextmanager
    def one_source(self, _control: int) -> Iterator[Serving]:
        with nginx.nginx() as (port, pids):
            yield Serving(port, pids, ["/watch/job"], {"path": "/publish/job", **asdict(self._frame)})

    def many_sources(self, _control: int, _pace: Pace) -> None:
        """It would measure the publishers: ten thousand POSTs a second."""

    @contextmanager
    def quiet(self) -> Iterator[Serving]:
        with nginx.nginx() as (port, pids):
            yield Serving(port, pids, ["/watch/job"])
