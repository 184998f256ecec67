"""The nursery: a single-threaded process that has everything loaded and forks a child for each attempt.

It runs no handler and no thread. It reaps its children, kills what they leave behind, and reports how each ended; a
process that is not their parent could only learn that they did. When its server is gone, it kills them all and ends.

Packets from the server: `fork`, `term PID`, `kill PID`. To the server: `forked PID` with the descriptor of the child's
channel, `refused REASON` if there is no room for another process or its descriptors, `ended PID CODE PEAK_MEMORY_BYTES
CPU_S`, followed by the ids of the processes that it has left and that could not be killed.
"""

import gc
import os
import signal
import socket
import sys
from collections.abc import Collection
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NoReturn

from ...cgroups.cgroup import cgroup_of
from ..child import main as child
from ..child.dependencies import NOTHING, Made
from ..kin import adopt_orphans, be_called, die_with_parent, kill, sweep
from .ends import Ends
from .outputs import Outputs, write_into
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
        self._outputs = Outputs()

    def serve(self) -> None:
        """Until the server is gone. Raises `OSError` then."""
        with Wakeful(self._control) as wakeful:
            while True:
                timeouts_s = [each for each in (self._ends.timeout_s(), self._outputs.timeout_s()) if each is not None]
                readable = wakeful.wait(min(timeouts_s, default=None), self._outputs.descriptors())
                self._outputs.read(wakeful.ready)
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
                with suppress(PermissionError):  # it is another user's now
                    os.kill(int(pid), signal.SIGTERM)
            case ["kill", pid] if int(pid) in self._children:
                with suppress(ProcessLookupError, PermissionError):  # it has left its group
                    os.killpg(int(pid), signal.SIGKILL)
                kill(int(pid))  # a child that was not reaped: the number is still its own
                if self._cgroups is not None:
                    cgroup_of(int(pid), self._cgroups).kill()

    def _fork(self, wakeful: Wakeful) -> None:
        parent = os.getpid()
        with ExitStack() as opened, ExitStack() as read_here:
            try:
                servers_end, childs_end = map(opened.enter_context, socket.socketpair())
                output, childs_output = os.pipe()
                opened.callback(os.close, childs_output)
                read_here.callback(os.close, output)
                pid = os.fork()
            except OSError as error:
                self._control.send(f"refused {error.strerror}".encode())
                return
            if pid == 0:
                servers_end.close()
                os.close(output)
                self._be_a_child(parent, childs_end, childs_output, wakeful)
            self._children.add(pid)
            read_here.pop_all()
            self._outputs.add(pid, output)
            with suppress(OSError):  # the child does it too: whichever is first
                os.setpgid(pid, pid)
            socket.send_fds(self._control, [f"forked {pid}".encode()], [servers_end.fileno()])

    def _be_a_child(self, parent: int, channel: socket.socket, output: int, wakeful: Wakeful) -> NoReturn:
        """Turn the forked process into one that waits for its attempt and runs it."""
        try:
            wakeful.__exit__()
            self._control.close()
            self._outputs.close()
            write_into(output)
            die_with_parent(parent)
            be_called("headway-job")
            if self._cgroups is not None:
                with suppress(OSError):  # then it is contained like where there are no cgroups
                    cgroup_of(os.getpid(), self._cgroups).enter()
            adopt_orphans()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)  # until there is a handler that it can interrupt
            gc.enable()
            _reseed()
            child.main(channel.detach(), loaded=True, made=self._made)
        finally:
            os._exit(1)

    def _report_ends(self) -> None:
        """Report the children that have ended, once nothing that they started is left."""
        for ended in self._ends.collect(self._children, self._own):
            pid, code, usage = ended.how
            self._outputs.end(pid)
            left = sorted(ended.left)[:MAX_NAMED]
            words = ("ended", pid, code, usage.peak_memory_bytes, usage.cpu_s, *left)
            self._control.send(" ".join(map(str, words)).encode())


def _reseed() -> None:
    """NumPy's global generator: all children would draw the same numbers. Python reseeds its own after a fork."""
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()
