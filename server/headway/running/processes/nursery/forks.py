"""The nursery: a single-threaded process that has everything loaded and forks a child for each attempt.

It runs no handler and no thread. It reaps its children, kills what they leave behind, and reports how each ended; a
process that is not their parent could only learn that they did. When its server is gone, it kills them all and ends.

Packets from the server: `fork`, `term PID`, `kill PID`. To the server: `forked PID` with the descriptor of the child's
channel, `refused REASON` if the system has no room for another process, `ended PID CODE PEAK_MEMORY_BYTES CPU_S`.
"""

import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Collection
from contextlib import suppress
from typing import NoReturn

from ..child import main as child
from ..child.dependencies import NOTHING, Made
from ..kin import Reaped, adopt_orphans, be_called, die_with_parent, kill_children, reaped, sweep
from .waking import Wakeful

MAX_PACKET_BYTES = 4096
LEFTOVERS_S = 2.0
"""How long the end of an attempt waits for killed leftovers: the kernel may hold one up, in a dead NFS mount say."""


def run(control: socket.socket) -> NoReturn:
    """The nursery's whole life, in a process that the keeper has forked for it."""
    be_called("headway-nursery")
    adopt_orphans()
    nursery = Nursery(control)
    try:
        nursery.serve()
    except OSError:  # the server is gone
        sweep()
    os._exit(0)


class Nursery:
    """Forks children on request, and reports their ends."""

    def __init__(self, control: socket.socket, made: Made = NOTHING, own: Collection[int] = ()) -> None:
        """`made`: the dependencies that children share. `own`: the processes of those, which are to live on."""
        self._control = control
        self._made = made
        self._own = own
        self._children: set[int] = set()
        self._ended: list[Reaped] = []
        self._report_by_s = 0.0

    def serve(self) -> None:
        """Until the server is gone. Raises `OSError` then."""
        with Wakeful(self._control) as wakeful:
            while True:
                readable = wakeful.wait(LEFTOVERS_S if self._ended else None)
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
                _be_a_child(parent, childs_end, self._made, wakeful, self._control, servers_end)
            self._children.add(pid)
            with suppress(OSError):  # the child does it too: whichever is first
                os.setpgid(pid, pid)
            socket.send_fds(self._control, [f"forked {pid}".encode()], [servers_end.fileno()])
        finally:
            servers_end.close()
            childs_end.close()

    def _report_ends(self) -> None:
        """Report the children that have ended, once nothing that they started is left.

        What an ended child leaves behind falls to the nursery. A running child is the parent of its own orphans.
        """
        for child_ended in reaped():
            if child_ended.pid in self._children:
                self._children.discard(child_ended.pid)
                self._ended.append(child_ended)
                self._report_by_s = time.monotonic() + LEFTOVERS_S
        if not self._ended:
            return
        left = kill_children(but=self._children.union(self._own))
        if left and time.monotonic() < self._report_by_s:
            return
        ended, self._ended = self._ended, []
        for pid, code, usage in ended:
            self._control.send(f"ended {pid} {code} {usage.peak_memory_bytes} {usage.cpu_s}".encode())


def _be_a_child(parent: int, channel: socket.socket, made: Made, wakeful: Wakeful, *others: socket.socket) -> NoReturn:
    """Turn the forked process into one that waits for its attempt and runs it."""
    try:
        wakeful.__exit__()
        for other in others:
            other.close()
        die_with_parent(parent)
        be_called("headway-job")
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
