"""Whose address counts: proxies that are trusted are believed, and nobody else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Scope

from canary_middleware.errors import ConfigurationError
from canary_middleware.panel.addresses import Clients, networks

TRUSTING = Clients(networks(["10.0.0.0/8", "fd00::/8"]))


def scope(peer: str | None, *forwarded: str, proto: str = "", scheme: str = "http") -> Scope:
    headers = [(b"x-forwarded-for", line.encode("latin-1")) for line in forwarded]
    headers += [(b"x-forwarded-proto", proto.encode())] if proto else []
    client = (peer, 50_000) if peer else None
    return {"type": "http", "client": client, "headers": headers, "scheme": scheme}


@pytest.mark.parametrize(("peer", "lines", "address"), [
    ("192.0.2.1", [], "192.0.2.1"),
    ("192.0.2.1", ["198.51.100.1"], "192.0.2.1"),  # a stranger's word
    ("10.0.0.1", [], "10.0.0.1"),
    ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
    ("10.0.0.1", ["203.0.113.9, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
    ("10.0.0.1", ["203.0.113.9", "198.51.100.1"], "198.51.100.1"),
    ("10.0.0.1", ["10.1.1.1, 10.2.2.2"], "10.1.1.1"),
    ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
    ("10.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::1"),
    ("10.0.0.1", ["2001:db8::1"], "2001:db8::1"),
    ("10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
    ("10.0.0.1", ["unknown"], "10.0.0.1"),
    ("10.0.0.1", ["198.51.100.1, <script>"], "10.0.0.1"),
    ("10.0.0.1", [",,,"], "10.0.0.1"),
    ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
    ("fd00::1", ["198.51.100.1"], "198.51.100.1"),
    ("fe80::1%eth0", [], "fe80::1"),
    (None, ["198.51.100.1"], ""),
    ("unix:", ["198.51.100.1"], ""),
])  # fmt: skip
def test_the_client_is_who_a_trusted_proxy_heard_last(
    peer: str | None, lines: list[str], address: str
) -> None:
    assert TRUSTING.address(scope(peer, *lines)) == address


@given(st.lists(st.text(st.characters(codec="latin-1"), max_size=60), max_size=4))
def test_whatever_is_said_the_address_is_one(lines: list[str]) -> None:
    found = TRUSTING.address(scope("10.0.0.1", *lines))
    assert found.isascii()
    assert not set(found) - set("0123456789abcdef:.")


def test_tls_is_known_by_the_scheme_or_by_a_trusted_proxy() -> None:
    assert TRUSTING.is_secure(scope("192.0.2.1", scheme="https"))
    assert TRUSTING.is_secure(scope("10.0.0.1", proto="https"))
    assert not TRUSTING.is_secure(scope("192.0.2.1", proto="https"))
    assert not TRUSTING.is_secure(scope("10.0.0.1", proto="http"))
    assert not TRUSTING.is_secure(scope("10.0.0.1", proto="https, http"))


def test_behind_a_proxy_that_ends_tls_everybody_speaks_it_trusted_or_not() -> None:
    behind = Clients((), behind_proxy=True)
    assert behind.is_secure(scope("192.0.2.1"))
    assert behind.is_secure(scope(None, proto="http"))
    assert behind.address(scope("192.0.2.1", "198.51.100.1")) == "192.0.2.1"


def test_every_network_that_is_none_is_told() -> None:
    with pytest.raises(ConfigurationError) as raised:
        networks(["10.0.0.0/8", "proxy.internal", "10.0.0.1/8"])
    assert len(raised.value.problems) == 2
