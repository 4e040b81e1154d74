"""Tells webhooks what happened: one thread per hook, and one process in the fleet for each.

The outbox is the history in the store; what a hook was told last is its cursor beside it. So
nothing is lost with a process, and who takes over goes on where the other one was: each event is
sent at least once, always under the same id, in the order of history.
"""

from __future__ import annotations

import logging
import math
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event as Flag
from typing import Final, NamedTuple, Protocol, runtime_checkable

from canary_middleware.agent.electing import Elected
from canary_middleware.agent.posting import Post, Poster, PostError, Reply
from canary_middleware.agent.troubles import Attempts, Surprises, Troubles
from canary_middleware.core import alerts
from canary_middleware.core.alerts import Position
from canary_middleware.core.records import Audit
from canary_middleware.core.state import Document
from canary_middleware.core.webhook import Webhook, key_of, signed
from canary_middleware.overview.wording import told_of
from canary_middleware.stores.protocol import Lease, Outbox, StateStore

logger = logging.getLogger("canary_middleware")

SIZES: Final = (4, 64, 1_000)
"""Lines of history that are read, more where the last one told is not among them."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often what is done; in seconds, but for the last.

    Attributes:
        turn: between two looks at the state that this process follows.
        look: between two looks at history while that does not change.
        lease: for which a process is the one that sends.
        spare: of it, that must be left before a post begins; more than that may take.
        ask: between two questions of a process that is not the one; up to twice as many.
        elected: how many times as fast as usual it is found out who asks at all.
    """

    turn: float = 0.5
    look: float = 5.0
    lease: float = 20.0
    spare: float = 12.0
    ask: float = 5.0
    elected: float = 1.0


@dataclass(frozen=True, slots=True)
class Alerts:
    """What a process is told to tell.

    Attributes:
        hooks: whom.
        secret: signs what is sent to those without a secret of their own, and to gates.
        post: sends; asks for an answer, too.
        pace: see :class:`Pace`.
    """

    hooks: tuple[Webhook, ...] = ()
    secret: str | bytes | None = field(default=None, repr=False)
    post: Post = field(default_factory=Poster, repr=False)
    pace: Pace = Pace()

    @property
    def key(self) -> bytes | None:
        """Of the secret that is everybody's."""
        return None if self.secret is None else key_of(self.secret)

    def named(self, hook: Webhook) -> str:
        """Its host, and which one it is of several there: paths are secret."""
        same = [one for one in self.hooks if one.host == hook.host]
        if len(same) < 2 or hook not in same:
            return hook.host
        return f"{hook.host} ({same.index(hook) + 1} of {len(same)})"

    def key_for(self, hook: Webhook) -> bytes | None:
        """What a hook is signed with; a chat room cannot check the secret that others share."""
        if hook.secret is not None:
            return key_of(hook.secret)
        return self.key if hook.format == "json" else None


@runtime_checkable
class AlertStore(StateStore, Outbox, Lease, Protocol):
    """A store by which processes agree on what was told."""


class _Waiting(NamedTuple):
    """An event to be told, and how far the hook is when it was."""

    line: Audit
    after: Position


