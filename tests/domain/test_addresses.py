"""`AllowList` and `refusal`: the addresses that requests may go to."""

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from headway.domain.addresses import REFUSED, AllowList, refusal
from headway.errors import SetupError
from hypothesis import given
from hypothesis import strategies as st

SPECIAL = {
    "unspecified": ["0.0.0.0", "0.255.255.255", "::"],  # noqa: S104 - nothing is bound
    "loopback": ["127.0.0.1", "127.255.255.254", "::1"],
    "private (": ["10.0.0.0", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "192.168.255.255"],
    "shared": ["100.64.0.0", "100.100.100.200", "100.127.255.255"],
    "link-local": ["169.254.0.1", "169.254.169.254", "169.254.170.2", "fe80::1", "fe80::1%eth0", "febf::1"],
    "protocols": ["192.0.0.9", "192.0.0.192", "2001:2::1", "2001:10::1", "2001:20::1", "2001:1ff::1"],
    "documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.255", "2001:db8::1", "3fff::1"],
    "6to4": ["192.88.99.1", "2002:7f00:1::", "2002:808:808::1"],
    "benchmarking": ["198.18.0.1", "198.19.255.255"],
    "multicast": ["224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1"],
    "reserved": ["240.0.0.1", "255.255.255.255"],
    "Azure": ["168.63.129.16"],
    "IPv4-mapped": ["::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:7f00:1"],
    "IPv4-compatible": ["::127.0.0.1", "::8.8.8.8"],
    "IPv4-translated": ["::ffff:0:127.0.0.1"],
    "NAT64 (": ["64:ff9b::7f00:1", "64:ff9b::10.0.0.1"],
    "NAT64 of": ["64:ff9b:1::1", "64:ff9b:1:ffff::10.0.0.1"],
    "Teredo": ["2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2"],
    "unique-local": ["fc00::1", "fd00:ec2::254", "fd20:ce::254", "fdff::1"],
    "site-local": ["fec0::1", "feff::1"],
    "discarded": ["100::1"],
    "dummy": ["100:0:0:1::1"],
    "returned to IANA": ["3ffe::1"],
    "segment routing": ["5f00::1"],
    "not allocated": ["200::1", "1fff::1", "4000::1", "7fff::1", "8000::1", "e000::1", "fb00::1", "fe00::1"],
}


@pytest.mark.parametrize(
    ("word", "address"), [(word, address) for word, addresses in SPECIAL.items() for address in addresses]
)
def test_an_address_that_is_not_public_is_refused_with_its_kind(word: str, address: str) -> None:
    assert word in (refusal(address) or "public")


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255",
        "128.0.0.0", "168.63.129.15", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0",
        "192.0.1.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255",
        "2000::1", "2001:200::1", "2001:4860:4860::8888", "2003::1", "2606:4700::1111", "3fff:1000::1",
    ],
)  # fmt: skip
def test_a_public_address_is_not_refused(address: str) -> None:
    assert refusal(address) is None


@given(st.ip_addresses())
def test_every_address_that_python_considers_special_is_refused(ip: IPv4Address | IPv6Address) -> None:
    special = (
        ip.is_private or ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_reserved or ip.is_unspecified
    )  # fmt: skip
    if special:
        assert refusal(str(ip))


@given(st.ip_addresses(v=6))
def test_no_ipv6_address_outside_global_unicast_is_public(ip: IPv6Address) -> None:
    assert refusal(str(ip)) or ip in ip_network("2000::/3")


def test_no_network_is_listed_twice() -> None:
    networks = [network for network, _ in REFUSED]
    assert len(networks) == len(set(networks))


@pytest.mark.parametrize("text", ["", "localhost", "127.1", "0x7f.0.0.1", "0177.0.0.1", "2130706433", "[::1]", "::1::"])
def test_an_address_in_an_unusual_form_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        refusal(text)


@pytest.mark.parametrize(
    ("entry", "address", "port"),
    [
        ("10.1.2.3", "10.1.2.3", 80),
        ("10.0.0.0/8", "10.200.0.1", 443),
        ("10.1.2.3:8080", "10.1.2.3", 8080),
        ("10.0.0.0/8:8080", "10.200.0.1", 8080),
        ("::1", "::1", 1),
        ("[::1]", "::1", 65_535),
        ("[::1]:8080", "::1", 8080),
        ("FD00::/8", "fd00::5", 80),
        ("[fd00::/8]:8080", "fd12::5", 8080),
        ("::ffff:10.1.2.3", "::ffff:10.1.2.3", 80),
    ],
)
def test_the_operators_exceptions_are_allowed(entry: str, address: str, port: int) -> None:
    assert AllowList().refusal(address, port)
    allowed = AllowList(["192.168.0.1", entry])
    assert allowed.excepts(address, port)
    assert allowed.refusal(address, port) is None


@pytest.mark.parametrize(
    ("entry", "address", "port"),
    [
        ("10.1.2.3", "10.1.2.4", 80),
        ("10.1.2.3:8080", "10.1.2.3", 80),
        ("10.0.0.0/16", "10.1.0.0", 80),
        ("127.0.0.1", "::ffff:127.0.0.1", 80),
        ("127.0.0.1", "::1", 80),
        ("::1", "127.0.0.1", 80),
        ("[fd00::/8]:8080", "fd00::1", 80),
        ("0.0.0.0/0", "::1", 80),
    ],
)
def test_addresses_beside_an_exception_are_not_allowed(entry: str, address: str, port: int) -> None:
    assert not AllowList([entry]).excepts(address, port)
    assert AllowList([entry]).refusal(address, port)


def test_a_public_address_needs_no_exception() -> None:
    assert AllowList().refusal("8.8.8.8", 80) is None
    assert not AllowList().excepts("8.8.8.8", 80)


@pytest.mark.parametrize(
    "entry",
    [
        "", "*", "localhost", "hooks.internal", "10.0.0.0/33", "10.0.0.1/8", "10.0.0", "10.1.2.3:", "10.1.2.3:0",
        "10.1.2.3:65536", "10.1.2.3:http", "[::1", "::1]", "[::1]:", "[::1]:99999", "fe80::1%eth0", "http://10.1.2.3",
        "256.1.1.1", "10.1.2.3 ", "10.1.2.3\n", "010.1.2.3", "\u0661.1.1.1",
    ],
)  # fmt: skip
def test_a_malformed_exception_says_which_setting_and_which_entry(entry: str) -> None:
    with pytest.raises(SetupError, match="HEADWAY_WEBHOOK_ALLOW: ") as raised:
        AllowList(["10.0.0.0/8", entry])
    assert repr(entry) in str(raised.value)
    assert "\n" not in str(raised.value)
