"""API keys as an operator makes them, and requests made with them."""

from collections.abc import Mapping
from pathlib import Path
from subprocess import CompletedProcess

from tests.support.process import run_command


def keys(data_dir: Path, *arguments: str) -> CompletedProcess[str]:
    """`run.py keys …`."""
    return run_command("keys", *arguments, "--data-dir", str(data_dir))


def make_key(data_dir: Path, name: str, *flags: str) -> str:
    """The key that `keys create` prints."""
    made = keys(data_dir, "create", name, *flags)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


def bearer(key: str, **more: str) -> Mapping[str, str]:
    """The headers of a request in the key's name."""
    return {"Authorization": f"Bearer {key}", **more}
