"""Which URLs name an upstream, and what is refused before anything is served."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from canary_middleware.errors import ConfigurationError
from canary_middleware.upstream.address import Origin, parse


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://app:9002", Origin("http", "app", 9002, b"app:9002")),
        ("http://app", Origin("http", "app", 80, b"app")),
        ("http://app:80/", Origin("http", "app", 80, b"app")),
        ("https://app:80", Origin("https", "app", 80, b"app:80")),
        ("HTTPS://App.Example./", Origin("https", "app.example.", 443, b"app.example.")),
        ("http://my_service:1", Origin("http", "my_service", 1, b"my_service:1")),
        ("http://127.0.0.1:65535", Origin("http", "127.0.0.1", 65535, b"127.0.0.1:65535")),
        ("https://[2001:DB8::1]", Origin("https", "2001:db8::1", 443, b"[2001:db8::1]")),
        ("http://[::1]:8000", Origin("http", "::1", 8000, b"[::1]:8000")),
        (
            "https://münchen.example",
            Origin("https", "xn--mnchen-3ya.example", 443, b"xn--mnchen-3ya.example"),
        ),
        ("http://app/a%2Fb/c", Origin("http", "app", 80, b"app", prefix=b"/a%2Fb/c")),
        ("http://app/a/", Origin("http", "app", 80, b"app", prefix=b"/a")),
        ("unix:/run/app.sock", Origin("http", "localhost", 0, b"localhost", "/run/app.sock")),
        ("unix:///run/app.sock", Origin("http", "localhost", 0, b"localhost", "/run/app.sock")),
        (
            "http+unix://%2Frun%2Fapp.sock/api/",
            Origin("http", "localhost", 0, b"localhost", "/run/app.sock", b"/api"),
        ),
    ],
)
def test_what_a_url_names(url: str, origin: Origin) -> None:
    assert parse(url) == origin


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "no URL of a kind"),
        ("app:9002", "no URL of a kind"),
        ("//app", "no URL of a kind"),
        ("ftp://app", "no URL of a kind"),
        ("file:///etc/passwd", "no URL of a kind"),
        ("ws://app", "no URL of a kind"),
        ("https+unix://%2Frun%2Fapp.sock", "no URL of a kind"),
        (b"http://app", "is bytes, not a URL"),
        (None, "is NoneType, not a URL"),
        ("http://user@app", "a user or a password"),
        ("http://user:secret@app", "a user or a password"),
        ("http://good.example@169.254.169.254", "a user or a password"),
        ("http://app?x=1", "a query or a fragment"),
        ("http://app/#top", "a query or a fragment"),
        ("http://app\r\nX: y", "a control character"),
        ("http://app/a b", "a control character"),
        ("http://app/\t", "a control character"),
        ("http://app\0", "a control character"),
        ("http://", "has no host"),
        ("http:///path", "has no host"),
        ("http://:80", "has no host"),
        ("http://app:", "from 1 to 65535"),
        ("http://app:0", "from 1 to 65535"),
        ("http://app:65536", "from 1 to 65535"),
        ("http://app:" + "9" * 5000, "from 1 to 65535"),
        ("http://app:-1", "cannot be read"),
        ("http://app:80:80", "cannot be read"),
        ("http://app:٨٠", "cannot be read"),
        ("http://::1", "cannot be read"),
        ("http://[::1", "cannot be read"),
        ("http://[::1]x", "cannot be read"),
        ("http://[127.0.0.1]", "no address"),
        ("http://[fe80::1%25eth0]", "with a zone"),
        ("http://[fe80::1%eth0]", "with a zone"),
        ("http://127.1", "no address"),
        ("http://2130706433", "no address"),
        ("http://0x7f000001", "no address"),
        ("http://256.0.0.1", "no address"),
        ("http://0177.0.0.1", "no address"),
        ("http://-app", "no name"),
        ("http://a..b", "no name"),
        ("http://a%2eb", "no name"),
        ("http://a\\b", "no name"),
        ("http://" + "a" * 64, "no name"),
        ("http://" + ".".join(["a" * 63] * 4), "no name"),
        ("http://ü..example", "no name"),
        ("http://faß.example", "two ways"),
        ("http://app/ü", "characters that no URL has"),
        ("http://app/a%2", "characters that no URL has"),
        ("http://app/a\\b", "characters that no URL has"),
        ("unix:run/app.sock", "no socket"),
        ("unix://run/app.sock", "no socket"),
        ("unix:", "no socket"),
        ("unix:/", "no socket"),
        ("http+unix://run/app.sock", "no socket"),
        ("http+unix://%2Frun%00", "no socket"),
        ("http+unix://%2Frun%FF", "not UTF-8"),
        ("unix:/run/\ud800", "not UTF-8"),
        ("unix:/" + "a" * 103, "too long for a socket"),
    ],
)
def test_what_is_refused(url: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse(url, "targets.checkout")
    (problem,) = refused.value.problems
    assert problem.place == "targets.checkout"
    assert says in problem.message
    assert problem.hint
    assert "secret" not in str(refused.value)


def test_the_longest_path_of_a_socket() -> None:
    assert parse("unix:/" + "a" * 102).unix == "/" + "a" * 102


@given(
    st.one_of(
        st.text(),
        st.from_regex(r"(https?|http\+unix)://[^/]{0,20}/?.{0,20}", fullmatch=True),
    )
)
@example("http://\uff11\uff12\uff17.1")  # digits in full width, which become ASCII
@example("http://\u2100")  # a letter that becomes a/c
def test_nothing_else_than_a_name_or_an_address_is_ever_connected_to(url: str) -> None:
    try:
        origin = parse(url)
    except ConfigurationError:
        return
    assert origin.host.isascii()
    assert origin.authority
    for part in (origin.authority, origin.prefix):
        assert not set(part) & set(b"\r\n\0 @?#\\")
    again = f"{origin.scheme}://{origin.authority.decode()}{origin.prefix.decode()}"
    assert origin.unix or parse(again) == origin
