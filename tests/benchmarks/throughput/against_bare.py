"""Headway against a bare aiohttp handler that sends the same bytes and headers, in turn, each on the server's core."""

import json
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.support.process import ROOT

from ..report import Play, Table, median_of, median_ratio
from ..streams.sides import headway
from .asking import CONNECTIONS, MINIMAL, SECONDS, Asked, Request, has_wrk, load, peer, wrk

FIGURES = ("per_second", "p50_ms", "p99_ms", "cpu_us_each")

Found = dict[str, list[dict[str, Any]]]

SUBMIT_SIDES = ("headway", MINIMAL, "bare")

SUBMITTERS = {CONNECTIONS: 0.45, 128: 0.5}
"""Connections, and the least ratio of submissions to bare POSTs with as many. Connections that wait for a commit send
nothing: twice as many keep both cores busy while the disk works.
"""


def run_submit(play: Play, seconds: float = SECONDS) -> Table:
    """Durable submissions while nothing is claimed, on a real disk: Headway and a minimal durable server."""
    table = Table(f"Durable submissions a second, claiming paused, {play.rounds} rounds")
    body = json.dumps({"seconds": 0}).encode()
    request = Request("POST", "/jobs/one-slot", {"Content-Type": "application/json"}, body)
    found: Found = {f"{side}, {number} connections": [] for number in SUBMITTERS for side in SUBMIT_SIDES}
    with tempfile.TemporaryDirectory(dir=ROOT) as folder, headway(folder, HEADWAY_MAX_QUEUED="10000000") as server:
        blocker = server.submit("one-slot", {"seconds": 3600})
        server.wait_for(blocker, "running")
        reply = server.request("POST", request.path, body, request.headers)
        ours = Asked(server.port, server.process.pid)
        database = str(Path(folder, "minimal.db"))
        with peer(reply, "bare") as theirs, peer(reply, "minimal", database) as least:
            asked = {"bare": theirs, MINIMAL: least, "headway": ours}
            for _ in range(play.rounds):
                for number in SUBMITTERS:
                    for side, server_asked in asked.items():
                        run = load(server_asked, request, connections=number, seconds=seconds)
                        found[f"{side}, {number} connections"].append(run)
            with closing(sqlite3.connect(database)) as connection:
                (rows,) = connection.execute("SELECT count(*) FROM jobs").fetchone()
        accepted = 1 + _answers(found, "headway")
        queued = server.request("GET", "/jobs/stats").json["byStatus"]["queued"]
    assert all(set(one["statuses"]) == {"202"} for rounds in found.values() for one in rounds), found
    assert rows >= _answers(found, MINIMAL), "a row of the minimal server is missing"
    assert queued >= accepted, "an accepted job is missing"  # those in flight at the end were not counted
    for number, at_least in SUBMITTERS.items():
        pair = {side: found[f"{side}, {number} connections"] for side in SUBMIT_SIDES}
        _report(table, pair, f", {number} connections")
        floor = {figure: median_ratio(pair[MINIMAL], pair["bare"], figure) for figure in FIGURES}
        table.add(server=f"{MINIMAL}/bare, {number} connections", **floor)
        ratio = median_ratio(pair["headway"], pair["bare"], "per_second")
        name = f"submit, {number} connections: durable submissions a second, headway/bare POST"
        table.expect(name, ratio, at_least=at_least)
    return table


def _answers(found: Found, side: str) -> int:
    """How many submissions this side has accepted."""
    runs = [one for name, rounds in found.items() if name.startswith(f"{side},") for one in rounds]
    return sum(one["statuses"].get("202", 0) for one in runs)


def run_poll(play: Play) -> Table:
    """Polls of one finished job, whole and as 304."""
    ask = wrk if has_wrk() else load
    table = Table(f"Polls a second, {CONNECTIONS} connections, {play.rounds} rounds, asked by {ask.__name__}")
    if not has_wrk():
        table.notes.append("wrk is not installed (apt-get install wrk); the generator in Python is used instead")
    found: Found = {"headway": [], "bare": [], "headway, 304": []}
    with headway(":memory:") as server:
        job_id = server.submit("one-slot", {"seconds": 0})
        server.wait_for(job_id)
        whole = Request("GET", f"/jobs/{job_id}")
        reply = server.request("GET", whole.path)
        unchanged = Request("GET", whole.path, {"If-None-Match": reply.headers["ETag"]})
        ours = Asked(server.port, server.process.pid)
        with peer(reply, "bare") as theirs:
            for _ in range(play.rounds):
                found["bare"].append(ask(theirs, whole))
                found["headway"].append(ask(ours, whole))
                found["headway, 304"].append(ask(ours, unchanged))
        for request, status in ((whole, 200), (unchanged, 304)):
            assert server.request("GET", request.path, headers=request.headers).status == status
    _report(table, found)
    for name, other, at_least in (("headway", "bare", 0.85), ("headway, 304", "headway", 1.0)):
        ratio = median_ratio(found[name], found[other], "per_second")
        table.expect(f"poll: answers a second, {name}/{other}", ratio, at_least=at_least)
    return table


def _report(table: Table, found: Found, with_what: str = "") -> None:
    for name, rounds in found.items():
        table.add(server=f"{name}{with_what}", **{figure: median_of(rounds, figure) for figure in FIGURES})
    ratios = {figure: median_ratio(found["headway"], found["bare"], figure) for figure in FIGURES}
    table.add(server=f"headway/bare{with_what}", **ratios)
