"""The server that is killed, with all its processes."""

import contextlib
import json
import os
import random
import re
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.support.process import ServerProcess, eventually

STOP_WITHIN_S = 0.4
START_WITHIN_S = 0.8
READ_BYTES = 50_000_000
TRACEBACK_LINES = 30
MARK = "KILLS_SERVER"
HANDLERS_OWN = "the handler raised"


class Victim(ServerProcess):
    """Its processes are found by a variable in the environment that they share: their parents may have ended, and those
    of jobs have a standard error of their own.
    """

    def __init__(self, data_dir: Path, *arguments: str, env: dict[str, str]) -> None:
        mark = {MARK: str(uuid4())}
        # From scratch: /proc shows the environment that a process has begun with.
        super().__init__(data_dir, *arguments, env={**env, **mark, "HEADWAY_LOG_FORMAT": "json"}, from_scratch=True)
        self._mark = f"{MARK}={mark[MARK]}".encode()
        self._read_bytes = 0

    def processes(self) -> dict[int, str]:
        """The ids of all its processes and of earlier servers on this directory, with their names."""
        found: dict[int, str] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                with contextlib.suppress(OSError):
                    if self._mark in (entry / "environ").read_bytes().split(b"\0"):
                        found[int(entry.name)] = (entry / "comm").read_text().strip()
        return found

    def wait_until_gone(self, pids: Sequence[int]) -> None:
        eventually(lambda: not self._left(pids), lambda: f"processes are left: {self._left(pids)}")

    def _left(self, pids: Sequence[int]) -> dict[int, str]:
        return {pid: name for pid, name in self.processes().items() if pid in pids}

    def kill_one(self, name: re.Pattern[str], chance: random.Random) -> bool:
        """Kill one of its processes with such a name. Returns whether there was one."""
        pids = sorted(pid for pid, comm in self.processes().items() if name.fullmatch(comm))
        pids = [pid for pid in pids if pid != self.process.pid]
        if not pids:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(chance.choice(pids), signal.SIGKILL)
            return True
        return False

    def kill_while_it_stops(self, chance: random.Random) -> None:
        self.process.send_signal(signal.SIGTERM)
        time.sleep(chance.uniform(0, STOP_WITHIN_S))  # the random moment is the test
        self.kill()

    def kill_while_it_starts(self, chance: random.Random) -> None:
        self.close_stdout()
        self.launch()
        time.sleep(chance.uniform(0, START_WITHIN_S))
        self.kill()

    def faults(self) -> list[str]:
        """The tracebacks in its log since the last call, handlers' own aside."""
        text = os.pread(self._stderr.fileno(), READ_BYTES, self._read_bytes)
        end = text.rfind(b"\n") + 1
        self._read_bytes += end
        found = []
        lines = text[:end].decode("utf-8", "replace").splitlines()
        for number, line in enumerate(lines):
            entry = _entry(line)
            if entry is None:
                if line.startswith("Traceback"):
                    found.append("\n".join(lines[number : number + TRACEBACK_LINES]))
            elif "exception" in entry and entry.get("event") != HANDLERS_OWN:
                found.append(line)
        return found


def _entry(line: str) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None
