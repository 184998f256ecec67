"""`run.py` with a fault injected, for what a test cannot do to a process from outside.

HEADWAY_TEST_PAGES_FILE   names a file that holds the most pages the database may have; none while it is absent
HEADWAY_TEST_CLOCK_FILE   names a file that holds the seconds by which the wall clock is wrong
"""

import datetime as dt
import os
import runpy
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class _Limited:
    """The writer's connection; it checks before each transaction how big the database may get."""

    def __init__(self, connection: sqlite3.Connection, pages: Path) -> None:
        self._connection = connection
        self._pages = pages

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        if sql.startswith("BEGIN"):
            most = int(self._pages.read_text()) if self._pages.exists() else 2**32 - 2
            self._connection.execute(f"PRAGMA max_page_count = {most}")
        return self._connection.execute(sql, *parameters)


def _limit_pages(pages: Path) -> None:
    from headway.backends.sqlite import database  # noqa: PLC0415 - only the server that is to fail

    room = vars(database)
    open_writer = room["open_writer"]
    room["open_writer"] = lambda path: _Limited(open_writer(path), pages)


def _bend_the_clock(offset: Path) -> None:
    """Shift the wall clock by what the file says, but not the monotonic one. Called before anything is imported."""
    real, real_ns, real_datetime = time.time, time.time_ns, dt.datetime

    def off_s() -> float:
        return float(offset.read_text()) if offset.exists() else 0.0

    class Bent(real_datetime):  # type: ignore[valid-type,misc]
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> dt.datetime:
            return real_datetime.now(tz) + dt.timedelta(seconds=off_s())

    time.time = lambda: real() + off_s()
    time.time_ns = lambda: real_ns() + int(off_s() * 1e9)
    dt.datetime = Bent  # type: ignore[misc]


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "server"))
    if "HEADWAY_TEST_CLOCK_FILE" in os.environ:
        _bend_the_clock(Path(os.environ["HEADWAY_TEST_CLOCK_FILE"]))
    if "HEADWAY_TEST_PAGES_FILE" in os.environ:
        _limit_pages(Path(os.environ["HEADWAY_TEST_PAGES_FILE"]))
    sys.argv[0] = str(ROOT / "run.py")
    runpy.run_path(sys.argv[0], run_name="__main__")
