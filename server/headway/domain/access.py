"""Who may ask for what: API keys, sessions, and whose jobs a caller sees. Pure."""

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

LOCAL_OWNER = "local"
"""Whose jobs these are where no API key is needed: the one user of this machine."""

EVERY_OWNER = "*"
"""As a caller: one who sees and changes the jobs of all owners. No owner has this name."""


class Caller(NamedTuple):
    """Who asks for something, whichever way the request came in: HTTP, a command, a handler, an embedding program."""

    owner: str
    """Whose a job is that this caller submits."""
    sees: str
    """Whose jobs this caller reads and changes: an owner's, or those of all (`EVERY_OWNER`)."""


LOCAL_CALLER = Caller(LOCAL_OWNER, LOCAL_OWNER)
"""The one user of a server that needs no API key."""


def may_see(caller: str, owner: str) -> bool:
    """Whether the jobs of `owner` are there for `caller`."""
    return caller in (owner, EVERY_OWNER)


KEY_PREFIX = "hwk_"
SESSION_PREFIX = "hws_"
TICKET_PREFIX = "hwt_"
TOKEN_BYTES = 32

_TOKEN = re.compile(r"hw[ks]_[A-Za-z0-9_-]{43}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is known of a key: everything but the key. In force until it is revoked.

    Its jobs are `owner`'s. A `read_only` one submits and changes nothing, an `admin` one sees the jobs of all owners.
    """

    id: str
    name: str
    owner: str
    read_only: bool
    admin: bool
    created_at: datetime
    revoked_at: datetime | None = None

    @property
    def caller(self) -> Caller:
        """Who asks with this key."""
        return Caller(self.owner, EVERY_OWNER if self.admin else self.owner)


def new_token(prefix: str) -> str:
    """256 random bits as text. The prefix tells people, and those who scan for secrets, what it is."""
    return prefix + secrets.token_urlsafe(TOKEN_BYTES)


def is_token(text: str, prefix: str) -> bool:
    """Whether `text` could have come from `new_token`."""
    return text.startswith(prefix) and _TOKEN.fullmatch(text) is not None


def digest(token: str) -> str:
    """What is kept of a token: its SHA-256, in hexadecimal."""
    return hashlib.sha256(token.encode()).hexdigest()


def is_name(text: str) -> bool:
    """Whether `text` can name a key or an owner."""
    return _NAME.fullmatch(text) is not None
