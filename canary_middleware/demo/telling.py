"""The end of a demo, told: whom which release touched, who counted what, and what held."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from canary_middleware.core.state import Phase
from canary_middleware.demo.account import Account, Release
from canary_middleware.demo.display import Display
from canary_middleware.demo.promises import verdicts
from canary_middleware.demo.summary import Touched, counted, harmed, touched
from canary_middleware.demo.words import CHECKOUT, PARTS, PAY, SEARCH
from canary_middleware.overview.wording import number

_COLOURS: Final = {Phase.PROMOTED: "green", Phase.ROLLED_BACK: "red"}


def told(account: Account, display: Display) -> bool:
    """Show it, the story first and its proofs after; returns whether everything held."""
    display.line()
    display.line(display.paint("  WHAT HAPPENED", "bold"))
    for part in PARTS:
        it = touched(account, part)
        colour = _COLOURS.get(it.release.phase, "yellow")
        display.wrapped(story(it, account.died), colour)
    came, bad, twice, pages = harmed(account)
    display.wrapped(
        f"Of {came:,} visitors {bad:,} saw a release that was taken back, "
        f"{twice:,} paid twice, {pages:,} saw an error."
    )
    for text in _touched(account, display):
        display.line(text)
    for part in PARTS:
        release = account.releases[part.name]
        display.wrapped(_end(release, account.died), _COLOURS.get(release.phase, "yellow"))
    display.line()
    for text in _counted(account, display):
        display.line(text)
    display.line(display.paint("  WHAT WAS CHECKED", "bold"))
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
    yield "  Rescued: sent to the new version when it was dead, and answered by the old one."
    yield ""


def story(it: Touched, died: float | None) -> str:
    """What became of a release, and whom it touched, in a sentence."""
    release = it.release
    what = {CHECKOUT: ", which is good,", PAY: ", which charges some orders twice,"}
    which = what.get(release.part, "" if died is None else ", whose server was killed,")
    # A person at the panel may have been faster.
    alone = " by itself" if release.told else ""
    ends = {
        Phase.PROMOTED: f"was promoted{alone}: everybody has it",
        Phase.ROLLED_BACK: f"was taken back{alone}: everybody has {release.part.stable} again",
    }
    end = ends.get(release.phase, f"is {release.word}")
    harm = [f"{it.twice:,} paid twice"] if it.twice else []
    harm += [f"{it.rescued:,} got the old one in its place"] if it.rescued else []
    harm += [f"{it.pages or 'nobody'} got an error page"]
    took = f"after {release.since - release.began:.1f} s"
    name = f"{release.part.name} {release.part.canary}"
    saw = f"{number(it.saw, 'visitor', 'visitors')} saw it"
    return f"{name}{which} {end}, {took}. {saw}; {', '.join(harm)}."


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
