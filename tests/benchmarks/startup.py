"""The start of a server whose record holds a million jobs that have ended, against one that holds none.

From the start of a new interpreter to the line that says where it listens, and to the first response. The two
alternate, and each is killed, so every start also finds what `kill -9` leaves. At the end the counts that the
server shows must be those of the rows.
"""

import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

from tests.support.ended_jobs import fill
from tests.support.process import ROOT, ServerProcess

from .report import Play, Table

JOBS = 1_000_000
EXPIRED = JOBS // 50
WITH_FILES = JOBS // 10


def run(play: Play, jobs: int = JOBS, expired: int = EXPIRED, with_files: int = WITH_FILES) -> Table:
    table = Table(f"Start-up with {jobs:,} ended jobs against none: seconds, {play.rounds} rounds")
    with tempfile.TemporaryDirectory(dir=ROOT) as folder:
        full, empty = Path(folder) / "full", Path(folder) / "empty"
        fill(full, jobs, expired=expired, with_files=with_files)
        fill(empty, 0)
        rounds = [(_started(full), _started(empty)) for _ in range(play.rounds)]
        with ServerProcess(full, from_scratch=True) as server:
            shown = server.request("GET", "/jobs/stats").json["byStatus"]
            server.kill()
        _check_counts(full, shown, expired)
    for number, until in enumerate(("listening", "first response")):
        ours = [starts[0][number] for starts in rounds]
        theirs = [starts[1][number] for starts in rounds]
        more_s = median(one - other for one, other in zip(ours, theirs, strict=True))
        table.add(until=until, full_s=median(ours), empty_s=median(theirs), full_more_s=more_s)
    table.expect("startup: first response, seconds more with all jobs", more_s, at_most=0.2)
    return table


def _started(folder: Path) -> tuple[float, float]:
    """The seconds until it listens, and until it has responded."""
    began_s = time.perf_counter()
    with ServerProcess(folder, from_scratch=True) as server:
        listening_s = time.perf_counter() - began_s
        assert server.request("GET", "/jobs?limit=50").status == 200
        responded_s = time.perf_counter() - began_s
        server.kill()
    return listening_s, responded_s


def _check_counts(folder: Path, shown: Mapping[str, int], expired: int) -> None:
    """The counts in the record are those of the rows, and those shown are, but for what expired meanwhile."""
    with closing(sqlite3.connect(folder / "headway.db")) as connection:
        counted = connection.execute("SELECT status, sum(jobs) FROM counts GROUP BY 1").fetchall()
        rows: Counter[Any] = Counter(dict(connection.execute("SELECT status, count(*) FROM jobs GROUP BY 1")))
    assert dict(counted) == rows
    assert rows.total() <= sum(shown.values()) <= rows.total() + expired
