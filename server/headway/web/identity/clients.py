"""The client that a request came from, by which streams, submissions and failed sign-ins are counted."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from aiohttp import web

FORWARDED_FOR = "X-Forwarded-For"
MAX_HOPS = 20
SITE_PREFIX = 64
"""A client with one IPv6 address has 2^64 of them (RFC 6177), so they count as one."""

Address = IPv4Address | IPv6Address


class Clients:
    """Finds a request's client: its peer, or the address that trusted proxies report."""

    def __init__(self, trusted_proxies: Iterable[str]) -> None:
        """`trusted_proxies`: addresses and networks (CIDR) whose `X-Forwarded-For` is trusted."""
        self._trusted: tuple[IPv4Network | IPv6Network, ...] = tuple(ip_network(proxy) for proxy in trusted_proxies)

    def of(self, request: web.BaseRequest) -> str:
        """An IPv4 address, an IPv6 network, or the peer as it is.

        The header is read from the right, where the nearest proxy wrote, up to the first address that is not a trusted
        proxy. Anything further left, or unreadable, may be forged by the client.
        """
        peer = request.remote or ""
        if not self._trusted:
            return _counted_as(peer)
        found = _address(peer)
        if found is None or not self._trusts(found):
            return _counted_as(peer)
        hops = ",".join(request.headers.getall(FORWARDED_FOR, ())).rsplit(",", MAX_HOPS)
        for hop in reversed(hops[-MAX_HOPS:]):
            named = _address(hop)
            if named is None:
                break
            found = named
            if not self._trusts(named):
                break
        return _counted_as(str(found))

    def through_proxy(self, request: web.BaseRequest) -> bool:
        """Whether the request came through a trusted proxy."""
        return bool(self._trusted) and (found := _address(request.remote or "")) is not None and self._trusts(found)

    def of_peer(self, peer: str) -> str | None:
        """The client of a connection, before any request; `None` if it is a trusted proxy, which may have many."""
        found = _address(peer)
        return None if found is not None and self._trusts(found) else _counted_as(peer)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


CLIENTS = web.AppKey("clients", Clients)


@lru_cache(maxsize=4096)
def _counted_as(address: str) -> str:
    found = _address(address)
    if isinstance(found, IPv6Address):
        return str(IPv6Network((int(found), SITE_PREFIX), strict=False))
    return address if found is None else str(found)


def _address(text: str) -> Address | None:
    """The address of '192.0.2.1', '192.0.2.1:8080', '2001:db8::1' or '[2001:db8::1]:8080'; IPv4 also if mapped."""
    host = text.strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        found = ip_address(host)
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found
