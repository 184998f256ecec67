"""What a comparison tells servers of different commits."""

from pathlib import Path

import pytest

from tests.benchmarks.comparing.server import slots
from tests.support.process import ROOT


@pytest.mark.parametrize("settings", ["server/settings.py", "server/headway/settings.py"])
def test_a_commit_with_one_limit_for_both_kinds_of_jobs_is_given_that_one(tmp_path: Path, settings: str) -> None:
    path = tmp_path / settings
    path.parent.mkdir(parents=True)
    path.write_text("max_running: int = 4\n")
    assert slots(tmp_path, 64) == {"HEADWAY_MAX_RUNNING": "64"}


def test_this_tree_is_given_the_limit_of_its_async_jobs() -> None:
    assert slots(ROOT, 64) == {"HEADWAY_MAX_TASKS": "64"}
