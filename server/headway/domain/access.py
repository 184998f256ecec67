"""Who may do what: API keys, sessions, and whose jobs a caller may see."""

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from .audit import Actor

LOCAL_OWNER = "local"
"""The owner of all jobs on a server without API keys: the one user of this machine."""

EVERY_OWNER = "*"
"""As the caller of a store: may see and change the jobs of all owners. No owner has this name."""


EVERY_TYPE = "*"
"""As the right to work: on jobs of all types. No type has this name."""


class Caller(NamedTuple):
    """Who makes a request, however it comes in: HTTP, a command, a handler, an embedding program."""

    owner: str
    """The owner of the jobs that this caller submits."""
    sees: str
    """The owner whose jobs this caller reads and changes, or `EVERY_OWNER`."""
    key_id: str | None = None
    """The API key that the request came with: its own quota counts what is submitted with it."""
    actor: Actor | None = None
    """Who the audit trail names for what this caller does; `None` leaves no entry."""
    works_on: frozenset[str] = frozenset()
    """The job types whose jobs this caller may do, for every owner; `EVERY_TYPE` stands for all types."""

    def may_work_on(self, job_type: str) -> bool:
        """Whether this caller may do jobs of the type, as a worker."""
        return job_type in self.works_on or EVERY_TYPE in self.works_on


LOCAL_CALLER = Caller(LOCAL_OWNER, LOCAL_OWNER, works_on=frozenset({EVERY_TYPE}))
"""The one user of a server without API keys."""


def may_see(caller: str, owner: str) -> bool:
    """Whether `caller`, an owner or `EVERY_OWNER`, may see the jobs of `owner`."""
    return caller in (owner, EVERY_OWNER)


KEY_PREFIX = "hwk_"
SESSION_PREFIX = "hws_"
TICKET_PREFIX = "hwt_"
LEASE_PREFIX = "hwl_"
TOKEN_BYTES = 32

_TOKEN = re.compile(r"hw[ks]_[A-Za-z0-9_-]{43}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key without the key itself. It is valid until it is revoked.

    Jobs that are submitted with it belong to `owner`. With a `read_only` key nothing can be submitted or changed; an
    `admin` key may see the jobs of all owners.
    """

    id: str
    name: str
    owner: str
    read_only: bool
    admin: bool
    created_at: datetime
    revoked_at: datetime | None = None
    works_on: frozenset[str] = frozenset()
    """The job types whose jobs a worker with this key may do, for every owner; `EVERY_TYPE` stands for all types."""

    @property
    def caller(self) -> Caller:
        """The caller of requests that bear this key."""
        return Caller(self.owner, EVERY_OWNER if self.admin else self.owner, self.id, None, self.works_on)


def new_token(prefix: str) -> str:
    """256 random bits as text. The prefix tells people and secret scanners what it is."""
    return prefix + secrets.token_urlsafe(TOKEN_BYTES)


def is_token(text: str, prefix: str) -> bool:
    """Whether `text` could have come from `new_token`."""
    return text.startswith(prefix) and _TOKEN.fullmatch(text) is not None


def digest(token: str) -> str:
    """The SHA-256 of a token in hexadecimal, which is all that is kept of it."""
    return hashlib.sha256(token.encode()).hexdigest()


def is_name(text: str) -> bool:
    """Whether `text` can name a key or an owner."""
    return _NAME.fullmatch(text) is not None
