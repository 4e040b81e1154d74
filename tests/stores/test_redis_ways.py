"""Every promise of a store again: behind Sentinels, in a Cluster, over TLS."""

from __future__ import annotations

import asyncio
import logging
import re
import socketserver
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import redis

from canary_middleware import Canary, Rollout
from canary_middleware.errors import StoreUnavailableError
from canary_middleware.stores import open_store
from canary_middleware.stores.redis_address import RedisAddress
from canary_middleware.testing import Opener
from tests.stores.test_contract import Everything
from tests.support.fleet import Cluster, Sentinels
from tests.support.servers import LOCALHOST, wait_until
from tests.support.tls import Certificates, TlsRedis, issue, tls_redis


class TestSentinel(Everything):
    @pytest.fixture
    def opener(self, sentinels: Sentinels, namespace: str) -> Opener:
        return partial(open_store, sentinels.url, namespace, timeout=5.0)


class TestCluster(Everything):
    @pytest.fixture
    def opener(self, cluster: Cluster, namespace: str) -> Opener:
        return partial(open_store, cluster.url, namespace, timeout=5.0)


# --- TLS ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return issue(tmp_path_factory.mktemp("certificates"), "right", "localhost")


@pytest.fixture(scope="module")
def secure(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[TlsRedis]:
    with tls_redis(tmp_path_factory.mktemp("tls"), certificates) as server:
        yield server


class TestTls(Everything):
    @pytest.fixture
    def opener(self, secure: TlsRedis, certificates: Certificates, namespace: str) -> Opener:
        url = secure.url(f"ssl_ca_certs={certificates.authority}")
        return partial(open_store, url, namespace, connect_timeout=5.0, timeout=5.0)


@pytest.fixture(params=["an unknown authority", "another host", "no TLS at all"])
def wrong(
    request: pytest.FixtureRequest, secure: TlsRedis, certificates: Certificates
) -> tuple[str, str]:
    """A URL that must not be trusted, and what is said of it."""
    trusted = f"ssl_ca_certs={certificates.authority}"
    return {
        "an unknown authority": (secure.url(), "CERTIFICATE_VERIFY_FAILED"),
        "another host": (secure.url(trusted, host=LOCALHOST), "IP address mismatch"),
        "no TLS at all": (f"rediss://localhost:{secure.server.port}", "Timeout connecting"),
    }[request.param]


def test_what_is_not_verified_is_not_talked_to(wrong: tuple[str, str]) -> None:
    url, said = wrong
    store = open_store(url, "shop", connect_timeout=0.3, timeout=0.3)
    with pytest.raises(StoreUnavailableError, match=said):
        store.load()

    async def ask() -> None:
        client = RedisAddress.parse(url).connect_async(connect_timeout=0.3, timeout=0.3)
        try:
            with pytest.raises((redis.ConnectionError, redis.TimeoutError), match=said):
                await client.ping()
        finally:
            await client.aclose()

    asyncio.run(ask())


def test_an_application_says_why_and_serves_stable(
    secure: TlsRedis, caplog: pytest.LogCaptureFixture
) -> None:
    canary = Canary(
        Rollout("shop", stable="1", canary="2"), namespace="shop", store=secure.url(),
        secret_keys=["k" * 32],
    )  # fmt: skip
    canary.arrive_blocking()
    wait_until(lambda: "degraded" in caplog.text, what="it says so")
    canary.stop()
    (line,) = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert re.match(r"store: degraded: .*certificate verify failed", line)


class Recorder(socketserver.StreamRequestHandler):
    """Keeps the first words of whoever comes."""

    def handle(self) -> None:
        self.server.heard.append(self.rfile.read1())  # type: ignore[attr-defined]  # stays a server


@pytest.mark.parametrize("kind", ["", "+sentinel", "+cluster"])
def test_nothing_is_ever_sent_in_plain_text(kind: str) -> None:
    with socketserver.TCPServer((LOCALHOST, 0), Recorder) as server:
        heard: list[bytes] = []
        server.heard = heard  # type: ignore[attr-defined]  # see above
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        place = f"rediss{kind}://shop:hunter2@{LOCALHOST}:{server.server_address[1]}"
        url = f"{place}/name?sentinel_password=hunter2" if kind == "+sentinel" else place
        store = open_store(url, "shop")
        with pytest.raises(StoreUnavailableError):
            store.load()
        store.close()
        server.shutdown()
        thread.join()
    assert heard
    assert all(words.startswith(b"\x16\x03") for words in heard), "a handshake"
    assert not any(b"hunter2" in words for words in heard)


def test_a_server_may_ask_for_a_certificate_of_its_client(
    tmp_path: Path, certificates: Certificates
) -> None:
    ours = f"ssl_certfile={certificates.certificate}", f"ssl_keyfile={certificates.key}"
    with tls_redis(tmp_path, certificates, asks_clients=True) as server:
        trusted = f"ssl_ca_certs={certificates.authority}"
        known = open_store(server.url(trusted, *ours), "shop", timeout=2.0)
        assert known.load().document is None
        unknown = open_store(server.url(trusted), "shop", timeout=2.0)
        with pytest.raises(StoreUnavailableError):
            unknown.load()
        known.close()
        unknown.close()
