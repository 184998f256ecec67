"""Reading a list of JSON values an item at a time: the same values as in one piece, and the same refusals."""

import asyncio
import json
from typing import Any

import pytest
from headway.turns import Turn
from headway.web.problems import Problem
from headway.web.requests import json_items
from headway.web.requests.json_items import Item, read_items
from headway.web.requests.strict_json import MAX_DEPTH, Part, parse_json, part_at
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.others import turns_during

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text('aé€😀\\"\n\x00{[', max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab😀", max_size=2), inner, max_size=3),
    max_leaves=6,
)
SPACE = st.text(" \t\n\r", max_size=3)


async def read(body: bytes, most_bytes: int = 100_000) -> list[Item]:
    return [item async for items in read_items(body, "jobs", most_bytes, asyncio.Semaphore(1)) for item in items]


def values(body: bytes, most_bytes: int = 100_000) -> list[Any]:
    items = asyncio.run(read(body, most_bytes))
    assert not [item for item in items if item.problem]
    return [item.value for item in items]


def refusal(body: bytes, most_bytes: int = 100_000) -> Problem:
    with pytest.raises(Problem) as raised:
        asyncio.run(read(body, most_bytes))
    return raised.value


@settings(deadline=None, max_examples=50)
@given(st.lists(VALUES, max_size=5), st.booleans(), SPACE, st.integers(20, 60), st.floats(0, 1, exclude_max=True))
def test_items_are_what_the_whole_text_holds(
    listed: list[Any], ascii: bool, space: str, window: int, cut: float
) -> None:
    separators = (f"{space},{space}", f"{space}:{space}")
    body = (space + json.dumps({"jobs": listed}, ensure_ascii=ascii, separators=separators) + space).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_items, "WINDOW_BYTES", window)
        assert values(body) == parse_json(body, max_depth=MAX_DEPTH + 2)["jobs"]
        cut_off = body[: int(cut * len(body.rstrip()))]
        assert refusal(cut_off).kind == "malformed-request"


@pytest.mark.parametrize("window", [20, 16 * 1024])
@pytest.mark.parametrize(
    ("body", "kind", "pointer"),
    [
        (b"", "malformed-request", None),
        (b"[]", "validation-failed", ""),
        (b'"jobs"', "validation-failed", ""),
        (b"{}", "validation-failed", "/jobs"),
        (b'{"jobs": {}}', "validation-failed", "/jobs"),
        (b'{"job": []}', "validation-failed", ""),
        (b'{"jobs": [], "more": 1}', "validation-failed", ""),
        (b"{1: []}", "malformed-request", None),
        (b'{"jobs": [1 2]}', "malformed-request", None),
        (b'{"jobs": [1,]}', "malformed-request", None),
        (b'{"jobs": [,1]}', "malformed-request", None),
        (b'{"jobs": [tru]}                          ', "malformed-request", None),
        (b'{"jobs": []} []', "malformed-request", None),
        (b'{"jobs": ["\xff"]}', "malformed-request", None),
        (b'{"jobs": ["\xf0\x9f\x98"]}', "malformed-request", None),
        (b'{"jobs": [' + b"[" * 5000 + b"]" * 5000 + b"]}", "malformed-request", None),
    ],
)
def test_what_is_no_list_of_items_is_refused(
    body: bytes, kind: str, pointer: str | None, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_items, "WINDOW_BYTES", window)
    problem = refusal(body)
    assert problem.kind == kind
    assert [where for where, _ in problem.errors] == ([] if pointer is None else [pointer])


def test_an_item_has_as_many_bytes_as_it_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_items, "WINDOW_BYTES", 20)
    item = json.dumps("é" * 26, ensure_ascii=False).encode()
    assert values(b'{"jobs": [%b, 1, %b]}' % (item, item), len(item)) == ["é" * 26, 1, "é" * 26]
    assert refusal(b'{"jobs": [%b, 1]}' % item, len(item) - 1).kind == "too-large"


def test_an_item_out_of_bounds_is_a_problem_of_its_own() -> None:
    deep = b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1)
    texts = [b"1", b'{"a": 1, "a": 2}', b"NaN", b"[1e999]", b'"\\ud800"', b"9" * 30, deep, b"2"]
    items = asyncio.run(read(b'{"jobs": [%b]}' % b", ".join(texts)))
    kinds = [None if item.problem is None else item.problem.kind for item in items]
    odd, malformed = "validation-failed", "malformed-request"
    assert kinds == [None, odd, odd, odd, malformed, odd, malformed, None]
    assert [item.text.encode() for item in items] == texts
    assert [item.value for item in items if item.problem is None] == [1, 2]


@pytest.mark.parametrize(
    "place", [b"%b{", b"{%b", b'{"jobs"%b:[', b'{"jobs":[%b', b'{"jobs":[1%b,', b'{"jobs":[1,2]%b']
)
async def test_others_have_their_turn_while_whitespace_is_skipped(place: bytes) -> None:
    whole, windows = b'{"jobs":[1,2]}', 20
    short = place.replace(b"%b", b"")
    body = place % (b" " * windows * json_items.WINDOW_BYTES) + whole[len(short) :]
    assert await turns_during(read(body)) >= windows - 1


async def test_between_two_large_items_is_as_much_time_as_the_first_took(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s, took_s = 100.0, 0.25
    rests: list[float] = []

    def slowly(text: str, start: int) -> Part:
        nonlocal now_s
        found = part_at(text, start)
        if found.end - start > json_items.WINDOW_BYTES:
            now_s += took_s
        return found

    async def sleep(rest_s: float) -> None:
        rests.append(rest_s)

    monkeypatch.setattr(json_items, "part_at", slowly)
    large = b'"%b"' % (b"x" * json_items.WINDOW_BYTES)
    body = b'{"jobs": [%b, 1, %b, 2]}' % (large, large)
    async for _ in read_items(body, "jobs", 100_000, asyncio.Semaphore(1), Turn(lambda: now_s, sleep)):
        pass
    assert rests == [took_s]
