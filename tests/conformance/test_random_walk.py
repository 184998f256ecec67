"""The store is compared with a simple model during long random lives of jobs (see `walk.py`)."""

import pytest

from tests.conformance.backends import Backend
from tests.conformance.walk import Walk


@pytest.mark.parametrize("seed", range(12))
async def test_a_random_walk_agrees_with_the_model(backend: Backend, seed: int) -> None:
    walk = Walk(backend, seed)
    try:
        await walk.walk()
    except BaseException as error:
        error.add_note(f"seed {seed}, step {len(walk.steps)}, the last ones: {walk.steps[-12:]}")
        raise
