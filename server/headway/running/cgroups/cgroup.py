"""One cgroup of version 2. For the server, for nurseries and for children: it starts quickly. Source: cgroups(7)."""

import os
import select
import time
from contextlib import suppress
from pathlib import Path

from ..limits import DIE_WITHIN_S


class Cgroup:
    """A cgroup, by its directory. Where that is gone, nothing is in it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def enter(self) -> None:
        """Make it, and move this process into it, which must be the only thread. Raises `OSError`."""
        with suppress(FileExistsError):  # an earlier process with this id has left it, empty
            self.path.mkdir()
        self._write("cgroup.procs", b"0")

    def kill(self) -> None:
        """Kill all processes in it, and those that they are just forking."""
        with suppress(OSError):
            self._write("cgroup.kill", b"1")

    def end(self) -> tuple[int, ...]:
        """Kill everything in it and below, wait until it is gone, and remove it. Blocks until then.

        Returns the processes that are still there after `DIE_WITHIN_S`, because the kernel holds them up.
        """
        self.kill()
        with suppress(OSError):
            self._wait_until_empty()
        left: list[int] = []
        for directory, _, _ in os.walk(self.path, topdown=False):
            left += Cgroup(Path(directory)).processes()
            Cgroup(Path(directory)).remove()
        return tuple(left)

    def processes(self) -> list[int]:
        """The processes in it, not those in cgroups below."""
        with suppress(OSError):
            return [int(line) for line in (self.path / "cgroup.procs").read_bytes().split()]
        return []

    @property
    def populated(self) -> bool:
        """Whether any process is in it. Zombies do not count."""
        try:
            return b"populated 1" in (self.path / "cgroup.events").read_bytes()
        except OSError:
            return False

    @property
    def cpu_s(self) -> float:
        """The CPU time that has been used in it and below. No controller is needed for that."""
        with suppress(OSError):
            for line in (self.path / "cpu.stat").read_bytes().splitlines():
                if line.startswith(b"usage_usec "):
                    return int(line.split()[1]) / 1e6
        return 0.0

    def remove(self) -> None:
        """Remove it if no process is in it."""
        with suppress(OSError):
            self.path.rmdir()

    def _wait_until_empty(self) -> None:
        """The kernel says when `cgroup.events` changes, once it has been read."""
        by_s = time.monotonic() + DIE_WITHIN_S
        events = os.open(self.path / "cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
        try:
            changes = select.poll()
            changes.register(events, select.POLLPRI)
            while b"populated 1" in os.pread(events, 4096, 0) and (left_s := by_s - time.monotonic()) > 0:
                changes.poll(left_s * 1000)
        finally:
            os.close(events)

    def _write(self, name: str, value: bytes) -> None:
        descriptor = os.open(self.path / name, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, value)
        finally:
            os.close(descriptor)


def cgroup_of(child: int, parent: Path) -> Cgroup:
    """The cgroup of a child process, below its server's."""
    return Cgroup(parent / str(child))
