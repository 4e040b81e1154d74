"""Who is told of what, and how it is signed: declarations and the rules for them.

The signature is that of Standard Webhooks 1.0.0 (standardwebhooks.com): HMAC-SHA256 over
``id.timestamp.body``, in base64 after ``v1,``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from canary_middleware.core.hook_address import EXAMPLE, host_of, url_problems
from canary_middleware.core.model import Rollout
from canary_middleware.core.token import MIN_KEY
from canary_middleware.core.validate_values import items, list_problems
from canary_middleware.errors import Problem

EVENTS: Final = (
    "start", "weight", "pause", "resume", "approve", "hold", "advance", "await", "promote",
    "rollback", "kill", "kill-file", "revive", "rebase", "finish", "precaution", "drill", "settle",
    "restore",
)  # fmt: skip
"""Actions of history that people are told of unless they say otherwise."""
QUIET: Final = ("baseline", "note", "revoke")
"""Actions that are told only to who asks for them."""
TEST: Final = "test"
"""Action of the event that somebody sends to try a hook; every hook gets it."""
FORMATS: Final = ("json", "slack")
MOST: Final = 16
"""Hooks of one process; each has a thread."""
_PREFIX: Final = "whsec_"
_LEAST: Final = 24
_MAKE: Final = "make one: python -c 'import secrets; print(secrets.token_urlsafe(32))'"


@dataclass(frozen=True, slots=True)
class Webhook:
    """Somebody who is told of what happens to rollouts, by HTTP POST.

    Args:
        url: where to, ``https`` or ``http``. Its path may be secret, as Slack's are: no log, no
            report and no error ever shows more than the host.
        secret: signs what is sent; by default ``Canary(webhook_secret=...)``, which signs what
            is sent as ``json``.
        format: ``"json"``, see docs/alerts.md, or ``"slack"``: a text as Slack's incoming
            webhooks and those after their model take it.
        events: actions of history that are sent; by default all but ``baseline``, ``note`` and
            ``revoke``.
    """

    url: str = field(repr=False)
    secret: str | bytes | None = field(default=None, repr=False)
    format: str = "json"
    events: Sequence[str] = EVENTS

    @property
    def host(self) -> str:
        """What may be shown of its address."""
        return host_of(self.url)

    @property
    def name(self) -> str:
        """Under which the store knows how far it is; tells nothing of the address."""
        return hashlib.sha256(b"canary alerts:" + self.url.encode()).hexdigest()[:16]

    def wants(self, action: str) -> bool:
        """Whether it is told of this."""
        return action in self.events or action == TEST


# --- signatures ---------------------------------------------------------------------------------


def key_of(secret: str | bytes) -> bytes:
    """The key in a secret: what follows ``whsec_`` in base64, or else its bytes as they are."""
    if isinstance(secret, bytes):
        return secret
    if secret.startswith(_PREFIX):
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    # Whatever the environment held: an encoding error would show the secret in its traceback.
    return secret.encode("utf-8", "surrogatepass")


def signed(key: bytes | None, message: str, at: int, body: bytes) -> dict[str, str]:
    """The headers of a message.

    Args:
        key: see :func:`key_of`; ``None`` signs nothing.
        message: its id, the same for every attempt.
        at: of the attempt, whole seconds since the epoch.
        body: as it is sent.
    """
    head = {"webhook-id": message, "webhook-timestamp": str(at)}
    if key is None:
        return head
    mac = hmac.new(key, f"{message}.{at}.".encode() + body, hashlib.sha256).digest()
    return {**head, "webhook-signature": f"v1,{base64.b64encode(mac).decode()}"}


# --- what may be wrong with a declaration -------------------------------------------------------


def alert_problems(alerts: object, secret: object) -> list[Problem]:
    """Mistakes in what a :class:`canary_middleware.Canary` is told of webhooks."""
    found = [] if secret is None else list(secret_problems(secret, "webhook_secret"))
    if not items(alerts) and any(list_problems(alerts, "alerts")):
        # Never what it is: it may be an address, whose path is a secret.
        wrong = f"is {type(alerts).__name__}, not a list"
        return [*found, Problem("alerts", wrong, f'[Webhook("{EXAMPLE}")], or leave it out')]
    hooks = [(at, one) for at, one in enumerate(items(alerts)) if isinstance(one, Webhook)]
    for at, other in enumerate(items(alerts)):
        if not isinstance(other, Webhook):
            wrong = f"is {type(other).__name__}, not Webhook"
            found.append(Problem(f"alerts[{at}]", wrong, f'Webhook("{EXAMPLE}")'))
    known: dict[str, int] = {}
    for at, hook in hooks:
        found += _hook_problems(hook, f"alerts[{at}]")
        if known.setdefault(str(hook.url), at) != at:
            wrong = f"has the address of alerts[{known[hook.url]}]"
            found.append(Problem(f"alerts[{at}], url", wrong, "join their events in one"))
    if len(hooks) > MOST:
        wrong = f"are {len(hooks)}, at most {MOST}"
        found.append(Problem("alerts", wrong, "let one receiver pass them on"))
    return found


def gate_problems(rollouts: Sequence[object], secret: object) -> Iterator[Problem]:
    """Ramps with a gate that could not tell who asks it."""
    if secret is not None:
        return
    for rollout in rollouts:
        if isinstance(rollout, Rollout) and getattr(rollout.ramp, "gate", None):
            wrong = f"is missing, and the gate of rollout {rollout.name!r} must know who asks"
            yield Problem("webhook_secret", wrong, _MAKE)
            return


def _hook_problems(hook: Webhook, place: str) -> Iterator[Problem]:
    yield from url_problems(hook.url, f"{place}, url")
    if hook.secret is not None:
        yield from secret_problems(hook.secret, f"{place}, secret")
    if hook.format not in FORMATS:
        yield Problem(f"{place}, format", f"{hook.format!r} is none", '"json" or "slack"')
    yield from list_problems(hook.events, f"{place}, events")
    known = [*EVENTS, *QUIET]
    for event in items(hook.events):
        if event not in known:
            hint = f"some of {', '.join(known)}"
            yield Problem(f"{place}, events", f"{event!r} is no action of history", hint)
    if hook.events in ((), []):
        yield Problem(f"{place}, events", "is empty, so that it is told nothing", "leave it out")


def secret_problems(secret: object, place: str) -> Iterator[Problem]:
    """The mistake in a secret; never shows any part of it."""
    if not isinstance(secret, (str, bytes)):
        yield Problem(place, f"is {type(secret).__name__}, not str or bytes", _MAKE)
        return
    coded = isinstance(secret, str) and secret.startswith(_PREFIX)
    try:
        size = len(key_of(secret))
    except (binascii.Error, ValueError):
        yield Problem(place, f"is no base64 after {_PREFIX}", _MAKE)
        return
    least = _LEAST if coded else MIN_KEY
    if size < least:
        yield Problem(place, f"has {size} bytes, at least {least} are needed", _MAKE)
