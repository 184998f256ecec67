"""Every test of this folder runs once for each backend."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from headway.ports.events import EventHub
from headway.ports.jobs import JobStore

from tests.conformance.backends import BACKENDS, Backend
from tests.conformance.records import forget_ids


@pytest.fixture(params=BACKENDS)
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    forget_ids()
    async with BACKENDS[request.param](tmp_path) as opened:
        yield opened


@pytest.fixture
def store(backend: Backend) -> JobStore:
    """The store that is open when the test begins."""
    return backend.store


@pytest.fixture
def hub(backend: Backend) -> EventHub:
    return backend.hub
