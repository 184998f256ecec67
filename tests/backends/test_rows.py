"""Rows: the columns and the fields of a job are kept in step by hand."""

import math

from headway.backends.sqlite.rows import COLUMN_COUNT, DAMAGED, to_attempt
from headway.domain.attempts import Usage
from headway.domain.jobs import Job, JobError
from headway.domain.progress import Progress


def test_every_field_of_a_job_has_its_column() -> None:
    """A progress is one field and eight columns."""
    assert len(Job._fields) - 1 + len(Progress._fields) == COLUMN_COUNT


def test_of_a_damaged_attempt_what_can_be_read_is_there() -> None:
    whole = (1, 1_000, 2_000, "retry", '{"type":"t","title":"T","detail":null,"status":500}', 5, 0.5)
    attempt = to_attempt("a-job", whole)
    assert (attempt.outcome, attempt.error, attempt.usage) == ("retry", JobError("t", "T", None, 500), Usage(5, 0.5))
    damaged = to_attempt("a-job", (1, b"\xff", 2**70, "odd", "{", "many", math.inf))
    assert (damaged.number, damaged.outcome, damaged.error, damaged.usage) == (1, "failed", DAMAGED, None)
    assert to_attempt("a-job", (*whole[:5], "many", 0.5)).usage == Usage(0, 0.5)
