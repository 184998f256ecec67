"""The wheel, installed where the author has packages of their own named `server`, `static` and `tests`."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.support.process import ROOT, WAIT_TIMEOUT_S

JOBS = '''
from headway import Context, job
from server import GREETING

@job("ping")
async def ping(ctx: Context) -> str:
    """Named like a sample."""
    return GREETING
'''


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(target), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    (built,) = target.glob("headway-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts of an environment with the wheel, and with what it needs taken from this one."""
    environment = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True, timeout=300)
    scripts = environment / "bin"
    subprocess.run([scripts / "pip", "install", "--quiet", "--no-deps", str(wheel)], check=True, timeout=300)
    (packages,) = environment.glob("lib/python3.*/site-packages")
    # A path in a .pth file is searched, but its own .pth files, the checkout's among them, are not read.
    (packages / "dependencies.pth").write_text(f"{Path(aiohttp.__file__).parents[1]}\n")
    return scripts


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """An author's folder."""
    for name in ("server", "static", "tests"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text('GREETING = "the author\'s own"\n')
    (tmp_path / "mine.py").write_text(JOBS)
    return tmp_path


@pytest.fixture
def address(installed: Path, project: Path) -> Iterator[str]:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(installed / "headway"), "serve", "--jobs", "mine", "--port", "0"]
    with subprocess.Popen(command, cwd=project, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().removeprefix("Listening on ").strip()
        process.terminate()
        assert process.wait(WAIT_TIMEOUT_S) == 0


def _curl(*arguments: str) -> str:
    command = ["curl", "--silent", "--show-error", "--fail", "--max-time", "30", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.slow
def test_a_wheel_serves_the_authors_types_and_the_page(address: str) -> None:
    assert '"result":"the author\'s own"' in _curl("-X", "POST", "-H", "Prefer: wait=20", f"{address}/jobs/ping")
    names = _curl(f"{address}/job-types")
    assert '"ping"' in names
    assert '"csv-report"' not in names
    assert "<title>Headway" in _curl(f"{address}/")
    assert "class Client" in _curl(f"{address}/static/headway.js")
    assert '"openapi":"3.1' in _curl(f"{address}/openapi.json")
