"""The store is held against a simple model, through long random lives of jobs (see `walk.py`)."""

import pytest

from tests.conformance.backends import Backend
from tests.conformance.walk import Walk


@pytest.mark.parametrize("seed", range(12))
async def test_the_record_says_what_a_simple_model_says(backend: Backend, seed: int) -> None:
    walk = Walk(backend, seed)
    try:
        await walk.walk()
    except BaseException as error:
        error.add_note(f"seed {seed}, step {len(walk.steps)}, the last ones: {walk.steps[-12:]}")
        raise
