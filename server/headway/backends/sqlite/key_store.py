"""The embedded `KeyStore`: all keys and sessions are in memory, and on disk before they are valid."""

import secrets
import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any, Self

from ...clock import utc_now
from ...domain.access import ApiKey
from ...domain.audit import Action, Actor, Entry
from ...domain.instants import to_ms
from ...errors import KeyNameTakenError, KeyNotFoundError
from ...ports.events import Bell, EventHub
from ...quotas import Holder, Quota
from ..memory.quotas import Quotas
from ..mending import Mending
from .database import Database
from .queue import parking
from .statements import SQL
from .transaction import Transaction

SECRET_BYTES = 32
MOST_SESSIONS_PER_KEY = 1_000
"""Sessions are held in memory, and a client with a key can open them as fast as it likes."""


class SqliteKeyStore:
    """Beside the store, on the same database. Open it with `SqliteKeyStore.open`."""

    def __init__(self, database: Database, hub: EventHub, quotas: Quotas) -> None:
        self._database = database
        self._quotas = quotas
        self._hub = hub
        self._valid: dict[str, ApiKey] = {}
        self._by_sha256: dict[str, ApiKey] = {}
        self._sessions: dict[str, tuple[str, datetime]] = {}
        self._sessions_of: defaultdict[str, dict[str, None]] = defaultdict(dict)  # by key, oldest first
        self._secret: bytes | None = None

    @classmethod
    async def open(cls, database: Database, hub: EventHub, quotas: Quotas) -> Self:
        """Read all valid keys and sessions, and all quotas. Raises `StoreUnavailableError`."""
        keys = cls(database, hub, quotas)
        found = {(holder, name): Quota(*limits) for holder, name, *limits in await database.all(SQL["quotas"], {})}
        for (holder, name), quota in found.items():
            keys._set_quota(holder, name, quota)
        running = [(holder, quota.running) for holder, quota in found.items()]
        await database.write(partial(parking.load, limits=running), lambda _: None)
        while await database.write(parking.tidy_all, bool):
            pass
        for *fields, sha256 in await keys._database.all(SQL["api_keys"], {}):
            key = _to_key(*fields)
            if key.revoked_at is None:
                keys._admit(key, sha256)
        for sha256, key_id, expires_at in await keys._database.all(SQL["sessions"], {}):
            mend = Mending("sessions", key_id)
            keys._remember(sha256, key_id, mend.instant("expires_at", expires_at))
            mend.report()
        return keys

    def _admit(self, key: ApiKey, sha256: str) -> None:
        self._valid[key.id] = key
        self._by_sha256[sha256] = key

    # Keys

    async def add(self, key: ApiKey, sha256: str, quota: Quota | None = None, by: Actor | None = None) -> None:
        where: dict[str, Any] = {
            "id": key.id,
            "sha256": sha256,
            "name": key.name,
            "owner": key.owner,
            "read_only": int(key.read_only),
            "admin": int(key.admin),
            "created_at": to_ms(key.created_at),
            "works_on": " ".join(sorted(key.works_on)),
        }

        def operation(tx: Transaction) -> bool:
            try:
                tx.execute(SQL["insert_api_key"], where)
            except sqlite3.IntegrityError:
                return False
            _write_quota(tx, "key", key.id, quota)
            if by is not None:
                entry = Entry(key.created_at, by, Action.CREATE_KEY, key.owner, key.id)
                tx.audit(entry if quota is None else entry._replace(detail=str(quota)))
            return True

        def committed(added: bool) -> bool:
            if added:
                self._admit(key, sha256)
                self._quotas.set_key_quota(key.id, quota)
            return added

        if not await self._database.write(operation, committed):
            raise KeyNameTakenError(f"there is already a key {key.name!r}: revoke it first, or choose another name")

    async def all(self) -> Sequence[ApiKey]:
        return [_to_key(*fields) for *fields, _ in await self._database.all(SQL["api_keys"], {})]

    async def revoke(self, name: str, now: datetime, by: Actor | None = None) -> None:
        def operation(tx: Transaction) -> str | None:
            rows = tx.execute(SQL["revoke_api_key"], {"name": name, "now": to_ms(now)}).fetchall()
            if not rows:
                return None
            key_id: str = rows[0][0]
            tx.execute(SQL["delete_sessions_of_key"], {"key_id": key_id})
            if by is not None:
                tx.audit(Entry(now, by, Action.REVOKE_KEY, rows[0][1], key_id))
            return key_id

        def committed(key_id: str | None) -> bool:
            if key_id is None:
                return False
            del self._valid[key_id]
            self._by_sha256 = {sha256: key for sha256, key in self._by_sha256.items() if key.id != key_id}
            for sha256 in self._sessions_of.pop(key_id, {}):
                del self._sessions[sha256]
            self._hub.ring(Bell.REVOKED, key_id)
            return True

        if not await self._database.write(operation, committed):
            raise KeyNotFoundError(f"there is no valid key {name!r}: `keys list` shows all keys")

    async def set_quota(self, name: str, quota: Quota | None, by: Actor | None = None) -> None:
        key = next((key for key in self._valid.values() if key.name == name), None)
        if key is None:
            raise KeyNotFoundError(f"there is no valid key {name!r}: `keys list` shows all keys")
        entry = None if by is None else Entry(utc_now(), by, Action.SET_QUOTA, key.owner, key.id)
        await self._record_quota("key", key.id, quota, entry)

    async def set_owner_quota(self, owner: str, quota: Quota | None, by: Actor | None = None) -> None:
        entry = None if by is None else Entry(utc_now(), by, Action.SET_QUOTA, owner)
        await self._record_quota("owner", owner, quota, entry)

    async def _record_quota(self, holder: Holder, name: str, quota: Quota | None, entry: Entry | None) -> None:
        """Set a quota; `entry` is completed with what it was and is."""

        def operation(tx: Transaction) -> None:
            before = _write_quota(tx, holder, name, quota)
            if entry is not None:
                tx.audit(entry._replace(detail=f"{_shown(holder, before)} -> {_shown(holder, quota)}"))

        await self._database.write(operation, lambda _: self._set_quota(holder, name, quota))
        while await self._database.write(partial(parking.tidy, kind=holder, name=name), bool):
            pass

    def _set_quota(self, holder: str, name: str, quota: Quota | None) -> None:
        if holder == "key":
            self._quotas.set_key_quota(name, quota)
        else:
            self._quotas.set_owner_quota(name, quota)

    async def any_valid(self) -> bool:
        return bool(self._valid)

    async def find(self, sha256: str) -> ApiKey | None:
        return self._by_sha256.get(sha256)

    async def get(self, key_id: str) -> ApiKey | None:
        return self._valid.get(key_id)

    # Sessions

    async def open_session(self, sha256: str, key: ApiKey, expires_at: datetime, by: Actor | None = None) -> None:
        where: dict[str, Any] = {"sha256": sha256, "key_id": key.id, "expires_at": to_ms(expires_at)}

        oldest = list(self._sessions_of.get(key.id, {}))[: 1 - MOST_SESSIONS_PER_KEY]

        def operation(tx: Transaction) -> None:
            tx.executemany(SQL["delete_session"], [{"sha256": each} for each in oldest])
            tx.execute(SQL["insert_session"], where)
            if by is not None:
                tx.audit(Entry(utc_now(), by, Action.SIGN_IN, key.owner))

        def committed(_: None) -> None:
            for each in oldest:
                self._forget(each)
            if key.id in self._valid:
                self._remember(sha256, key.id, expires_at)

        await self._database.write(operation, committed)

    async def find_session(self, sha256: str, now: datetime) -> ApiKey | None:
        key_id, expires_at = self._sessions.get(sha256, ("", now))
        return self._valid.get(key_id) if expires_at > now else None

    def _remember(self, sha256: str, key_id: str, expires_at: datetime) -> None:
        self._sessions[sha256] = (key_id, expires_at)
        self._sessions_of[key_id][sha256] = None

    def _forget(self, sha256: str) -> None:
        key_id, _ = self._sessions.pop(sha256, (None, None))
        if key_id is not None:
            of_key = self._sessions_of[key_id]
            del of_key[sha256]
            if not of_key:
                del self._sessions_of[key_id]
            self._hub.ring(Bell.REVOKED, sha256)

    async def end_session(self, sha256: str, by: Actor | None = None) -> None:
        def committed(_: object) -> None:
            self._forget(sha256)

        def operation(tx: Transaction) -> None:
            ended = tx.execute(SQL["delete_session"], {"sha256": sha256}).rowcount
            if ended and by is not None:
                tx.audit(Entry(utc_now(), by, Action.SIGN_OUT, by.owner))

        await self._database.write(operation, committed)

    async def forget_sessions(self, now: datetime, limit: int) -> int:
        def operation(tx: Transaction) -> list[str]:
            where: dict[str, Any] = {"now": to_ms(now), "limit": limit}
            return [row[0] for row in tx.execute(SQL["forget_sessions"], where).fetchall()]

        def committed(forgotten: list[str]) -> int:
            for sha256 in forgotten:
                self._forget(sha256)
            return len(forgotten)

        return await self._database.write(operation, committed)

    # The server's secret

    async def secret(self) -> bytes:
        if self._secret is None:
            self._secret = await self._database.write(_secret, bytes)
        return self._secret


