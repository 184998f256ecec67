"""Duplicate rows and correlated columns."""

import statistics
from random import Random

import pytest
from headway.samples.tables import rows as csv_rows
from headway.samples.tables.column import Budget
from headway.samples.tables.profile import Profile
from headway.samples.tables.rows import Correlations
from hypothesis import given, settings
from hypothesis import strategies as st


def profile_of(rows: list[list[str]], batch: int = 500) -> Profile:
    """Make both passes over a table whose columns are a, b, c …; the first record is on line 2."""
    profile = Profile(list("abcdefgh"[: len(rows[0])]), ",")
    for start in range(0, len(rows), batch):
        profile.add(rows[start : start + batch], range(start + 2, start + batch + 2))
    profile.turn()
    for start in range(0, len(rows), batch):
        records = rows[start : start + batch]
        profile.count(records, range(start + 2, start + 2 + len(records)))
    return profile


def numbered(count: int) -> list[list[str]]:
    return [[f"id {number}", f"name {number}", str(number % 7)] for number in range(count)]


def test_duplicate_rows_are_counted_and_shown_with_their_lines() -> None:
    rows = numbered(2_000)
    rows[1_500] = rows[3]
    rows[900] = rows[1_700] = rows[10]
    found = profile_of(rows).duplicates()
    assert (found.rows, found.exact) == (3, True)
    assert [(row.count, row.lines, row.cells[0]) for row in found.examples] == [
        (3, [12, 902, 1702], "id 10"),
        (2, [5, 1502], "id 3"),
    ]


def test_rows_with_the_same_text_in_different_cells_are_not_duplicates() -> None:
    assert profile_of([["ab", "c", ""], ["a", "bc", ""], ["a", "b", "c"]]).duplicates().rows == 0


def test_duplicates_among_many_distinct_rows_are_marked_as_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_rows, "_DIFFERENT_ROWS", 1_000)
    rows = numbered(10_000)
    rows += rows[:5_000]
    found = profile_of(rows).duplicates()
    assert not found.exact
    assert found.rows == pytest.approx(5_000, rel=0.3)
    assert profile_of(numbered(10_000)).duplicates().rows == 0


def test_a_key_of_too_many_rows_to_count_is_still_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Budget, "for_columns", lambda _columns: Budget(100, 16, 256, 10, 1_000, 16))
    found = profile_of(numbered(5_000)).near_duplicates()
    assert found is not None
    assert (found.rows, found.exact) == (0, True)


def test_rows_that_differ_only_in_their_key_are_found() -> None:
    rows = numbered(2_000)
    rows[1_500] = ["id 1500", " NAME 3", rows[3][2]]  # case and blanks make no difference
    rows[1_800] = rows[4]  # an exact duplicate is not counted among these
    profile = profile_of(rows)
    found = profile.near_duplicates()
    assert found is not None
    assert (found.key, found.rows, found.exact) == ("a", 1, True)
    assert [(row.lines, row.cells) for row in found.examples] == [([5, 1502], ["name 3", "3"])]
    assert profile.duplicates().rows == 1


@pytest.mark.parametrize(
    "first", [lambda number: f"{number}.5", lambda number: str(number % 1_999)], ids=["measured", "repeated"]
)
def test_a_first_column_that_is_not_a_key_is_compared_like_any_other(first: object) -> None:
    assert callable(first)
    rows = [[first(number), f"name {number % 999}", "same"] for number in range(2_000)]
    assert profile_of(rows).near_duplicates() is None


def test_correlations_use_the_rows_that_have_both_numbers() -> None:
    chance = Random(5)
    xs = [chance.gauss(1e6, 1) for _ in range(3_000)]
    ys = [x + chance.gauss(0, 2) for x in xs]
    rows = [
        [f"{x:.6f}", f"{y:.6f}" if number % 3 else "", "-"] for number, (x, y) in enumerate(zip(xs, ys, strict=True))
    ]
    (found,) = profile_of(rows).correlations()
    both = [(float(row[0]), float(row[1])) for row in rows if row[1]]
    assert (found.columns, found.rows) == (("a", "b"), 2_000)
    assert found.pearson == pytest.approx(statistics.correlation(*zip(*both, strict=True)), abs=1e-4)
    assert found.spearman == pytest.approx(found.pearson, abs=0.05)


@pytest.mark.parametrize("count", [500, 20_000])
def test_rank_correlation_detects_a_relation_that_is_not_linear(count: int) -> None:
    rows = [[str(number), f"{(number / count) ** -9:.6e}"] for number in range(1, count)]
    (found,) = profile_of(rows).correlations()
    assert found.pearson > -0.3
    assert found.spearman == pytest.approx(-1, abs=1e-3)


def test_a_constant_column_correlates_with_no_other() -> None:
    assert profile_of([["1", str(number)] for number in range(100)]).correlations() == []


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(-1e3, 1e3), st.none() | st.floats(-1e3, 1e3)), min_size=1, max_size=60))
def test_correlations_do_not_depend_on_the_batches(rows: list[tuple[float, float | None]]) -> None:
    merged, one = Correlations("xy", [0.0, 0.0]), Correlations("xy", [0.0, 0.0])
    one.extend([[x for x, _ in rows], [y for _, y in rows]])
    for start in range(0, len(rows), 7):
        batch = rows[start : start + 7]
        merged.extend([[x for x, _ in batch], [y for _, y in batch]])
    for names, (r, count) in one.found().items():
        if names in merged.found():
            assert merged.found()[names][0] == pytest.approx(r, abs=1e-3)
            assert merged.found()[names][1] == count
