"""Which addresses outgoing requests may go to: those of the public internet, and the operator's exceptions.

Clients choose the URLs of webhooks, and the server can reach what they cannot: databases, metadata services, itself. So
every address outside the public internet is refused. The list is written out, because `ipaddress.is_global` differs
between versions of Python and counts multicast, NAT64, 6to4 and the special addresses of clouds as public.
"""

import re
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import NamedTuple

from ..errors import SetupError

ALLOW_SETTING = "HEADWAY_WEBHOOK_ALLOW"

Network = IPv4Network | IPv6Network

_NOT_ALLOCATED = "not allocated for the public internet (RFC 4291, IANA)"

REFUSED: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(network), what)
    for network, what in (
        # https://www.iana.org/assignments/iana-ipv4-special-registry
        ("0.0.0.0/8", "unspecified (RFC 791)"),
        ("10.0.0.0/8", "private (RFC 1918)"),
        ("100.64.0.0/10", "shared behind a provider's NAT (RFC 6598)"),  # 100.100.100.200: Alibaba's metadata
        ("127.0.0.0/8", "loopback (RFC 1122)"),
        ("169.254.0.0/16", "link-local (RFC 3927)"),  # 169.254.169.254: metadata of most clouds
        ("172.16.0.0/12", "private (RFC 1918)"),
        ("192.0.0.0/24", "reserved for protocols (RFC 6890)"),  # 192.0.0.192: Oracle's metadata
        ("192.0.2.0/24", "documentation (RFC 5737)"),
        ("192.88.99.0/24", "a 6to4 relay (RFC 7526)"),
        ("192.168.0.0/16", "private (RFC 1918)"),
        ("198.18.0.0/15", "benchmarking (RFC 2544)"),
        ("198.51.100.0/24", "documentation (RFC 5737)"),
        ("203.0.113.0/24", "documentation (RFC 5737)"),
        ("224.0.0.0/4", "multicast (RFC 5771)"),
        ("240.0.0.0/4", "reserved (RFC 1112)"),  # 255.255.255.255, broadcast, too
        ("168.63.129.16/32", "Azure's platform (learn.microsoft.com: What is IP address 168.63.129.16?)"),
        # https://www.iana.org/assignments/iana-ipv6-special-registry
        ("::/128", "unspecified (RFC 4291)"),
        ("::1/128", "loopback (RFC 4291)"),
        ("::/96", "IPv4-compatible (RFC 4291)"),
        ("::ffff:0:0/96", "IPv4-mapped (RFC 4291)"),
        ("::ffff:0:0:0/96", "IPv4-translated (RFC 2765)"),
        ("64:ff9b::/96", "NAT64 (RFC 6052)"),
        ("64:ff9b:1::/48", "NAT64 of a private network (RFC 8215)"),
        ("100::/64", "discarded (RFC 6666)"),
        ("100:0:0:1::/64", "a dummy prefix (RFC 9780)"),
        ("2001::/32", "Teredo (RFC 4380)"),
        ("2001::/23", "reserved for protocols (RFC 2928)"),
        ("2001:db8::/32", "documentation (RFC 3849)"),
        ("2002::/16", "6to4 (RFC 3056)"),
        ("3ffe::/16", "returned to IANA (RFC 3701)"),
        ("3fff::/20", "documentation (RFC 9637)"),
        ("5f00::/16", "segment routing (RFC 9602)"),
        ("fc00::/7", "unique-local (RFC 4193)"),  # fd00:ec2::254 and fd20:ce::254: metadata of AWS and Google
        ("fe80::/10", "link-local (RFC 4291)"),
        ("fec0::/10", "site-local (RFC 3879)"),
        ("ff00::/8", "multicast (RFC 4291)"),
        # All but 2000::/3, from which public addresses are allocated:
        # https://www.iana.org/assignments/ipv6-address-space
        ("::/3", _NOT_ALLOCATED),
        ("4000::/2", _NOT_ALLOCATED),
        ("8000::/1", _NOT_ALLOCATED),
    )
)
"""Networks that no request goes to, and what they are. The first one that contains an address describes it."""


def refusal(address: str) -> str | None:
    """Why the address is refused, for example 'loopback (RFC 1122)'; `None` for the public internet's.

    Raises `ValueError` for anything but an IP address in its usual form. A scope (`fe80::1%eth0`) is ignored.
    """
    ip = ip_address(address)
    return next((what for network, what in REFUSED if ip in network), None)


class AllowList:
    """The operator's exceptions from `REFUSED`: addresses and networks, each for all ports or for one."""

    def __init__(self, entries: Iterable[str] = ()) -> None:
        """`entries`: '10.1.2.3', '10.0.0.0/8', '10.1.2.3:8080', 'fd00::/8', '[fd00::1]:8080'. Raises `SetupError`."""
        self._exceptions = tuple(_exception(entry) for entry in entries)

    def excepts(self, address: str, port: int) -> bool:
        """Whether there is an exception for this address and port. Raises `ValueError` as `refusal` does."""
        ip = ip_address(address)
        return any(ip in network and only_port in (None, port) for network, only_port in self._exceptions)

    def refusal(self, address: str, port: int) -> str | None:
        """Why no request may go there; `None` if it may. Raises `ValueError` as `refusal` does."""
        what = refusal(address)
        return None if what is None or self.excepts(address, port) else what


class _Exception(NamedTuple):
    network: Network
    port: int | None


_ENTRY = re.compile(
    r"(?: (?P<v4>[0-9./]+) | \[(?P<bracketed>[0-9a-f:./]+)\] ) (?: :(?P<port>[0-9]{1,5}) )? | (?P<v6>[0-9a-f:./]+)",
    re.ASCII | re.IGNORECASE | re.VERBOSE,
)


def _exception(entry: str) -> _Exception:
    found = _ENTRY.fullmatch(entry)
    if found is None:
        raise _malformed(entry, "write an IP address or a network (CIDR), followed by a port if only one is allowed")
    port = None if found["port"] is None else int(found["port"])
    if port is not None and not 1 <= port <= 65_535:  # noqa: PLR2004 - the range of ports
        raise _malformed(entry, "a port must be 1 to 65535")
    try:
        return _Exception(ip_network(found["v4"] or found["bracketed"] or found["v6"]), port)
    except ValueError as error:  # 'has host bits set', among others
        raise _malformed(entry, str(error)) from None


def _malformed(entry: str, reason: str) -> SetupError:
    return SetupError(f"{ALLOW_SETTING}: {entry!r}: {reason}")
