"""A large result and SIGKILL: it is there as a whole or not at all, and nothing of it is left over."""

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.support.process import ServerProcess, eventually
from tests.support.serving import ODD_JOBS, Serving, ended

MB = 1_000_000
LARGE = {"what": "result", "megabytes": 16}
TRIES = 10
"""A kill may come too late, if the machine has other things to do."""


def test_a_server_that_is_killed_while_it_stores_a_large_result_has_a_whole_one_in_the_end(
    serving: Serving, tmp_path: Path
) -> None:
    server = serving(tmp_path, "--jobs", str(ODD_JOBS), "--max-processes", "2")
    first = ended(server, "much-process", LARGE)
    whole = server.request("GET", f"/jobs/{first}/result").body
    assert len(whole) > 16 * MB
    parts = _parts(tmp_path)

    jobs = [first]
    for _ in range(TRIES):
        jobs.append(server.submit("much-process", LARGE))
        left = _killed_while_storing(server, tmp_path)
        server.restart()
        if left % parts:
            break
    assert left % parts, "each kill came too late"
    assert server.wait_for(jobs[-1])["attempt"] == 2
    for job_id in jobs:
        assert server.request("GET", f"/jobs/{job_id}/result").body == whole
    eventually(lambda: _parts(tmp_path) == len(jobs) * parts)

    assert server.request("DELETE", f"/jobs/{first}/result").status == 204
    assert server.request("GET", f"/jobs/{first}/result").status == 410
    for job_id in jobs[1:]:
        assert server.request("DELETE", f"/jobs/{job_id}?purge=true").status == 204
    eventually(lambda: _parts(tmp_path) == 0)


def _killed_while_storing(server: ServerProcess, folder: Path) -> int:
    """Kill it once more parts are on disk than now. Returns how many are."""
    before = _parts(folder)
    while _parts(folder) == before:
        pass
    server.kill()
    return _parts(folder)


def _parts(folder: Path) -> int:
    with closing(sqlite3.connect(f"file:{folder / 'headway.db'}?mode=ro", uri=True)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM result_parts").fetchone()
    return int(count)
