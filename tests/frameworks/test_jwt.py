"""JWT subjects by real tokens, in both interfaces; whatever is wrong with one, nobody is known."""

from __future__ import annotations

import base64
import json
import logging
import random
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from canary_middleware import Audience, ConfigurationError, current
from canary_middleware.engine.views import AsgiView, RequestView, WsgiView
from canary_middleware.frameworks.jwt import CACHE_SIZE, LONGEST, jwt_subject
from tests.scenarios.asgi_driver import http_scope
from tests.scenarios.facade import events
from tests.scenarios.site import Interface, Site
from tests.scenarios.words import Ask, Handling, Headers, Start
from tests.scenarios.wsgi_driver import http_environ

KEY, OTHER = "k" * 32, "o" * 32
HS256 = ["HS256"]
RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())


def pem(key: Any) -> str:
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return str(public.decode())


def made(key: Any = KEY, algorithm: str = "HS256", **claims: Any) -> str:
    return jwt.encode({"sub": "alice", **claims}, key, algorithm=algorithm)


def views(headers: Headers) -> list[RequestView]:
    ask = Ask(headers=headers)
    return [AsgiView(http_scope(ask)), WsgiView(http_environ(ask))]


def who(identify: Callable[[RequestView], str | None], *headers: tuple[str, str]) -> str | None:
    asgi, wsgi = map(identify, views(headers))
    assert asgi == wsgi
    return asgi


def bearer(token: str) -> tuple[str, str]:
    return ("authorization", f"Bearer {token}")


# --- good tokens ----------------------------------------------------------------------------------


def test_the_subject_of_a_bearer_token() -> None:
    identify = jwt_subject(KEY, algorithms=HS256)
    assert who(identify, bearer(made())) == "alice"
    assert who(identify, ("authorization", f"bearer   {made()} ")) == "alice"
    assert who(identify, ("authorization", made())) == "alice"
    (view, _) = views([bearer(made())])
    identify(view)
    assert view.inputs == ("Authorization",), "the answer varies on it"


@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "RS256"), (EC, "ES256")])
def test_public_keys(key: Any, algorithm: str) -> None:
    for verifying in (pem(key), key.public_key()):
        identify = jwt_subject(verifying, algorithms=[algorithm])
        assert who(identify, bearer(made(key, algorithm))) == "alice"


def test_public_keys_of_two_kinds() -> None:
    identify = jwt_subject([pem(RSA), pem(EC)], algorithms=["ES256", "RS256"])
    assert who(identify, bearer(made(RSA, "RS256"))) == "alice"
    assert who(identify, bearer(made(EC, "ES256"))) == "alice"


def test_a_published_key() -> None:
    published = jwt.PyJWK(json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(RSA.public_key())))
    identify = jwt_subject(published, algorithms=["RS256"])
    assert who(identify, bearer(made(RSA, "RS256"))) == "alice"
    assert who(identify, bearer(made(EC, "ES256"))) is None


def test_old_and_new_key() -> None:
    identify = jwt_subject([OTHER, KEY], algorithms=HS256)
    assert who(identify, bearer(made(OTHER))) == who(identify, bearer(made(KEY))) == "alice"


def test_another_claim_header_and_cookie() -> None:
    identify = jwt_subject(KEY, algorithms=HS256, claim="uid", header="X-Token", cookie="session")
    token = made(uid=7)
    assert who(identify, ("x-token", token)) == "7"
    assert who(identify, ("cookie", f"a=1; session={token}")) == "7"
    assert who(identify, bearer(token)) is None
    by_cookie = jwt_subject(KEY, algorithms=HS256, header=None, cookie="session")
    assert who(by_cookie, ("cookie", f"session={token}"), bearer("x.y.z")) == "alice"


def test_issuer_and_audience() -> None:
    identify = jwt_subject(KEY, algorithms=HS256, issuer="https://id.example", audience="shop")
    assert who(identify, bearer(made(iss="https://id.example", aud="shop"))) == "alice"
    assert who(identify, bearer(made(iss="https://id.example", aud=["blog", "shop"]))) == "alice"
    assert who(identify, bearer(made(iss="https://other.example", aud="shop"))) is None
    assert who(identify, bearer(made(iss="https://id.example", aud="blog"))) is None
    assert who(identify, bearer(made())) is None
    assert who(jwt_subject(KEY, algorithms=HS256), bearer(made(aud="shop"))) is None


# --- refused --------------------------------------------------------------------------------------


