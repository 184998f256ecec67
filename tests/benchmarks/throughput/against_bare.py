"""Headway against a bare aiohttp handler that sends the same bytes and headers, in turn, each on the server's core."""

import json
import tempfile
from typing import Any

from tests.support.process import ROOT

from ..report import Play, Table, median_of, median_ratio
from ..streams.sides import headway
from .asking import CONNECTIONS, Asked, Request, bare, has_wrk, load, wrk

FIGURES = ("per_second", "p50_ms", "p99_ms", "cpu_us_each")

Found = dict[str, list[dict[str, Any]]]

SUBMITTERS = 128
"""Connections that wait for a commit send nothing: twice as many keep both cores busy while the disk works."""


def run_submit(play: Play) -> Table:
    """Durable submissions while nothing is claimed, on a real disk."""
    table = Table(f"Durable submissions a second, {SUBMITTERS} connections, claiming paused, {play.rounds} rounds")
    body = json.dumps({"seconds": 0}).encode()
    request = Request("POST", "/jobs/one-slot", {"Content-Type": "application/json"}, body)
    found: Found = {"headway": [], "bare aiohttp": []}
    with tempfile.TemporaryDirectory(dir=ROOT) as folder, headway(folder, HEADWAY_MAX_QUEUED="10000000") as server:
        blocker = server.submit("one-slot", {"seconds": 3600})
        server.wait_for(blocker, "running")
        reply = server.request("POST", request.path, body, request.headers)
        ours = Asked(server.port, server.process.pid)
        with bare(reply) as theirs:
            for _ in range(play.rounds):
                found["bare aiohttp"].append(load(theirs, request, connections=SUBMITTERS))
                found["headway"].append(load(ours, request, connections=SUBMITTERS))
        accepted = 1 + sum(one["statuses"].get("202", 0) for one in found["headway"])
        queued = server.request("GET", "/jobs/stats").json["byStatus"]["queued"]
    assert all(set(one["statuses"]) == {"202"} for rounds in found.values() for one in rounds), found
    assert queued >= accepted, "an accepted job is missing"  # those in flight at the end were not counted
    _report(table, found)
    ratio = median_ratio(found["headway"], found["bare aiohttp"], "per_second")
    table.expect("submit: durable submissions a second, headway/bare POST", ratio, at_least=0.45)
    return table


def run_poll(play: Play) -> Table:
    """Polls of one finished job, whole and as 304."""
    ask = wrk if has_wrk() else load
    table = Table(f"Polls a second, {CONNECTIONS} connections, {play.rounds} rounds, asked by {ask.__name__}")
    if not has_wrk():
        table.notes.append("wrk is not installed (apt-get install wrk); the generator in Python is used instead")
    found: Found = {"headway": [], "bare aiohttp": [], "headway, 304": []}
    with headway(":memory:") as server:
        job_id = server.submit("one-slot", {"seconds": 0})
        server.wait_for(job_id)
        whole = Request("GET", f"/jobs/{job_id}")
        reply = server.request("GET", whole.path)
        unchanged = Request("GET", whole.path, {"If-None-Match": reply.headers["ETag"]})
        ours = Asked(server.port, server.process.pid)
        with bare(reply) as theirs:
            for _ in range(play.rounds):
                found["bare aiohttp"].append(ask(theirs, whole))
                found["headway"].append(ask(ours, whole))
                found["headway, 304"].append(ask(ours, unchanged))
        for request, status in ((whole, 200), (unchanged, 304)):
            assert server.request("GET", request.path, headers=request.headers).status == status
    _report(table, found)
    for name, other, at_least in (("headway", "bare aiohttp", 0.85), ("headway, 304", "headway", 1.0)):
        ratio = median_ratio(found[name], found[other], "per_second")
        table.expect(f"poll: answers a second, {name}/{other}", ratio, at_least=at_least)
    return table


def _report(table: Table, found: Found) -> None:
    for name, rounds in found.items():
        table.add(server=name, **{figure: median_of(rounds, figure) for figure in FIGURES})
    ratios = {figure: median_ratio(found["headway"], found["bare aiohttp"], figure) for figure in FIGURES}
    table.add(server="headway/bare", **ratios)
