"""Weights: the share of visitors on canary, as an exact integer of thousandths of a percent.

``5 %`` is ``5_000``; ``FULL`` is ``100_000``. Nothing here is a float, so 0 means nobody and 100 %
means everybody, exactly.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Final

FULL: Final = 100_000
"""100 % in units of 0.001 %."""

_STEP: Final = Decimal("0.001")
_FRACTION: Final = re.compile(r"0?\.\d{1,20}|1\.0{0,20}", re.ASCII)


def parse_weight(text: object) -> int:
    """``"5%"`` → 5000 (units of 0.001 %).

    Raises:
        ValueError: a bare number, outside 0 to 100 %, or finer than 0.001 %; it says which.
    """
    if not isinstance(text, str):
        raise ValueError(f'a bare number ({text!r}) is ambiguous; write a string such as "5%"')
    body = text.strip()
    if not body.endswith("%"):
        raise ValueError(f"{text!r} has no percent sign; write {_readings(body)}")
    try:
        share = Decimal(body[:-1].strip())
    except InvalidOperation:
        raise ValueError(f'{text!r} is not a percentage; write something like "5%"') from None
    # Compared before any arithmetic: comparing is exact, multiplying overflows and rounds.
    if not share.is_finite() or not 0 <= share <= 100:
        raise ValueError(f"{text!r} is outside 0% to 100%")
    rounded = share.quantize(_STEP)
    if rounded != share:
        raise ValueError(f"{text!r} is finer than the resolution of 0.001%")
    return int(rounded * 1000)


def _readings(body: str) -> str:
    # Most people mean the fraction, and a hint that only adds the sign is a hundred times less.
    if not _FRACTION.fullmatch(body):
        return f'"{body or "5"}%"'
    return f'"{(Decimal(body) * 100).normalize():f}%" for the fraction, or "{body}%"'


def format_weight(weight: int) -> str:
    """5000 → ``"5%"``; the inverse of :func:`parse_weight`, without trailing zeros."""
    whole, fraction = divmod(weight, 1000)
    return f"{whole}.{fraction:03d}".rstrip("0").rstrip(".") + "%"
