"""The keeper: loads the author's modules, forks the nursery, and forks it again should it die.

So what runs is what was loaded when the server started, whatever becomes of the files. It adopts what a dead nursery
leaves behind and kills it. When its server is gone, it kills everything below it and ends. Like the nursery it runs no
handler, thread or event loop.

Packets from the server: `nursery NAME CGROUPS` with the descriptor of the nursery's control socket, where
CGROUPS is the directory in which its children make cgroups, or empty; `kill NAME`. To the server:
`ready`; `loading` and a module; `unfit` and a JSON array of a module and the reason why it cannot be loaded here;
`forked NAME PID`; `ended NAME HOW` when no process of a nursery is left.
"""

import json
import os
import signal
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from ....authoring.loading import load_module
from ..child.rehearsal import OFTEN, rehearse
from ..kin import adopt_orphans, be_called, sweep
from . import GENERAL, forks, loading
from .ends import Ends
from .fitness import descriptors, settle, unfit_reason
from .waking import Wakeful

BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from headway.running.processes.nursery.keeper import boot; boot(int(sys.argv[2]), json.loads(sys.argv[3]))"
)
"""The program of a keeper that is not forked; its arguments are the path, the control socket and the modules."""


def boot(descriptor: int, sources: list[str]) -> NoReturn:
    """The main program of a keeper in a new interpreter: loads the modules, then keeps them."""
    control = socket.socket(fileno=descriptor)
    _leave_the_terminal()
    try:
        unfit = _load(sources, control)
        if unfit is not None:
            control.send(f"unfit {json.dumps(unfit)}".encode())
    except OSError:  # the server is gone
        os._exit(0)
    if unfit is not None:
        os._exit(0)
    _keep(control)


def keep(control: socket.socket, servers_end: socket.socket) -> NoReturn:
    """The life of a keeper that was forked from a server which has loaded the modules and is single-threaded."""
    try:
        servers_end.close()
        _leave_the_terminal()
        _keep(control)
    finally:
        os._exit(1)


def _leave_the_terminal() -> None:
    """Be stopped by the server alone: Ctrl-C reaches a whole group, an init system's SIGTERM every process."""
    be_called("headway-keeper")
    os.setpgid(0, 0)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.dup2(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), 0)
    os.dup2(2, 1)  # what a handler prints belongs in the log, not on the server's stdout


def _load(sources: Iterable[str], control: socket.socket) -> tuple[str, str] | None:
    """Import the modules. The first with which this process could not be forked, and the reason."""
    for source in sources:
        control.send(f"loading {source}".encode())
        before = descriptors()
        try:
            load_module(source)
        except BaseException as error:  # noqa: BLE001 - an author's module may raise anything, SystemExit too
            return source, f"could not be imported again: {type(error).__name__}: {error}"
        reason = unfit_reason(before)
        if reason is not None:
            return source, reason
    return None


def _keep(control: socket.socket) -> NoReturn:
    for _ in range(OFTEN):
        rehearse(listens=False)
    settle()
    adopt_orphans()
    try:
        control.send(b"ready")
        _Nurseries(control).keep()
    except OSError:  # the server is gone
        sweep()
    os._exit(0)


class _Nurseries:
    """Forks nurseries, and reports their ends."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._names: dict[int, str] = {}
        self._living: set[int] = set()
        self._ends = Ends()

    def keep(self) -> NoReturn:
        """Fork one whenever the server asks for it. Raises `OSError` when the server is gone."""
        with Wakeful(self._control) as wakeful:
            while True:
                readable = wakeful.wait(self._ends.timeout_s())
                self._report_ends()
                if readable:
                    packet, passed, _, _ = socket.recv_fds(self._control, forks.MAX_PACKET_BYTES, 1)
                    if not packet:
                        raise BrokenPipeError
                    self._obey(packet.decode(), passed, wakeful)

    def _obey(self, packet: str, passed: list[int], wakeful: Wakeful) -> None:
        match packet.split(" ", 2):
            case ["nursery", name, cgroups]:
                with socket.socket(fileno=passed[0]) as nurserys_end:
                    self._fork(name, Path(cgroups) if cgroups else None, nurserys_end, wakeful)
            case ["kill", name]:
                for pid in self._living:
                    if self._names[pid] == name:
                        os.kill(pid, signal.SIGKILL)

    def _fork(self, name: str, cgroups: Path | None, nurserys_end: socket.socket, wakeful: Wakeful) -> None:
        keeper = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            self._control.send(f"ended {name} before it began: {error.strerror}".encode())
            return
        if pid == 0:
            try:
                wakeful.__exit__()
                self._control.close()
                if name == GENERAL:
                    forks.run(nurserys_end, cgroups)
                loading.run(nurserys_end, name, keeper, cgroups)
            finally:
                os._exit(1)
        self._names[pid] = name
        self._living.add(pid)
        self._control.send(f"forked {name} {pid}".encode())

    def _report_ends(self) -> None:
        """Report the nurseries that have ended, once nothing that they left is alive: it falls to the keeper.

        What is below another nursery does not, as long as that one lives.
        """
        for ended in self._ends.collect(self._living):
            _, code, _ = ended.how
            how = f"with exit code {code}" if code >= 0 else f"by signal {-code}"
            named = ", ".join(map(str, sorted(ended.left)[: forks.MAX_NAMED]))
            but = f", and the system holds up processes that have been killed: {named}" if named else ""
            self._control.send(f"ended {self._names.pop(ended.how.pid)} {how}{but}".encode())
