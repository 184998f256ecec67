"""The audit trail: who did what, from where, when, and with what outcome.

An entry never holds a key, a ticket, a secret, a URL, an input or free text: ids, names of job types and owners only.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

OK = "ok"
"""The outcome of what was done. Anything else is the type of the problem for which it was refused."""


class ActorKind(StrEnum):
    """How somebody is known to the server."""

    KEY = "key"
    SESSION = "session"  # a person who signed in with a key
    TICKET = "ticket"
    LOCAL = "local"  # a user of this machine, while no key is needed
    OPERATOR = "operator"  # with a command on the data directory
    PROGRAM = "program"  # the one that the server is embedded in
    SERVER = "server"  # by itself
    ANONYMOUS = "anonymous"


class Actor(NamedTuple):
    """Who did something, and from where."""

    kind: ActorKind
    owner: str | None = None
    """The owner of the key, session or ticket."""
    key_id: str | None = None
    """The id of the key, never the key itself. A session and a ticket have that of the key that they come from."""
    address: str | None = None
    """The client's address, as it is counted: an IPv6 address as its /64."""
    request_id: str | None = None


OPERATOR = Actor(ActorKind.OPERATOR)
PROGRAM = Actor(ActorKind.PROGRAM)
SERVER = Actor(ActorKind.SERVER)


class Action(StrEnum):
    """What was done, or attempted."""

    SIGN_IN = "sign-in"
    SIGN_OUT = "sign-out"
    SUBMIT = "submit"
    RETRY = "retry"
    EDIT = "edit"
    CANCEL = "cancel"
    DELETE = "delete"
    DELETE_RESULT = "delete-result"
    CLAIM = "claim"  # by a worker: it has seen the job's input
    EXPIRE = "expire"  # deleted by retention
    MAKE_TICKET = "make-ticket"
    REDELIVER = "redeliver"
    TEST_WEBHOOK = "test-webhook"
    DOWNLOAD = "download"
    CREATE_UPLOAD = "create-upload"
    DELETE_UPLOAD = "delete-upload"
    CREATE_KEY = "create-key"
    REVOKE_KEY = "revoke-key"
    SET_QUOTA = "set-quota"
    SHOW_SECRETS = "show-secrets"
    ROTATE_SECRET = "rotate-secret"  # noqa: S105 - the name of an action
    BACK_UP = "back-up"


class Entry(NamedTuple):
    """What the trail says of one action."""

    at: datetime
    actor: Actor
    action: Action
    owner: str | None = None
    """Whose job, key or secret it was."""
    subject: str | None = None
    """The id of the job, the key or the upload. Of what was refused, the id that was asked for."""
    job_type: str | None = None
    outcome: str = OK
    times: int = 1
    """How often it happened, if several refusals share this entry."""
    detail: str | None = None
    """What a quota was and is: `jobs=5 -> jobs=9`; of a new key, what it is."""


class RecordedEntry(NamedTuple):
    """An entry with its number. Numbers grow by one, so a missing entry leaves a gap."""

    seq: int
    entry: Entry


@dataclass(frozen=True, slots=True)
class EntryFilter:
    """Which entries to read. What is `None` does not matter."""

    owner: str | None = None
    actor: str | None = None
    """A kind of actor, the owner of a key, or the id of one."""
    action: Action | None = None
    since: datetime | None = None
