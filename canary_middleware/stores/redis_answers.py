"""What answers of a Redis are taken for, and what becomes of its errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

import redis
from redis import sentinel
from redis.asyncio import sentinel as aiosentinel
from redis.exceptions import RedisClusterException

from canary_middleware.core.codec import MAX_BYTES, SHOWN, printable
from canary_middleware.errors import StoreCorruptError, StoreUnavailableError

_KIND: Final = re.compile(r" - (?:\w+:)?(\w+Error)\b")


def as_bytes(value: object) -> bytes:
    """A text of the server; the pushes that a ready client receives may be decoded."""
    data = value.encode(errors="surrogateescape") if isinstance(value, str) else value
    if not isinstance(data, bytes):
        strange(value)
    if len(data) > 2 * MAX_BYTES:
        raise StoreCorruptError(f"an answer takes {len(data)} bytes")
    return data


def as_list(answer: object) -> list[object]:
    """An array."""
    return answer if isinstance(answer, list) else strange(answer)


def as_three(answer: object) -> list[object]:
    """An array of three."""
    found = as_list(answer)
    return found if len(found) == 3 else strange(answer)


def as_seconds(answer: object) -> float:
    """A number."""
    try:
        return float(as_bytes(answer))
    except ValueError:
        strange(answer)


def strange(answer: object) -> NoReturn:
    """Refuse an answer that none of our scripts gives."""
    # Something between us and the server, or another server: nothing that it says can be trusted.
    kind = type(answer).__name__
    raise StoreUnavailableError(f"the server does not answer as our scripts do, but with: {kind}")


def told(error: Exception) -> str:
    """What may be told of an error."""
    if isinstance(error, sentinel.MasterNotFoundError | aiosentinel.MasterNotFoundError):
        # Its own text shows the connections to the Sentinels, in some versions with passwords.
        kinds = ", ".join(sorted(set(_KIND.findall(str(error)))))
        return f"no Sentinel names a master{': ' if kinds else ''}{kinds}"
    return printable(str(error), SHOWN) or type(error).__name__


@contextmanager
def store_errors() -> Iterator[None]:
    """Errors of redis-py become those of a store, with the cause chained."""
    try:
        yield
    except redis.ResponseError as error:
        if str(error).startswith("WRONGTYPE"):
            raise StoreCorruptError(printable(str(error), SHOWN)) from error
        raise StoreUnavailableError(printable(str(error), SHOWN)) from error
    except UnicodeDecodeError as error:
        raise StoreCorruptError("the answer is no UTF-8") from error
    except (redis.RedisError, RedisClusterException, OSError) as error:
        raise StoreUnavailableError(told(error)) from error
    except (TypeError, ValueError, LookupError, AttributeError, RecursionError) as error:
        # What redis-py stumbles over when the answer is none that a Redis gives.
        why = f"the server answers what redis-py cannot read: {type(error).__name__}"
        raise StoreUnavailableError(why) from error
