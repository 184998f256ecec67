"""`Prefer: wait=` (RFC 7240): what counts, what is ignored."""

import pytest
from aiohttp.test_utils import make_mocked_request
from headway.web.requests.preferences import applied_wait, preferred_wait_s
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict


def wait_s(*values: str) -> int | None:
    """What a request with these `Prefer` headers asks for, with 60 s as the most."""
    headers = CIMultiDict(("Prefer", value) for value in values)
    return preferred_wait_s(make_mocked_request("GET", "/", headers), 60)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("wait=30", 30),
        ("wait=0", 0),
        ("wait=007", 7),
        ("WAIT=30", 30),
        ("wait = 30", 30),
        ('wait="30"', 30),
        ("wait=30; reason=impatience", 30),
        ("wait=30;wait=5", 30),
        ("respond-async, wait=30", 30),
        ("respond-async,wait=30,handling=lenient", 30),
        (", ,wait=30,", 30),
        ("wait=30, wait=5", 30),
        ('foo="a, wait=5", wait=30', 30),
        ('foo="\\", wait=5", wait=30', 30),
        ("wait=60", 60),
        ("wait=61", 60),
        ("wait=999999999", 60),
    ],
)
def test_a_wait_is_found_in_the_list_and_held_to_the_limit(value: str, seconds: int) -> None:
    assert wait_s(value) == seconds


@pytest.mark.parametrize(
    "value",
    [
        *("", "wait", "wait=", 'wait=""', "wait=x", "wait=-1", "wait=1.5", "wait=+1", "wait=30s", "wait=٣"),
        *(
            "wait=1 2",
            'wait="30',
            "wait=30'",
            "wait=9999999999",
            "wait; x=30",
            "await=30",
            "waiting=30",
            "return=minimal",
        ),
        *('foo="a, wait=5', 'foo="\\', "wait=x, wait=30"),
    ],
)
def test_what_is_unknown_or_malformed_is_ignored(value: str) -> None:
    assert wait_s(value) is None


def test_several_headers_are_one_list() -> None:
    assert wait_s("respond-async", "wait=30") == 30
    assert wait_s("wait=5", "wait=30") == 5
    assert wait_s() is None


@given(st.text(st.sampled_from('wait=30 ",;\\x\t'), max_size=40))
def test_whatever_is_sent_is_a_wait_within_the_limit_or_none(value: str) -> None:
    assert (wait_s(value) or 0) in range(61)


def test_a_hostile_header_is_read_in_one_go() -> None:
    for value in ('"' + '\\"' * 16_000, '"' * 32_000, "wait=" + "0" * 32_000, "wait" + " " * 32_000, "," * 32_000):
        assert wait_s(value) in (None, 0)


def test_the_answer_says_what_was_applied() -> None:
    assert applied_wait(30) == {"Preference-Applied": "wait=30"}
