"""The gate for text: what passes it can be stored, sent and shown, and is no longer than it may be."""

import re

import pytest
from headway.text import clean_text, spoken
from hypothesis import given
from hypothesis import strategies as st

ODD = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


@pytest.mark.parametrize(
    ("text", "one_line", "several"),
    [
        ("plain, größer, 漢字, 🎉", None, None),
        ("a\ud800b\udc80", "a�b�", "a�b�"),
        ("a\0b\x07c\x7fd\x85e", "a�b�c�d�e", "a�b�c�d�e"),
        ("\x1b[31mred\x1b[0m", "red", "red"),
        ("\x9b31mred", "red", "red"),
        ("\x1b]0;a title\x07after\x1b]8;;http://a\x1b\\", "after", "after"),
        ("\x1b(B\x1bM\x1b", "�", "�"),
        ("\x1b]0;never closed", "0;never closed", "0;never closed"),
        ("one\u2028two", "one two", "one\u2028two"),
        ("one\r\ntwo\rthree\n\tfour", "one two three four", "one\ntwo\nthree\n\tfour"),
    ],
)
def test_odd_characters_are_replaced(text: str, one_line: str | None, several: str | None) -> None:
    assert clean_text(text, 100) == (text if one_line is None else one_line)
    assert clean_text(text, 100, lines=True) == (text if several is None else several)


@given(st.text(st.characters(), max_size=200), st.integers(50, 100), st.booleans())
def test_what_passes_is_utf_8_without_control_characters_and_within_its_limit(
    text: str, most: int, lines: bool
) -> None:
    passed = clean_text(text, most, lines=lines)
    passed.encode("utf-8")
    assert not ODD.search(passed)
    assert lines or not re.search(r"[\t\n]", passed)
    assert len(passed) <= most
    assert clean_text(passed, most, lines=lines) == passed, "it passes once more unchanged"


def test_text_that_was_cut_says_so() -> None:
    assert clean_text("x" * 100, 100) == "x" * 100
    assert clean_text("x" * 100_000_000, 100) == "x" * 65 + "… (cut from 100,000,000 characters)"


class Mute:
    def __str__(self) -> str:
        raise SystemExit


class Loud(str):
    __slots__ = ()

    def __str__(self) -> str:
        raise SystemExit


def test_whatever_an_author_hands_over_becomes_text() -> None:
    assert (spoken(7), spoken(Loud("loud")), spoken(Mute())) == ("7", "loud", "")
    assert type(spoken(Loud("loud"))) is str
