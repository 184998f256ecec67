"""Actions over very many jobs, killed three times each: each job is handled once, and others' polls hardly notice.

As in `neighbours`, the server has a core of its own. The polls of another owner are timed before an action, and while
it runs, before each kill.
"""

import http.client
import json
import random
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.keys import bearer, make_key
from tests.support.process import ROOT, WAIT_TIMEOUT_S, ServerProcess
from tests.support.record import snapshot

from ..processes import LOAD_CORE, SERVER_CORE, on_core
from ..report import Play, Table, percentile
from ..streams.sides import JOBS as JOB_TYPES
from .neighbours import PUBLIC, measure

JOBS = 100_000
AT_ONCE = 1_000
POLLS = 800
KILLS = 3
SEED = 20261129
MOST_RATIO = 2.0
LIMITS = {
    "HEADWAY_MAX_QUEUED": "10000000",
    "HEADWAY_MAX_QUEUED_PER_OWNER": "10000000",
    "HEADWAY_MAX_RECOVERIES": "100",
    "HEADWAY_SUBMISSIONS_PER_MINUTE": "0",
}


class Step(NamedTuple):
    """An action, the jobs that it is for, and what the audit trail and its result call what it does to each."""

    action: str
    status: str
    entry: str
    outcome: str


STEPS = (
    Step("cancel", "queued", "cancel", "cancelled"),
    Step("retry", "cancelled", "retry", "retried"),
    Step("purge", "cancelled", "delete", "purged"),
)


def run(play: Play, jobs: int = JOBS, polls: int = POLLS, kills: int = KILLS) -> Table:
    """One action of each kind after the other, on one record."""
    table = Table(
        f"Polls of another owner, in ms, before and while an action over {jobs:,} jobs runs; {kills} kills each"
    )
    chance = random.Random(SEED)
    with tempfile.TemporaryDirectory(dir=ROOT) as folder:
        acting, other = make_key(Path(folder), "acting"), make_key(Path(folder), "other")
        with on_core(SERVER_CORE), _serving(folder) as server, on_core(LOAD_CORE):
            _fill(server, acting, jobs)
            for step in STEPS:
                measure(server, other, polls=50)
                quiet = measure(server, other, polls).polls
                began_s = time.monotonic()
                job, busy, killed = _act(server, step, (acting, other), polls, kills, chance)
                took_s = time.monotonic() - began_s
                assert job["result"]["outcomes"] == {step.outcome: jobs}, job
                _check(Path(folder), step, jobs)
                p50, p99 = [(percentile(quiet, share), percentile(busy, share)) for share in (0.5, 0.99)]
                table.add(
                    action=step.action, kills=killed, seconds=took_s,
                    quiet_p50=p50[0], busy_p50=p50[1], quiet_p99=p99[0], busy_p99=p99[1],
                )  # fmt: skip
                table.expect(f"actions: {step.action}: kills", killed, at_least=kills)
                table.expect(f"actions: {step.action}: poll, p99, times quiet", p99[1] / p99[0], at_most=MOST_RATIO)
    return table


def _serving(folder: str) -> ServerProcess:
    return ServerProcess(folder, "--jobs", str(JOB_TYPES), env=PUBLIC | LIMITS)


def _fill(server: ServerProcess, key: str, jobs: int) -> None:
    """Jobs that wait for the one slot of their type, which another one has."""
    _ask(server, "POST", "/jobs/one-slot", key, {"seconds": 3600})
    for start in range(0, jobs, AT_ONCE):
        batch = [{"type": "one-slot", "input": {"seconds": 0}}] * min(AT_ONCE, jobs - start)
        assert _ask(server, "POST", "/jobs/batch", key, {"jobs": batch})["refused"] == 0


def _act(
    server: ServerProcess, step: Step, keys: tuple[str, str], polls: int, kills: int, chance: random.Random
) -> tuple[Any, list[float], int]:
    """The finished job of the action, the times of another owner's polls while it ran, and how often it was killed."""
    acting, other = keys
    body = {"action": step.action, "filter": {"type": ["one-slot"], "status": [step.status]}}
    path = f"/jobs/{_ask(server, 'POST', '/jobs/actions', acting, body)['jobId']}"
    busy: list[float] = []
    killed = 0
    while killed < kills:
        busy += measure(server, other, polls).polls
        time.sleep(chance.random() * 0.05)
        if _ask(server, "GET", path, acting)["completedAt"] is not None:
            break
        server.kill()
        server.restart()
        killed += 1
    while (job := _ask(server, "GET", f"{path}?wait=50", acting))["completedAt"] is None:
        pass
    return job, busy, killed


def _check(folder: Path, step: Step, jobs: int) -> None:
    """Each job was changed once, says the audit trail; and was repeated once, if it was."""
    with snapshot(folder) as record:
        found = record.execute("SELECT subject FROM audit WHERE action = ? AND job_type = 'one-slot'", (step.entry,))
        times = Counter(subject for (subject,) in found)
        found = record.execute("SELECT retry_of FROM jobs WHERE retry_of IS NOT NULL")
        repeated = Counter(retry_of for (retry_of,) in found)
    assert (len(times), set(times.values())) == (jobs, {1})
    assert step.action == "cancel" or (len(repeated), set(repeated.values())) == (jobs, {1})


def _ask(server: ServerProcess, method: str, path: str, key: str, body: Any = None) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=WAIT_TIMEOUT_S)
    connection.request(
        method, path, None if body is None else json.dumps(body), {**bearer(key), "Content-Type": "application/json"}
    )
    response = connection.getresponse()
    read = response.read()
    connection.close()
    assert response.status in (200, 202), (response.status, read)
    return json.loads(read)
