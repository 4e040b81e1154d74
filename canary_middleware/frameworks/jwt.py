"""Users who are known by a JSON Web Token (RFC 7519) that somebody else has issued."""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from canary_middleware.core.validate import as_bytes
from canary_middleware.engine.views import RequestView, header_name
from canary_middleware.errors import ConfigurationError, MissingExtraError, Problem

try:
    import jwt
except ImportError as error:
    raise MissingExtraError("PyJWT", "jwt") from error

logger = logging.getLogger("canary_middleware")

CACHE_SIZE: Final = 4096
"""Verified tokens that are remembered by their hash; refused ones never are."""

LONGEST: Final = 8192
"""Characters of a token; longer ones are refused before anything is computed."""

MIN_HMAC: Final = {"HS256": 32, "HS384": 48, "HS512": 64}
"""Bytes of the shortest key of each algorithm (RFC 7518 section 3.2)."""

Known = tuple[str | None, float]
"""A subject, and the second in which its token expires."""

# Beside its own errors PyJWT lets these out: for a key of another kind than the algorithm that the
# token names, and for a head of a thousand brackets.
_REFUSALS: Final = (jwt.PyJWTError, TypeError, ValueError, RecursionError)


def jwt_subject(
    key: Any,
    *,
    algorithms: Sequence[str],
    claim: str = "sub",
    header: str | None = "Authorization",
    cookie: str | None = None,
    issuer: str | Sequence[str] | None = None,
    audience: str | Sequence[str] | None = None,
    wall: Callable[[], float] = time.time,
) -> Callable[[RequestView], str | None]:
    """``identify`` by a claim of a verified token; every other token is nobody's.

    This says which version a user gets and never who may do what: that stays with the application.

    Args:
        key: what verifies, as PyJWT takes it; or a list, oldest first, while keys change.
        algorithms: the ones that the issuer uses, such as ``["RS256"]``; never taken from a token.
        claim: whose value is the subject, a text or a whole number.
        header: ``Bearer <token>`` or the token alone; ``None`` for none.
        cookie: name of a cookie that holds the token, asked where the header has none.
        issuer: ``iss`` must be this or one of these.
        audience: ``aud`` must name this or one of these; a token with ``aud`` is refused without.
        wall: wall clock, seconds, by which remembered tokens expire; for tests.

    Raises:
        ConfigurationError: no algorithms or ``none``, keys that do not fit, or nowhere to look.
    """
    keys = list(key) if isinstance(key, (list, tuple)) else [key]
    problems = [*_algorithm_problems(algorithms), *_place_problems(header, cookie)]
    if not problems:
        problems += _key_problems(keys, algorithms)
    if problems:
        raise ConfigurationError(problems)
    keys = [_prepared(each, algorithms) for each in keys]
    tokens = Tokens(keys, list(algorithms), claim, issuer, audience, wall)

    def identify(view: RequestView) -> str | None:
        token = _bearer(view.header(header)) if header else None
        if not token and cookie:
            token = view.cookie(cookie)
        return tokens.subject(token) if token else None

    return identify


