"""No-op jobs from POST to completed, a second: against the requests a second of a bare handler, and against SAQ.

Each side accepts submissions for the same time from equally many senders, and the clock stops when the last job is
done. Headway has its process on the server's core and its data on a real disk, and each 202 is durable. So has the
minimal server, the floor of what such a promise costs in this stack: it inserts a row, and updates it at the job's end.
SAQ has its worker on the server's core and its client on the load's, and Redis on either, with its default persistence,
and once more with a sync before each response, which is what Headway promises.
"""

import importlib.util
import json
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.process import ROOT, WAIT_TIMEOUT_S, ServerProcess, eventually

from .. import redis_server
from ..processes import LOAD_CORE, SERVER_CORE, cpu_s, on_core
from ..report import Play, Table, median_of, median_ratio
from ..streams.sides import headway
from .asking import CONNECTIONS, MINIMAL, Asked, Request, load, peer

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
        for name, measured in headway_and_peers(seconds):
            found.setdefault(name, []).append(measured)
        for saq in saqs:
            found.setdefault(saq.name, []).append(_saq(saq, seconds))
    for name, rounds in found.items():
        table.add(server=name, per_second=median_of(rounds, "per_second"), cpu_us_each=median_of(rounds, "cpu_us_each"))
    ours = found["headway"]
    for side in ("headway", MINIMAL):
        for name in [name for name in found if name not in ("headway", side)]:
            table.add(server=f"{side}/{name}", per_second=median_ratio(found[side], found[name], "per_second"))
    ratio = median_ratio(ours, found["bare POST"], "per_second")
    table.expect("jobs: carried a second, headway/bare POST", ratio, at_least=0.15)
    best = [median_ratio(ours, found[saq.name], "per_second") or 0.0 for saq in saqs]
    table.expect("jobs: carried a second, headway/SAQ at its best", min(best, default=None), at_least=1.6)
    return table


def headway_and_peers(seconds: float) -> Iterator[tuple[str, dict[str, Any]]]:
    """One round without SAQ: the names of the sides and their figures."""
    with (
        tempfile.TemporaryDirectory(dir=ROOT) as folder,
        headway(folder, HEADWAY_MAX_TASKS=str(RUNNING)) as server,
    ):
        reply = server.request("POST", REQUEST.path, REQUEST.body, REQUEST.headers)
        with peer(reply, "bare") as theirs:
            yield "bare POST", load(theirs, REQUEST, seconds=seconds)
        database = str(Path(folder, "minimal.db"))
        with peer(reply, "minimal", database, "run") as least, closing(sqlite3.connect(database)) as rows:
            yield MINIMAL, _carried(least, lambda: _ended(rows), seconds)
        yield "headway", _carried(Asked(server.port, server.process.pid), lambda: _completed(server), seconds)


def _carried(asked: Asked, completed: Callable[[], int], seconds: float) -> dict[str, Any]:
    """Submit for this long, then wait until all is completed.

    The clock starts with the first connection, not with the load generator's process: SAQ's client is timed likewise.
    """
    before, before_s = completed(), cpu_s([asked.pid])
    measured = load(asked, REQUEST, seconds=seconds)
    assert set(measured["statuses"]) == {"202"}, measured
    wanted = before + measured["statuses"]["202"]
    jobs = eventually(lambda: (count := completed()) >= wanted and count, "not all were completed") - before
    taken_s, used_s = time.monotonic() - measured["began_s"], cpu_s([asked.pid]) - before_s
    return {"per_second": jobs / taken_s, "cpu_us_each": used_s / jobs * 1e6}


def _ended(rows: sqlite3.Connection) -> int:
    count: int = rows.execute("SELECT count(*) FROM jobs WHERE ended_at IS NOT NULL").fetchone()[0]
    return count


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
    return {"per_second": sent["jobs"] / sent["seconds"], "cpu_us_each": None}


def _saq_process(*arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.benchmarks.throughput.saq_queue", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True)
