"""A terminal that types what a page says: in a directory of its own, with `headway` and `python` on its path."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Self

from tests.docs.pages import Block
from tests.docs.shape import Names
from tests.support.process import ROOT, WAIT_TIMEOUT_S

ADDRESS = re.compile(r"\b(?:localhost|127\.0\.0\.1):8080\b")
_STARTS_A_SERVER = re.compile(r"^Listening on ", re.MULTILINE)

_TOOLS = {
    "headway": f'exec "{sys.executable}" "{ROOT}/run.py" "$@"\n',
    "python": f'if [ "$1" = run.py ]; then shift; exec headway "$@"; fi\nexec "{sys.executable}" "$@"\n',
    "python3": f'exec "{sys.executable}" "$@"\n',
}


class Terminal:
    """A context manager: at its end every server that it started is gone.

    Servers listen on free ports, and what a page calls port 8080 is the last one that was started.
    """

    def __init__(self, directory: Path) -> None:
        self._home = directory / "home"
        self._home.mkdir()
        tools = self._home / ".venv" / "bin"
        tools.mkdir(parents=True)
        for name, script in _TOOLS.items():
            (tools / name).write_text(f"#!/bin/sh\n{script}")
            (tools / name).chmod(0o755)
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HEADWAY_")},
            "PATH": f"{tools}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT / "server"),
            "CURL_HOME": str(directory),
        }
        (directory / ".curlrc").write_text("silent\nshow-error\n")  # in a terminal curl shows no meter either
        self._state = directory / "state.sh"
        self._state.touch()
        self._servers = ExitStack()
        self._current: subprocess.Popen[bytes] | None = None
        self.address: str | None = None
        self.names = Names()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._servers.close()

    def write(self, block: Block) -> None:
        """Save a block under the name that its first line gives."""
        assert block.file is not None
        path = self._home / block.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self._resolved(block.text))

    def run_python(self, block: Block) -> None:
        """Run a block as a program of its own, beside a server if it speaks to one."""
        self.write(block) if block.file else (self._home / "example.py").write_text(self._resolved(block.text))
        done = self._bash(f"python {block.file or 'example.py'}")
        assert done.returncode == 0, f"{block}\n{done.stderr}"

    def run_javascript(self, block: Block) -> None:
        """Run a block as a program for Node.js, as a module."""
        (self._home / "example.mjs").write_text(self._resolved(block.text))
        done = self._bash("node example.mjs")
        assert done.returncode == 0, f"{block}\n{done.stderr}"

    def type(self, block: Block, leave_out: Callable[[str], bool] = lambda _: False) -> None:
        """Type the lines after `$`; what they print has the shape of what stands below each."""
        for command, expected in commands_of(block.text):
            try:
                if leave_out(command):
                    continue
                if _STARTS_A_SERVER.search(expected):
                    self._serve(command)
                else:
                    self._run(command, expected, int(block.notes.get("exit", "0")))
            except AssertionError as error:
                raise AssertionError(f"{block}: $ {command}\n{error}") from None

    def _run(self, command: str, expected: str, code: int) -> None:
        done = self._bash(self._resolved(command))
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        if expected:
            printed = self._as_on_the_page(done.stdout)
            try:
                self.names.compare(expected, printed)
            except AssertionError:  # what is for people comes on stderr, a log too
                self.names.compare(expected, printed + self._as_on_the_page(done.stderr))

    def _bash(self, command: str) -> subprocess.CompletedProcess[str]:
        # What one line exports, the next one has.
        script = f'. "{self._state}"\n{command}\ncode=$?\nexport -p > "{self._state}"\nexit $code'
        process = subprocess.Popen(
            ["bash", "-c", script],
            cwd=self._home,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        with process:
            try:
                output, errors = process.communicate(timeout=WAIT_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise AssertionError(f"it does not end: {command}") from None
        return subprocess.CompletedProcess(command, process.returncode, output, errors)

    def _serve(self, command: str) -> None:
        """Start a server in the place of the one before: pages stop theirs with Ctrl-C without saying so."""
        self.stop()
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        errors: IO[bytes] = self._servers.enter_context((self._home / "server.log").open("w+b"))
        process = subprocess.Popen(
            ["bash", "-c", f'. "{self._state}"\nexec env {self._resolved(command)}'],
            cwd=self._home,
            env={**self._environment, "HEADWAY_PORT": str(port)},
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        self._servers.callback(_end, process)
        self._current = process
        assert process.stdout is not None
        self._servers.enter_context(process.stdout)
        line = process.stdout.readline().decode()
        assert f":{port}" in line, f"it printed {line!r}\n{(self._home / 'server.log').read_text()}"

    def stop(self) -> None:
        """Stop the server that runs, as Ctrl-C does."""
        if self._current is not None:
            _end(self._current)
            self._current = None

    def _resolved(self, text: str) -> str:
        if ADDRESS.search(text) and self.address is None:
            self._serve("headway serve --data-dir :memory:")
        return self.names.resolved(ADDRESS.sub(self.address or "", text))

    def _as_on_the_page(self, printed: str) -> str:
        return printed.replace(self.address, "127.0.0.1:8080") if self.address else printed


def commands_of(text: str) -> list[tuple[str, str]]:
    """Each line after `$`, with those that a backslash joins to it, and what is printed until the next."""
    found: list[tuple[str, str]] = []
    joined = False
    for line in text.splitlines(keepends=True):
        if line.startswith("$ "):
            found.append((line[2:], ""))
        elif not found:
            raise ValueError(f"a console block begins with a command after $, not with {line!r}")
        elif joined:
            found[-1] = (found[-1][0] + line, "")
        else:
            found[-1] = (found[-1][0], found[-1][1] + line)
        joined = (line.startswith("$ ") or joined) and line.rstrip("\n").endswith("\\")
    return [(command.strip(), expected) for command, expected in found]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(WAIT_TIMEOUT_S)
        finally:
            process.kill()
            process.wait()
