"""Servers and commands of `run.py` as processes forked from one that has imported everything (see `template.py`)."""

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO

TEMPLATE = Path(__file__).with_name("template.py")


class ForkedProcess:
    """Behaves as `subprocess.Popen`, as far as tests use it. The template is the parent, so it waits and reports."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], stdout: int | None, stderr: int) -> None:
        """Without `stdout`, there is a pipe to read, as with `subprocess.PIPE`."""
        self.args = list(argv)
        self.returncode: int | None = None
        self.stdout: IO[bytes] | None = None
        self._waiting = threading.Lock()
        report, reporting = os.pipe()
        self._report = os.fdopen(report, "rb", buffering=0)
        pipes = [reporting]
        if stdout is None:
            readable, stdout = os.pipe()
            pipes.append(stdout)
            self.stdout = os.fdopen(readable, "rb")
        inherited = {"cwd": str(Path.cwd()), "cores": list(os.sched_getaffinity(0))}
        request = json.dumps({"argv": self.args, "env": dict(env), **inherited}).encode()
        try:
            socket.send_fds(_template(), [request], [stdout, stderr, reporting])
        finally:
            for pipe in pipes:
                os.close(pipe)
        self.pid = self._reported()

    def _reported(self) -> int:
        """The next number that the template reports. Raises `RuntimeError` if the template is gone."""
        line = self._report.readline()
        if not line:
            raise RuntimeError("the template process has ended")
        return int(line)

    def poll(self) -> int | None:
        """The exit code, or `None` while the process runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, minus the signal's number after a signal. Raises `subprocess.TimeoutExpired`."""
        with self._waiting:
            if self.returncode is None:
                if not select.select([self._report], [], [], timeout)[0]:
                    raise subprocess.TimeoutExpired(self.args, timeout or 0)
                self.returncode = self._reported()
                self._report.close()
            return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it has ended since, as in `Popen.send_signal`
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run(
    argv: Sequence[str], env: Mapping[str, str] | None = None, timeout_s: float | None = None
) -> subprocess.CompletedProcess[str]:
    """What `subprocess.run` with captured output does, for a command of `run.py`. `argv[0]` is its path."""
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        process = ForkedProcess(argv, os.environ if env is None else env, stdout.fileno(), stderr.fileno())
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        said = [os.pread(file.fileno(), 10_000_000, 0).decode() for file in (stdout, stderr)]
    return subprocess.CompletedProcess(list(argv), code, *said)


@cache
def _template() -> socket.socket:
    """The socket of this process's template, which is started by the first that needs it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        template = subprocess.Popen(
            [sys.executable, str(TEMPLATE), str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
        )

    def end() -> None:
        ours.close()
        template.wait()

    atexit.register(end)
    return ours
