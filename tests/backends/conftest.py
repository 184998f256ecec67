"""What tests of the SQLite backend share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.conformance.backends import SqliteBackend
from tests.conformance.records import forget_ids


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[SqliteBackend]:
    forget_ids()
    made = SqliteBackend(tmp_path)
    await made.open()
    yield made
    await made.close()
