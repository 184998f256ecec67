"""Connections on which nobody has shown a valid key yet: few from one address, and never all that there are."""

from typing import Generic, Protocol, TypeVar

PER_ADDRESS = 4
"""One address may have a quarter of all connections, until it shows a key on them."""
KEPT = 4
"""A quarter is kept for clients that have shown one."""
CLOSED_AT_ONCE = 20


class Closable(Protocol):
    """What is counted: a connection."""

    @property
    def idle(self) -> bool: ...

    @property
    def idle_until_s(self) -> float: ...


Each = TypeVar("Each", bound=Closable)


class Newcomers(Generic[Each]):
    """The open connections without a key, by address.

    A connection leaves for good with its first valid key, so a client that has one is never short of them for long. One
    that has none is either idle, and makes room for the next, or has a request in progress, which ends soon: such
    requests are not served, or have small bodies and little time.
    """

    def __init__(self, connections: int) -> None:
        """`connections`: how many there may be, with and without a key."""
        self._most = max(1, connections - connections // KEPT)
        self._most_per_address = max(1, connections // PER_ADDRESS)
        self._addresses: dict[Each, str] = {}
        self._by_address: dict[str, dict[Each, None]] = {}

    def __len__(self) -> int:
        return len(self._addresses)

    def __contains__(self, connection: Each) -> bool:
        return connection in self._addresses

    def enter(self, connection: Each, address: str) -> None:
        self._addresses[connection] = address
        self._by_address.setdefault(address, {})[connection] = None

    def leave(self, connection: Each) -> None:
        address = self._addresses.pop(connection, None)
        if address is not None:
            of_address = self._by_address[address]
            del of_address[connection]
            if not of_address:
                del self._by_address[address]

    def is_full_for(self, address: str) -> bool:
        """Whether this address has as many as it may."""
        return len(self._by_address.get(address, ())) >= self._most_per_address

    def to_close(self, address: str) -> list[Each]:
        """The connections to close before one from `address` enters: the longest idle of this address, or of all."""
        if self.is_full_for(address):
            return self._longest_idle(self._by_address[address], self._most_per_address)
        if len(self._addresses) >= self._most:
            return self._longest_idle(self._addresses, self._most)
        return []

    def _longest_idle(self, connections: dict[Each, str] | dict[Each, None], most: int) -> list[Each]:
        """Several at once: a search for each new connection would cost more."""
        idle = sorted((each for each in connections if each.idle), key=lambda each: each.idle_until_s)
        return idle[: most // CLOSED_AT_ONCE + 1]
