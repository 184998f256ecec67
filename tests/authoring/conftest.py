"""What the tests of this room share."""

import pytest
from headway.authoring import declaring


@pytest.fixture(autouse=True)
def _nothing_stays_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test declares its own job types; those declared before are back afterwards."""
    monkeypatch.setattr(declaring, "_declared", {})
