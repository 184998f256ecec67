"""What the tests of this room share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from headway.authoring import declaring

from tests.support.sharing import Opening, opening


@pytest.fixture(autouse=True)
def _nothing_stays_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test declares its own job types; those declared before are back afterwards."""
    monkeypatch.setattr(declaring, "_declared", {})


@pytest.fixture
async def sharing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Opening]:
    """Opens processes, with a nursery of its own for the type that is given."""
    monkeypatch.setenv("DIARY", str(tmp_path / "diary"))
    monkeypatch.setenv("GO", str(tmp_path / "go"))
    async with opening(tmp_path) as open_for:
        yield open_for
