from __future__ import annotations

import hashlib
import hmac
import random
from base64 import urlsafe_b64decode
from typing import Any

import itsdangerous
import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_middleware.core.token import MAX_TOKEN, TokenCodec
from canary_middleware.errors import TokenError

OLD, NEW = b"1" * 32, b"2" * 32
CODEC = TokenCodec([OLD, NEW], "shop", "visitor")
FIELDS = ["1", "abcdefghijkl-_09", "t5n3k0"]
GENUINE = b"1.abcdefghijkl-_09.t5n3k0.OMmQ6GoQc5y6arErNcAAaXxguNPaPi6Q9sgLuXpW4lM"
ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def signer(*keys: bytes, kind: str = "visitor", namespace: str = "shop") -> itsdangerous.Signer:
    return itsdangerous.Signer(
        list(keys),
        salt=f"canary_middleware.{kind}.{namespace}",
        key_derivation="hmac",
        digest_method=hashlib.sha256,
    )


def refusal(token: bytes, codec: TokenCodec = CODEC) -> str:
    with pytest.raises(TokenError) as caught:
        codec.verify(token)
    return caught.value.why


# --- known answers and itsdangerous ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "namespace", "fields", "token"),
    [
        ([OLD, NEW], "shop", FIELDS, GENUINE),
        ([NEW], "shop", FIELDS, GENUINE),
        (
            [OLD], "shop", [*FIELDS, "bAAAAAAAAAAA"],
            b"1.abcdefghijkl-_09.t5n3k0.bAAAAAAAAAAA.o8D5HhpGUgtPLSgVPJrvZsYrMFli373ICOCUgDiua_g",
        ),
        ([OLD], "blog", ["1"], b"1.Ro90IQK3G-Z-zPpw5tS-LqElUYwVr01XhS2993Xy-Qg"),
    ],
)  # fmt: skip
def test_known_answers(keys: list[bytes], namespace: str, fields: list[str], token: bytes) -> None:
    codec = TokenCodec(keys, namespace, "visitor")
    assert codec.sign(fields).encode() == token
    assert codec.verify(token) == (fields, True)


FIELD = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="."), min_size=1
)
FIELD_LISTS = st.lists(FIELD, min_size=1).filter(lambda fields: sum(map(len, fields)) < 300)


@given(FIELD_LISTS, st.binary(min_size=32))
def test_itsdangerous_reads_what_we_sign(fields: list[str], key: bytes) -> None:
    token = TokenCodec([OLD, key], "shop", "visitor").sign(fields)
    assert signer(OLD, key).unsign(token) == ".".join(fields).encode()
    assert signer(key).validate(token)
    assert key == OLD or not signer(OLD).validate(token)


@given(FIELD_LISTS, st.binary(min_size=32))
def test_we_read_what_itsdangerous_signs(fields: list[str], key: bytes) -> None:
    token = signer(OLD, key).sign(".".join(fields))
    assert TokenCodec([OLD, key], "shop", "visitor").verify(token) == (fields, True)


# --- S1: forgeries --------------------------------------------------------------------------------


def mutated(chance: random.Random) -> bytes:
    """One edit of a genuine token, of the kinds that people try."""
    token = bytearray(GENUINE)
    place = chance.randrange(len(token))
    match chance.randrange(9):
        case 0:
            token[place] ^= 1 << chance.randrange(8)
        case 1:
            token[place] = chance.choice(ALPHABET)
        case 2:
            del token[place:]
        case 3:
            del token[: place + 1]
        case 4:
            token.insert(place, chance.randrange(256))
        case 5:
            token[place:place] = chance.choice([b".", b"\0", b"=", b"%00", b" ", "\u00e9".encode()])
        case 6:
            other = chance.randrange(len(token))
            token[place], token[other] = token[other], token[place]
        case 7:
            del token[place]
        case _:
            token += chance.choice([b"=", b".", b"==", b"\0", b"." + GENUINE, b"\xff" * 8000])
    return bytes(token)


def test_ten_thousand_mutations_and_not_one_accepted() -> None:
    chance = random.Random(0)
    tried = 0
    while tried < 10_000:
        token = mutated(chance)
        if token != GENUINE:
            assert refusal(token) in {"forged", "malformed", "oversized"}
            tried += 1
    assert CODEC.verify(GENUINE).fields == FIELDS, "and the genuine one still is"


def test_the_mutations_would_be_seen_by_a_broken_codec() -> None:
    """Comparing decoded bytes accepts a second spelling; comparing a prefix accepts truncation."""

    def accepts(token: bytes) -> bool:
        body, _, signature = token.rpartition(b".")
        try:
            given = urlsafe_b64decode(signature + b"=" * (-len(signature) % 4))
        except ValueError:
            return False
        wanted = urlsafe_b64decode(GENUINE.rpartition(b".")[2] + b"=")
        return body == GENUINE.rpartition(b".")[0] and wanted.startswith(given)

    chance = random.Random(0)
    tokens = [token for token in (mutated(chance) for _ in range(10_000)) if token != GENUINE]
    assert sum(map(accepts, tokens)) > 0


@pytest.mark.parametrize("last", ALPHABET)
def test_another_spelling_of_the_same_signature_is_another_token(last: int) -> None:
    """The last of 43 characters carries 4 bits of 6: three other characters decode alike."""
    token = GENUINE[:-1] + bytes([last])
    if token != GENUINE:
        assert refusal(token) == "forged"


