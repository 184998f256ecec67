"""The transition table is data, and the SQL is checked against it."""

import re
from pathlib import Path

import headway.backends.sqlite
import pytest
from headway.backends.sqlite.statements import SQL
from headway.domain.jobs import ACTIVE, TERMINAL, TRANSITIONS, Status, Transition

QUERIES = Path(headway.backends.sqlite.__path__[0]) / "queries"
SCHEMA = Path(headway.backends.sqlite.__path__[0]) / "schema"

SETS_STATUS = re.compile(r"\bstatus\s*=\s*'(\w+)'\s*,")
WHERE_STATUS = re.compile(r"\bAND status = '(\w+)'")


@pytest.mark.parametrize("transition", Transition)
def test_every_transition_statement_matches_the_table(transition: Transition) -> None:
    before, after = TRANSITIONS[transition]
    update, where = (QUERIES / f"{transition}.sql").read_text("utf-8").split("\nWHERE ")
    assert SETS_STATUS.findall(update) == [after]
    assert WHERE_STATUS.findall(f"AND {where}") == [before]
    assert re.match(r"id (= :id|= ended\.job_id|IN \(SELECT value FROM json_each\(:ids\)\)) AND", where)
    if before is Status.RUNNING:
        assert re.search(r"\bAND attempt = (:attempt|ended\.fence)\b", where), "the attempt is the fence"


def test_no_other_statement_sets_a_status() -> None:
    for file in QUERIES.glob("*.sql"):
        text = file.read_text("utf-8")
        if file.stem in {*Transition, "insert"}:
            continue
        update = text.partition("WHERE")[0]
        assert not re.search(r"\bUPDATE jobs\b.*\bSET\b.*\bstatus\b", update, re.DOTALL), file.name
        assert not re.search(r"\b(INSERT|REPLACE)\b.*\bINTO jobs\b", text), file.name


def test_a_job_begins_queued() -> None:
    assert re.findall(r"'(\w+)'", SQL["insert"]) == [Status.QUEUED]


def test_every_transition_is_in_the_table_and_changes_the_state() -> None:
    assert TRANSITIONS.keys() == set(Transition)
    assert all(before is not after for before, after in TRANSITIONS.values())


def test_nothing_leaves_a_terminal_state_and_every_active_one_can_be_left() -> None:
    left = {before for before, _ in TRANSITIONS.values()}
    assert left == ACTIVE
    assert set(Status) == ACTIVE | TERMINAL
    assert not ACTIVE & TERMINAL


def test_every_state_can_be_reached() -> None:
    reached = {Status.QUEUED}
    for _ in Status:
        reached |= {after for before, after in TRANSITIONS.values() if before in reached}
    assert reached == set(Status)


def test_the_schema_has_the_same_states() -> None:
    (check,) = re.findall(r"CHECK \(status IN \(([^)]*)\)\)", (SCHEMA / "0001.sql").read_text("utf-8"))
    assert re.findall(r"'(\w+)'", check) == list(Status)


@pytest.mark.parametrize("transition", Transition)
def test_every_transition_adds_a_history_entry_and_a_version(transition: Transition) -> None:
    assert "last_seq = last_seq + 1, state_seq = last_seq + 1" in SQL[transition]
    assert re.search(r"\bversion = (version|max\(version, (:version|ended\.published)\)) \+ 1", SQL[transition])