def b64(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def unsigned(algorithm: str = "none") -> str:
    return f"{b64({'alg': algorithm, 'typ': 'JWT'})}.{b64({'sub': 'alice'})}."


BRACKETS = base64.urlsafe_b64encode(b"[" * 5000).decode().rstrip("=")
NOW = int(time.time())
REFUSED = {
    "none": unsigned(),
    "None": unsigned("None"),
    "nothing signed": unsigned("HS256"),
    "another key": made(OTHER),
    "another algorithm": made("k" * 48, "HS384"),
    "a key of another kind": made(RSA, "RS256"),
    "expired": made(exp=NOW - 1),
    "of tomorrow": made(nbf=NOW + 86400),
    "issued tomorrow": made(iat=NOW + 86400),
    "no subject": jwt.encode({"name": "alice"}, KEY, algorithm="HS256"),
    "an empty subject": made(sub=""),
    "no token": "alice",
    "dots": "..",
    "not ASCII": "\xfc.\xfc.\xfc",
    "a thousand brackets": f"{BRACKETS}.{BRACKETS}.x",
    "too long": "a" * (LONGEST + 1),
}


@pytest.mark.parametrize("token", REFUSED.values(), ids=REFUSED)
def test_nobody_is_known_by(token: str) -> None:
    assert who(jwt_subject(KEY, algorithms=HS256), bearer(token)) is None
    keys = [pem(EC)]
    assert who(jwt_subject(keys, algorithms=["RS256", "ES256"]), bearer(token)) is None


def test_a_public_key_is_no_shared_secret() -> None:
    """The classic: HS256 with the public key, which everybody knows, as the secret."""
    head, body = b64({"alg": "HS256", "typ": "JWT"}), b64({"sub": "alice"})
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(
        f"{head}.{body}".encode(), pem(RSA).encode()
    )
    tail = base64.urlsafe_b64encode(signature).decode().rstrip("=")
    identify = jwt_subject(pem(RSA), algorithms=["RS256"])
    assert who(identify, bearer(f"{head}.{body}.{tail}")) is None


def test_other_schemes_and_nothing() -> None:
    identify = jwt_subject(KEY, algorithms=HS256)
    assert who(identify, ("authorization", f"Basic {made()}")) is None
    assert who(identify, ("authorization", "")) is None
    assert who(identify) is None


def test_of_a_thousand_mutations_none_is_accepted() -> None:
    identify, good, rng = jwt_subject(KEY, algorithms=HS256), made(), random.Random(5)
    asgi, _ = views([bearer(good)])
    assert identify(asgi) == "alice"
    signed = good.rpartition(".")[0]
    for _ in range(1000):
        at = rng.randrange(len(signed))
        other = rng.choice("ABCdef012-_".replace(good[at], ""))
        asgi, _ = views([bearer(good[:at] + other + good[at + 1 :])])
        assert identify(asgi) is None


def test_each_kind_is_logged_once_and_no_token_ever(caplog: pytest.LogCaptureFixture) -> None:
    identify = jwt_subject(KEY, algorithms=HS256)
    with caplog.at_level(logging.DEBUG, "canary_middleware"):
        for token in [*REFUSED.values(), *REFUSED.values()]:
            who(identify, bearer(token))
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == len(set(lines))
    assert any("ExpiredSignatureError" in line for line in lines)
    assert not [line for line in lines if "alice" in line or made(OTHER)[:20] in line]
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}


# --- remembered -----------------------------------------------------------------------------------


def test_a_remembered_token_expires_all_the_same() -> None:
    now = [float(NOW)]
    identify = jwt_subject(KEY, algorithms=HS256, wall=lambda: now[0])
    token = made(exp=NOW + 3600)
    assert who(identify, bearer(token)) == "alice"
    now[0] = NOW + 3599.9
    assert who(identify, bearer(token)) == "alice"
    now[0] = NOW + 3600.0
    assert who(identify, bearer(token)) is None


def test_more_tokens_than_are_remembered() -> None:
    identify = jwt_subject(KEY, algorithms=HS256)
    first = made()
    for number in range(CACHE_SIZE + 1):
        (view, _) = views([bearer(made(sub=f"user-{number}") if number else first)])
        assert identify(view) == (f"user-{number}" if number else "alice")
    assert who(identify, bearer(first)) == "alice"


# --- construction ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        ({"algorithms": []}, "algorithms"),
        ({"algorithms": None}, "algorithms"),
        ({"algorithms": "HS256"}, "algorithms"),
        ({"algorithms": ["none"]}, "algorithms"),
        ({"algorithms": ["HS256", "None"]}, "algorithms"),
        ({"algorithms": ["HS257"]}, "algorithms"),
        ({"algorithms": ["HS256", "RS256"]}, "algorithms"),
        ({"key": ""}, "key"),
        ({"key": None}, "key"),
        ({"key": []}, "key"),
        ({"key": [KEY, ""]}, "key"),
        ({"key": "short"}, "key"),
        ({"key": KEY, "algorithms": ["HS512"]}, "key"),
        ({"key": pem(RSA)}, "key"),
        ({"key": KEY, "algorithms": ["RS256"]}, "key"),
        ({"header": None}, "header"),
        ({"header": "X Token"}, "header"),
    ],
)
def test_mistakes_are_told_at_construction(arguments: dict[str, Any], place: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        jwt_subject(**{"key": KEY, "algorithms": HS256, **arguments})
    assert [problem.place for problem in caught.value.problems] == [f"jwt_subject, {place}"]
    assert KEY not in str(caught.value)


def test_an_algorithms_list_has_to_be_given() -> None:
    without: Any = jwt_subject
    with pytest.raises(TypeError, match="algorithms"):
        without(KEY)


# --- in the middleware ----------------------------------------------------------------------------


def version(site: Site) -> Handling:
    body = current("checkout").version.encode()
    yield Start()
    yield body


@pytest.mark.parametrize("interface", Interface, ids=lambda interface: interface.value)
def test_a_tester_is_known_by_the_token_and_nobody_by_a_broken_one(interface: Interface) -> None:
    canary = {"identify": jwt_subject(KEY, algorithms=HS256), "bucket_secret": OTHER}
    testers = {"testers": Audience(["alice"])}
    with Site(interface, version, weight="0%", canary=canary, rollout=testers) as site:
        assert site.ask(Ask(headers=[bearer(made())])).body == b"2"
        for token in REFUSED.values():
            assert site.ask(Ask(headers=[bearer(token)])).body == b"1"
        assert events(site.canary) == {}
