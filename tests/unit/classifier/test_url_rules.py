"""Which URLs and addresses are refused: the usual tricks to reach with a URL what only this machine can reach."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifier.errors import InputForbidden, UserError
from classifier.url_fetch import is_public, parse

PUBLIC = "93.184.215.14"

NOT_PUBLIC = [
    *("127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.5.4", "192.168.1.1", "100.64.0.1", "198.18.0.1"),
    # Link-local, and in it the metadata services.
    *("169.254.169.254", "169.254.170.2", "fe80::1", "fe80::1%eth0", "fd00:ec2::254"),
    *("::1", "::", "fc00::1", "fec0::1", "ff02::1", "224.0.0.1", "255.255.255.255", "240.0.0.1", "2001:db8::1"),
    # IPv4 in IPv6: mapped, compatible, NAT64 (and its local prefix), 6to4, Teredo.
    *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe"),
    *("64:ff9b:1::1", "2002:7f00:1::", "2001:0:7f00:1::", "not an address"),
]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", [PUBLIC, "8.8.8.8", "2606:2800:21f:cb07::1", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_addresses_that_are_public(address: str) -> None:
    assert is_public(address)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_in_ipv6_is_judged_as_what_it_carries(address: ipaddress.IPv4Address) -> None:
    for carrier in (f"::ffff:{address}", f"64:ff9b::{address}"):
        assert is_public(carrier) == is_public(str(address))
    for tunnel in (int(ipaddress.ip_address("2002::")) | int(address) << 80, int(address)):
        assert not is_public(str(ipaddress.IPv6Address(tunnel)))


@pytest.mark.parametrize(
    "host",
    [
        *("2130706433", "0x7f000001", "0x7f.0.0.1", "017700000001", "0177.0.0.1", "127.1", "127.0.1", "1.2.3.4.5"),
        *("127.0.0.1.", "a.0x", "example.2130706433", "00000127.0.0.1"),
    ],
)
def test_hosts_that_only_some_take_for_an_address(host: str) -> None:
    with pytest.raises((InputForbidden, UserError)):
        parse(f"https://{host}/")


@pytest.mark.parametrize(
    "url",
    [
        *("", "images.example.org", "//images.example.org/", "http://images.example.org/", "ftp://images.example.org/"),
        *(
            "file:///etc/passwd",
            "gopher://127.0.0.1:25/",
            "data:image/png;base64,AAAA",
            "https:///etc/passwd",
            "https://",
        ),
        *("https://localhost/", "https://metadata/", "https://-a.example.org/", "https://a..example.org/"),
        *("https://[::1/", "https://[v1.a]/", "https://images.example.org:x/", "https://images.example.org:99999/"),
        # Full-width digits, a circled one, an ideographic full stop: IDNA turns them into 127.0.0.1.
        *("https://１２７.0.0.1/", "https://①27.0.0.1/", "https://127。0。0。1/", "https://%31%32%37.0.0.1/"),
        # Two readings of one URL.
        *("https://images.example.org\\@127.0.0.1/", "https://images.example.org /", "https://images.example.org\t/"),
        *("https://images.example.org/\r\nHost: other", "https://images.example.org/\0", "https://ex\nample.org/"),
        "https://images.example.org/" + "a" * 2048,
    ],
)
def test_what_is_no_https_url(url: str) -> None:
    with pytest.raises(UserError):
        parse(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://user@images.example.org/",
        "https://user:secret@images.example.org/",
        "https://images.example.org@127.0.0.1/",
        "https://images.example.org:8443/",
        "https://images.example.org:80/",
        "https://[2606:4700::1%25eth0]/",
    ],
)
def test_credentials_and_ports(url: str) -> None:
    with pytest.raises((InputForbidden, UserError)):
        parse(url)


@given(st.text(max_size=40))
def test_whatever_is_asked_for_is_refused_by_name_or_is_a_host_of_one_form(text: str) -> None:
    try:
        host, target = parse(f"https://{text}")
    except UserError:
        return
    assert host == host.lower()
    assert not set(host) & set("@/\\ %")
    assert target.startswith("/")
    assert target.isascii()
    assert target.isprintable()