class Tokens:
    """Verifies tokens, and each of them once.

    Args:
        keys: oldest first.
        algorithms: see :func:`jwt_subject`, as the others.
        claim: whose value is the subject.
        issuer: asked for if given.
        audience: asked for if given.
        wall: wall clock, seconds.
    """

    def __init__(
        self,
        keys: Sequence[Any],
        algorithms: list[str],
        claim: str,
        issuer: str | Sequence[str] | None,
        audience: str | Sequence[str] | None,
        wall: Callable[[], float],
    ) -> None:
        self._keys = tuple(reversed(keys))
        self._algorithms = algorithms
        self._claim = claim
        self._asked: Mapping[str, Any] = {"issuer": issuer, "audience": audience}
        self._wall = wall
        self._told: set[str] = set()
        # By the hash: what is remembered is no token that somebody could use.
        self._known: OrderedDict[bytes, Known] = OrderedDict()

    def subject(self, token: str) -> str | None:
        """Whose token it is; ``None`` if it is not to be believed."""
        if len(token) > LONGEST:
            self._refuse("oversized")
            return None
        digest = hashlib.sha256(as_bytes(token)).digest()
        known = self._known.get(digest)
        if known is None:
            known = self._verified(token)
            if known is None:
                return None
            if len(self._known) >= CACHE_SIZE:
                # One operation, as other threads fill it, too.
                self._known.popitem(last=False)
            self._known[digest] = known
        subject, until = known
        if self._wall() < until:
            return subject
        self._refuse("expired")
        return None

    def _verified(self, token: str) -> Known | None:
        why = ""
        for key in self._keys:
            try:
                claims = jwt.decode(token, key, algorithms=self._algorithms, **self._asked)
            except _REFUSALS as error:
                why = type(error).__name__
            else:
                return _subject(claims.get(self._claim)), float(claims.get("exp", math.inf))
        self._refuse(why)
        return None

    def _refuse(self, why: str) -> None:
        # The kind of the error and nothing of the token: it may be good somewhere else.
        if why not in self._told:
            self._told.add(why)
            logger.debug("a JWT is refused: %s; its bearer is anonymous (logged once)", why)


def _subject(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    return str(value) or None


def _bearer(value: str | None) -> str | None:
    """The token in a header's value; of other schemes there is none."""
    scheme, _, token = (value or "").strip().partition(" ")
    if not token:
        return scheme or None
    return token.strip() if scheme.lower() == "bearer" else None


def _algorithm_problems(algorithms: object) -> Iterator[Problem]:
    place, hint = "jwt_subject, algorithms", 'the issuer\'s, such as ["RS256"]'
    if isinstance(algorithms, str) or not isinstance(algorithms, Sequence) or not algorithms:
        yield Problem(place, f"{algorithms!r} is no list of algorithms", hint)
        return
    known = jwt.algorithms.get_default_algorithms()
    for name in algorithms:
        if not isinstance(name, str) or name.lower() == "none":
            yield Problem(place, f"{name!r} verifies nothing", hint)
        elif name not in known:
            yield Problem(place, f"{name!r} is unknown here", hint)
    if len({name.startswith("HS") for name in algorithms if name in known and name != "none"}) > 1:
        # A public key is known to everybody; taken for a shared secret it would sign anything.
        yield Problem(place, "mix shared secrets (HS...) with public keys", "use one kind")


def _key_problems(keys: Sequence[Any], algorithms: Sequence[str]) -> Iterator[Problem]:
    place, hint = "jwt_subject, key", "the issuer's secret or public key"
    least = max(MIN_HMAC.get(name, 0) for name in algorithms)
    for each in keys or [None]:
        if not each:
            yield Problem(place, "is missing", hint)
        elif _prepared(each, algorithms) is None:
            yield Problem(place, f"is no key for {', '.join(algorithms)}", hint)
        elif isinstance(each, (str, bytes)) and len(as_bytes(each)) < least:
            wrong = f"has {len(as_bytes(each))} bytes, at least {least} are needed"
            yield Problem(place, wrong, "RFC 7518 section 3.2; ask the issuer for a longer one")


def _prepared(key: Any, algorithms: Sequence[str]) -> Any:
    """The key as an object, for reading PEM costs more than verifying; ``None``: it is none."""
    if isinstance(key, jwt.PyJWK):
        return key
    known = jwt.algorithms.get_default_algorithms()
    for name in algorithms:
        try:
            return known[name].prepare_key(key)
        except _REFUSALS:
            continue
    return None


def _place_problems(header: str | None, cookie: str | None) -> Iterator[Problem]:
    if header is None and not cookie:
        yield Problem("jwt_subject, header", "is None, and no cookie is named", 'cookie="..."')
    if header is not None:
        try:
            header_name(header)
        except ValueError as error:
            yield Problem("jwt_subject, header", str(error), "such as Authorization")
