"""Rate limits per minute: what changes something and what reads much, by owner or address; sign-ins, by address.

Requests are counted in a sliding window whose previous minute is kept as one number, so a key costs two small entries
whatever its limit, and the entries of a minute are dropped together. The library `limits` was measured instead: it
keeps every address and scans all of them repeatedly (20,000 addresses block the loop for 10 ms).
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from math import floor
from typing import NamedTuple

from aiohttp import web

from ..problems import RATE_LIMITS, Problem
from .clients import CLIENTS

WINDOW_S = 60
SIGN_INS_PER_MINUTE = 120
"""By address, valid or not: each costs the server a body to parse."""
PARTS_PER_SUBMISSION = 5
"""Clients send a large file in parts of a few megabytes, of which a fast line takes some fifty a second."""
HELD_S = 1.0
MAX_HELD = 1_000
"""A list that is refused waits a second for its 429: it costs as much as a short list, and some clients do not wait."""
MAX_KEYS = 50_000
"""Per window. A flood from more addresses evicts the oldest entries, which gains it no more than more addresses do."""


class Standing(NamedTuple):
    """How much of a limit is left for a key. `wait_s`: if nothing is, the seconds until something will be."""

    left: int
    wait_s: int


class Rate:
    """At most `limit` times per minute for each key, as if those of the previous minute had been spread evenly."""

    def __init__(self, limit: int, clock_s: Callable[[], float] = time.monotonic, max_keys: int = MAX_KEYS) -> None:
        self.limit = limit
        self._clock_s = clock_s
        self._max_keys = max_keys
        self._window = 0
        self._before: dict[str, int] = {}
        self._now: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._before) + len(self._now)

    def standing(self, key: str) -> Standing:
        """What is left for `key`; counts nothing."""
        into_s = self._turn()
        before, now = self._before.get(key, 0), self._now.get(key, 0)
        left = self.limit - now - floor(before * (1 - into_s / WINDOW_S))
        return Standing(left, WINDOW_S) if left > 0 else Standing(0, self._wait_s(before, now, into_s))

    def count(self, key: str) -> None:
        """Count one request. Rejected ones are not counted, so a client that keeps trying is not locked out longer."""
        self._turn()
        self._now[key] = self._now.get(key, 0) + 1
        if len(self._now) > self._max_keys:
            del self._now[next(iter(self._now))]

    def _turn(self) -> float:
        """Move to the current window; the seconds since it began."""
        now_s = self._clock_s()
        window = int(now_s // WINDOW_S)
        if window != self._window:
            self._before = self._now if window == self._window + 1 else {}
            self._now = {}
            self._window = window
        return now_s - window * WINDOW_S

    def _wait_s(self, before: int, now: int, into_s: float) -> int:
        """Seconds until one more request is admitted: once enough of the previous minute, or of this one, is over."""
        room = self.limit - now
        if room >= 1:
            return max(1, floor(_until_fewer(before, room) - into_s) + 1)
        return floor(WINDOW_S - into_s + _until_fewer(now, self.limit)) + 1


def _until_fewer(count: int, most: int) -> float:
    """Seconds into the next window until fewer than `most` of these `count` requests weigh in it."""
    return max(0.0, WINDOW_S * (1 - most / count)) if count else 0.0


class _Counted(NamedTuple):
    """A request as it is counted: the policy's name, its rate and the key."""

    policy: str
    rate: Rate
    key: str


class _OwnersAndAddresses:
    """One kind of request, counted by owner and by address."""

    def __init__(self, name: str, per_minute: int, clock_s: Callable[[], float]) -> None:
        self.name = name
        self._by_owner = Rate(per_minute, clock_s)
        self._by_address = Rate(per_minute, clock_s)

    def counted(self, owner: str | None, address: str) -> list[_Counted]:
        by_address = _Counted(f"{self.name}-by-address", self._by_address, address)
        return [by_address] if owner is None else [_Counted(f"{self.name}-by-owner", self._by_owner, owner), by_address]


