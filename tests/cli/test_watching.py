"""Watching: in a pipe, in a terminal, over a killed server, and until Ctrl-C."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.cli.commands import Shell
from tests.cli.conftest import JOBS
from tests.docs.terminal import free_port
from tests.support.process import RUN, WAIT_TIMEOUT_S, ServerProcess

INTERRUPTED = 130
CLEARING = re.compile(rb"\x1b\[[0-3]?J|\x1b\[[12]K")
"""Erases what will be drawn again (ECMA-48, 8.3.39 and 8.3.41)."""
ESCAPES = re.compile(rb"\x1b\[[?\d;]*[A-Za-z]")
COLORS = re.compile(rb"\x1b\[[\d;]*m")


class TerminalRun:
    """A command in a pseudo terminal of a certain width."""

    def __init__(self, process: "subprocess.Popen[bytes]", screen: int) -> None:
        self.process, self._screen = process, screen
        self.written = b""

    def read_until(self, pattern: bytes) -> None:
        """Read what it writes until this is among it."""
        while not re.search(pattern, self.written):
            assert self._read(), self.written

    def read_to_end(self) -> int:
        """Read the rest. Returns the exit status."""
        while self._read():
            pass
        return self.process.wait(WAIT_TIMEOUT_S)

    def _read(self) -> bool:
        chunk = b""
        with suppress(OSError):  # EIO: the other side is closed
            chunk = os.read(self._screen, 65536)
        self.written += chunk
        return bool(chunk)


@contextmanager
def terminal(shell: Shell, *arguments: str, columns: int = 80, rows: int = 24, **more: str) -> Iterator[TerminalRun]:
    screen, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    own = {name: text for name, text in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, str(RUN), *arguments],
        stdin=inside,
        stdout=inside,
        stderr=inside,
        env={**own, "TERM": "xterm-256color", **shell.environment, **more},
        start_new_session=True,
    )
    os.close(inside)
    try:
        yield TerminalRun(process, screen)
    finally:
        process.kill()
        process.wait()
        os.close(screen)


def test_in_a_pipe_there_is_a_line_at_each_tenth_and_for_each_line_of_the_log(shell: Shell) -> None:
    done = shell("submit", "steps", "--watch")
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("steps | ")] == [f"steps | line {step}" for step in range(20)]
    tenths = [int(found[1]) // 10 for line in lines if (found := re.match(r"steps: (\d+)% ", line))]
    assert tenths == sorted(set(tenths)), "none comes twice"
    assert re.fullmatch(r"steps: completed after [\d.]+ s", lines[-1])
    assert "\x1b" not in done.stdout


def test_json_is_a_document_a_line_and_the_last_is_the_end(shell: Shell, jobs_server: ServerProcess) -> None:
    job_id = jobs_server.submit("steps", {"steps": 3})
    documents = [json.loads(line) for line in shell.printed("watch", "--json", job_id).splitlines()]
    assert [each["message"] for each in documents if "level" in each] == ["line 0", "line 1", "line 2"]
    assert (documents[-1]["status"], {each["jobId"] for each in documents}) == ("completed", {job_id})


def test_a_server_that_is_killed_and_comes_back_is_survived(tmp_path: Path) -> None:
    gate, port = tmp_path / "gate", free_port()
    shell = Shell(f"http://127.0.0.1:{port}", tmp_path)
    with ServerProcess(tmp_path / "data", "--jobs", str(JOBS), "--port", str(port)) as server:
        job_id = server.submit("two-lines", {"gate": str(gate)})
        with shell.started("watch", job_id) as watching:
            assert watching.stdout is not None
            seen = ""
            while "first" not in seen:
                seen = watching.stdout.readline()
                assert seen, "it ended before the job has logged anything"
            server.kill()
            server.restart()
            gate.touch()
            rest = watching.stdout.read()
            assert watching.wait(WAIT_TIMEOUT_S) == 0, rest
    assert rest.count("second") == 1
    assert "completed" in rest.splitlines()[-1]


@pytest.mark.parametrize("columns", [40, 100])
def test_a_terminal_has_bars_and_no_line_is_wider_than_it_is(
    columns: int, shell: Shell, jobs_server: ServerProcess
) -> None:
    ids = [jobs_server.submit("steps", {"steps": 12}) for _ in range(3)]
    with terminal(shell, "watch", *ids, columns=columns) as run:
        assert run.read_to_end() == 0
    for line in ESCAPES.sub(b"", run.written).decode().replace("\r", "\n").splitlines():
        assert len(line) < columns, line
    assert run.written.decode().count("100%") >= 3
    assert run.written.endswith(b"\x1b[?25h"), "the cursor is back"


def test_a_frame_is_written_over_the_last_one_and_nothing_is_cleared_before(
    shell: Shell, jobs_server: ServerProcess, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    ids = [jobs_server.submit("steps", {"gate": str(gate)}) for _ in range(5)]
    with terminal(shell, "watch", *ids) as run:
        run.read_until(rb"(?s)(\x1b\[5A.*){3}")  # frames of five lines
        gate.touch()
        assert run.read_to_end() == 0
    assert not CLEARING.search(run.written)


def test_without_colors_there_are_none(shell: Shell, jobs_server: ServerProcess) -> None:
    job_id = jobs_server.submit("steps", {"steps": 3})
    with terminal(shell, "watch", job_id, NO_COLOR="1") as plain, terminal(shell, "watch", job_id) as colored:
        assert (plain.read_to_end(), colored.read_to_end()) == (0, 0)
    assert COLORS.search(colored.written)
    assert not re.search(rb"\x1b\[[\d;]*3\dm", plain.written)
    with terminal(shell, "watch", job_id, TERM="dumb") as dumb:
        assert dumb.read_to_end() == 0
    assert b"\x1b" not in dumb.written


def test_more_jobs_than_lines_are_shown_as_far_as_there_is_room(shell: Shell, jobs_server: ServerProcess) -> None:
    ids = [jobs_server.submit("echo") for _ in range(6)]
    with terminal(shell, "watch", *ids, rows=5) as run:
        assert run.read_to_end() == 0
    assert b"and 3 more" in run.written
    assert not re.search(rb"\x1b\[([5-9]|\d\d)A", run.written), "it never goes above the screen"


def test_ctrl_c_once_stops_watching_and_says_how_to_cancel(
    shell: Shell, jobs_server: ServerProcess, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    job_id = jobs_server.submit("steps", {"steps": 3, "gate": str(gate)})
    with terminal(shell, "watch", job_id) as run:
        run.read_until(rb"line 2")
        run.process.send_signal(signal.SIGINT)
        assert run.read_to_end() == INTERRUPTED
    assert f"Stopped watching. The job goes on. To cancel: headway cancel {job_id}".encode() in run.written
    assert b"\x1b[?25h" in run.written
    assert b"Traceback" not in run.written
    gate.touch()
    assert jobs_server.wait_for(job_id)["status"] == "completed"


def test_a_failed_jobs_whole_reason_stands_below_the_bars(shell: Shell) -> None:
    with terminal(shell, "submit", "fails", "--watch", columns=40) as run:
        assert run.read_to_end() == 1
    assert b"No luck: There is none today." in run.written