@pytest.mark.parametrize(
    "token",
    [
        b"", b".", b"..", b"...", b"\0", b".\0.", b"1", b"none", b"1.abc.0.none", b"=",
        b"\xff" * 70,
        GENUINE + b"=", b'"' + GENUINE + b'"', b" " + GENUINE, GENUINE + b"\n", GENUINE + b"\0",
        GENUINE.replace(b".", b"%2E"), GENUINE.upper(), GENUINE[::-1], GENUINE + b"." + GENUINE,
        GENUINE.rpartition(b".")[0], GENUINE.rpartition(b".")[0] + b".",
        b"." + GENUINE.rpartition(b".")[2],
        b"x" * MAX_TOKEN, b"x" * (MAX_TOKEN + 1), b"x" * 8192, b"." * 8192, GENUINE + b"x" * 8192,
    ],
)  # fmt: skip
def test_hostile_tokens_are_refused(token: bytes) -> None:
    assert refusal(token) in {"forged", "malformed", "oversized"}


@given(st.binary(max_size=700))
def test_arbitrary_bytes_are_refused(token: bytes) -> None:
    assert refusal(token) in {"forged", "malformed", "oversized"}


@given(st.binary(max_size=300))
def test_a_genuine_signature_over_odd_bytes_raises_nothing_else(body: bytes) -> None:
    """Whoever shares the key by mistake can sign what we never would."""
    try:
        verified = CODEC.verify(signer(NEW).sign(body))
    except TokenError:
        return
    assert ".".join(verified.fields).encode() == body


def test_the_limit_is_on_the_token_as_it_came() -> None:
    room = MAX_TOKEN - len(CODEC.sign([""]))
    longest = CODEC.sign(["x" * room]).encode()
    assert len(longest) == MAX_TOKEN
    assert CODEC.verify(longest).newest
    assert refusal(CODEC.sign(["x" * (room + 1)]).encode()) == "oversized"


# --- kinds, namespaces, keys ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        TokenCodec([OLD, NEW], "blog", "visitor"),
        TokenCodec([OLD, NEW], "shop", "pin"),
        TokenCodec([OLD, NEW], "visitor", "shop"),
        TokenCodec([OLD, NEW], "Shop", "visitor"),
        TokenCodec([OLD, NEW], "", "visitor"),
    ],
)
def test_a_token_of_another_kind_or_namespace_never_verifies(other: TokenCodec) -> None:
    assert refusal(GENUINE, other) == "forged"
    assert refusal(other.sign(FIELDS).encode()) == "forged"


@pytest.mark.parametrize(
    "change",
    [
        {"digest_method": hashlib.sha1}, {"key_derivation": "django-concat"},
        {"salt": "itsdangerous.Signer"},
        {"salt": "cookie-session"}, {"key_derivation": "none"}, {"salt": b""},
    ],
)  # fmt: skip
def test_the_same_key_in_another_use_signs_nothing_for_us(change: dict[str, Any]) -> None:
    """S6: an application may use one key for its sessions too."""
    plain: dict[str, Any] = {
        "salt": "canary_middleware.visitor.shop",
        "key_derivation": "hmac",
        "digest_method": hashlib.sha256,
    }
    body = ".".join(FIELDS)
    assert CODEC.verify(itsdangerous.Signer(NEW, **plain).sign(body.encode()))
    assert refusal(itsdangerous.Signer(NEW, **(plain | change)).sign(body.encode())) == "forged"


def test_rotation() -> None:
    before, during, after = (
        TokenCodec(keys, "shop", "visitor") for keys in ([OLD], [OLD, NEW], [NEW])
    )
    old = before.sign(FIELDS).encode()
    assert during.verify(old) == (FIELDS, False)
    new = during.sign(FIELDS).encode()
    assert new != old
    assert during.verify(new) == (FIELDS, True)
    assert after.verify(new) == (FIELDS, True)
    assert refusal(old, after) == "forged"
    assert refusal(new, before) == "forged", "a process not yet rotated ignores it"


def test_every_key_of_a_long_list_verifies_and_the_last_signs() -> None:
    keys = [bytes([number]) * 32 for number in range(10)]
    codec = TokenCodec(keys, "shop", "visitor")
    for number, key in enumerate(keys):
        token = TokenCodec([key], "shop", "visitor").sign(FIELDS).encode()
        assert codec.verify(token) == (FIELDS, number == 9)
    assert codec.sign(FIELDS) == TokenCodec(keys[9:], "shop", "visitor").sign(FIELDS)


def test_comparing_takes_constant_time() -> None:
    """S7: a timing measurement is flaky by nature; what the code calls is not.

    ``verify`` compares secrets by ``hmac.compare_digest`` alone: a subclass of ``bytes`` that
    explodes when it is compared in any other way passes through it unharmed.
    """

    class Touchy(bytes):
        def __eq__(self, other: object) -> bool:
            raise AssertionError("compared byte by byte")

        __ne__ = __eq__
        __hash__ = bytes.__hash__

        def startswith(self, *_: Any) -> bool:
            raise AssertionError("compared byte by byte")

        def rpartition(self, separator: Any) -> Any:
            head, dot, tail = super().rpartition(separator)
            return Touchy(head), dot, Touchy(tail)

    assert hmac.compare_digest(Touchy(b"a"), b"a")
    with pytest.raises(AssertionError):
        assert Touchy(b"a") == b"a"
    assert CODEC.verify(Touchy(GENUINE)).fields == FIELDS
    old = TokenCodec([OLD], "shop", "visitor").sign(FIELDS).encode()
    assert not CODEC.verify(Touchy(old)).newest
    assert refusal(Touchy(GENUINE[:-1] + b"A")) == "forged"
