"""Fixtures of the samples' tests: real contexts, with directories of the test."""

from collections.abc import Callable
from pathlib import Path

import pytest
from headway import BlockingContext, Upload
from headway.authoring.reporting import LogBuffer, Reported
from headway.ports.files import Directories


@pytest.fixture
def attempt(tmp_path: Path) -> Callable[[int], BlockingContext]:
    """Make the context of the job's n-th attempt: the same work directory, a fresh output directory."""

    def make(number: int) -> BlockingContext:
        root = tmp_path / "job"
        return BlockingContext(
            job_id="01890000-0000-7000-8000-000000000000",
            attempt=number,
            owner="local",
            directories=Directories(*(str(root / name) for name in ("work", f"output-{number}", "data"))),
            reported=Reported(),
            logs=LogBuffer(),
            checkpoint_json=None,
            sync_checkpoint=lambda _json: None,
        )

    return make


@pytest.fixture
def context(attempt: Callable[[int], BlockingContext]) -> BlockingContext:
    """The context of a first attempt."""
    return attempt(1)


@pytest.fixture
def upload(tmp_path: Path) -> Callable[[bytes | str], Upload]:
    """Make an upload of some bytes, or of text in UTF-8."""

    def make(content: bytes | str) -> Upload:
        path = tmp_path / "upload.bin"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return Upload(path, "table.csv", "text/csv", path.stat().st_size)

    return make
