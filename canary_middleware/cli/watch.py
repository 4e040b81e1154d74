"""``watch``: what happens to a rollout, as it happens."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Final

import click

from canary_middleware.cli.changing import unknown
from canary_middleware.cli.connection import Connection, Finite, connected
from canary_middleware.cli.drawing import draw
from canary_middleware.cli.naming import any_rollout_argument
from canary_middleware.cli.screen import Screen, is_live, paper
from canary_middleware.cli.show import paint, print_json_line, say
from canary_middleware.errors import StoreCorruptError, StoreError
from canary_middleware.overview import shapes
from canary_middleware.overview.gathering import Readings, gather
from canary_middleware.overview.scene import Scene
from canary_middleware.overview.wording import ago
from canary_middleware.stores import StateStore

NOT_PROMOTED: Final = 1
_PATIENCE: Final = 1.0
_GLANCE: Final = 0.1
"""Seconds between two looks at the size of the terminal."""


@click.command(
    epilog="""\b
Examples:
  canary watch
  canary watch checkout --until-done
"""
)
@any_rollout_argument
@click.option("--once", is_flag=True, help="Show the present state and end.")
@click.option(
    "--until-done",
    is_flag=True,
    help="End when it is promoted (exit 0), or rolled back or killed (exit 1).",
)
@click.option(
    "--every",
    type=Finite(0.1, 3600),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Between two looks.",
)
@connected
def watch(
    connection: Connection, rollout: str | None, once: bool, until_done: bool, every: float
) -> int:
    """Both versions, the evidence and the ramp, live.

    On a terminal it is redrawn in place until Ctrl-C. Elsewhere there is one block whenever
    something happens; with --json one object per look, each on its line.
    """
    with connection.store(_PATIENCE) as store:
        refused = unknown(store, connection, rollout) if rollout else None
        if refused is not None:
            raise refused
        watched = Watched(store, connection.namespace, rollout)
        if once or connection.as_json or not is_live():
            show = Objects() if connection.as_json else Blocks()
            return _go_on(watched, show, every, once=once, until_done=until_done)
        try:
            with Live() as live:
                return _go_on(watched, live, every, until_done=until_done)
        finally:
            # What was seen last stays where the command was typed.
            Blocks().show(watched.scene)


class Watched:
    """A namespace, or one of its rollouts, that is looked at again and again.

    Raises:
        StoreError: at the first look; later ones show what was seen before, and say so.
    """

    def __init__(self, store: StateStore, namespace: str, rollout: str | None) -> None:
        self._store = store
        self._where = namespace, rollout, Readings()
        self.scene = gather(store, *self._where)

    def look(self) -> None:
        """Once more."""
        try:
            self.scene = gather(self._store, *self._where)
        except StoreError as error:
            self._lost(error)

    def _lost(self, error: StoreError) -> None:
        since = ago(time.time() - self.scene.at)
        corrupt = isinstance(error, StoreCorruptError)
        what = "what the store holds cannot be read" if corrupt else "the store does not answer"
        trouble = f"{what}: this was so {since} ago ({error})"
        self.scene = replace(self.scene, trouble=trouble)

    @property
    def done(self) -> bool:
        """Whether everything that was started has ended."""
        started = [view for view in self.scene.views if view.entry is not None]
        return bool(started) and all(view.ended for view in started)

    @property
    def code(self) -> int:
        """What ``--until-done`` exits with."""
        views = self.scene.views
        promoted = all(view.succeeded for view in views if view.entry is not None)
        return 0 if promoted else NOT_PROMOTED


def _go_on(
    watched: Watched, shows: Live | Blocks | Objects, every: float,
    *, until_done: bool, once: bool = False,
) -> int:  # fmt: skip
    try:
        while True:
            shows.show(watched.scene)
            if once:
                return 0
            if until_done and watched.done:
                return watched.code
            shows.wait(every)
            watched.look()
    except KeyboardInterrupt:
        return 0


class Live(Screen):
    """On a terminal, in place."""

    def show(self, scene: Scene) -> None:
        """Draw it."""
        self._scene = scene
        self.draw(draw(scene, paper()))

    def wait(self, seconds: float) -> None:
        """Until the next look; a terminal that changes its size is drawn anew."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _GLANCE))
            if self.resized:
                self.show(self._scene)


class Blocks:
    """Elsewhere: one block whenever something happens."""

    def __init__(self) -> None:
        self._key: tuple[object, ...] | None = None

    def show(self, scene: Scene) -> None:
        """Print it, unless only numbers have changed."""
        if scene.key == self._key:
            return
        if self._key is not None:
            say()
        self._key = scene.key
        for line in draw(scene, paper()):
            say(paint(line.text, line.color))

    def wait(self, seconds: float) -> None:
        """Until the next look."""
        time.sleep(seconds)


class Objects(Blocks):
    """For machines: one object per look."""

    def show(self, scene: Scene) -> None:
        """Print it on one line."""
        print_json_line(shapes.scene(scene))
