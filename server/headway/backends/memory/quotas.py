"""Quotas, and how full they are. Kept in memory, in step with the counts that the record holds.

What is on its way to the disk is held: it counts as if it were there, so that of many submissions within one commit,
or of many uploads at once, no more are accepted than fit.
"""

from collections.abc import Iterable, Mapping

from ...domain.jobs import Status
from ...errors import QuotaExceededError, StorageQuotaExceededError
from ...quotas import NO_QUOTA, Account, Holder, Measure, Quota, Used

RETRY_WHEN_QUEUED_S = 10
RETRY_WHEN_KEPT_S = 60

CountKey = tuple[str, str, str, str]
"""Owner, id of the key or `NO_KEY`, job type, state: what jobs are counted by."""
Change = tuple[int, int]
"""How many more jobs there are, and how many more bytes they keep."""
NO_KEY = ""
"""In place of a key's id, of jobs that were submitted without one."""


class _Holding:
    """What one owner, or one key, has."""

    __slots__ = ("bytes", "held_bytes", "held_jobs", "jobs", "queued", "quota", "reserved_bytes", "running")

    def __init__(self) -> None:
        self.quota: Quota | None = None
        self.jobs = self.bytes = self.queued = self.running = 0
        self.held_jobs = self.held_bytes = 0
        self.reserved_bytes = 0
        """Of resumable uploads, which no job has taken yet."""

    @property
    def used(self) -> Used:
        return Used(self.jobs, self.bytes + self.reserved_bytes, self.queued, self.running)


class Hold:
    """Room that is held until `release`, for a submission on its way or for the output of a job that ends."""

    def __init__(self, holdings: Iterable[tuple[Holder, _Holding, Quota]] = ()) -> None:
        self._holdings = tuple(holdings)
        self._jobs = self._bytes = 0

    def grow(self, more_bytes: int, more_jobs: int = 0) -> None:
        """Hold more. Raises `QuotaExceededError` if a quota has no room for it; then nothing more is held."""
        self.check(more_bytes, more_jobs)
        for _, holding, _ in self._holdings:
            holding.held_bytes += more_bytes
            holding.held_jobs += more_jobs
        self._bytes += more_bytes
        self._jobs += more_jobs

    def check(self, more_bytes: int, more_jobs: int = 0) -> None:
        """Raises `QuotaExceededError` as `grow` would."""
        for holder, holding, quota in self._holdings:
            if more_jobs:
                _check_count(holder, "jobs", quota.jobs, holding.jobs + holding.held_jobs, RETRY_WHEN_KEPT_S)
                _check_count(holder, "queued", quota.queued, holding.queued + holding.held_jobs, RETRY_WHEN_QUEUED_S)
            used_bytes = holding.bytes + holding.reserved_bytes + holding.held_bytes
            if quota.bytes is not None and used_bytes + more_bytes > quota.bytes:
                raise StorageQuotaExceededError(holder, "bytes", quota.bytes, used_bytes)

    def release(self) -> None:
        """Hold nothing any more: what was held is counted now, or was refused."""
        for _, holding, _ in self._holdings:
            holding.held_bytes -= self._bytes
            holding.held_jobs -= self._jobs
        self._holdings = ()


class Reservation:
    """The bytes of a resumable upload: counted as used until `release`, with a quota or without."""

    def __init__(self, holdings: Iterable[_Holding], size_bytes: int) -> None:
        self._holdings = tuple(holdings)
        self._bytes = size_bytes
        for holding in self._holdings:
            holding.reserved_bytes += size_bytes

    def release(self) -> None:
        """Count it no longer. May be called twice."""
        for holding in self._holdings:
            holding.reserved_bytes -= self._bytes
        self._holdings = ()


def _check_count(holder: Holder, quota: Measure, limit: int | None, used: int, retry_after_s: int) -> None:
    if limit is not None and used >= limit:
        raise QuotaExceededError(holder, quota, limit, used, retry_after_s=retry_after_s)


