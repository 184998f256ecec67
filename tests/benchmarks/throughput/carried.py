"""No-op jobs from POST to completed, a second: against the requests a second of a bare handler, and against SAQ.

Each side accepts submissions for the same time from equally many senders, and the clock stops when the last job is
done. Headway has its process on the server's core and its data on a real disk, and each 202 is durable. SAQ has its
worker on the server's core and its client on the load's, and Redis on either, with its default persistence, and once
more with a sync before each response, which is what Headway promises.
"""

import importlib.util
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.support.process import ROOT, WAIT_TIMEOUT_S, ServerProcess, eventually

from .. import redis_server
from ..processes import LOAD_CORE, SERVER_CORE, on_core
from ..report import Play, Table, median_of, median_ratio
from ..streams.sides import headway
from .asking import CONNECTIONS, Asked, Request, load, peer

SECONDS = 3.0
RUNNING = 64
REQUEST = Request("POST", "/jobs/noop", {"Content-Type": "application/json"}, b"{}")
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


@dataclass(frozen=True)
class Saq:
    """A configuration of SAQ and Redis."""

    name: str
    concurrency: int
    redis: tuple[str, ...] = ()


SAQS = (Saq("SAQ by default", 10), Saq("SAQ, tuned", 100), Saq("SAQ, tuned, durable", 100, DURABLE))


def run(play: Play, seconds: float = SECONDS) -> Table:
    table = Table(f"No-op jobs from POST to completed a second, {play.rounds} rounds of {seconds:g} s of submissions")
    missing = _missing()
    saqs = () if missing else SAQS
    if missing:
        table.notes.append(f"SAQ does not play: {missing}")
    found: dict[str, list[dict[str, Any]]] = {}
    for _ in range(play.rounds):
        for name, measured in _headway_and_bare(seconds):
            found.setdefault(name, []).append(measured)
        for saq in saqs:
            found.setdefault(saq.name, []).append(_saq(saq, seconds))
    for name, rounds in found.items():
        table.add(server=name, per_second=median_of(rounds, "per_second"))
    ours = found["headway"]
    others = [name for name in found if name != "headway"]
    for name in others:
        table.add(server=f"headway/{name}", per_second=median_ratio(ours, found[name], "per_second"))
    ratio = median_ratio(ours, found["bare POST"], "per_second")
    table.expect("jobs: carried a second, headway/bare POST", ratio, at_least=0.15)
    best = [median_ratio(ours, found[saq.name], "per_second") or 0.0 for saq in saqs]
    table.expect("jobs: carried a second, headway/SAQ at its best", min(best, default=None), at_least=1.6)
    return table


def _headway_and_bare(seconds: float) -> Iterator[tuple[str, dict[str, Any]]]:
    with (
        tempfile.TemporaryDirectory(dir=ROOT) as folder,
        headway(folder, HEADWAY_MAX_TASKS=str(RUNNING)) as server,
    ):
        with peer(server.request("POST", REQUEST.path, REQUEST.body, REQUEST.headers), "bare") as theirs:
            yield "bare POST", load(theirs, REQUEST, seconds=seconds)
        before = _completed(server)
        started_s = time.perf_counter()
        measured = load(Asked(server.port, server.process.pid), REQUEST, seconds=seconds)
        assert set(measured["statuses"]) == {"202"}, measured
        wanted = before + measured["statuses"]["202"]
        completed = eventually(lambda: (count := _completed(server)) >= wanted and count, "not all were completed")
        yield "headway", {"per_second": (completed - before) / (time.perf_counter() - started_s)}


def _completed(server: ServerProcess) -> int:
    count: int = server.request("GET", "/jobs/stats").json["byStatus"]["completed"]
    return count


def _missing() -> str | None:
    if importlib.util.find_spec("saq") is None or importlib.util.find_spec("redis") is None:
        return "saq or redis is not installed: pip install -e '.[benchmarks]'"
    return redis_server.missing()


def _saq(saq: Saq, seconds: float) -> dict[str, Any]:
    with redis_server.running(*saq.redis) as port:
        with on_core(SERVER_CORE):
            worker = _saq_process("worker", port, saq.concurrency)
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
        with on_core(LOAD_CORE):
            client = _saq_process("client", port, CONNECTIONS, seconds)
        try:
            sent = json.loads(client.communicate()[0])
        finally:
            worker.send_signal(signal.SIGTERM)
            done = int(worker.communicate(timeout=WAIT_TIMEOUT_S)[0])
    assert done >= sent["jobs"], (done, sent)  # under load it may run a few twice
    return {"per_second": sent["jobs"] / sent["seconds"]}


def _saq_process(*arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.benchmarks.throughput.saq_queue", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True)