class Courier:
    """Body of a hook's thread.

    Args:
        hook: whom to tell.
        told: see :class:`Alerts`.
        store: has history, cursor and lease.
        namespace: of the history.
        owner: random id of this process.
        followed: the document that is followed now.
        count: counts a rare event; see docs/telemetry.md.
        elected: whether this process may ask for what nobody holds.
        clock: monotonic seconds.
        wall: wall-clock seconds.
        chance: uniform in [0, 1).
    """

    def __init__(
        self,
        hook: Webhook,
        told: Alerts,
        store: AlertStore,
        *,
        namespace: str,
        owner: str,
        followed: Callable[[], Document | None],
        count: Callable[[str], None],
        elected: Elected,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._elected = elected
        self._ended = Flag()
        self._hook = hook
        self._key = told.key_for(hook)
        self._post = told.post
        self._pace = told.pace
        self._store = store
        self._namespace = namespace
        self._owner = owner
        self._followed = followed
        self._count = count
        self._clock = clock
        self._wall = wall
        self._chance = chance
        self._whom = f"alerts to {told.named(hook)}"
        self._troubles = Troubles()
        self._surprises = Surprises(clock)
        self._asking = Attempts(f"{self._whom}, store", self._troubles, count, clock)
        # Whoever is new is told of what comes, not of what was.
        self._place = Position("", -1, wall(), "")
        self._stored: str | None = None
        self._unsaved = False
        self._queue: deque[_Waiting] = deque()
        self._missed = 0
        self._tries = 0
        self._first_try = math.inf
        self._not_before = self._held_until = self._ask_at = self._looked_at = -math.inf
        self._seen: tuple[str, int] | None = None

    def run(self, stopping: Flag) -> None:
        """Until it shall stop."""
        while not stopping.is_set():
            if not self.turn():
                stopping.wait(self._pace.turn)
        self.leave()

    def turn(self) -> bool:
        """One step; whether there may be more to do at once."""
        # Also while it waits: who took over would begin with the shortest pause again.
        if not self._sends() or self._clock() < self._not_before:
            return False
        if self._unsaved and not self._save():
            return False
        if not self._queue and self._is_due():
            self._look()
        return self._tell() if self._queue else False

    @property
    def troubles(self) -> tuple[str, ...]:
        """What fails now, where this process is the one that sends; for any thread."""
        return self._troubles.present if self._clock() < self._held_until else ()

    def leave(self) -> None:
        """This process ends: somebody else may go on at once."""
        if self._clock() < self._held_until:
            self._ask(lambda: self._store.release(self._owner, of=self._lease))
        self._held_until = -math.inf
        if not self._ended.is_set():
            self._elected.leave(self._asking)

    def end(self) -> None:
        """The store is closed now: what is still under way, such as a post, asks it nothing."""
        self._ended.set()

    # --- private --------------------------------------------------------------------------------

    def _ask(self, action: Callable[[], object]) -> bool:
        """Ask the store something; whether it answered."""
        return not self._ended.is_set() and self._asking.make(action)

    @property
    def _lease(self) -> str:
        # One for each: two services of a namespace may have hooks of their own.
        return f"alerts:{self._hook.name}"

    def _sends(self) -> bool:
        """Whether this process is the one, for as long as a post takes."""
        now = self._clock()
        if self._held_until - now >= self._pace.spare:
            return True
        if now < self._ask_at:
            return False
        if now >= self._held_until and not self._elected(self._asking):
            return False
        answers: list[bool] = []
        seconds = self._pace.lease
        self._ask(lambda: answers.append(self._store.hold(self._owner, seconds, of=self._lease)))
        if True in answers:
            if now >= self._held_until:
                self._forget()  # somebody else may have sent meanwhile
            self._held_until = now + seconds
            return True
        self._held_until = -math.inf
        self._ask_at = now + self._pace.ask * (1.0 + self._chance())
        self._queue.clear()
        return False

    def _is_due(self) -> bool:
        document = self._followed()
        key = document.key if document else None
        changed, self._seen = key != self._seen, key
        return changed or self._clock() - self._looked_at >= self._pace.look

    def _look(self) -> None:
        self._looked_at = self._clock()
        if not self._ask(self._read):
            self._seen = None  # look again as soon as it may be asked

    def _read(self) -> None:
        self._stored = self._store.cursor(self._hook.name)
        # A store that has lost its cursor: this process knows it still.
        self._place = alerts.read_place(self._stored) or self._place
        document = self._followed()
        lineage = document.lineage if document else ""
        lines: list[Audit] = []
        for size in SIZES:
            lines = self._store.history(None, size)
            found = alerts.pending(self._namespace, lines, self._place, lineage, size)
            if found.whole:
                break
        self._enqueue(found.lines, lineage)
        self._missed = found.missed
        if found.missed:
            self._count("alerts_missed")
            logger.warning("%s: up to %d events are lost", self._whom, found.missed)
        if not self._queue and (found.lines or (self._stored is None and lines)):
            self._advance(alerts.place_after(self._namespace, lines[0], lineage))

    def _enqueue(self, lines: tuple[Audit, ...], lineage: str) -> None:
        self._queue.clear()
        self._tries, self._first_try = 0, math.inf
        for line in lines:
            after = alerts.place_after(self._namespace, line, lineage)
            if self._hook.wants(line.action):
                self._queue.append(_Waiting(line, after))
            elif self._queue:
                # What nobody wants is behind us with the one before it.
                self._queue[-1] = self._queue[-1]._replace(after=after)

    def _tell(self) -> bool:
        waiting = self._queue[0]
        self._first_try = min(self._first_try, self._wall())
        try:
            reply = self._send(waiting.line)
        except PostError as error:
            return self._failed(waiting, str(error), None)
        except Exception as error:  # whatever one event does, those after it have to be told
            logger.debug("%s", self._whom, exc_info=error)
            self._surprises.tell(f"{self._whom}: an event cannot be sent", error)
            return self._failed(waiting, f"failed here: {type(error).__name__}", None, poison=True)
        if not reply.taken:
            poison = reply.status in alerts.POISON
            return self._failed(waiting, f"answered {reply.status}", reply, poison=poison)
        self._count("alerts_sent")
        self._troubles.end(self._whom)
        return self._done(waiting)

    def _send(self, line: Audit) -> Reply:
        told = alerts.event(self._namespace, line, told_of(line), self._followed(), self._missed)
        body = alerts.BODIES[self._hook.format](told)
        head = signed(self._key, told.id, int(self._wall()), body)
        return self._post(self._hook.url, body, head, 0)

    def _failed(
        self, waiting: _Waiting, why: str, reply: Reply | None, *, poison: bool = False
    ) -> bool:
        self._tries += 1
        self._count("alerts_failed")
        self._troubles.begin(self._whom, why)
        age = self._wall() - min(waiting.line.at, self._first_try)
        if alerts.given_up(self._tries, age, poison=poison):
            self._count("alerts_given_up")
            what = f"{waiting.line.action} of revision {waiting.line.revision}"
            logger.warning("%s: given up %s: %s", self._whom, what, why)
            return self._done(waiting)
        asked = reply.retry_after if reply else None
        self._not_before = self._clock() + alerts.pause(self._tries, self._chance(), asked)
        return False

    def _done(self, waiting: _Waiting) -> bool:
        self._queue.popleft()
        self._missed, self._tries, self._first_try = 0, 0, math.inf
        return self._advance(waiting.after)

    def _advance(self, place: Position) -> bool:
        self._place, self._unsaved = place, True
        return self._save()

    def _save(self) -> bool:
        """Write how far the hook is; whether that went well."""
        text = self._place.text()
        kept: list[bool] = []
        if not self._ask(
            lambda: kept.append(self._store.advance(self._hook.name, self._stored, text))
        ):
            return False
        self._unsaved = False
        if True in kept:
            self._stored = text
            return True
        # Somebody else has sent meanwhile, or the store was emptied: look where it is now.
        self._forget()
        return False

    def _forget(self) -> None:
        """What is to be told is asked anew."""
        self._queue.clear()
        self._seen, self._looked_at = None, -math.inf