UNLIMITED = Hold()
"""The hold of those without a quota: it holds nothing."""


class Quotas:
    """The quotas of owners and keys. Changed in commit order, in the loop's thread."""

    def __init__(self, default: Quota = NO_QUOTA) -> None:
        """`default`: the quota of every owner who has none of their own."""
        self.default = NO_QUOTA if default == NO_QUOTA else default
        self._owners: dict[str, _Holding] = {}
        self._keys: dict[str, _Holding] = {}
        self._with_own = 0

    # What there is

    def count(self, changes: Mapping[CountKey, Change]) -> None:
        """Add what a transaction has changed."""
        for (owner, key_id, _, status), (jobs, size_bytes) in changes.items():
            self._add(_of(self._owners, owner), status, jobs, size_bytes)
            if key_id != NO_KEY:
                self._add(_of(self._keys, key_id), status, jobs, size_bytes)

    def _add(self, holding: _Holding, status: str, jobs: int, size_bytes: int) -> None:
        holding.jobs += jobs
        holding.bytes += size_bytes
        if status == Status.QUEUED:
            holding.queued += jobs
        elif status == Status.RUNNING:
            holding.running += jobs

    # How much there may be

    def set_owner_quota(self, owner: str, quota: Quota | None) -> None:
        """Give an owner a quota in place of the default; `None`: the default again."""
        self._set(_of(self._owners, owner), quota)

    def set_key_quota(self, key_id: str, quota: Quota | None) -> None:
        """Give a key a quota of its own, or none."""
        self._set(_of(self._keys, key_id), quota)

    def _set(self, holding: _Holding, quota: Quota | None) -> None:
        self._with_own += (quota is not None) - (holding.quota is not None)
        holding.quota = quota

    def hold(self, owner: str, key_id: str | None) -> Hold:
        """A hold that is still empty, for what belongs to `owner` and was submitted with the key, if with any."""
        if not self._with_own and self.default is NO_QUOTA:
            return UNLIMITED
        owned = _of(self._owners, owner)
        holdings: list[tuple[Holder, _Holding, Quota]] = []
        if (quota := self.default if owned.quota is None else owned.quota) != NO_QUOTA:
            holdings.append(("owner", owned, quota))
        if key_id is not None and (of_key := self._keys.get(key_id)) is not None and of_key.quota is not None:
            holdings.append(("key", of_key, of_key.quota))
        return Hold(holdings) if holdings else UNLIMITED

    def reserve(self, owner: str, key_id: str | None, size_bytes: int, *, checked: bool) -> Reservation:
        """Count these bytes as used. If `checked`, raises `StorageQuotaExceededError` where they do not fit."""
        if checked:
            self.hold(owner, key_id).check(size_bytes)
        of_key = () if key_id is None else (_of(self._keys, key_id),)
        return Reservation((_of(self._owners, owner), *of_key), size_bytes)

    # How full they are

    def of_owner(self, owner: str) -> Account:
        """The owner's quota, and how much of it is used."""
        holding = self._owners.get(owner)
        if holding is None:
            return Account(self.default, Used())
        return Account(self.default if holding.quota is None else holding.quota, holding.used)

    def of_key(self, key_id: str) -> Account:
        """The key's own quota, and how much of it is used."""
        holding = self._keys.get(key_id)
        return Account(NO_QUOTA, Used()) if holding is None else Account(holding.quota or NO_QUOTA, holding.used)

    def owners(self) -> list[str]:
        """The owners who keep a job or an upload, or have a quota of their own."""
        return sorted(
            owner for owner, held in self._owners.items() if held.jobs or held.reserved_bytes or held.quota is not None
        )


def _of(holdings: dict[str, _Holding], name: str) -> _Holding:
    found = holdings.get(name)
    if found is None:
        found = holdings[name] = _Holding()
    return found
