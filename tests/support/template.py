"""A process that has imported everything a server needs and is forked for each server that a test starts.

Three quarters of what starting a server costs are imports. The forked process is a real one: it runs `run.py` as its
main program, with its own arguments, environment, output files and process group, takes real signals and ends as any
interpreter does. `forking.py` is the other side.

The argument is the descriptor of a socket. Each packet on it is one request: JSON with `argv`, `env`, `cwd` and
`cores`, and the descriptors for standard output, standard error and a pipe on which the process id and, at the end, the
exit code are reported. When the socket is closed the template exits; the servers it forked do not.
"""

import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MODULES = (
    "headway.cli.main",
    "headway.app.headway",
    "headway.app.offline",
    "headway.web.request_ids",
    "headway.samples.tables",
    "uvloop",
)
"""Not the samples themselves: importing those declares job types, which is up to each server."""
MAX_REQUEST_BYTES = 200_000
FIRST_DESCRIPTOR = 3


def import_everything() -> None:
    for name in MODULES:
        module = importlib.import_module(name)
        if name.endswith(".tables"):
            for found in pkgutil.iter_modules(module.__path__, f"{name}."):
                importlib.import_module(found.name)


def serve(control: socket.socket) -> dict[str, Any] | None:
    """Fork a process for each request until the socket is closed. Returns the request in a forked process."""
    wake_up, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests, which then end their servers
    reports: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([control.fileno(), wake_up], [], [])
        if wake_up in ready:
            os.read(wake_up, 4096)
            report_ends(reports)
        if control.fileno() in ready:
            packet, descriptors, _, _ = socket.recv_fds(control, MAX_REQUEST_BYTES, 3)
            if not packet:
                return None
            pid = os.fork()
            if pid == 0:
                request: dict[str, Any] = json.loads(packet)
                become(request, *descriptors[:2])
                return request
            *outputs, report = descriptors
            for descriptor in outputs:
                os.close(descriptor)
            os.write(report, b"%d\n" % pid)
            reports[pid] = report


def report_ends(reports: dict[int, int]) -> None:
    """Report the exit code of every process that has ended."""
    for pid in list(reports):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            report = reports.pop(pid)
            with suppress(BrokenPipeError):  # nobody waits for it
                os.write(report, b"%d\n" % os.waitstatus_to_exitcode(status))
            os.close(report)


def become(request: dict[str, Any], stdout: int, stderr: int) -> None:
    """Turn a forked process into one that might have been started from scratch."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.setpgid(0, 0)
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    os.closerange(FIRST_DESCRIPTOR, max(int(file.name) for file in Path("/proc/self/fd").iterdir()) + 1)
    os.sched_setaffinity(0, request["cores"])
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    tempfile.tempdir = None
    sys.argv = request["argv"]


if __name__ == "__main__":
    sys.path[:1] = [str(ROOT / "server"), str(ROOT)]
    import_everything()
    del sys.path[0]  # `run.py` puts it there
    assert threading.active_count() == 1, "a fork has only the thread that forks"
    gc.collect()
    gc.freeze()  # else the first collection of each server copies the memory that they share
    with socket.socket(fileno=int(sys.argv[1])) as listening:
        forked = serve(listening)
        if forked is not None:
            listening.detach()  # closed in `become`
    if forked is not None:
        runpy.run_path(sys.argv[0], run_name="__main__")
