"""The server behaves as its OpenAPI document says: schemathesis with all checks, each operation alone and along links.

`use_after_free` takes every DELETE for a deletion, but a cancelled job stays: a check in `fuzzing_hooks.py` replaces
it for purged jobs.

It runs for half a minute. `--max-time` and `--seed` make a longer run by hand.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.fuzz.fuzzing_hooks import NOBODY_LISTENS
from tests.support.log_scan import without_handlers_exceptions
from tests.support.process import ROOT, ServerProcess

HERE = Path(__file__).parent
TRIES_S = 30
"""The coverage phase always runs to its end; fuzzing and links share the time that is left."""
SEED = 20261120
PHASES = "examples,coverage,fuzzing,stateful"


@pytest.fixture
def server() -> ServerProcess:
    jobs = str(HERE / "jobs_to_fuzz.py")
    env = {"HEADWAY_WEBHOOK_ALLOW": urlsplit(NOBODY_LISTENS).netloc}
    return ServerProcess(":memory:", "--jobs", jobs, "--max-tasks", "2", "--max-processes", "2", env=env)


@pytest.mark.slow
def test_every_response_to_generated_requests_is_as_documented(server: ServerProcess) -> None:
    with server:
        done = subprocess.run(
            [
                Path(sys.executable).with_name("schemathesis"),
                f"--config-file={HERE / 'schemathesis.toml'}",
                *(
                    "run",
                    f"http://127.0.0.1:{server.port}/openapi.json",
                    "--checks=all",
                    "--exclude-checks=use_after_free",
                    f"--phases={PHASES}",
                ),
                *(f"--max-time={TRIES_S}", f"--seed={SEED}", "--request-timeout=70", "--workers=1"),
                *("--generation-database=none", "--no-color", "--warnings=off", "--output-sanitize=false"),
            ],
            env={**os.environ, "PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.fuzz.fuzzing_hooks"},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        log = server.log()
    assert done.returncode == 0, done.stdout + done.stderr
    operations = re.search(r"Tested: (\d+)", done.stdout)
    assert operations is not None
    assert int(operations[1]) > 40
    cases = re.search(r"([\d,]+) generated", done.stdout)
    assert cases is not None
    assert int(cases[1].replace(",", "")) > 200
    assert "⏭" not in done.stdout.split("Test Phases:")[1], "a phase was skipped"
    assert "Traceback" not in without_handlers_exceptions(log), log[-5000:]
