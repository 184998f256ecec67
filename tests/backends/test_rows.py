"""Rows: the columns and the fields of a job are kept in step by hand."""

from headway.backends.sqlite.rows import COLUMN_COUNT
from headway.domain.jobs import Job
from headway.domain.progress import Progress


def test_every_field_of_a_job_has_its_column() -> None:
    """A progress is one field and eight columns."""
    assert len(Job._fields) - 1 + len(Progress._fields) == COLUMN_COUNT
