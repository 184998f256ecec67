"""A job type for servers that are killed whose processes are spawned, since its module has a thread from its import on.

It is loaded beside `killed_jobs`, by name.
"""

import threading

from headway import BlockingContext, job

from tests.job_types.killed_jobs import Work, run

_forever = threading.Event()
threading.Thread(target=_forever.wait, name="from-its-import-on", daemon=True).start()


@job("spawned", max_attempts=2)
def spawned(ctx: BlockingContext, work: Work) -> dict[str, str]:
    return run(ctx, work)
