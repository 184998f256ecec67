"""The pytest plugin, in a stranger's project: pytest finds it by its entry point."""

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

JOBS = """
from headway import BlockingContext, Context, job

@job("shout")
def shout(ctx: BlockingContext) -> str:
    print("from a process")
    return "HEY"

@job("chat")
async def chat(ctx: Context) -> str:
    print("from the loop")
    return "hey"
"""
CONFTEST = """
import pytest

@pytest.fixture(scope="session")
def headway_jobs():
    return ["my_jobs"]
"""
TESTS = """
from datetime import UTC, datetime

import my_jobs
from headway.testing import run

def ended(headway, job_type):
    job = headway.client.submit(job_type)
    return job.result(), [line.message for line in job.logs()]

def test_a_handler(capsys):
    assert run(my_jobs.shout).messages == ["from a process"]
    assert capsys.readouterr().out == "from a process\\n"

def test_a_def_job(headway):
    assert ended(headway, "shout") == ("HEY", ["from a process"])

def test_an_async_job_prints_into_its_log(headway):
    assert ended(headway, "chat") == ("hey", ["from the loop"])

async def test_in_the_loop_of_the_test(headway):
    async with headway.async_client() as client:
        job = await client.submit(my_jobs.chat)
        assert await job.result() == "hey"

def test_with_the_clock(headway, headway_clock):
    job = headway.client.submit("chat", run_at=datetime(2099, 1, 1, tzinfo=UTC))
    headway_clock.advance(75 * 366 * 86_400)
    assert job.wait().status == "completed"
"""
WITHOUT = [part for name in ("hypothesispytest", "schemathesis", "xdist") for part in ("-p", f"no:{name}")]
"""Plugins of other tests, which take seconds to load."""
SETTINGS = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in {
        "my_jobs.py": JOBS,
        "conftest.py": CONFTEST,
        "test_jobs.py": TESTS,
        "pytest.ini": SETTINGS,
    }.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def pytest_in(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *WITHOUT, *arguments],
        cwd=project, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_strangers_tests_pass(project: Path) -> None:
    done = pytest_in(project, "-q")
    assert "5 passed" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0


def test_without_headway_jobs_the_fixture_says_what_to_do(project: Path) -> None:
    (project / "conftest.py").unlink()
    done = pytest_in(project, "-q", "-k", "a_def_job")
    assert "a fixture `headway_jobs` in conftest.py" in done.stdout
    assert "1 error" in done.stdout


def test_it_is_an_entry_point_that_can_be_left_out(project: Path) -> None:
    (entry,) = entry_points(group="pytest11", name="headway")
    assert entry.value == "headway.testing.plugin"
    assert "fixture 'headway' not found" in pytest_in(project, "-q", "-p", "no:headway", "-k", "a_def_job").stdout


def test_a_project_that_does_not_use_it_loads_nothing_for_it(tmp_path: Path) -> None:
    (tmp_path / "test_nothing.py").write_text(
        "import sys\n"
        "def test_nothing():\n"
        "    loaded = [name for name in sys.modules if name.split('.')[0] in ('headway', 'structlog')]\n"
        "    assert sorted(loaded) == ['headway', 'headway.testing', 'headway.testing.plugin']\n"
    )
    done = pytest_in(tmp_path, "-q", "-W", "error", "-p", "no:asyncio", "-p", "no:aiohttp")
    assert done.returncode == 0, done.stdout


def test_the_kit_loads_nothing_before_it_is_used() -> None:
    program = "import sys, headway.testing; print([name for name in sys.modules if name.split('.')[0] == 'headway'])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "['headway', 'headway.testing']\n"
