"""Waiting for the server and for children at once, in the processes that have no event loop: keeper and nursery."""

import os
import select
import signal
import socket
from collections.abc import Collection
from typing import Self


class Wakeful:
    """Waits until the control socket has something to read, or a child has ended. A context manager."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self.ready: set[int] = set()
        """Which of the other descriptors could be read at the end of the last wait."""
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

    def wait(self, timeout_s: float | None = None, others: Collection[int] = ()) -> bool:
        """Whether the control socket can be read.

        Otherwise a child may have ended, one of the `others` is `ready`, or the time is over.
        """
        control, poll = self._control.fileno(), select.poll()  # `select` knows descriptors below 1,024 only
        for descriptor in (control, self._woken, *others):
            poll.register(descriptor, select.POLLIN)
        found = poll.poll(None if timeout_s is None else max(0.0, 1000 * timeout_s))
        self.ready = {descriptor for descriptor, _ in found}
        if self._woken in self.ready:
            os.read(self._woken, 4096)
        return control in self.ready
