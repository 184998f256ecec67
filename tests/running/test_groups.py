"""The end of a process group. To be held up by the kernel means here: it is not killed, and ends when it is told to."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from headway.running.processes import groups
from headway.running.processes.groups import end_group

from tests.support.process import alive, eventually

LEADER = "import os\nif os.fork() == 0:\n    os.read(0, 1)\n    os._exit(0)"
"""Ends at once, and leaves a process in its group that ends with its stdin."""


class Group:
    """A process group whose leader has ended; `end` ends the other process."""

    def __init__(self) -> None:
        reader, writer = os.pipe()
        self._writer: int | None = writer
        with subprocess.Popen([sys.executable, "-ISc", LEADER], stdin=reader, start_new_session=True) as leader:
            self.id = leader.pid
        os.close(reader)

    def end(self) -> None:
        if self._writer is not None:
            os.close(self._writer)
            self._writer = None


@pytest.fixture
def group() -> Iterator[Group]:
    group = Group()
    yield group
    group.end()


@pytest.fixture
def _held_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "killpg", lambda *_: None)


def waits_for_processes() -> int:
    """How many processes this one waits for."""
    return sum(
        "pidfd" in str(entry.readlink()) for entry in list(Path("/proc/self/fd").iterdir()) if entry.is_symlink()
    )


async def test_nothing_of_a_group_is_left_when_it_has_ended(group: Group) -> None:
    assert await end_group(group.id) == ()
    assert not any(map(alive, groups._members(group.id)))
    assert await end_group(group.id) == ()


@pytest.mark.usefixtures("_held_up")
async def test_a_process_that_was_killed_is_waited_for(group: Group) -> None:
    before = waits_for_processes()
    ending = asyncio.create_task(end_group(group.id))
    await asyncio.to_thread(eventually, lambda: waits_for_processes() > before)
    assert not ending.done()
    group.end()
    assert await ending == ()
    assert waits_for_processes() == before


@pytest.mark.usefixtures("_held_up")
async def test_a_process_that_the_kernel_holds_up_is_not_waited_for_for_ever(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "DIE_WITHIN_S", 0.01)
    (left,) = await end_group(group.id)
    assert os.getpgid(left) == group.id
