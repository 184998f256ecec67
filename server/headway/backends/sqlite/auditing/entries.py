"""Rows of the audit trail: from entries, from submissions, and back."""

from typing import Any

from ....domain.audit import OK, Action, Actor, ActorKind, Entry, RecordedEntry
from ....domain.instants import from_ms, to_ms
from ....domain.jobs import NewJob
from ...mending import Mending

Row = tuple[Any, ...]

ENTRY_COLUMNS = (
    "seq, at, actor, actor_owner, key_id, address, request_id, action, owner, subject, job_type, outcome, times, detail"
)


def entry_values(entry: Entry) -> Row:
    """The values for `queries/insert_audit.sql`, in its order."""
    at, (kind, *known), action, *about = entry
    return (to_ms(at), kind.value, *known, action.value, *about)


def submitted_values(by: Actor, new: NewJob) -> Row:
    """The same for a submission: each has one, so this is what it costs."""
    kind, owner, key_id, address, request_id = by
    action = "submit" if new.retry_of is None else "retry"
    at_ms = to_ms(new.created_at)
    return (at_ms, kind.value, owner, key_id, address, request_id, action, new.owner, new.id, new.type, OK, 1, None)


def to_entry(row: Row) -> RecordedEntry:
    """The entry in a row of `ENTRY_COLUMNS`. Of a damaged row, what can be read."""
    seq, at, kind, *known, action, owner, subject, job_type, outcome, times, detail = row
    try:
        if bytes not in map(type, row):
            actor = Actor(ActorKind(kind), *known)
            entry = Entry(from_ms(at), actor, Action(action), owner, subject, job_type, outcome, times, detail)
            return RecordedEntry(seq, entry)
    except (ValueError, TypeError, OverflowError):
        pass
    mend = Mending("audit", seq)
    columns = ("actor_owner", "key_id", "address", "request_id")
    texts = [mend.optional_text(column, value) for column, value in zip(columns, known, strict=True)]
    entry = Entry(
        at=mend.instant("at", at),
        actor=Actor(mend.member("actor", kind, ActorKind, ActorKind.ANONYMOUS), *texts),
        action=mend.member("action", action, Action, Action.SUBMIT),
        owner=mend.optional_text("owner", owner),
        subject=mend.optional_text("subject", subject),
        job_type=mend.optional_text("job_type", job_type),
        outcome=mend.text("outcome", outcome),
        times=mend.whole("times", times, 1),
        detail=mend.optional_text("detail", detail),
    )
    mend.report()
    return RecordedEntry(seq, entry)
