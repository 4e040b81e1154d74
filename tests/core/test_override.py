"""Override tokens: what they say comes back, and nothing that was not signed does."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_middleware.core.cookie import new_cookie, write
from canary_middleware.core.model import Cohort
from canary_middleware.core.override import KIND, LONGEST, SKEW, Override, mint, read
from canary_middleware.core.token import MAX_TOKEN, TokenCodec, urlsafe
from canary_middleware.errors import TokenError

KEY, OTHER = b"k" * 32, b"o" * 32
CODEC = TokenCodec([OTHER, KEY], "shop", KIND)
NOW = 1_800_000_000
GIVEN = Override("checkout", "1.5.0", Cohort.CANARY, NOW, NOW + 7200)
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."


def refusal(token: str, now: float = NOW, codec: TokenCodec = CODEC) -> str:
    with pytest.raises(TokenError) as caught:
        read(codec, token.encode(), now)
    return caught.value.why


def test_a_known_answer() -> None:
    token = mint(CODEC, GIVEN)
    assert token.startswith("1.checkout.MS41LjA.c.1800000000.1800007200.n.")
    assert read(CODEC, token.encode(), NOW) == GIVEN


NAMES = st.text("ABCabc019-_", min_size=1, max_size=64)
LABELS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=64)


@given(NAMES, LABELS, st.sampled_from(Cohort), st.integers(1, LONGEST), st.booleans())
def test_every_name_and_label_comes_back(
    rollout: str, release: str, cohort: Cohort, life: int, debug: bool
) -> None:
    override = Override(rollout, release, cohort, NOW, NOW + life, debug)
    token = mint(CODEC, override).encode()
    assert len(token) <= 250 < MAX_TOKEN
    assert read(CODEC, token, NOW) == override


def test_it_ends_and_does_not_begin_before_its_time() -> None:
    token = mint(CODEC, GIVEN)
    assert read(CODEC, token.encode(), GIVEN.until - 0.01) == GIVEN
    assert refusal(token, GIVEN.until) == "expired"
    assert read(CODEC, token.encode(), NOW - SKEW) == GIVEN
    assert refusal(token, NOW - SKEW - 1) == "future"


@pytest.mark.parametrize("life", [0, -1, LONGEST + 1])
def test_no_token_is_made_for_no_time_or_for_too_long(life: int) -> None:
    with pytest.raises(ValueError, match="1 second to 30 days"):
        mint(CODEC, GIVEN._replace(until=NOW + life))


def test_nor_is_one_believed_that_somebody_with_the_key_made() -> None:
    fields = ["1", "checkout", "MS41LjA", "c", str(NOW), str(NOW + LONGEST + 1), "n"]
    assert refusal(CODEC.sign(fields)) == "malformed"
    assert refusal(CODEC.sign([*fields[:5], str(NOW - 1), "n"])) == "malformed"


@pytest.mark.parametrize(
    "fields",
    [
        ["1"],
        ["2", "checkout", "MS41LjA", "c", f"{NOW}", f"{NOW + 9}", "n"],
        ["1", "checkout", "MS41LjA", "x", f"{NOW}", f"{NOW + 9}", "n"],
        ["1", "checkout", "MS41LjA", "c", f"{NOW}", f"{NOW + 9}", "n", "n"],
        ["1", "checkout", "MS41LjA", "c", f"{NOW}", f" {NOW + 9}", "n"],
        ["1", "checkout", "MS41LjA", "c", f"{NOW}", f"{NOW + 9}_0", "n"],
        ["1", "checkout", "A", "c", f"{NOW}", f"{NOW + 9}", "n"],
        ["1", "checkout", urlsafe("1.5.\xfc".encode()).decode(), "c", f"{NOW}", f"{NOW + 9}", "n"],
        ["1", "", "MS41LjA", "c", f"{NOW}", f"{NOW + 9}", "n"],
        ["1", "c" * 65, "MS41LjA", "c", f"{NOW}", f"{NOW + 9}", "n"],
    ],
)
def test_what_is_signed_and_says_nothing_is_malformed(fields: list[str]) -> None:
    assert refusal(CODEC.sign(fields)) == "malformed"


def test_the_removed_key_the_other_namespace_and_the_other_kinds_are_forged() -> None:
    token = mint(CODEC, GIVEN)
    assert refusal(token, codec=TokenCodec([OTHER], "shop", KIND)) == "forged"
    assert refusal(token, codec=TokenCodec([KEY], "blog", KIND)) == "forged"
    assert refusal(write(TokenCodec([KEY], "shop", "visitor"), new_cookie(bytes, NOW))) == "forged"
    for kind in ("visitor", "service", "upstream", ""):
        assert refusal(mint(TokenCodec([KEY], "shop", kind), GIVEN)) == "forged"


def test_of_ten_thousand_mutations_none_is_accepted() -> None:
    rng, good = random.Random(3), mint(CODEC, GIVEN)
    accepted = []
    for _ in range(10_000):
        at, other = rng.randrange(len(good)), rng.choice(ALPHABET)
        flipped = bytearray(good.encode())
        flipped[at] ^= 1 << rng.randrange(8)
        changed = rng.choice([
            bytes(flipped),
            (good[:at] + other + good[at:]).encode(),
            (good[:at] + good[at + 1 :]).encode(),
            good[:at].encode(),
            good.replace("checkout", "check0ut").encode(),
            good.replace(".c.", ".s.").encode(),
            good.replace(".n.", ".d.").encode(),
            good.replace(str(GIVEN.until), str(GIVEN.until + at + 1)).encode(),
            (good * 9)[: len(good) + at].encode(),
        ])  # fmt: skip
        if changed != good.encode():
            with suppress(TokenError):
                accepted.append((changed, read(CODEC, changed, NOW)))
    assert accepted == []
