"""API keys as an operator makes them, and requests in their name."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.process import ROOT


def keys(data_dir: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """`run.py keys …`."""
    command = [sys.executable, str(ROOT / "run.py"), "keys", *arguments, "--data-dir", str(data_dir)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def make_key(data_dir: Path, name: str, *flags: str) -> str:
    """The key that `keys create` prints."""
    made = keys(data_dir, "create", name, *flags)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


def bearer(key: str, **more: str) -> Mapping[str, str]:
    """The headers of a request in the key's name."""
    return {"Authorization": f"Bearer {key}", **more}