class Rates:
    """The rate limits of one server."""

    def __init__(
        self,
        *,
        submissions_per_minute: int,
        lists_per_minute: int,
        snapshots_per_minute: int,
        failed_sign_ins_per_minute: int,
        shared: bool,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Of submissions and of lists 0 is no limit. `shared`: whether other machines can reach the server."""
        self._limited = submissions_per_minute > 0
        self._lists_limited = lists_per_minute > 0
        self._lists = Rate(lists_per_minute, clock_s)
        self._snapshots = Rate(snapshots_per_minute, clock_s)
        self._held = 0
        self._submissions = _OwnersAndAddresses("submissions", submissions_per_minute, clock_s)
        self._redeliveries = _OwnersAndAddresses("redeliveries", submissions_per_minute, clock_s)
        self._edits = _OwnersAndAddresses("edits", submissions_per_minute, clock_s)
        self._tickets = _OwnersAndAddresses("tickets", submissions_per_minute, clock_s)
        self._claims = _OwnersAndAddresses("claims", submissions_per_minute, clock_s)
        self._parts = _OwnersAndAddresses("upload-parts", PARTS_PER_SUBMISSION * submissions_per_minute, clock_s)
        self._failed_sign_ins = Rate(failed_sign_ins_per_minute, clock_s)
        self._sign_ins = Rate(SIGN_INS_PER_MINUTE, clock_s)
        self._shared = shared

    def count_submission(self, request: web.Request, owner: str | None) -> None:
        """Raises `Problem` if the owner or the address has reached its limit. `owner`: whose key was presented, if any.

        A client without a key is not counted on a server that only this machine reaches, because nobody else uses it.
        Elsewhere clients without keys are counted by address alone; otherwise all of them would be one owner.
        """
        self._count_change(request, owner, self._submissions)

    def count_redelivery(self, request: web.Request, owner: str | None) -> None:
        """As `count_submission`, with the same limits: each of them makes the server send a request."""
        self._count_change(request, owner, self._redeliveries)

    def count_edit(self, request: web.Request, owner: str | None) -> None:
        """As `count_submission`, with the same limits: each is a commit, and has an entry in the audit trail."""
        self._count_change(request, owner, self._edits)

    def count_ticket(self, request: web.Request, owner: str | None) -> None:
        """As `count_submission`, with the same limits: each of them has an entry in the audit trail."""
        self._count_change(request, owner, self._tickets)

    def count_claim(self, request: web.Request, owner: str | None) -> None:
        """As `count_submission`, with the same limits, for workers that ask for a job."""
        self._count_change(request, owner, self._claims)

    def count_part(self, request: web.Request, owner: str | None) -> None:
        """As `count_submission`, with higher limits: each part of an upload is synced to disk."""
        self._count_change(request, owner, self._parts)

    def _count_change(self, request: web.Request, owner: str | None, changes: _OwnersAndAddresses) -> None:
        if self._limited and self._counts(owner):
            counted = changes.counted(owner, request.app[CLIENTS].of(request))
            _count(request, counted, f"The limit of {changes.name} per minute is reached.")

    def _counts(self, owner: str | None) -> bool:
        return owner is not None or self._shared

    async def count_list(self, request: web.Request, owner: str | None) -> None:
        """As `count_submission`, for what reads many jobs at once: by owner; clients without a key by address."""
        detail = "The limit of lists and statistics per minute is reached."
        await self._count_reading(request, owner, "lists", self._lists, detail)

    async def count_snapshot(self, request: web.Request, owner: str | None) -> None:
        """As `count_list`, for streams of many jobs. All that an owner may have open can reconnect within a minute."""
        detail = "The limit of streams of many jobs that are opened per minute is reached."
        await self._count_reading(request, owner, "snapshots", self._snapshots, detail)

    async def _count_reading(self, request: web.Request, owner: str | None, name: str, rate: Rate, detail: str) -> None:
        if not (self._lists_limited and self._counts(owner)):
            return
        key = request.app[CLIENTS].of(request) if owner is None else owner
        policy = f"{name}-by-{'address' if owner is None else 'owner'}"
        try:
            _count(request, [_Counted(policy, rate, f"{policy} {key}")], detail)
        except Problem:
            if self._held < MAX_HELD:
                self._held += 1
                try:
                    await asyncio.sleep(HELD_S)
                finally:
                    self._held -= 1
            raise

    def count_sign_in(self, request: web.Request) -> None:
        """Raises `Problem` if the address has reached its limit of attempts. Counted before the body is read."""
        if self._shared:
            counted = [_Counted("sign-ins", self._sign_ins, request.app[CLIENTS].of(request))]
            _count(request, counted, "The limit of sign-ins per minute from one address is reached.")

    def count_failed_sign_in(self, request: web.Request) -> None:
        """Raises `Problem` if the address has reached its limit of wrong keys.

        Called for wrong keys only: a client with a valid key is admitted whatever others send from the same address.
        """
        address = request.app[CLIENTS].of(request)
        counted = [_Counted("failed-sign-ins", self._failed_sign_ins, address)]
        _count(request, counted, "The limit of wrong keys per minute from one address is reached.")


RATES = web.AppKey("rates", Rates)


def _count(request: web.Request, counted: Sequence[_Counted], detail: str) -> None:
    """Count the request under each policy unless one is used up; the response reports what is left."""
    standings = [rate.standing(key) for _, rate, key in counted]
    wait_s = max((standing.wait_s for standing in standings if not standing.left), default=None)
    if wait_s is not None:
        request[RATE_LIMITS] = _headers(counted, standings)
        raise Problem("too-many-requests", detail, retry_after_s=wait_s)
    for _, rate, key in counted:
        rate.count(key)
    request[RATE_LIMITS] = _headers(counted, [rate.standing(key) for _, rate, key in counted])


def _headers(counted: Sequence[_Counted], standings: Sequence[Standing]) -> dict[str, str]:
    """draft-ietf-httpapi-ratelimit-headers-11, 3 and 4: structured fields (RFC 9651)."""
    return {
        "RateLimit-Policy": ", ".join(f'"{policy}";q={rate.limit};w={WINDOW_S}' for policy, rate, _ in counted),
        "RateLimit": ", ".join(
            f'"{policy}";r={standing.left};t={standing.wait_s}'
            for (policy, _, _), standing in zip(counted, standings, strict=True)
        ),
    }