def _write_quota(tx: Transaction, holder: Holder, name: str, quota: Quota | None) -> Quota | None:
    """Returns the quota until now."""
    where: dict[str, Any] = {"holder": holder, "name": name}
    before = tx.execute(SQL["quota"], where).fetchone()
    if quota is None:
        tx.execute(SQL["delete_quota"], where)
    else:
        tx.execute(SQL["set_quota"], where | quota._asdict())
    parking.set_limit(tx, holder, name, None if quota is None else quota.running, own=quota is not None)
    return None if before is None else Quota(*before)


def _shown(holder: Holder, quota: Quota | None) -> str:
    """A quota in an operator's words."""
    return ("default" if holder == "owner" else "none") if quota is None else str(quota)


def _secret(tx: Transaction) -> bytes:
    """The recorded secret. The first call records one."""
    tx.execute(SQL["insert_server_secret"], {"secret": secrets.token_bytes(SECRET_BYTES)})
    secret: bytes = tx.execute(SQL["server_secret"]).fetchone()[0]
    return secret


def _to_key(
    id: str, name: str, owner: str, read_only: int, admin: int, created_at: int, revoked_at: int | None, works_on: str
) -> ApiKey:
    mend = Mending("api_keys", id)
    key = ApiKey(
        id=mend.text("id", id),
        name=mend.text("name", name),
        owner=mend.text("owner", owner),
        read_only=bool(mend.whole("read_only", read_only, otherwise=1)),
        admin=bool(mend.whole("admin", admin)),
        created_at=mend.instant("created_at", created_at),
        revoked_at=None if revoked_at is None else mend.instant("revoked_at", revoked_at),
        works_on=frozenset(mend.text("works_on", works_on).split()),
    )
    mend.report()
    return key
