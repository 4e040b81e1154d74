"""``alert``: tries the webhooks of the configuration, from where it is typed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from canary_middleware import verbs
from canary_middleware.cli.connection import Connection, connected
from canary_middleware.cli.failing import REFUSED
from canary_middleware.cli.show import Row, print_json, print_table, say
from canary_middleware.core.alerts import BODIES, Event, event, trial
from canary_middleware.core.webhook import Webhook, alert_problems, signed
from canary_middleware.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from canary_middleware.agent.alerting import Alerts

_HINT: Final = '[[alerts]] with url = "https://...", or CANARY_ALERTS; hooks in code are not seen'


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of one post.

    Attributes:
        hook: to whom.
        status: of the answer; ``None`` without one.
        error: why there is none; ``""`` otherwise.
        seconds: that it took.
    """

    hook: Webhook
    status: int | None
    error: str
    seconds: float

    @property
    def taken(self) -> bool:
        """Whether it has arrived."""
        return self.status is not None and 200 <= self.status < 300


@click.group()
def alert() -> None:
    """Webhooks that are told what happens: try them."""


@alert.command(
    epilog="""\b
Examples:
  canary alert test
  CANARY_ALERTS='[{url = "https://hooks.example.com/canary"}]' canary alert test --json
"""
)
@connected
def test(connection: Connection) -> int:
    """Send an event that says that it is a test to every webhook of the configuration.

    It goes out from this machine, which need not reach what the application reaches. Nothing is
    written to history, and the store is not asked. Exit code 1: somebody did not take it.
    """
    alerts, told = _declared(connection)
    with ThreadPoolExecutor(len(alerts.hooks)) as pool:
        tried = list(pool.map(lambda hook: _try(hook, alerts, told), alerts.hooks))
    if connection.as_json:
        print_json(shape(told, tried))
    else:
        print_table(("webhook", "format", "answer", "took"), [_row(one) for one in tried])
        say(f"the event was {told.id}")
    return 0 if all(one.taken for one in tried) else REFUSED


def _declared(connection: Connection) -> tuple[Alerts, Event]:
    settings = connection.configuration
    problems = list(settings.problems)
    hooks = tuple(settings.settings.get("alerts", ()))
    secret = settings.settings.get("webhook_secret")
    problems += settings.placed(alert_problems(hooks, secret))
    if not hooks and not problems:
        problems = [Problem("alerts", "there is none", _HINT)]
    if problems:
        raise ConfigurationError(problems)
    namespace = connection.name or settings.settings.get("namespace") or "canary"
    # What sends is part of the agent, which no other verb needs.
    from canary_middleware.agent.alerting import Alerts

    line = trial(verbs.whoami(), round(time.time(), 3))
    return Alerts(hooks, secret), event(namespace, line, line.why, None)


def _try(hook: Webhook, alerts: Alerts, told: Event) -> Tried:
    from canary_middleware.agent.posting import PostError

    body = BODIES[hook.format](told)
    head = signed(alerts.key_for(hook), told.id, int(time.time()), body)
    before = time.monotonic()
    status, error = None, ""
    try:
        status = alerts.post(hook.url, body, head, 0).status
    except PostError as why:
        error = str(why)
    return Tried(hook, status, error, time.monotonic() - before)


def _row(one: Tried) -> Row:
    answer = one.error or f"{one.status}{'' if one.taken else ', not taken'}"
    cells = (one.hook.host, one.hook.format, answer, f"{one.seconds:.2f} s")
    return Row(cells, "" if one.taken else "red")


def shape(told: Event, tried: Sequence[Tried]) -> Mapping[str, Any]:
    """What ``--json`` prints; docs/cli.md promises these names."""
    return {
        "namespace": told.namespace,
        "id": told.id,
        "webhooks": [
            {
                "host": one.hook.host,
                "format": one.hook.format,
                "taken": one.taken,
                "status": one.status,
                "error": one.error or None,
                "seconds": round(one.seconds, 3),
            }
            for one in tried
        ],
    }
