"""`Clients`: the client that a request came from."""

from unittest.mock import Mock

import pytest
from aiohttp.test_utils import make_mocked_request
from headway.web.identity.clients import Clients
from hypothesis import given
from hypothesis import strategies as st

PROXIES = ("10.0.0.0/8", "fd00::/8", "::1")


def of(peer: str | None, *forwarded_for: str, proxies: tuple[str, ...] = PROXIES) -> str:
    transport = Mock()
    transport.get_extra_info = lambda name, default=None: (peer, 1234) if name == "peername" else default
    headers = [("X-Forwarded-For", value) for value in forwarded_for]
    return Clients(proxies).of(make_mocked_request("GET", "/", headers, transport=transport))


@pytest.mark.parametrize(
    ("peer", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_a_client_is_its_address_or_its_ipv6_network(peer: str, client: str) -> None:
    assert of(peer) == client
    assert Clients(PROXIES).of_peer(peer) == client
    assert of(peer, "203.0.113.9") == client, "no proxy that is trusted"


@pytest.mark.parametrize("peer", ["10.1.2.3", "::ffff:10.1.2.3", "fd00::1", "::1"])
def test_a_trusted_proxy_is_no_client(peer: str) -> None:
    assert Clients(PROXIES).of_peer(peer) is None


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("::ffff:10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("::1", ["2001:db8::1"], "2001:db8::/64"),
        ("10.0.0.1", ["203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        ("10.0.0.1", ["203.0.113.9", "10.0.0.2, fd00::7"], "203.0.113.9"),
        ("10.0.0.1", ["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["10.0.0.3, 203.0.113.9 ,10.0.0.2"], "203.0.113.9"),
        ("10.0.0.1", ["203.0.113.9:4711"], "203.0.113.9"),
        ("10.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::/64"),
        ("10.0.0.1", ["::ffff:203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["10.0.0.9"], "10.0.0.9"),
        ("10.0.0.1", [], "10.0.0.1"),
    ],
)
def test_the_addresses_that_trusted_proxies_report_are_used(peer: str, forwarded_for: list[str], client: str) -> None:
    assert of(peer, *forwarded_for) == client


@pytest.mark.parametrize(
    ("forwarded_for", "client"),
    [
        ("", "10.0.0.1"),
        (",,,", "10.0.0.1"),
        ("unknown", "10.0.0.1"),
        ("203.0.113.9, unknown", "10.0.0.1"),
        ("203.0.113.9, _hidden, 10.0.0.2", "10.0.0.2"),
        ("203.0.113.9.example", "10.0.0.1"),
        ("[2001:db8::1", "2001:db8::/64"),
        ("0x7f.1", "10.0.0.1"),
        ("203.0.113.9\x00", "10.0.0.1"),
        ("203.0.113.9, " * 5_000 + "10.0.0.2", "203.0.113.9"),
        (", ".join(["10.0.0.2"] * 5_000), "10.0.0.2"),
    ],
)
def test_a_malformed_forwarded_header_is_ignored(forwarded_for: str, client: str) -> None:
    assert of("10.0.0.1", forwarded_for) == client


@given(st.text(st.characters(codec="latin-1", exclude_categories=["Cc"])))
def test_no_forwarded_header_is_an_error(forwarded_for: str) -> None:
    assert of("10.0.0.1", forwarded_for)
