"""Formats and lengths of values, and surrounding blanks."""

from collections import Counter
from random import Random

import pytest
from headway.samples.tables.formats import Formats, Lengths, format_of


@pytest.mark.parametrize(
    ("value", "format"),
    [
        ("Lisboa 2026", "Aa+ 9999"),
        ("AB-123", "AA-999"),
        ("PT50 0035 0000", "AA99 9999 9999"),
        ("912345678", "9+"),
        ("ABCDEF", "A+"),
        ("x", "a"),
        ("2026-03-31", "9999-99-99"),
        ("1.50", "9.99"),
        ("a.b@example.org", "a.a@a+.a+"),
        ("-----", "-+"),
        ("Évora, João", "Aa+, Aa+"),
        ("東京", "a+"),
        ("٣", "9"),
        (" x ", " a "),
        ("a\nb", "a\na"),
        ("é" * 500, "a+…"),
    ],
)
def test_a_format_shows_letters_digits_and_symbols(value: str, format: str) -> None:
    assert format_of(value) == format


def test_formats_are_counted_over_batches_with_their_first_example() -> None:
    formats = Formats(keep=10)
    formats.extend(["Porto 1", "Faro 2", "x"])
    formats.extend(["Braga 3", "7"])
    assert formats.most_common(2) == [("Aa+ 9", 3, "Porto 1"), ("a", 1, "x")]
    assert formats.exact


def test_a_value_with_line_ends_is_counted_as_one_value() -> None:
    formats = Formats(keep=10)
    formats.extend(["a\nb", "c", "d"])
    assert {format: count for format, count, _ in formats.most_common(9)} == {"a\na": 1, "a": 2}


def test_counted_values_are_weighted_by_their_count() -> None:
    formats = Formats(keep=10)
    formats.extend_counted({"Porto": 5, "Faro": 2, "9": 3})
    assert [(format, count) for format, count, _ in formats.most_common(9)] == [("Aa+", 7), ("9", 3)]


def test_a_frequent_format_among_many_rare_ones_is_found_in_bounded_memory() -> None:
    chance = Random(2)
    formats = Formats(keep=8)
    truth: Counter[str] = Counter()
    for _ in range(50):
        values = ["".join(chance.choice("A9-.") for _ in range(12)) for _ in range(50)] + ["AB-12"] * 30
        truth.update(map(format_of, values))
        formats.extend(values)
    ((format, count, example),) = formats.most_common(1)
    assert (format, example) == ("AA-99", "AB-12")
    assert not formats.exact
    assert 0 < count <= truth["AA-99"]
    assert len(formats._examples) < 8 * 4 + 80


def test_lengths_are_counted_in_characters_and_surrounding_blanks_are_counted() -> None:
    lengths = Lengths()
    lengths.extend(["é", " bc", "de\t", "f g h"])
    lengths.extend(["\u00a0x"])
    assert (lengths.shortest, lengths.longest, lengths.count, lengths.padded) == (1, 5, 5, 3)
    assert lengths.mean == pytest.approx(14 / 5)
