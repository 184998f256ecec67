"""Fixtures that several suites share."""

from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.support.log_scan import scanned, secrets_in
from tests.support.process import ServerProcess
from tests.support.serving import TEST_JOBS, Serving

# A busy machine is no failure, and a failure must be the same one when it is run again.
settings.register_profile("headway", deadline=None, derandomize=True)
settings.load_profile("headway")

HERE = Path(__file__).parent


@pytest.fixture
def serving() -> Iterator[Serving]:
    """Starts servers that have the test jobs, and stops them at the end of the test."""
    with ExitStack() as stack:

        def serve(data_dir: str | Path = ":memory:", *arguments: str, **options: Any) -> ServerProcess:
            server = ServerProcess(data_dir, "--jobs", str(TEST_JOBS), *arguments, **options)
            return stack.enter_context(server)

        yield serve


@pytest.fixture(scope="module")
def shared_server() -> Iterator[ServerProcess]:
    """One server for all tests of a module that do not stop it."""
    with ServerProcess(":memory:", "--jobs", str(TEST_JOBS)) as server:
        yield server


# The longest first

LONG_FOLDERS = (
    *("docs", "acceptance", "browser", "fuzz", "running", "webhooks", "web", "app"),
    *("client", "samples", "conformance", "cli", "operating"),
)
"""Folders whose tests take longest, because servers, browsers or large inputs are in them; all others come after."""
SLOW_TIMEOUT_S = 900
"""For tests that are marked slow; the others have the time-out of `pyproject.toml`."""


def pytest_configure(config: pytest.Config) -> None:
    """Let workers take files in the order below; xdist's own is by the number of tests, which puts the longest last."""
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first, then folders from slow to quick: no worker is left with a long file at the end."""
    slow = set()
    for item in items:
        if item.get_closest_marker("slow"):
            slow.add(item.path)
            item.add_marker(pytest.mark.timeout(SLOW_TIMEOUT_S))
    rank = {folder: number for number, folder in enumerate(LONG_FOLDERS)}

    def place(item: pytest.Item) -> tuple[bool, int]:
        folder = item.path.relative_to(HERE).parts[0] if item.path.is_relative_to(HERE) else ""
        return item.path not in slow, rank.get(folder, len(rank))

    items.sort(key=place)


# No secret in any log (tests/support/log_scan.py)

_scanned_by_workers: Counter[str] = Counter()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Scan what a test itself wrote by its end; its servers' logs are scanned when they end."""
    report = yield
    if call.when == "teardown":
        scanned["tests' output"] += 1
        found = secrets_in("\n".join(text for _, text in report.sections))
        if found:
            report.outcome = "failed"
            report.longrepr = "a secret was logged:\n" + "\n".join(found[:10])
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Report to the controller how much this worker has scanned."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["scanned"] = dict(scanned)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    _scanned_by_workers.update(getattr(node, "workeroutput", {}).get("scanned", {}))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    numbers = _scanned_by_workers or scanned
    scanned_texts = ", ".join(f"{count} {what}" for what, count in numbers.items())
    terminalreporter.write_line(f"scanned for keys, tickets, cookies and secrets: {scanned_texts}")
