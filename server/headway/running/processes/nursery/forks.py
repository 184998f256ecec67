"""The nursery: a single-threaded process that has everything loaded and forks a child for each attempt.

It runs no handler and no thread. It reaps its children, kills what they leave behind, and reports how each ended; a
process that is not their parent could only learn that they did. When its server is gone, it kills them all and ends.

Packets from the server: `fork`, `term PID`, `kill PID`. To the server: `forked PID` with the descriptor of the child's
channel, `refused REASON` if the system has no room for another process, `ended PID CODE PEAK_MEMORY_BYTES CPU_S`,
followed by the ids of the processes that it has left and that the kernel holds up.
"""

import gc
import os
import signal
import socket
import sys
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from ...cgroups.cgroup import cgroup_of
from ..child import main as child
from ..child.dependencies import NOTHING, Made
from ..kin import adopt_orphans, be_called, die_with_parent, sweep
from .ends import Ends
from .waking import Wakeful

MAX_PACKET_BYTES = 4096
MAX_NAMED = 20
"""How many processes a packet names."""


def run(control: socket.socket, cgroups: Path | None) -> NoReturn:
    """The nursery's whole life, in a process that the keeper has forked for it."""
    be_called("headway-nursery")
    adopt_orphans()
    nursery = Nursery(control, cgroups)
    try:
        nursery.serve()
    except OSError:  # the server is gone
        sweep()
    os._exit(0)


class Nursery:
    """Forks children on request, and reports their ends."""

    def __init__(
        self, control: socket.socket, cgroups: Path | None, made: Made = NOTHING, own: Collection[int] = ()
    ) -> None:
        """`cgroups`: where each child gets a cgroup, if it is to have one.

        `made`: the dependencies that children share. `own`: the processes of those, which are to live on.
        """
        self._control = control
        self._made = made
        self._own = frozenset(own)
        self._children: set[int] = set()
        self._cgroups = cgroups
        self._ends = Ends(cgroups)

    def serve(self) -> None:
        """Until the server is gone. Raises `OSError` then."""
        with Wakeful(self._control) as wakeful:
            while True:
                readable = wakeful.wait(self._ends.timeout_s())
                self._report_ends()
                if readable:
                    packet = self._control.recv(MAX_PACKET_BYTES)
                    if not packet:
                        raise BrokenPipeError
                    self._obey(packet.decode(), wakeful)

    def _obey(self, packet: str, wakeful: Wakeful) -> None:
        match packet.split():
            case ["fork"]:
                self._fork(wakeful)
            case ["term", pid] if int(pid) in self._children:
                os.kill(int(pid), signal.SIGTERM)
            case ["kill", pid] if int(pid) in self._children:
                os.killpg(int(pid), signal.SIGKILL)
                if self._cgroups is not None:
                    cgroup_of(int(pid), self._cgroups).kill()

    def _fork(self, wakeful: Wakeful) -> None:
        servers_end, childs_end = socket.socketpair()
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            self._control.send(f"refused {error.strerror}".encode())
            return
        else:
            if pid == 0:
                _be_a_child(parent, childs_end, self._cgroups, self._made, wakeful, self._control, servers_end)
            self._children.add(pid)
            with suppress(OSError):  # the child does it too: whichever is first
                os.setpgid(pid, pid)
            socket.send_fds(self._control, [f"forked {pid}".encode()], [servers_end.fileno()])
        finally:
            servers_end.close()
            childs_end.close()

    def _report_ends(self) -> None:
        """Report the children that have ended, once nothing that they started is left."""
        for ended in self._ends.collect(self._children, self._own):
            pid, code, usage = ended.how
            left = sorted(ended.left)[:MAX_NAMED]
            words = ("ended", pid, code, usage.peak_memory_bytes, usage.cpu_s, *left)
            self._control.send(" ".join(map(str, words)).encode())


def _be_a_child(
    parent: int,
    channel: socket.socket,
    cgroups: Path | None,
    made: Made,
    wakeful: Wakeful,
    *others: socket.socket,
) -> NoReturn:
    """Turn the forked process into one that waits for its attempt and runs it."""
    try:
        wakeful.__exit__()
        for other in others:
            other.close()
        die_with_parent(parent)
        be_called("headway-job")
        if cgroups is not None:
            with suppress(OSError):  # then it is contained like where there are no cgroups
                cgroup_of(os.getpid(), cgroups).enter()
        adopt_orphans()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # until there is a handler that it can interrupt
        gc.enable()
        _reseed()
        child.main(channel.detach(), loaded=True, made=made)
    finally:
        os._exit(1)


def _reseed() -> None:
    """NumPy's global generator: all children would draw the same numbers. Python reseeds its own after a fork."""
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()
