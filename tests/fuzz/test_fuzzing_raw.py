"""A few seconds of `python -m tests.fuzz`, to check that the fuzzers still work."""

import importlib.util
import re
import subprocess
import sys

import pytest

from tests.support.process import ROOT

SEED = 20261121


def fuzz(what: str, seconds: int) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", what, f"--seconds={seconds}", f"--seed={SEED}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="it runs on Linux, with Python before 3.14")
def test_a_few_seconds_of_fuzzing_find_nothing_in_the_parsers() -> None:
    done = re.search(r"Done (\d+) runs", fuzz("parsers", 3))
    assert done is not None
    assert int(done[1]) > 1_000


@pytest.mark.skipif(importlib.util.find_spec("pyradamsa") is None, reason="it runs on Linux, with Python before 3.14")
def test_a_few_seconds_of_mutated_requests_find_nothing_in_the_server() -> None:
    said = fuzz("http", 3)
    assert "nothing was found" in said
    statuses = re.search(r"radamsa: ([\d,]+) requests, answers by status: \{(.*)\}", said)
    assert statuses is not None
    assert {"200", "400", "404"} <= set(re.findall(r"(\d+):", statuses[2]))
