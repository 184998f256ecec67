"""What workers do, without HTTP: a file that they have been told is stored is among the output."""

import asyncio
import threading
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from headway import remote_job
from headway.authoring import declaring
from headway.domain.jobs import Job
from headway.running.calling import Returned
from headway.running.remote.workers import Workers
from headway.service.work.working import Working
from typing_extensions import override

from tests.support.attempts import FakeFiles, FakeStore, an_attempt, registry_of
from tests.support.process import WAIT_TIMEOUT_S


class SlowFiles(FakeFiles):
    """Moves files when the test says so."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.moving, self.may_move = threading.Event(), threading.Event()

    @override
    def add_output(self, job: Job, arrived: Path, name: str) -> None:
        self.moving.set()
        assert self.may_move.wait(WAIT_TIMEOUT_S)
        super().add_output(job, arrived, name)


async def test_an_attempt_ends_after_the_files_that_are_being_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another file that came too late used to delete those that had been acknowledged."""
    monkeypatch.setattr(declaring, "_declared", {})

    @remote_job("a-job", lease_s=600)
    def done_elsewhere() -> Any: ...

    registry, files, attempt = registry_of(done_elsewhere), SlowFiles(tmp_path), an_attempt()
    workers = Workers(FakeStore(), registry)
    working = Working(workers, registry, Mock(), Mock(), files)
    asking = asyncio.create_task(workers.claim("a-job", None, 50.0))
    await asyncio.sleep(0)
    workers.give(attempt)
    lease = await asking
    assert lease is not None
    adding = asyncio.create_task(working.add_output(lease, tmp_path / "file", "report.txt"))
    await asyncio.to_thread(files.moving.wait, WAIT_TIMEOUT_S)
    ending, completing = asyncio.create_task(lease.until_ended()), asyncio.create_task(lease.complete(1, None))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not ending.done()
    files.may_move.set()
    await adding
    assert files.calls == ["add report.txt"]
    assert isinstance(await ending, Returned)
    workers.ended(attempt)
    await asyncio.wait({completing})
