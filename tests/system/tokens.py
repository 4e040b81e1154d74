"""Cookies as somebody who has a key would make them, with itsdangerous and none of our code."""

from __future__ import annotations

import hashlib
import time

import itsdangerous


def signed(
    key: str,
    namespace: str,
    *,
    visitor: str = "A" * 16,
    age: float = 0.0,
    salt: str | None = None,
) -> str:
    """A cookie of a visitor; ``age`` in seconds."""
    signer = itsdangerous.Signer(
        key,
        salt=salt or f"canary_middleware.visitor.{namespace}",
        sep=".",
        key_derivation="hmac",
        digest_method=hashlib.sha256,
    )
    return signer.sign(f"1.{visitor}.{base36(int(time.time() - age))}").decode()


def base36(number: int) -> str:
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    return base36(number // 36) + digits[number % 36] if number >= 36 else digits[number]
