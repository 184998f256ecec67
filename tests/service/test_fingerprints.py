"""What identifies a request with an idempotency key: equal for equal requests, and found without holding others up."""

import asyncio
from typing import Any

import pytest
from headway.service import idempotency
from headway.service.idempotency import PIECE, fingerprint_in_pieces, fingerprint_of
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.others import turns_during

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text('aé😀\\"', max_size=4),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text("abé", max_size=2), inner, max_size=4),
)


@settings(deadline=None, max_examples=100)
@given(st.dictionaries(st.text("ab", max_size=2), VALUES, max_size=4), st.integers(1, 4))
def test_in_pieces_a_fingerprint_is_the_same(request: dict[str, Any], piece: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(idempotency, "PIECE", piece)
        assert asyncio.run(fingerprint_in_pieces(request)) == fingerprint_of(request)


@pytest.mark.parametrize(
    "value", [[1] * 40 * PIECE, [{}] * 40, {str(number): {} for number in range(40)}, [[1] * 40 * PIECE]]
)
async def test_others_have_their_turn_while_a_large_request_is_identified(
    value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "SLICE_S", -1)
    assert await turns_during(fingerprint_in_pieces({"input": value})) >= 40
