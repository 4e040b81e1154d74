"""Cookies with pins in hands that they were not made for.

At weight 0 a pin is the only way to the canary, so that whatever a forged, spliced, borrowed or old
one gains, shows.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator

import itsdangerous

from canary_middleware import verbs
from canary_middleware.core.weight import parse_weight
from tests.support.servers import wait_until
from tests.system.cookies import ask, value, version
from tests.system.rig import Rig, Worker
from tests.system.site import CANARY, STABLE

POLICIES = ("keep", "session")
COOKIE = "canary-{namespace}"


class Loan:
    """One application under a policy that pins, and somebody whose pin is worth something.

    Args:
        rig: with workers.
        app: its name; also its policy.
    """

    def __init__(self, rig: Rig, app: str) -> None:
        self.rig = rig
        self.app = app
        self.store = rig.store(app)
        self.name = COOKIE.format(namespace=rig.setup.namespace_of(app))

    def move(self, weight: str) -> None:
        document = verbs.weight(self.store, self.app, parse_weight(weight), by="test")
        self.heard(document.revision)

    def heard(self, revision: int) -> None:
        def all_follow() -> bool:
            found = [process.revision for process in self.store.processes()]
            return len(found) >= len(self.rig.workers) and min(found) >= revision

        wait_until(all_follow, what="everybody follows")

    def restart(self, weight: str) -> None:
        """Another epoch."""
        verbs.rollback(self.store, self.app, by="test")
        self.heard(self.rig.started(parse_weight(weight), self.app, again=True).revision)

    def see(self, worker: Worker, cookie: str = "", user: str = "") -> tuple[str, str]:
        """Version, and the value of the cookie after it."""
        pair = f"{self.name}={cookie}" if cookie else ""
        answer = ask(worker, pair, user, path=f"/{self.app}/")
        return version(answer), value(answer) or cookie

    def pinned(self, user: str = "") -> tuple[str, str]:
        """A cookie with a canary pin, made at the present weight, and whose it is."""
        for number in range(200):
            name = f"{user}{number}" if user else ""
            found, cookie = self.see(self.rig.workers[0], user=name)
            if found == CANARY:
                assert pins(cookie), "a canary cookie has a pin"
                return cookie, name
        raise AssertionError("nobody is on canary")

    def stable(self) -> str:
        """The cookie of somebody on stable."""
        for _ in range(200):
            found, cookie = self.see(self.rig.workers[0])
            if found == STABLE and cookie:
                return cookie
        raise AssertionError("nobody is on stable")


def pins(cookie: str) -> list[str]:
    """The fields of a cookie that are pins."""
    return [part for part in cookie.split(".")[3:-1] if part.startswith("p")]


def spliced(rng: random.Random, own: str, others: list[str], count: int) -> Iterator[str]:
    """A cookie without a pin of worth, with pins of others, edited in all ways but by the key."""
    *fields, signature = own.split(".")
    for _ in range(count):
        other = rng.choice(others)
        pin = rng.choice(pins(other))
        yield rng.choice(
            [
                ".".join([*fields, pin, signature]),
                ".".join([*fields, pin, other.rpartition(".")[2]]),
                ".".join([*fields[:3], pin, *fields[3:], signature]),
                ".".join([other.split(".")[0], fields[1], *other.split(".")[2:]]),
                _flipped(rng, other),
                other.rpartition(".")[0],
                other.rpartition(".")[0] + ".",
                f"{own}.{pin}",
                f"{other}{signature}",
            ]
        )


def _flipped(rng: random.Random, cookie: str) -> str:
    """Another character in what is signed, or in all but the last of the signature.

    Of the last one of 43 characters of base64 two bits say nothing.
    """
    at = rng.randrange(len(cookie) - 1)
    fresh = rng.choice([c for c in "Ac0-_z9" if c != cookie[at]])
    return cookie[:at] + fresh + cookie[at + 1 :]


def resigned(key: str, namespace: str, cookie: str, pin: str) -> str:
    """What somebody who has the key would make of it."""
    signer = itsdangerous.Signer(
        key,
        salt=f"canary_middleware.visitor.{namespace}",
        sep=".",
        key_derivation="hmac",
        digest_method=hashlib.sha256,
    )
    held = pins(cookie)  # by place as well: an id may begin with the same letter
    fields = [part for part in cookie.split(".")[:-1] if part not in held]
    return signer.sign(".".join([*fields, pin])).decode()


# --- what must not work ---------------------------------------------------------------------------


def nothing_forged(loan: Loan, workers: list[Worker], forged: list[str]) -> None:
    for number, cookie in enumerate(forged):
        found, _ = loan.see(workers[number % len(workers)], cookie)
        assert found == STABLE, "no forged pin is honoured"


def nothing_of_another(loan: Loan, workers: list[Worker], cookie: str, owner: str) -> None:
    """The cookie of a user in the same browser says nothing about the next one."""
    for worker in workers:
        assert loan.see(worker, cookie, owner)[0] == CANARY, "its owner is where he was"
        for number in range(10):
            found, _ = loan.see(worker, cookie, f"somebody {number}")
            assert found == STABLE, "a pin of another user is no pin of mine"


def nothing_old(loan: Loan, workers: list[Worker], cookies: list[str]) -> None:
    for worker in workers:
        for cookie in cookies:
            assert loan.see(worker, cookie)[0] == STABLE, "a pin of another epoch is none"


def borrowed(rig: Rig, app: str, count: int) -> str:
    """All of it, for one application."""
    loan, rng = Loan(rig, app), random.Random(7)
    loan.heard(rig.started(parse_weight("50%"), app).revision)
    anonymous = [loan.pinned()[0] for _ in range(4)]
    of_user, user = loan.pinned("user ")
    own = loan.stable()
    loan.move("0%")
    for worker in rig.workers:
        assert loan.see(worker, anonymous[0])[0] == CANARY, "a pin is worth something at 0 %"
    nothing_forged(loan, rig.workers, list(spliced(rng, own, anonymous, count)))
    nothing_of_another(loan, rig.workers, of_user, user)
    loan.restart("0%")
    nothing_old(loan, rig.workers, [*anonymous, of_user])
    return (
        f"{app}: {count} spliced cookies, 20 borrowed by another user, "
        f"{len(anonymous) + 1} of another epoch: 0 honoured (limit 0)"
    )


def other_namespaces(rig: Rig) -> str:
    """The cookie of one namespace under the name of the other, which has the same keys."""
    loans = [Loan(rig, app) for app in POLICIES]
    for loan in loans:
        loan.restart("50%")
    cookies = [loan.pinned()[0] for loan in loans]
    for loan in loans:
        loan.move("0%")
    for loan, foreign in zip(loans, reversed(cookies), strict=True):
        nothing_forged(loan, rig.workers, [foreign])
    return f"{len(cookies)} cookies of another namespace: 0 honoured (limit 0)"
