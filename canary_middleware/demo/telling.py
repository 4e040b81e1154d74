"""The end of a demo, told: whom which release touched, who counted what, and what held."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from canary_middleware.core.state import Phase
from canary_middleware.demo.account import Account, Release
from canary_middleware.demo.display import Display
from canary_middleware.demo.promises import verdicts
from canary_middleware.demo.summary import counted, harmed, touched
from canary_middleware.demo.words import PARTS, SEARCH

_COLOURS: Final = {Phase.PROMOTED: "green", Phase.ROLLED_BACK: "red"}


def told(account: Account, display: Display) -> bool:
    """Show it; returns whether everything held."""
    for text in _touched(account, display):
        display.line(text)
    for part in PARTS:
        release = account.releases[part.name]
        display.wrapped(_end(release, account.died), _COLOURS.get(release.phase, "yellow"))
    display.line()
    for text in _counted(account, display):
        display.line(text)
    found = list(verdicts(account))
    for verdict in found:
        word, colour = ("ok", "green") if verdict.held else ("FAILED", "red")
        display.verdict(word, colour, verdict.text)
    held = all(verdict.held for verdict in found)
    display.line()
    display.line("  everything held" if held else "  not everything held")
    return held


def _touched(account: Account, display: Display) -> Iterator[str]:
    yield ""
    head = f"  {'VISITORS WHO':<28}{'saw it':>8}{'paid twice':>12}{'error page':>12}{'rescued':>10}"
    yield display.paint(head, "bold")
    for part in PARTS:
        it = touched(account, part)
        name = f"{part.name} {part.canary}"
        yield (
            f"  {name:<16}{it.release.word:<12}"
            f"{it.saw:>8,}{it.twice:>12,}{it.pages:>12,}{it.rescued:>10,}"
        )
    came, bad, twice, pages = harmed(account)
    yield (
        f"  Of {came:,} visitors {bad:,} saw a release that was taken back, "
        f"{twice:,} paid twice, {pages:,} saw an error."
    )
    yield ""


def _end(release: Release, died: float | None) -> str:
    """What history says of it, in its own words."""
    said = release.told.sentence() if release.told else f"{release.word}: {release.why}"
    by = f", by {' and '.join(release.guards)}" if release.guards else ""
    took = f"{release.since - release.began:.1f} s after its start"
    if release.part is SEARCH and died is not None:
        took += f", {release.since - died:.1f} s after its server was killed"
    return f"{release.part.name}, {took}{by}: {said}"


def _counted(account: Account, display: Display) -> Iterator[str]:
    yield display.paint(f"  {'COUNTED BY':<16}{'visitors':>18}{'requests':>30}", "bold")
    yield f"  {'':<16}{'bodies':>9}{'spans':>9}{'bodies':>10}{'spans':>10}{'metrics':>10}"
    for row in counted(account):
        visitors = "".join(f"{count:>9,}" for count in row.visitors)
        requests = "".join(f"{count:>10,}" for count in row.requests)
        yield f"  {f'{row.part.name} {row.version}':<16}{visitors}{requests}"
    yield "  Whoever was moved by a change of weight or by the kill counts twice."
    yield ""
