"""The nursery of one job type: it makes what the type's children share, and is then a nursery like the general one.

It runs the author's factories, and what they leave running must survive a fork, or the server is told to do without.
When its server is done with it, it cleans up what they made.

Packets to the server, besides those of a nursery: `ready PID`; `unfit` and a JSON array of a factory and the reason why
this process must not be forked; `message` with a file that has a `Raised`, a `Stopped` or a `CleanUpFailed` in it.
"""

import gc
import json
import os
import signal
import socket
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from ....authoring.declaring import declared
from ....authoring.dependencies import Factory
from ....limits import REASON_CHARS
from ....text import clean_text
from ...calling import end_of
from ..channel import HEAD, encode
from ..child.dependencies import Dependencies
from ..kin import adopt_orphans, be_called, children, die_with_parent, live_on, sweep
from ..messages import Message
from . import forks
from .fitness import descriptors, settle, unfit_reason


def run(control: socket.socket, job_type: str, keeper: int, cgroups: Path | None) -> NoReturn:
    """The nursery's whole life, in a process that the keeper, whose process id is `keeper`, has forked for it."""
    die_with_parent(keeper)  # while it loads: it could not notice that everybody is gone
    be_called(f"headway:{job_type}")
    os.setpgid(0, 0)
    adopt_orphans()
    _stand_signals()
    dependencies = Dependencies()
    own: set[int] = set()
    with suppress(OSError):  # the server is done with it, or gone
        if _load(job_type, dependencies, control):
            own = children()
            live_on()
            control.send(f"ready {os.getpid()}".encode())
            forks.Nursery(control, cgroups, dependencies.made, own).serve()
        else:
            own = children()
    sweep(but=own)
    for failed in dependencies.clean_up():
        with suppress(OSError):
            _send(failed, control)
    sweep()
    os._exit(0)


def _stand_signals() -> None:
    """Not to be ended by those that are sent to every process, like the keeper.

    They are not ignored, since a program that a factory starts would inherit that.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)


def _load(job_type: str, dependencies: Dependencies, control: socket.socket) -> bool:
    """Call the factories. Whether children can be forked; if not, the server knows why. Raises `OSError`."""
    gc.enable()
    declaration = None
    try:
        declaration = declared(job_type)
        unfit = _make(declaration.before_fork, dependencies)
    except BaseException as error:  # noqa: BLE001 - an author's factory may raise anything, SystemExit too
        _send(end_of(error, declaration), control)
        return False
    if unfit is not None:
        control.send(f"unfit {json.dumps(unfit, ensure_ascii=False)}".encode())
        return False
    settle()
    return True


def _make(factories: Iterable[Factory], dependencies: Dependencies) -> tuple[str, str] | None:
    """Call the factories. The first after which this process could not be forked, and the reason."""
    before = descriptors()
    for factory in factories:
        dependencies.get({"": factory})
        reason = _unfit_reason(before)
        if reason is not None:
            return clean_text(factory.name, REASON_CHARS), clean_text(reason, REASON_CHARS)
    return None


def _unfit_reason(before: frozenset[int]) -> str | None:
    reason = unfit_reason(before, "when it is called")
    if reason is not None:
        gc.collect()  # what it has opened may only wait to be collected
        reason = unfit_reason(before, "when it is called")
    return reason


def _send(message: Message, control: socket.socket) -> None:
    with os.fdopen(os.memfd_create("headway-message"), "wb", buffering=0) as file:
        file.write(encode(message)[HEAD.size :])
        socket.send_fds(control, [b"message"], [file.fileno()])
