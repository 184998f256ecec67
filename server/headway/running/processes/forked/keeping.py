"""The keeper as a child of the server: forked from it, or a new interpreter; ended with everything below it."""

import asyncio
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from ..nursery import keeper
from ..nursery.fitness import unfit_reason

STANDARD_STREAMS = frozenset({0, 1, 2})
END_WITHIN_S = 5.0
REAP_EVERY_S = 0.01


class KeeperProcess:
    """A keeper that runs. `control` is the server's end of its control socket."""

    def __init__(self, pid: int, control: socket.socket, wait: Callable[[float], bool], *, loads: bool) -> None:
        self.control = control
        self.loads = loads
        """Whether it imports the modules itself."""
        self.pid = pid
        self._wait = wait

    def end(self) -> None:
        """Let it kill everything below it and end, and reap it. Blocks until then."""
        self.control.close()
        if not self._wait(END_WITHIN_S):
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self._wait(END_WITHIN_S)


def fork_keeper() -> KeeperProcess | None:
    """Fork the keeper from this process, which has imported the job modules. `None` if it must not be forked.

    That is so with a second thread, an event loop that runs, or with files open that two processes must not share.
    """
    if _loop_runs() or unfit_reason(STANDARD_STREAMS) is not None:
        return None
    for stream in (sys.stdout, sys.stderr):  # otherwise both processes would write what is buffered
        stream.flush()
    ours, theirs = _control_sockets()
    pid = os.fork()
    if pid == 0:
        keeper.keep(theirs, ours)
    theirs.close()
    return KeeperProcess(pid, ours, lambda timeout_s: _wait_for(pid, timeout_s), loads=False)


def start_keeper(sources: Sequence[str]) -> KeeperProcess:
    """Start a new interpreter that imports the modules `sources`. Raises `OSError`."""
    ours, theirs = _control_sockets()
    try:
        process = subprocess.Popen(  # noqa: S603 - this interpreter, and modules that the operator named
            [sys.executable, "-c", keeper.BOOT, json.dumps(sys.path), str(theirs.fileno()), json.dumps(list(sources))],
            stdin=subprocess.DEVNULL,
            stdout=2,
            pass_fds=(theirs.fileno(),),
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()

    def wait(timeout_s: float) -> bool:
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    return KeeperProcess(process.pid, ours, wait, loads=True)


def _control_sockets() -> tuple[socket.socket, socket.socket]:
    """A pair that keeps packets apart. The first is the server's, which never waits for it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    return ours, theirs


def _loop_runs() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _wait_for(pid: int, timeout_s: float) -> bool:
    """Reap a child that was forked. Whether that has been possible within `timeout_s` seconds."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    by_s = time.monotonic() + timeout_s
    try:
        select.select([descriptor], [], [], timeout_s)
    finally:
        os.close(descriptor)
    with suppress(ChildProcessError):  # somebody else has reaped it
        while os.waitpid(pid, os.WNOHANG)[0] != pid:
            if time.monotonic() > by_s:
                return False
            time.sleep(REAP_EVERY_S)  # one that has ended belongs to its tracer first, if it has one
    return True
