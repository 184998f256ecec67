"""The scan for secrets finds those that were planted in logs, and fails the run."""

import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.log_scan import secrets_in
from tests.support.process import ROOT

PLANTED = """
import logging
from tests.conftest import *
from tests.support.process import ServerProcess

def test_a_servers_log():
    with ServerProcess(":memory:", env={"HEADWAY_ACCESS_LOG": "true"}) as server:
        server.request("GET", "/jobs/SECRET")

def test_output_of_its_own():
    print("opened SECRET")

def test_a_logger():
    logging.getLogger("x").warning("opened SECRET")

def test_nothing():
    print("opened hwk_...")
"""


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "two workers"])
def test_a_secret_in_a_log_fails_the_run(tmp_path: Path, workers: list[str]) -> None:
    secret = f"hwk_{secrets.token_urlsafe(32)}"
    (tmp_path / "conftest.py").write_text("from tests.conftest import *\n")
    (tmp_path / "test_planted.py").write_text(PLANTED.replace("SECRET", secret))
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            f"--rootdir={tmp_path}",
            *workers,
            str(tmp_path),
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "scanned for keys, tickets, cookies and secrets: 1 servers' logs, 4 tests' output" in done.stdout
    assert "a server's log holds a secret" in done.stdout
    assert "a secret was logged" in done.stdout
    assert "1 failed, 3 passed, 2 errors" in done.stdout  # what a test has written is looked at when it is over


@pytest.mark.parametrize(
    "line",
    [
        f"key=hwk_{'a' * 43}",
        f"GET /?ticket=hwt_{'a' * 43}",
        f"path=/x%3Fhws_{'A' * 43}",
        f"whsec_{'MfKQ9r8' * 5}=",
        "{'Authorization': 'Bearer abcdefghijklmnop'}",
        '"authorization", "Basic dXNlcjpwYXNzd29yZA=="',
        "Cookie: headway=abcdefghijkl",
        "set-cookie=__Host-headway=abcdefghijkl; Path=/",
    ],
)
def test_a_secret_is_recognized_by_its_form(line: str) -> None:
    (found,) = secrets_in(f"2026-01-01 [info] something {line} else")
    assert "a" * 12 not in found.lower()


@pytest.mark.parametrize(
    "line",
    [
        "Authorization: Bearer hwk_...",
        "hwk_short",
        "the cookie is not known",
        "bearer of bad news",
        "headway.db",
        "hwk_",
    ],
)
def test_text_about_secrets_is_not_taken_for_one(line: str) -> None:
    assert secrets_in(line) == []
