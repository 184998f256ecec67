"""The operator's command on the audit trail: reading it, and waiting for what is added."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, Field

from ..domain.audit import Action, EntryFilter, RecordedEntry
from ..ports.audit import AuditTrail
from ..ports.events import Bell, EventHub
from ..representation import instant

MOST_ENTRIES = 500
LONGEST_WAIT_S = 30.0


class ReadEntries(BaseModel):
    """Which entries: the newest, or those after number `after`, waiting up to `wait_s` seconds for the first."""

    owner: str | None = None
    actor: str | None = None
    action: Action | None = None
    since: AwareDatetime | None = None
    after: int | None = None
    wait_s: Annotated[float, Field(ge=0, le=LONGEST_WAIT_S)] = 0
    limit: Annotated[int, Field(ge=1, le=MOST_ENTRIES)] = MOST_ENTRIES


async def read_entries(trail: AuditTrail, hub: EventHub, command: ReadEntries) -> dict[str, Any]:
    """Entries, oldest first, and the number to go on after."""
    wanted = EntryFilter(command.owner, command.actor, command.action, command.since)
    if command.after is None:
        newest = await trail.newest(EntryFilter(), 1)  # first, so that nothing that is added meanwhile is skipped
        entries = await trail.newest(wanted, command.limit)
        return _shown(entries, max((entry.seq for entry in [*newest, *entries]), default=0))
    listener = hub.listen(Bell.AUDITED)
    try:
        entries, read_to = await trail.after(wanted, command.after, command.limit)
        if not entries and command.wait_s:
            await listener.wait(command.wait_s)
            entries, read_to = await trail.after(wanted, read_to, command.limit)
    finally:
        listener.close()
    return _shown(entries, read_to)


def _shown(entries: Sequence[RecordedEntry], read_to: int) -> dict[str, Any]:
    return {"entries": [entry_fields(entry) for entry in entries], "after": read_to}


def entry_fields(recorded: RecordedEntry) -> dict[str, Any]:
    """An entry as JSON shows it."""
    entry, actor = recorded.entry, recorded.entry.actor
    return {
        "seq": recorded.seq,
        "at": instant(entry.at),
        "actor": actor.kind.value,
        "actorOwner": actor.owner,
        "keyId": actor.key_id,
        "address": actor.address,
        "requestId": actor.request_id,
        "action": entry.action.value,
        "owner": entry.owner,
        "subject": entry.subject,
        "jobType": entry.job_type,
        "outcome": entry.outcome,
        "times": entry.times,
        "detail": entry.detail,
    }
