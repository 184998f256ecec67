"""Shares of the connections: few for an address that has shown no key on them, and never all for one owner."""

import time
from collections.abc import Callable, Iterable
from typing import Generic, Protocol, TypeVar

PER_ADDRESS = 4
"""One address may have a quarter of all connections, until it shows a key on them."""
KEPT = 4
"""A quarter is kept for clients that have shown one."""
PER_OWNER = 2
"""One owner may have half of all."""
PER_TICKETS = 4
"""All who have tickets of one owner may have a quarter, apart from what the owner has."""
CLOSED_AT_ONCE = 20
SEARCH_AGAIN_S = 0.1


class Closable(Protocol):
    """What is counted: a connection."""

    @property
    def idle(self) -> bool: ...

    @property
    def idle_until_s(self) -> float: ...


Each = TypeVar("Each", bound=Closable)


class Shares(Generic[Each]):
    """Open connections by their holder, an address or an owner.

    A holder's idle connections make room for its new ones, and if all together have too many, so do everybody's.
    """

    def __init__(self, most: int, most_each: int, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._most = max(1, most)
        self._most_each = max(1, most_each)
        self._clock_s = clock_s
        self._holders: dict[Each, str] = {}
        self._by_holder: dict[str, dict[Each, None]] = {}
        self._searched_s: dict[str, float] = {}
        """When so few of a holder's connections were idle that the next search is delayed."""

    def __len__(self) -> int:
        return len(self._holders)

    def __contains__(self, connection: Each) -> bool:
        return connection in self._holders

    def holder(self, connection: Each) -> str | None:
        return self._holders.get(connection)

    def enter(self, connection: Each, holder: str) -> None:
        """Count it for this holder, and no longer for another."""
        self.leave(connection)
        self._holders[connection] = holder
        self._by_holder.setdefault(holder, {})[connection] = None

    def leave(self, connection: Each) -> None:
        holder = self._holders.pop(connection, None)
        if holder is not None:
            held = self._by_holder[holder]
            del held[connection]
            if not held:
                del self._by_holder[holder]
                self._searched_s.pop(holder, None)

    def is_full_for(self, holder: str) -> bool:
        """Whether this holder has as many as it may."""
        return len(self._by_holder.get(holder, ())) >= self._most_each

    def to_close(self, holder: str) -> list[Each]:
        """The connections to close before one of `holder` enters: the longest idle of this holder, or of all."""
        if self.is_full_for(holder):
            return self._idle_of(holder)
        if len(self._holders) >= self._most:
            return _longest_idle(self._holders, self._most)
        return []

    def _idle_of(self, holder: str) -> list[Each]:
        now_s = self._clock_s()
        if now_s - self._searched_s.get(holder, float("-inf")) < SEARCH_AGAIN_S:
            return []
        found = _longest_idle(self._by_holder[holder], self._most_each)
        if not found:
            self._searched_s[holder] = now_s
        return found


def _longest_idle(connections: Iterable[Each], most: int) -> list[Each]:
    """Several at once: a search for each new connection would cost more."""
    idle = sorted((each for each in connections if each.idle), key=lambda each: each.idle_until_s)
    return idle[: most // CLOSED_AT_ONCE + 1]


def newcomers(connections: int) -> Shares[Each]:
    """Those on which nobody has shown a valid key yet, by address, of `connections` that there may be in all.

    A connection leaves with its first valid key, so a client that has one is never short of them for long. One that has
    none is either idle, and makes room for the next, or has a request in progress, which ends soon: such requests are
    not served, or have small bodies and little time.
    """
    return Shares(connections - connections // KEPT, connections // PER_ADDRESS)


def owned(connections: int) -> Shares[Each]:
    """Those on which a key was shown, by the owner of the latest, of `connections` that there may be in all."""
    return Shares(connections, connections // PER_OWNER)


def ticketed(connections: int) -> Shares[Each]:
    """Those on which a ticket was shown last, by the owner whose it is, of `connections` that there may be in all.

    Owners give tickets to others, who must not be able to use up what the owners need themselves.
    """
    return Shares(connections, connections // PER_TICKETS)
