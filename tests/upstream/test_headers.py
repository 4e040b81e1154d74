"""What becomes of headers on the way to an upstream and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from string import ascii_letters, digits

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from canary_middleware.core.service import HEADER
from canary_middleware.errors import ConfigurationError
from canary_middleware.upstream.address import parse
from canary_middleware.upstream.header_table import PLAIN, RULES, Fate
from canary_middleware.upstream.headers import (
    BadHeaderError,
    Client,
    Header,
    Trust,
    incoming,
    outgoing,
)
from tests.upstream.headers_page import PAGE, SECTION, section

ORIGIN = parse("http://app:9002")
CLIENT = Client("203.0.113.9", "https")
NOBODY = Trust()
PEERS = Trust(["203.0.113.0/24"])
HOST = (b"host", b"shop.example")
OURS = [
    (b"Forwarded", b"for=203.0.113.9;host=shop.example;proto=https"),
    (b"X-Forwarded-For", b"203.0.113.9"),
    (b"X-Forwarded-Host", b"shop.example"),
    (b"X-Forwarded-Proto", b"https"),
]
MARKS = "-!#$%&'*+.^_`|~"
NAMES = [name for rule in RULES for name in rule.names if " " not in name]
FAMILY = [
    *("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP"),
    *("X-Forwarded-Port", "X-Forwarded-User", "X-Forwarded-Client-Cert", "X-Forwarded"),
]


def sent(
    *headers: Header,
    client: Client = CLIENT,
    trust: Trust = NOBODY,
    preserve_host: bool = True,
    upgrade: bool = False,
) -> list[Header]:
    """What the upstream gets of these and a Host."""
    return outgoing(
        [HOST, *headers],
        client,
        ORIGIN,
        preserve_host=preserve_host,
        trust=trust,
        upgrade=upgrade,
    )


def plain(*headers: Header, trust: Trust = NOBODY) -> list[Header]:
    """What is sent without what is sent anyway."""
    found = sent(*headers, trust=trust)
    assert found[0] == HOST
    assert found[-4:] == OURS
    return found[1:-4]


def variables(headers: Iterable[Header]) -> dict[str, list[bytes]]:
    """Names as CGI and WSGI write them, by the most generous reader."""
    found: dict[str, list[bytes]] = {}
    for name, value in headers:
        key = "".join(c if c.isalnum() else "_" for c in name.decode("latin-1")).upper()
        found.setdefault(key, []).append(value)
    return found


def twins(names: Sequence[str]) -> st.SearchStrategy[bytes]:
    """A name in any case and with any marks."""
    return st.builds(
        lambda name, mark, count: name.replace("*", "").replace("-", mark, count).encode(),
        st.sampled_from([*names, *map(str.upper, names)]),
        st.sampled_from(MARKS),
        st.sampled_from([1, -1]),
    )


tokens = st.text(ascii_letters + digits + MARKS, min_size=1, max_size=12).map(str.encode)
values = st.binary(max_size=12)
options = st.lists(st.one_of(twins(NAMES), tokens), max_size=4).map(b" ,\t".join)
connections = st.tuples(st.sampled_from([b"Connection", b"connection"]), options)
hostless = tokens.filter(lambda name: name.lower() != b"host")  # each request has one already
anything = st.lists(
    st.one_of(
        st.tuples(st.one_of(hostless, twins([n for n in NAMES if n != "Host"])), values),
        connections,
    ),
    max_size=8,
)
unknown = tokens.filter(lambda name: not is_known(name))


def is_known(name: bytes) -> bool:
    """Whether the table has a rule for it, or for what it looks like."""
    low = "".join(c if c.isalnum() else "-" for c in name.decode()).lower()
    return any(
        low.startswith(rule[:-1].lower()) if rule[-1] == "*" else low == rule.lower()
        for rule in NAMES
    )


def test_the_documentation_is_in_step() -> None:
    found = SECTION.search(PAGE.read_text(encoding="utf-8"))
    assert found
    assert found[0].rstrip() == section().rstrip(), "run: python -m tests.upstream.headers_page"


def test_the_table_knows_the_header_that_services_tell_of_visitors_in() -> None:
    assert HEADER in NAMES


def follows(name: str, fate: Fate) -> bool:
    """Whether a header of a request has this fate, by what arrives."""
    pair = (name.replace("*", "-thing").encode(), b"v")
    nominated = (b"Connection", pair[0])
    alone, named, trusted = plain(pair), plain(pair, nominated), sent(pair, trust=PEERS)
    match fate:
        case Fate.PASSES:
            return (alone, named) == ([pair], [])
        case Fate.HELD:
            return alone == named == [pair]
        case Fate.VOUCHED:
            return alone == [] and pair in trusted
        case Fate.TOLD:
            return alone == [] and pair in trusted and (pair[0], dict(OURS)[pair[0]]) not in trusted
        case Fate.CHAIN:
            return alone == [] and (pair[0], b"v, " + dict(OURS)[pair[0]]) in trusted
        case _:
            return alone == [] and pair not in trusted


@pytest.mark.parametrize("name", [name for name in NAMES if name != "Host"])
def test_a_request_follows_the_table(name: str) -> None:
    (rule,) = (rule for rule in RULES if name in rule.names)
    assert follows(name, rule.request)


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_follows_the_table(name: str) -> None:
    (rule,) = (rule for rule in RULES if name in rule.names)
    pair = (name.replace("*", "-thing").encode(), b"v")
    assert incoming([pair]) == ([pair] if rule.answer in {Fate.PASSES, Fate.HELD} else [])
    kept = incoming([pair, (b"Connection", pair[0])])
    assert kept == ([pair] if rule.answer is Fate.HELD else [])


@given(anything, st.booleans())
def test_nothing_that_a_client_sends_changes_what_we_say_of_it(
    headers: list[Header], preserve: bool
) -> None:
    found = sent(*headers, preserve_host=preserve)
    assert found[0] == (HOST if preserve else (b"Host", b"app:9002"))
    assert found[-4:] == OURS
    seen = variables(found)
    for name, value in [(b"Host", found[0][1]), *OURS]:
        assert seen[name.decode().upper().replace("-", "_")] == [value]


@given(st.lists(st.tuples(twins(FAMILY), st.just(b"forged")), min_size=1), connections)
@example([(b"x-forwarded_for", b"forged")], (b"connection", b"x-forwarded-for"))
@example([(b"X_FORWARDED.USER", b"forged")], (b"connection", b"close"))
def test_a_forged_word_never_gets_through(forged: list[Header], connection: Header) -> None:
    assert plain(*forged, connection) == []


@given(st.lists(st.tuples(twins(FAMILY), st.just(b"forged")), min_size=1))
def test_not_even_a_trusted_peer_gets_twins_through(forged: list[Header]) -> None:
    known = {name.lower().encode() for name in FAMILY}
    assert {name.lower() for name, _ in sent(*forged, trust=PEERS)} <= {b"host", *known}


@given(st.lists(st.tuples(st.one_of(unknown, st.sampled_from([b"X-A", b"x-a"])), values)))
@example([(b"X-A", b"keep-alive"), (b"x-connection", b"close")])
def test_what_has_no_rule_passes_in_order_with_its_case_bytes_and_repetitions(
    headers: list[Header],
) -> None:
    assert plain(*headers) == headers
    assert incoming(headers) == headers


@given(anything)
@example([(b"te", b"trailers"), (b"upgrade", b"chat")])
def test_a_second_time_changes_nothing(headers: list[Header]) -> None:
    once = sent(*headers)
    assert sent(*once[1:]) == once
    back = incoming(headers)
    assert incoming(back) == back


@given(anything)
def test_frequent_names_are_no_special_case(headers: list[Header]) -> None:
    shouted = [(name.upper(), value) for name, value in headers]
    assert [(n.lower(), v) for n, v in sent(*shouted)] == [
        (n.lower(), v) for n, v in sent(*headers)
    ]
    assert [(n.lower(), v) for n, v in incoming(shouted)] == incoming(headers, keep_case=False)


def test_frequent_names_pass_twice_and_shouted() -> None:
    for name in PLAIN.split():
        for spelling in (name, name.title(), name.upper()):
            pair = (spelling.encode(), b"v")
            assert plain(pair, pair) == [pair, pair]


@pytest.mark.parametrize(
    ("connection", "left"),
    [
        (b"", [b"X-A", b"X-B"]),
        (b"x-a", [b"X-B"]),
        (b"close,\tX-A ,,x-c", [b"X-B"]),
        (b"X-A, X-B", []),
        (b"x_a", [b"X-A", b"X-B"]),
        (b"x-a;q=1", [b"X-A", b"X-B"]),
    ],
)
@pytest.mark.parametrize("name", [b"connection", b"Connection", b"cOnnection"])
def test_connection_takes_away_what_it_names(
    name: bytes, connection: bytes, left: list[bytes]
) -> None:
    headers = [(b"X-A", b"1"), (name, connection), (b"X-B", b"2")]
    assert [name for name, _ in plain(*headers)] == left
    assert [name for name, _ in incoming(headers)] == left
    bare = outgoing(headers, CLIENT, ORIGIN, preserve_host=True, trust=NOBODY)
    assert [name for name, _ in bare[1:-3]] == left


def test_connection_is_read_in_all_its_lines() -> None:
    lines = [(b"Connection", b""), (b"connection", b"keep-alive"), (b"connection", b"X-A")]
    assert plain(*lines, (b"x-a", b"1")) == incoming([*lines, (b"x-a", b"1")]) == []


@pytest.mark.parametrize(
    ("sent_te", "passed"),
    [
        ([b"trailers"], True),
        ([b"gzip;q=0.5", b"deflate, Trailers"], True),
        ([b"gzip"], False),
        ([b"trailers;q=0"], False),
        ([b""], False),
    ],
)
def test_of_te_only_trailers_passes(sent_te: list[bytes], passed: bool) -> None:
    said = [(b"Connection", b"TE"), (b"TE", b"trailers")]
    assert plain(*((b"te", value) for value in sent_te)) == (said if passed else [])


def test_an_upgrade_passes_if_it_is_relayed() -> None:
    asked = [(b"upgrade", b"chat"), (b"connection", b"Upgrade"), (b"te", b"trailers")]
    said = [(b"Connection", b"Upgrade, TE"), (b"upgrade", b"chat"), (b"TE", b"trailers")]
    assert sent(*asked, upgrade=True)[1:-4] == said
    assert plain(*asked[:2]) == []
    assert sent((b"connection", b"Upgrade"), upgrade=True)[1:-4] == []


@pytest.mark.parametrize(
    ("client", "forwarded", "address"),
    [
        (Client("192.0.2.1", "http"), b"for=192.0.2.1;host=h;proto=http", b"192.0.2.1"),
        (Client("2001:db8::1", "wss"), b'for="[2001:db8::1]";host=h;proto=https', b"2001:db8::1"),
        (Client("fe80::1%eth0", "ws"), b'for="[fe80::1]";host=h;proto=http', b"fe80::1"),
        (Client("::ffff:192.0.2.1", "http"), b"for=192.0.2.1;host=h;proto=http", b"192.0.2.1"),
        (Client("", "https"), b"for=unknown;host=h;proto=https", None),
        (Client("testclient", "http"), b"for=unknown;host=h;proto=http", None),
        (Client("1.1.1.1, 2.2.2.2", "x\r\n"), b"for=unknown;host=h;proto=http", None),
    ],
)
def test_how_a_client_is_written(client: Client, forwarded: bytes, address: bytes | None) -> None:
    found = dict(outgoing([(b"Host", b"h")], client, ORIGIN, preserve_host=True, trust=NOBODY))
    assert found[b"Forwarded"] == forwarded
    assert found.get(b"X-Forwarded-For") == address
    assert forwarded.endswith(b"proto=" + found[b"X-Forwarded-Proto"])


@pytest.mark.parametrize(
    ("host", "written"),
    [
        (b"shop.example", b"host=shop.example"),
        (b"shop.example:8443", b'host="shop.example:8443"'),
        (b"[::1]:80", b'host="[::1]:80"'),
        (b"x;for=1.2.3.4", b'host="x;for=1.2.3.4"'),
        (b"x,for=1.2.3.4", b'host="x,for=1.2.3.4"'),
        ("bücher.example".encode(), b'host="b\xc3\xbccher.example"'),
    ],
)
def test_a_host_that_could_be_read_as_more_is_quoted(host: bytes, written: bytes) -> None:
    found = dict(outgoing([(b"host", host)], CLIENT, ORIGIN, preserve_host=True, trust=NOBODY))
    assert found[b"host"] == found[b"X-Forwarded-Host"] == host
    assert found[b"Forwarded"] == b"for=203.0.113.9;" + written + b";proto=https"


def test_an_empty_host_passes_and_a_missing_one_is_the_upstreams() -> None:
    for headers, host in (([(b"host", b"")], (b"host", b"")), ([], (b"Host", b"app:9002"))):
        found = outgoing(headers, CLIENT, ORIGIN, preserve_host=True, trust=NOBODY)
        assert found == [
            host,
            (b"Forwarded", b"for=203.0.113.9;proto=https"),
            (b"X-Forwarded-For", b"203.0.113.9"),
            (b"X-Forwarded-Proto", b"https"),
        ]


@pytest.mark.parametrize(
    "headers",
    [
        [(b"host", b"a"), (b"Host", b"a")],
        [(b"host", b"a"), (b"HOST", b"b")],
        [(b"host", b"user@a")],
        [(b"host", b"a/b")],
        [(b"host", b"a b")],
        [(b"host", b'a"')],
        [(b"host", b"a\r\nx: y")],
        [(b"host", b"a" * 513)],
        [(b"", b"v")],
        [(b"x y", b"v")],
        [(b"x-forwarded-for:", b"v")],
        [(b"content-length:", b"v")],
        [(b"x-a\r\nx-b", b"v")],
        [(b":authority", b"v")],
        [("x-ä".encode(), b"v")],
    ],
)
def test_what_nobody_may_pass_on(headers: list[Header]) -> None:
    for _ in range(2):  # nor may the cache
        with pytest.raises(BadHeaderError) as refused:
            outgoing(headers, CLIENT, ORIGIN, preserve_host=True, trust=NOBODY)
        assert (refused.value.status, bool(refused.value.why)) == (400, True)


@pytest.mark.parametrize(
    ("theirs", "arrives"),
    [
        ([], OURS),
        (
            [
                (b"x-forwarded-for", b"1.1.1.1"),
                (b"x-forwarded-for", b" "),
                (b"X-Forwarded-For", b"2.2.2.2, x"),
            ],
            [(b"X-Forwarded-For", b"1.1.1.1, 2.2.2.2, x, 203.0.113.9"), *OURS[2:]],
        ),
        (
            [(b"forwarded", b'for="_a"'), (b"x-forwarded-proto", b"http")],
            [
                (b"x-forwarded-proto", b"http"),
                (b"Forwarded", b'for="_a", ' + OURS[0][1]),
                *OURS[1:3],
            ],
        ),
        ([(b"forwarded", b"for=1.1.1.1")], [(b"Forwarded", b"for=1.1.1.1, " + OURS[0][1])]),
        (
            [(b"x-forwarded-port", b"443"), (b"x-real-ip", b"1.1.1.1")],
            [(b"x-forwarded-port", b"443"), (b"x-real-ip", b"1.1.1.1"), *OURS[1:]],
        ),
    ],
)  # fmt: skip
def test_a_trusted_peer_is_believed_in_the_words_that_it_uses(
    theirs: list[Header], arrives: list[Header]
) -> None:
    assert sent(*theirs, trust=PEERS)[1:] == arrives
    assert sent(*theirs, client=Client("198.51.100.1", "https"), trust=PEERS)[1:] == [
        (name, value.replace(b"203.0.113.9", b"198.51.100.1")) for name, value in OURS
    ]


def test_peers_behind_a_socket_are_trusted_by_name_only() -> None:
    chain = (b"x-forwarded-for", b"1.1.1.1")
    socket = Client("", "http")
    assert chain not in sent(chain, client=socket, trust=Trust(["10.0.0.0/8"]))
    assert chain in sent(chain, client=socket, trust=Trust(unix=True))
    assert chain not in sent(chain, trust=Trust(unix=True))


def test_whom_trust_includes() -> None:
    trust = Trust(("10.0.0.0/8", "2001:db8::/32"))
    inside = ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1", "2001:db8::1%eth0"]
    assert all(trust.includes(Client(host, "http")) for host in inside)
    outside = ["11.0.0.1", "::1", "10.0.0.0/8", "localhost", "", "10.1.2.3, 1.1.1.1"]
    assert not any(trust.includes(Client(host, "http")) for host in outside)
    assert trust == Trust(trust.networks)
    assert hash(trust) == hash(Trust(trust.networks))


@pytest.mark.parametrize(
    ("networks", "says"),
    [
        (["0.0.0.0/0"], "everybody"),
        (["::/0"], "everybody"),
        (["10.0.0.0/8", "128.0.0.0/1", "0.0.0.0/1"], "everybody"),
        (["*"], "'*' does not appear"),
        (["10.0.0.1/8"], "host bits set"),
        ([None], "does not appear"),
        ("10.0.0.0/8", "is str, not a list"),
        (None, "is NoneType, not a list"),
    ],
)
def test_whom_nobody_may_trust(networks: list[str], says: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Trust(networks)
    (problem,) = refused.value.problems
    assert (problem.place, says in problem.message) == ("trust.networks", True)


def test_names_of_an_answer_in_lower_case() -> None:
    headers = [
        (b"Set-Cookie", b"A=1"),
        (b"Connection", b"X-Gone"),
        (b"X-GONE", b""),
        (b"ETag", b"\xff"),
    ]
    assert incoming(headers, keep_case=False) == [(b"set-cookie", b"A=1"), (b"etag", b"\xff")]
    assert incoming(headers) == [(b"Set-Cookie", b"A=1"), (b"ETag", b"\xff")]
