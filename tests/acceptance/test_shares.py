"""Owners share slots: what one has queued does not keep another waiting."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

from headway.backends.bells import LocalHub
from headway.backends.sqlite.record import SqliteRecord
from headway.domain.ids import JobIds
from headway.domain.jobs import NewJob

from tests.conformance.backends import BODY_OF
from tests.support.keys import bearer, make_key
from tests.support.process import ROOT, eventually
from tests.support.serving import Serving

GATED_JOBS = str(ROOT / "tests" / "job_types" / "gated_jobs.py")
QUEUED = 5_000
SLOTS = 2


async def fill(data_dir: Path, owner: str, gate: Path) -> None:
    """Queue jobs as a server would: by HTTP it takes ten times as long."""
    record = await SqliteRecord.open(data_dir / "headway.db", LocalHub(), max_queued=QUEUED, body_of=BODY_OF)
    ids, now, input_json = JobIds(), datetime.now(UTC), json.dumps({"gate": str(gate)})
    jobs = [NewJob(ids.new(now)[0], owner, "gated-async", input_json, now, now, 999.0) for _ in range(QUEUED)]
    await asyncio.gather(*map(record.store.insert, jobs))
    await record.close()


def test_an_owners_first_job_gets_the_first_slot_that_is_free_however_many_another_has_queued(
    serving: Serving, tmp_path: Path
) -> None:
    data_dir, ann_gate, bob_gate = tmp_path / "data", tmp_path / "ann", tmp_path / "bob"
    ann, bob = ({**bearer(make_key(data_dir, name))} for name in ("ann", "bob"))
    asyncio.run(fill(data_dir, "ann", ann_gate))
    server = serving(data_dir, "--max-tasks", str(SLOTS), "--jobs", GATED_JOBS)

    def counts(who: dict[str, str]) -> dict[str, int]:
        by_status: dict[str, int] = server.request("GET", "/jobs/stats", headers=who).json["byStatus"]
        return {status: jobs for status, jobs in by_status.items() if jobs}

    eventually(lambda: counts(ann) == {"queued": QUEUED - SLOTS, "running": SLOTS})
    submitted = [server.request("POST", "/jobs/gated-async", {"gate": str(bob_gate)}, bob) for _ in range(2)]
    assert [reply.json["queuePosition"] for reply in submitted] == [1, 2], "ann's jobs are not counted"
    running = server.request("GET", "/jobs?status=running", headers=ann).json["jobs"]
    stopped, stopped_later = [job["statusUrl"] for job in running]
    assert server.request("DELETE", stopped, headers=ann).status in (202, 204)
    eventually(lambda: counts(bob) == {"queued": 1, "running": 1})
    assert counts(ann) == {"queued": QUEUED - SLOTS, "running": 1, "cancelled": 1}, "none of ann's jobs began before"
    bob_gate.touch()
    eventually(lambda: counts(ann)["running"] == SLOTS)  # it is ann's turn
    assert counts(bob) == {"queued": 1, "completed": 1}
    assert server.request("DELETE", stopped_later, headers=ann).status in (202, 204)
    eventually(lambda: counts(bob) == {"completed": 2})
