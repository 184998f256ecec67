"""What a start takes does not depend on how many jobs have ended: counted in steps, not in time."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from headway import Settings
from headway.app import opened
from headway.authoring.loading import load_job_types

from tests.support.ended_jobs import fill

FEW, MANY = 2_500, 7_500
"""More than the start reads to know how long jobs take."""
WHOLE_TABLE = {"Count", "IntegrityCk", "Vacuum"}
"""Instructions that are one step and go through a whole table."""


class Counted:
    """What SQLite does: the instructions of its virtual machine (sqlite.org/opcode.html), and the statements."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps = 0
        self.statements: set[str] = set()
        self._connect = sqlite3.connect
        monkeypatch.setattr(sqlite3, "connect", self._counted)

    def _counted(self, *arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = self._connect(*arguments, **options)
        connection.set_progress_handler(self._step, 1)
        connection.set_trace_callback(self.statements.add)
        return connection

    def _step(self) -> int:
        self.steps += 1
        return 0

    def instructions(self, database: Path) -> set[str]:
        """The instructions that the statements consist of."""
        with closing(self._connect(database)) as connection:
            programs = [connection.execute(f"EXPLAIN {statement}") for statement in self.statements]
            return {row[1] for program in programs for row in program}


async def steps_of_a_start(folder: Path, counted: Counted) -> int:
    """The steps until the server is ready to listen."""
    counted.steps = 0
    async with opened(Settings(data_dir=str(folder)), load_job_types([], ())):
        return counted.steps


async def test_a_start_takes_as_many_steps_however_many_jobs_have_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few, many = tmp_path / "few", tmp_path / "many"
    fill(few, FEW)
    fill(many, MANY)
    counted = Counted(monkeypatch)
    steps = await steps_of_a_start(few, counted)
    # A loop may have taken a turn already; a scan takes at least a step for each row.
    assert 0 < await steps_of_a_start(many, counted) < steps + (MANY - FEW) // 10
    assert counted.instructions(many / "headway.db") & WHOLE_TABLE == set()
