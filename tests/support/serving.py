"""What the fixture `serving` gives to tests, the job types of its servers, and jobs on them."""

from collections.abc import Callable
from typing import Any

from tests.support.process import ROOT, ServerProcess

TEST_JOBS = ROOT / "tests" / "job_types" / "jobs_for_tests.py"
ODD_JOBS = TEST_JOBS.with_name("odd_text_jobs.py")

Serving = Callable[..., ServerProcess]

LATER = "?runAt=2099-01-01T00:00:00Z"
"""The query that keeps a submitted job in the queue."""

UNKNOWN = "01900000-0000-7000-8000-000000000000"
"""A well-formed id that no job has."""


def ended(server: ServerProcess, job_type: str, input: Any = None, query: str = "") -> str:
    """Submit a job and wait until it has ended. Returns its id."""
    job_id = server.submit(job_type, input, query)
    server.wait_for(job_id)
    return job_id
