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

_ECHO: Final = ", with args beginning with"
"""After this a server that knows no such command repeats what it was given: after AUTH, a password.
"""
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
    if _is_masterless(error):
        kinds = ", ".join(sorted(set(_KIND.findall(str(error)))))
        return f"no Sentinel names a master{': ' if kinds else ''}{kinds}"
    text = (error.strerror or "") if isinstance(error, OSError) else str(error).partition(_ECHO)[0]
    # A sentence of the server's: what follows it here has a comma or a semicolon before it.
    return printable(text, SHOWN).rstrip(" .") or type(error).__name__


def _is_masterless(error: Exception) -> bool:
    # Its own text shows the connections to the Sentinels, before redis-py 8 with passwords.
    return isinstance(error, sentinel.MasterNotFoundError | aiosentinel.MasterNotFoundError)


def _cause(error: Exception) -> Exception | None:
    """What may stand in a traceback."""
    # An OSError may be whatever `credentials` met on its way to a secret: connections fail by
    # redis-py's own errors.
    secret = _is_masterless(error) or isinstance(error, OSError) or _ECHO in str(error)
    return None if secret else error


@contextmanager
def store_errors() -> Iterator[None]:
    """Errors of redis-py become those of a store, chained unless their texts may show secrets."""
    try:
        yield
    except redis.ResponseError as error:
        corrupt = str(error).startswith("WRONGTYPE")
        kind = StoreCorruptError if corrupt else StoreUnavailableError
        raise kind(told(error)) from _cause(error)
    except UnicodeDecodeError as error:
        raise StoreCorruptError("the answer is no UTF-8") from error
    except (redis.RedisError, RedisClusterException, OSError) as error:
        raise StoreUnavailableError(told(error)) from _cause(error)
    except (TypeError, ValueError, LookupError, AttributeError, RecursionError) as error:
        # What redis-py stumbles over when the answer is none that a Redis gives.
        why = f"the server answers what redis-py cannot read: {type(error).__name__}"
        raise StoreUnavailableError(why) from error
