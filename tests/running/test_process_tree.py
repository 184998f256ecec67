"""What a tree of processes uses: what it shares with processes outside is not counted, what it shares inside is."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from headway import Context
from headway.files.measuring import tree_bytes
from headway.running import performing
from headway.running.bounds.process_tree import ProcessTree
from headway.running.bounds.watching import Watch

from tests.support.executing import ExecutorBench

BUFFER_MIB = 96
SLACK_MIB = 32
"""What a Python process copies of its own accord is far below this."""

PARENT = f"""
import os, sys
MIB = 1024 * 1024
before = b"b" * ({BUFFER_MIB} * MIB)
if os.fork():
    os.wait()
    os._exit(0)
print(os.getpid(), flush=True)
made, gate = [], os.pipe()
while line := os.read(0, 1):
    if line == b"a":
        made.append(b"m" * ({BUFFER_MIB} * MIB))
    elif line == b"c":
        made.append(bytearray(before))
    elif os.fork() == 0:
        os.close(gate[1])
        os.read(gate[0], 1)
        os._exit(0)
    print("done", flush=True)
os._exit(0)
"""


class Forked:
    """A process that was forked after its parent had filled a buffer, and obeys."""

    def __init__(self, parent: subprocess.Popen[str]) -> None:
        self._parent = parent
        self.tree = ProcessTree(int(self._line()))

    def allocate(self) -> None:
        self._say("a")
        assert self._line() == "done"

    def copy(self) -> None:
        """Copy what it has from its parent."""
        self._say("c")
        assert self._line() == "done"

    def fork(self) -> None:
        """Fork a process that only waits."""
        self._say("f")
        assert self._line() == "done"

    def mib(self) -> float:
        """The memory that counts."""
        return self.tree.mib_over(-SLACK_MIB, self.tree.read()) or 0.0

    def _say(self, word: str) -> None:
        assert self._parent.stdin is not None
        self._parent.stdin.write(word)
        self._parent.stdin.flush()

    def _line(self) -> str:
        assert self._parent.stdout is not None
        return self._parent.stdout.readline().strip()


@pytest.fixture
def forked() -> Iterator[Forked]:
    with _parent() as parent:
        yield Forked(parent)


@contextmanager
def _parent() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", PARENT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        yield parent
        assert parent.stdin is not None
        parent.stdin.close()  # all of them end


def test_memory_that_was_there_before_the_fork_is_not_counted(forked: Forked) -> None:
    assert forked.mib() < SLACK_MIB
    for _ in range(8):  # the more of them share it, the more of it is shared among them
        forked.fork()
    assert forked.tree.processes(forked.tree.read()) == 9
    assert forked.mib() < SLACK_MIB
    assert forked.tree.mib_over(SLACK_MIB, forked.tree.read()) is None


def test_a_copy_of_what_was_there_before_the_fork_is_counted(forked: Forked) -> None:
    forked.copy()
    assert BUFFER_MIB <= forked.mib() < BUFFER_MIB + SLACK_MIB


def test_memory_that_a_process_shares_with_those_it_forked_is_not_lost(forked: Forked) -> None:
    forked.allocate()
    assert BUFFER_MIB <= forked.mib() < BUFFER_MIB + SLACK_MIB
    forked.fork()
    forked.fork()
    assert BUFFER_MIB / 2 <= forked.mib() < BUFFER_MIB + SLACK_MIB  # not all: it could be a part of what was inherited


def test_what_was_used_before_is_not_counted(forked: Forked) -> None:
    forked.allocate()
    forked.fork()
    later = ProcessTree(forked.tree._pid)
    family = later.read()
    assert (later.processes(family), later.mib_over(1, family)) == (1, None)
    assert later.cpu_s(family) < forked.tree.cpu_s(family)


def test_nothing_is_read_of_a_process_that_has_ended() -> None:
    with _parent() as parent:
        gone = Forked(parent).tree
    assert gone.read() == {}
    assert gone.cpu_s({}) == 0
    assert ProcessTree(parent.pid).read() == {}


def test_files_count_once_and_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(bytes(1_000))
    below = tmp_path / "inside" / "deeper"
    below.mkdir(parents=True)
    (below / "file").write_bytes(bytes(10))
    os.link(below / "file", below / "twin")
    (tmp_path / "inside" / "other").write_bytes(bytes(5))
    (tmp_path / "inside" / "link").symlink_to(tmp_path)
    size = (tmp_path / "inside" / "link").lstat().st_size
    assert tree_bytes(str(tmp_path / "inside")) == 15 + size
    assert tree_bytes(str(tmp_path / "missing")) == 0


def test_a_link_in_the_place_of_a_directory_is_not_followed_to_count_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_bytes(bytes(100))
    (tmp_path / "output").symlink_to("outside")
    assert tree_bytes(str(tmp_path / "output")) == 0


@pytest.fixture
def watches(monkeypatch: pytest.MonkeyPatch) -> list[Watch]:
    """Those that were made."""
    made = []

    def noted(*arguments: Any) -> Watch:
        made.append(Watch(*arguments))
        return made[-1]

    monkeypatch.setattr(performing, "Watch", noted)
    return made


async def returns(ctx: Context) -> None: ...


@pytest.mark.parametrize(("limits", "watched"), [({}, 0), ({"max_output_mib": 1}, 1)])
async def test_a_task_is_watched_if_it_has_a_limit(
    tmp_path: Path, watches: list[Watch], limits: dict[str, Any], watched: int
) -> None:
    bench = ExecutorBench(tmp_path)
    bench.handles(returns, **limits)
    await bench.run()
    assert len(watches) == watched


@pytest.mark.parametrize(("limits", "watched"), [({}, 0), ({"max_pids": 1}, 1)])
async def test_a_process_is_watched_if_it_has_a_limit(
    tmp_path: Path, watches: list[Watch], limits: dict[str, Any], watched: int
) -> None:
    bench = ExecutorBench(tmp_path)
    bench.loses_processes(**limits)
    await bench.run()
    assert len(watches) == watched
