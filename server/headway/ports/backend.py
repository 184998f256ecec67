"""All that one backend offers, for the rooms that need most of it."""

from dataclasses import dataclass

from .actions import Actions
from .audit import AuditTrail
from .events import EventHub
from .jobs import JobStore
from .keys import KeyStore
from .outbox import Outbox
from .record import RecordKeeper


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """The ports of one record, whichever engine keeps it."""

    store: JobStore
    actions: Actions
    hub: EventHub
    keys: KeyStore
    outbox: Outbox
    keeper: RecordKeeper
    audit: AuditTrail
