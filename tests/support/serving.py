"""The servers that tests start through the fixture `serving`, and the job types they know."""

from collections.abc import Callable
from pathlib import Path

from tests.support.process import ServerProcess

TEST_JOBS = Path(__file__).with_name("jobs_for_tests.py")

Serving = Callable[..., ServerProcess]
