"""Waiting for the server and for children at once, in the processes that have no event loop: keeper and nursery."""

import os
import select
import signal
import socket
from typing import Self


class Wakeful:
    """Waits until the control socket has something to read, or a child has ended. A context manager."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._woken, self._waking = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        signal.set_wakeup_fd(self._waking, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        return self

    def __exit__(self, *_: object) -> None:
        """Also for a process that was forked meanwhile: it has nobody to wait for."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.close(self._woken)
        os.close(self._waking)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Whether the control socket can be read; otherwise a child may have ended, or the time is over."""
        control = self._control.fileno()
        ready, _, _ = select.select([control, self._woken], [], [], None if timeout_s is None else max(0.0, timeout_s))
        if self._woken in ready:
            os.read(self._woken, 4096)
        return control in ready
