"""How many transactions jobs take: commits, not time."""

import asyncio
from pathlib import Path

from headway import Context, Settings, Status, job
from headway.app import opened
from headway.authoring.loading import load_job_types
from headway.clock import utc_now
from headway.domain.ids import JobIds
from headway.domain.jobs import NewJob
from headway.ports.events import Bell

from tests.support.process import WAIT_TIMEOUT_S

JOBS = 40


@job("brief")
async def brief(ctx: Context) -> None: ...


async def test_the_end_of_a_job_and_the_claim_of_the_next_share_a_commit(tmp_path: Path) -> None:
    ids, now = JobIds(), utc_now()
    news = [NewJob(ids.new(now)[0], "local", "brief", "{}", now, now, 1000.0) for _ in range(JOBS)]
    settings = Settings(data_dir=str(tmp_path), max_tasks=1)
    async with opened(settings, load_job_types([brief], ())) as rooms, asyncio.timeout(WAIT_TIMEOUT_S):
        changed = rooms.hub.listen(Bell.CHANGED)
        await asyncio.gather(*map(rooms.store.insert, news))
        before = rooms.metrics.commits.seconds.count
        while (await rooms.store.counts("local")).by_type["brief"][Status.COMPLETED] < JOBS:
            await changed.wait(WAIT_TIMEOUT_S)
        commits = rooms.metrics.commits.seconds.count - before
    assert commits < 1.5 * JOBS  # a commit for each, and those of other loops
