"""Sessions: who holds one, until when, and what ends them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from canary_middleware.core.token import TokenCodec, urlsafe
from canary_middleware.panel.people import Person, Role
from canary_middleware.panel.sessions import LIFE, holder, issue
from canary_middleware.panel.tokens import Line, mint, parse, proof, written

NOW = 1_700_000_000.0


TOKENS = {"alice": mint(), "bob": mint()}


def line(name: str, token: str) -> Line:
    lines, problems = parse(written(Person(name, Role.VIEW), token), "t")
    assert not problems
    return lines[0]


ALICE, BOB = (line(name, token) for name, token in TOKENS.items())
VALUE = issue(ALICE, TOKENS["alice"], "shop", NOW)


def test_lasts_for_twelve_hours_and_nothing_prolongs_it() -> None:
    for later in (0.0, 60.0, LIFE - 1.0):
        assert holder(VALUE, [BOB, ALICE], "shop", NOW + later) == ALICE
    assert holder(VALUE, [ALICE], "shop", NOW + LIFE) is None


def test_bears_a_clock_that_is_a_little_behind_and_none_from_the_future() -> None:
    assert holder(VALUE, [ALICE], "shop", NOW - 200) == ALICE
    assert holder(VALUE, [ALICE], "shop", NOW - 3_600) is None


def test_ends_with_its_line_and_with_its_token() -> None:
    assert holder(VALUE, [BOB], "shop", NOW) is None
    assert holder(VALUE, [line("alice", mint())], "shop", NOW) is None


def test_takes_what_the_line_says_now() -> None:
    renamed, _ = parse(written(Person("Alice", Role.OPERATE), TOKENS["alice"]), "t")
    found = holder(VALUE, renamed, "shop", NOW)
    assert found is not None
    assert found.person == Person("Alice", Role.OPERATE)


def test_is_of_one_namespace() -> None:
    assert holder(VALUE, [ALICE], "other", NOW) is None


def test_says_nothing_of_token_proof_or_hash() -> None:
    for secret in (TOKENS["alice"].encode(), proof(TOKENS["alice"]), ALICE.digest):
        for text in (secret, secret.hex().encode(), urlsafe(secret)):
            assert text not in VALUE.encode()
    assert issue(ALICE, TOKENS["alice"], "shop", NOW) != VALUE


def test_who_reads_the_file_can_sign_and_makes_no_session() -> None:
    # All that the file tells: the hash, and by it the key of the signature.
    codec = TokenCodec([ALICE.digest], "shop", "panel-session")
    masked = VALUE.split(".")[3]
    nonce = urlsafe(bytes(16)).decode()
    for fields in (
        [nonce, urlsafe(ALICE.digest).decode()], [nonce, urlsafe(bytes(32)).decode()],
        [nonce, masked], [nonce, "x"], ["", ""], [nonce], [], ["!", "!"], [nonce, masked * 2],
    ):  # fmt: skip
        forged = codec.sign([ALICE.id, str(int(NOW)), *fields])
        assert holder(forged, [ALICE], "shop", NOW) is None


def test_who_has_a_cookie_makes_none_that_lasts_longer() -> None:
    fields = VALUE.split(".")
    fields[1] = str(int(NOW) + 3_600)
    assert holder(".".join(fields), [ALICE], "shop", NOW + 3_600) is None


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
def test_nobody_makes_one_up(text: str) -> None:
    assert holder(text, [ALICE, BOB], "shop", NOW) is None


@given(st.integers(0, len(VALUE) - 1), st.characters(codec="ascii"))
def test_a_changed_one_is_none(place: int, character: str) -> None:
    changed = VALUE[:place] + character + VALUE[place + 1 :]
    assert holder(changed, [ALICE, BOB], "shop", NOW) == (ALICE if changed == VALUE else None)
    assert holder(VALUE.replace(ALICE.id, BOB.id), [ALICE, BOB], "shop", NOW) is None
