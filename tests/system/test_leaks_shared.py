"""S9 where the store keeps claims: users, API keys and session ids stay out of all that is said."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from canary_middleware.core.model import Cohort
from canary_middleware.core.override import KIND, Override, mint
from canary_middleware.core.token import TokenCodec
from tests.support.clients import NAVIGATION, Response, Visitor
from tests.support.otlp import Receiver
from tests.support.redis import RedisServer
from tests.support.servers import wait_until
from tests.system import variants
from tests.system.rig import Rig
from tests.system.site import BUCKET_SECRET, CANARY, KEY
from tests.system.test_leaks import everything_in, leaks

ALICE = "alice@example.com+9c41d07e"
API_KEY = "key-alice@example.com-51c2f7ab"
SESSION = "session-alice@example.com-77d0e9"
WAYS = {
    ALICE: {"X-User": ALICE},
    API_KEY: {"X-Api-Key": API_KEY},
    SESSION: {"Cookie": f"session={SESSION}"},
}
SECRETS = {"CANARY_BUCKET_SECRET": BUCKET_SECRET, "CANARY_SECRET_KEYS": KEY}
SHARED = {"shop": {"policy": "keep", "affinity": "shared"}}


@contextmanager
def watched(
    directory: Path, server: RedisServer, receiver: Receiver, variant: str = ""
) -> Iterator[Rig]:
    """Both interfaces, which log everything; one exports spans and metrics."""
    with Rig(
        directory, server.url, "shared", identified=True, anyhow=True, loud=True, plans=SHARED,
        overrides=("header", "cookie", "query"), variant=variant, budget=1.0,
        snapshot_path=str(directory / "snapshots"),
    ) as made:  # fmt: skip
        made.started(50_000)
        made.serve("uvicorn", otlp=receiver.url)
        made.serve("gunicorn")
        made.all_follow(CANARY)
        yield made


def visits(rig: Rig) -> tuple[list[Response], str]:
    """All of them, at both workers, in every way; also the ids of browsers that signed in."""
    answers, ids = [], []
    for worker in rig.workers:
        for headers in WAYS.values():
            with Visitor(worker.port, headers=headers) as visitor:
                answers += [visitor.get("/shop/?outbound=1"), visitor.post("/shop/order")]
                answers.append(visitor.get(f"/shop/?canary-token={token()}"))
                answers.append(visitor.request("GET", "/shop/", headers={"Canary-Token": token()}))
                answers.append(visitor.request("POST", "/shop/?raise=1"))
            with Visitor(worker.port) as visitor:  # signs in later
                visitor.get("/shop/")
                cookies = dict(visitor.cookies.values)
                ids.append(next(iter(cookies.values())).split(".")[1])
                both = {**headers}
                if "Cookie" in headers:
                    both["Cookie"] = f"{headers['Cookie']}; " + "; ".join(
                        f"{name}={value}" for name, value in cookies.items()
                    )
                answers.append(
                    visitor.request("GET", "/shop/?outbound=1", fetch=NAVIGATION, headers=both)
                )
    return answers, "\n".join(ids)


def token() -> str:
    now = int(time.time())
    codec = TokenCodec([KEY.encode()], "shared", KIND)
    return mint(codec, Override("shop", CANARY, Cohort.CANARY, now, now + 600))


def outputs(
    directory: Path, server: RedisServer, receiver: Receiver, variant: str = ""
) -> tuple[dict[str, str], list[str]]:
    """Everything that was said, by where, and the ids of anonymous browsers."""
    with watched(directory, server, receiver, variant) as rig:
        answers, ids = visits(rig)
        claims = rig.cli("affinity", "list", "shop", "--json", environ=SECRETS)
        assert len(json.loads(claims)["claims"]) >= len(WAYS), "there are claims to name somebody"
        said = [claims, rig.cli("affinity", "count", "shop", "--json", environ=SECRETS)]
        said += [
            rig.cli("affinity", "show", "shop", "--subject", who, "--json", environ=SECRETS)
            for who in WAYS
        ]
        stored = everything_in(server)
        said.append(rig.cli("affinity", "revoke", "shop", "--subject", ALICE, environ=SECRETS))
        rig.cli("kill", "--why", "so that everything is written once more")
        wait_until(lambda: len(receiver.received.spans) >= 12, what="spans arrived")
        wait_until(lambda: bool(receiver.received.latest("canary.requests")), what="metrics")
        time.sleep(1.0)
        said += [rig.cli("history"), rig.cli("status", "--json"), rig.cli("status")]
        return {
            "answers": "\n".join(f"{answer.headers} {answer.text}" for answer in answers),
            "spans": str(receiver.received.spans),
            "metrics": str(receiver.received.points),
            "logs": "\n".join(worker.process.output() for worker in rig.workers),
            "store": stored + everything_in(server),
            "disk": "".join(p.read_text() for p in (directory / "snapshots").glob("*.json")),
            "command line": "\n".join(said),
        }, ids.split()


def name_nobody(found: dict[str, str], ids: list[str]) -> None:
    assert all(found.values()), "there was something to search in everything"
    assert "Canary-Context" in found["answers"], "what goes to the next service was searched, too"
    assert "baggage" in found["answers"]
    for secret in (*WAYS, *ids):
        for where, text in found.items():
            if secret in ids and where == "answers":
                continue  # a browser's own id is in its cookie, and nowhere else
            assert leaks(text, secret) == [], f"{where} names somebody"


def test_s9_no_output_names_a_user_a_key_or_a_session(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    with Receiver() as receiver:
        found, ids = outputs(tmp_path, redis_server, receiver)
    name_nobody(found, ids)
    print(
        f"\nS9 with shared affinity: {sum(map(len, found.values()))} characters in "
        f"{len(found)} places, {len(WAYS) + len(ids)} identities, 0 hits (limit 0)"
    )


def test_s9_the_check_fails_for_claims_under_a_plain_hash(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    with (
        Receiver() as receiver,
        watched(tmp_path, redis_server, receiver, variants.PLAIN_KEYS) as rig,
    ):
        visits(rig)
        with pytest.raises(AssertionError, match="store names somebody"):
            name_nobody(
                {"store": everything_in(redis_server), "answers": "Canary-Context baggage"}, []
            )
