"""Visitors who remember what each answer said, and who give up on answers that do not come."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field

from tests.support.clients import NAVIGATION, Connection, Cookies
from tests.system.measured import Crowd


@dataclass(frozen=True)
class Told:
    """One answer: wall-clock seconds of its end, how long it took, and what it said."""

    at: float
    took: float
    port: int
    visitor: int
    rollout: str
    cohort: str
    reason: str
    status: int


@dataclass
class People(Crowd):
    """A crowd that remembers more, and that gives up on answers that do not come."""

    patience: float = 7.0
    told: list[Told] = field(default_factory=list)
    under_way: Counter[int] = field(default_factory=Counter)
    impatient: int = 0

    async def _ask(self, number: int, name: str, jar: Cookies) -> None:
        port = random.choice([port for port in self.ports if port not in self.gone])
        connection, begun = Connection(port), time.time()
        self.under_way[port] += 1
        try:
            headers = {**NAVIGATION, **jar.header(), "Connection": "close"}
            async with asyncio.timeout(self.patience):
                response = await connection.request("POST", f"/{name}", headers)
        except TimeoutError:
            self.impatient += 1
            return
        except (OSError, ValueError, EOFError) as error:
            self.broken.append(f"{port}: {error!r}")
            return
        finally:
            self.under_way[port] -= 1
            connection.close()
        jar.take(response)
        now, page = time.time(), page_of(response.body)
        cohort, reason = page["cohort"], page["reason"]
        self.told.append(
            Told(now, now - begun, port, number, name, cohort, reason, response.status)
        )

    def drawn(self, name: str) -> list[Told]:
        """Answers to those for whom the coin decided: what has to be counted."""
        return [one for one in self.told if (one.rollout, one.reason) == (name, "weight")]


def page_of(body: bytes) -> dict[str, str]:
    """What an answer says."""
    found: dict[str, str] = json.loads(body)
    return found
