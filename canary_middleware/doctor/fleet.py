"""What processes have to agree on: clocks, keys, and what becomes of their cookies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from canary_middleware.core.facts import Facts
from canary_middleware.core.records import ProcessReport
from canary_middleware.doctor.examined import Examined
from canary_middleware.doctor.finding import Finding, Kind, Level, named, ok, several

APART: Final = 3.0
"""Seconds between two clocks that may be the way of a report to the store."""
FAR_APART: Final = 30.0
"""Seconds from which on half of what tokens and calling services are allowed (60) is gone."""
ENOUGH: Final = 20
"""Cookies that were issued, or requests, from which on something can be said of them."""

Told = tuple[ProcessReport, Facts]


def told(processes: Sequence[ProcessReport]) -> list[Told]:
    """Those that say something of themselves, with what they say."""
    return [(one, one.facts) for one in processes if one.facts is not None]


def check_clocks(seen: Examined) -> Iterator[Finding]:
    """Against the clock of the store."""
    apart = [(facts.wall - one.at, one) for one, facts in told(seen.processes) if facts.wall]
    wrong = [(skew, one) for skew, one in apart if abs(skew) > APART]
    if wrong:
        worst = max((skew for skew, _ in wrong), key=abs)
        count = several(len(wrong), "process is", "processes are")
        yield Finding(
            Kind.CLOCKS_WORKER,
            Level.BAD if abs(worst) > FAR_APART else Level.WARNING,
            f"the clock of {count} off by up to {abs(worst):.0f} s",
            "cookies, override tokens and headers between services are dated by it: 60 s ahead of "
            "others, they are refused",
            "let that host keep time by NTP (chrony, systemd-timesyncd)",
            tuple(f"{one.host} {one.pid}: {_way(skew)}" for skew, one in wrong),
        )
    ahead = seen.probed.ahead if seen.probed else None
    if ahead is not None and abs(ahead) > APART:
        yield Finding(
            Kind.CLOCKS_HERE,
            Level.WARNING,
            f"the clock of this machine is {_way(-ahead)} of the store's",
            "what is written from here has a wrong time in history, and tokens that `canary token` "
            "makes here begin and end at another time",
            "let this machine keep time by NTP",
        )
    elif apart and not wrong:
        widest = max(abs(skew) for skew, _ in apart)
        yield ok(Kind.CLOCKS_OK, f"clocks agree within {max(widest, 0.1):.1f} s")


def _way(skew: float) -> str:
    return f"{abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}"


def check_keys(seen: Examined) -> Iterator[Finding]:
    """By their fingerprints."""
    keyed = [(one, facts) for one, facts in told(seen.processes) if facts.signs]
    if not keyed:
        return
    signing = {facts.signs[-1] for _, facts in keyed}
    strange = [(one, facts) for one, facts in keyed if signing - {*facts.signs}]
    if strange:
        yield Finding(
            Kind.KEYS_UNKNOWN,
            Level.BAD,
            f"{several(len(strange), 'process does', 'processes do')} not know the key by which "
            "others sign cookies",
            "a visitor who comes to such a process is a new one there, and may change the version "
            "with each request",
            "give all the same secret_keys; for a rotation add the new key at the end everywhere "
            "before it stands last anywhere, see docs/production.md",
            tuple(_by(one, facts.signs) for one, facts in keyed),
        )
    elif len({facts.signs for _, facts in keyed}) > 1:
        yield Finding(
            Kind.KEYS_ROTATING,
            Level.NOTE,
            "not all processes have the same secret_keys, but each knows who signs",
            "that is so during a rotation",
            "go on until all have the same; without a rotation give all the same secret_keys, see "
            "docs/production.md",
            tuple(_by(one, facts.signs) for one, facts in keyed),
        )
    else:
        yield ok(Kind.KEYS_OK, f"{several(len(keyed))} with the same secret_keys")
    yield from _buckets(keyed)


def _buckets(keyed: Sequence[Told]) -> Iterator[Finding]:
    having = [(one, facts) for one, facts in keyed if facts.buckets]
    if len({facts.buckets for _, facts in having}) > 1:
        yield Finding(
            Kind.KEYS_BUCKETS,
            Level.BAD,
            "processes have different bucket secrets",
            "the same user is drawn anew by each, and changes the version with the process",
            "give all the same bucket_secret, the one that visitors were drawn by until now",
            tuple(_by(one, (facts.buckets,)) for one, facts in having),
        )


def _by(one: ProcessReport, signs: Sequence[str]) -> str:
    return f"{one.host} {one.pid}: {' '.join(signs)}"


def check_cookies(seen: Examined) -> Iterator[Finding]:
    """By what became of those that were issued."""
    all_told = told(seen.processes)
    closed = [one for one in all_told if one[1].cookies.secure == "on"]
    yield from _closed(closed)
    open_ = [one for one in all_told if one[1].cookies.secure in ("off", "auto")]
    if sum(facts.cookies.by_tls for _, facts in open_ if facts.cookies.secure == "off"):
        yield Finding(
            Kind.COOKIES_OPEN,
            Level.WARNING,
            "visitors come by https, and their cookie is not Secure",
            "over plain http it can be read on the way, and another site of the domain can set it",
            'set secure=True; while visitors have the old cookie, secure="auto" reads both',
            named([one for one, facts in open_ if facts.cookies.by_tls]),
        )
    if all_told and not closed:
        yield from _plain(open_)


def _closed(processes: Sequence[Told]) -> Iterator[Finding]:
    issued, by_tls, returned = (
        sum(getattr(facts.cookies, name) for _, facts in processes)
        for name in ("issued", "by_tls", "returned")
    )
    if returned or issued < ENOUGH:
        if processes:
            yield ok(Kind.COOKIES_OK, f"{issued:,} Secure cookies issued, {returned:,} came back")
    elif by_tls:
        yield Finding(
            Kind.COOKIES_UNRETURNED,
            Level.NOTE,
            f"of {issued:,} cookies none came back",
            "scripts and probes keep none; browsers do, unless something on the way drops them",
            "if browsers come here, see whether a proxy or a cache removes Set-Cookie or Cookie; "
            'clients without cookies keep their version with affinity="shared"',
            named([one for one, _ in processes]),
        )
    else:
        yield Finding(
            Kind.COOKIES_LOST,
            Level.BAD,
            f"of {issued:,} Secure cookies none came back, and all clients came by plain http",
            "over plain http browsers send no Secure cookie: every request is a new visitor",
            "serve https; behind a proxy that ends it, let that send X-Forwarded-Proto and see "
            "that it passes cookies on; for plain http, set secure=False",
            named([one for one, _ in processes]),
        )


def _plain(processes: Sequence[Told]) -> Iterator[Finding]:
    if not any(facts.cookies.by_tls for _, facts in processes):
        returned = sum(facts.cookies.returned for _, facts in processes)
        yield ok(Kind.COOKIES_OK, f"cookies are for plain http, {returned:,} came back")
