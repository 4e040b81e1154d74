"""What a doctor can see, and the finding that follows from it: one case for each at least."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from canary_middleware.core.declared import waiting
from canary_middleware.core.drift import odd, scoped
from canary_middleware.core.facts import Cookies, Facts, Traced
from canary_middleware.core.guards import Guard
from canary_middleware.core.model import Memory
from canary_middleware.core.ramp import Course, Ramp
from canary_middleware.core.records import ProcessReport
from canary_middleware.core.state import Document, Entry, Kill, Phase, Plan, RolloutState
from canary_middleware.core.status import RolloutStatus, Status
from canary_middleware.doctor.examined import Examined, File, Probed, Searched
from canary_middleware.doctor.finding import Kind, Level
from canary_middleware.errors import Problem

NOW: Final = 1_790_000_000.0
DAY: Final = 86_400.0
AUTOMATIC: Final = Course.of(
    Ramp("1%", "100%", bake="10m"), alpha="5%", horizon="1h", timeout="10s"
)
PLAN: Final = Plan(
    "1.4.2", "1.5.0", ("/checkout",), owner="pay@example.com", guards=tuple(Guard.defaults())
)
FACTS: Final = Facts(
    library="0.1.0",
    wall=NOW,
    signs=("old", "new"),
    buckets="bucket",
    cookies=Cookies("on", 500, 500, 400),
    traced=Traced("annotate", "TracerProvider", 100, 100),
    max_staleness=60.0,
    snapshot=True,
)
REPORT: Final = ProcessReport(
    "p1", "web-1", 1, "asgi", 7, 0.4, {"checkout": PLAN}, at=NOW, facts=FACTS
)
ENTRY: Final = Entry("1.5.0", "1.4.2", Phase.RAMPING, 1_000, 0, 7, 7, NOW, "go", PLAN)
PROBED: Final = Probed((0.001,) * 5, ahead=0.0)


def process(number: int = 2, **fields: Any) -> ProcessReport:
    """Another one; fields of its facts are among them."""
    of_facts = {name: fields.pop(name) for name in [*fields] if hasattr(FACTS, name)}
    facts = fields.pop("facts", replace(FACTS, **of_facts))
    return replace(REPORT, id=f"p{number}", pid=number, facts=facts, **fields)


def seen(
    *processes: ProcessReport,
    entry: Entry | None = ENTRY,
    kills: dict[str, Kill] | None = None,
    others: tuple[Entry, ...] = (),
    **fields: Any,
) -> Examined:
    """A look at these processes and this release; in good order by default."""
    entries = {one.release: one for one in (*((entry,) if entry else ()), *others)}
    states = {"checkout": RolloutState(entry.release, entries)} if entry else {}
    document = Document("lineage", 7, kills or {}, {}, states)
    rollouts = [RolloutStatus("checkout", entry, tuple(entries.values()), None)] if entry else []
    status = Status(
        document=document,
        kill_key=None,
        kills=kills or {},
        rollouts=tuple(rollouts),
        processes=processes,
        waiting=tuple(waiting(document, processes)),
        odd=tuple(odd(document, processes)),
        scopes=tuple(scoped(processes)),
    )
    usual = {"changed": NOW - 60, "lately": processes, "probed": PROBED}
    return Examined("shop", NOW, status=status, **{**usual, **fields})


def phased(phase: Phase, days: float, **fields: Any) -> Entry:
    return replace(ENTRY, phase=phase, since=NOW - days * DAY, **fields)


def redis(**facts: str) -> Examined:
    return seen(REPORT, probed=replace(PROBED, facts=facts))


@dataclass(frozen=True)
class Case:
    kind: Kind
    level: Level
    look: Examined
    place: str = ""
    """Found in one of its places."""


OK, NOTE, WARNING, BAD = Level.OK, Level.NOTE, Level.WARNING, Level.BAD
SHARED: Final = replace(PLAN, affinity=Memory.SHARED)
LEFT: Final = Searched("/src", {"checkout": ("app.py:3",)}, 9)
TRACED: Final = Traced("annotate", "TracerProvider", 100)

CASES: Final = (
    Case(Kind.STORE_OK, OK, seen(REPORT)),
    Case(Kind.STORE_UNNAMED, BAD, Examined("", 0, unnamed=(Problem("store", "is missing", "-"),))),
    Case(Kind.STORE_UNREACHABLE, BAD, Examined("shop", NOW, error="refused")),
    Case(Kind.STORE_CORRUPT, BAD, Examined("shop", NOW, error="bad", corrupt=True, probed=PROBED)),
    Case(Kind.STORE_SLOW, WARNING, seen(REPORT, probed=Probed((0.001, 0.3, 0.4)))),
    Case(
        Kind.STORE_SLOW,
        WARNING,
        seen(process(plans={"checkout": SHARED}), probed=Probed((0.02,))),
    ),
    Case(Kind.STORE_REFUSES, BAD, seen(REPORT, probed=Probed(refused=("hset",)))),
    Case(Kind.STORE_REFUSES, BAD, seen(REPORT, probed=Probed(file=File("/x", writable=False)))),
    Case(Kind.STORE_SETUP, WARNING, seen(REPORT, probed=Probed(warnings=("allkeys-lru",)))),
    Case(Kind.STORE_FULL, WARNING, redis(used_memory="95", maxmemory="100")),
    Case(Kind.STORE_SAVING, WARNING, redis(rdb_last_bgsave_status="err")),
    Case(Kind.STORE_REPLICA, BAD, redis(role="slave")),
    Case(
        Kind.STORE_FORGETS,
        NOTE,
        seen(REPORT, probed=Probed(facts={"aof_enabled": "0"}, saves="")),
    ),
    Case(Kind.STORE_MISSING, WARNING, seen(REPORT, missing="/x/canary.db"), "/x/canary.db"),
    Case(Kind.STORE_NETWORK, BAD, seen(REPORT, probed=Probed(file=File("/x", "nfs4")))),
    Case(
        Kind.STORE_JOURNAL,
        WARNING,
        seen(REPORT, probed=Probed(file=File("/x", "", True, "delete"))),
    ),
    Case(Kind.STORE_UNSEEN, NOTE, seen(REPORT, probed=Probed(unseen=("INFO",)))),
    Case(Kind.CLOCKS_OK, OK, seen(REPORT, process(wall=NOW + 2.5))),
    Case(Kind.CLOCKS_WORKER, WARNING, seen(REPORT, process(wall=NOW - 5)), "web-1 2: 5 s behind"),
    Case(Kind.CLOCKS_WORKER, BAD, seen(REPORT, process(wall=NOW + 40)), "web-1 2: 40 s ahead"),
    Case(Kind.CLOCKS_HERE, WARNING, seen(REPORT, probed=replace(PROBED, ahead=-7.0))),
    Case(Kind.KEYS_OK, OK, seen(REPORT, process())),
    Case(Kind.KEYS_UNKNOWN, BAD, seen(REPORT, process(signs=("old",))), "web-1 2: old"),
    Case(Kind.KEYS_UNKNOWN, BAD, seen(REPORT, process(signs=("foreign",)))),
    Case(Kind.KEYS_ROTATING, NOTE, seen(REPORT, process(signs=("new",)))),
    Case(Kind.KEYS_ROTATING, NOTE, seen(process(3, signs=("new", "old")), REPORT)),
    Case(Kind.KEYS_BUCKETS, BAD, seen(REPORT, process(buckets="another")), "web-1 2: another"),
    Case(Kind.COOKIES_OK, OK, seen(REPORT)),
    Case(Kind.COOKIES_OK, OK, seen(process(cookies=Cookies("on", 5, 0, 0)))),
    Case(Kind.COOKIES_OK, OK, seen(process(cookies=Cookies("off", 500, 0, 400)))),
    Case(Kind.COOKIES_LOST, BAD, seen(process(cookies=Cookies("on", 50, 0, 0)))),
    Case(Kind.COOKIES_UNRETURNED, NOTE, seen(process(cookies=Cookies("on", 50, 1, 0)))),
    Case(Kind.COOKIES_OPEN, WARNING, seen(process(cookies=Cookies("off", 50, 9, 9))), "web-1 2"),
    Case(Kind.SPANS_OK, OK, seen(REPORT)),
    Case(Kind.SPANS_OK, OK, seen(process(traced=replace(TRACED, provider="")))),
    Case(Kind.SPANS_OK, OK, seen(process(traced=replace(TRACED, mode="off")))),
    Case(Kind.SPANS_OK, OK, seen(process(traced=replace(TRACED, requests=3)))),
    Case(Kind.SPANS_UNTAGGED, WARNING, seen(REPORT, process(traced=TRACED)), "web-1 2"),
    Case(Kind.SPANS_UNSAMPLED, NOTE, seen(process(traced=replace(TRACED, unsampled=100)))),
    Case(Kind.SPANS_INNER, NOTE, seen(process(traced=replace(TRACED, inner=9)))),
    Case(Kind.PROCESSES_OK, OK, seen(REPORT)),
    Case(Kind.PROCESSES_NONE, BAD, seen()),
    Case(Kind.PROCESSES_NONE, WARNING, seen(entry=None)),
    Case(Kind.PROCESSES_THREADS, BAD, seen(REPORT, lately=(process(threads=False),)), "web-1 2"),
    Case(
        Kind.PROCESSES_SILENT,
        WARNING,
        seen(REPORT, lately=(REPORT, process(at=NOW - 45))),
        "web-1 2: 45 s ago",
    ),
    Case(Kind.PROCESSES_STALE, BAD, seen(process(staleness=None)), "web-1 2"),
    Case(Kind.PROCESSES_STALE, BAD, seen(process(staleness=61.0)), "web-1 2"),
    Case(Kind.PROCESSES_BEHIND, WARNING, seen(process(revision=6)), "web-1 2: revision 6"),
    Case(Kind.PROCESSES_SLOW, WARNING, seen(process(turn=2.5)), "web-1 2"),
    Case(Kind.PROCESSES_STALLED, WARNING, seen(process(stall=1.5)), "web-1 2"),
    Case(
        Kind.PROCESSES_TROUBLED, WARNING, seen(process(troubles=("snapshot",))), "web-1 2: snapshot"
    ),
    Case(Kind.PROCESSES_TRUSTING, NOTE, seen(process(max_staleness=None)), "web-1 2"),
    Case(Kind.PROCESSES_FORKED, NOTE, seen(process(forked=True)), "web-1 2"),
    Case(Kind.PROCESSES_VERSIONS, NOTE, seen(REPORT, process(library="0.2.0")), "web-1 2: 0.2.0"),
    Case(Kind.PROCESSES_OLDER, NOTE, seen(REPORT, process(facts=None)), "web-1 2"),
    Case(
        Kind.PROCESSES_RELEASE,
        WARNING,
        seen(
            REPORT,
            process(plans={"checkout": replace(PLAN, canary="1.3.0")}),
            others=(replace(phased(Phase.ROLLED_BACK, 9), release="1.3.0"),),
        ),
        "web-1 2",
    ),
    Case(
        Kind.PROCESSES_RELEASE,
        NOTE,  # it was deployed just now, and waits for its start
        seen(REPORT, process(plans={"checkout": replace(PLAN, canary="1.6.0")})),
    ),
    Case(
        Kind.PROCESSES_PLAN,
        WARNING,
        seen(REPORT, process(plans={"checkout": replace(PLAN, owner="x@example.com")})),
        "web-1 2",
    ),
    Case(
        Kind.PROCESSES_SCOPE,
        NOTE,
        seen(REPORT, process(plans={"checkout": replace(PLAN, paths=("/pay",))})),
        "web-1 1",
    ),
    Case(Kind.ROLLOUTS_OK, OK, seen(REPORT)),
    Case(Kind.ROLLOUTS_KILLED, WARNING, seen(REPORT, kills={"*": Kill("me", "fire", NOW - 90, 7)})),
    Case(Kind.ROLLOUTS_KILL_FILE, WARNING, seen(process(kill_file="disk full")), "web-1 2"),
    Case(Kind.ROLLOUTS_SILENT, BAD, seen(process(silent=(("checkout", "1.5.0", "refused"),)))),
    Case(
        Kind.ROLLOUTS_SILENT,
        WARNING,
        seen(process(silent=(("checkout", "1.4.2", "refused"),)), entry=phased(Phase.PROMOTED, 0)),
    ),
    *(
        Case(
            Kind.ROLLOUTS_STUCK,
            WARNING,
            seen(REPORT, entry=phased(phase, 4), searched=LEFT),
            "app.py:3",
        )
        for phase in (Phase.PAUSED, Phase.HOLDING, Phase.AWAITING_APPROVAL)
    ),
    Case(Kind.ROLLOUTS_UNFINISHED, NOTE, seen(REPORT, entry=phased(Phase.PROMOTED, 2))),
    Case(
        Kind.ROLLOUTS_UNFINISHED,
        WARNING,
        seen(REPORT, entry=phased(Phase.PROMOTED, 8), searched=LEFT),
        "app.py:3",
    ),
    Case(Kind.ROLLOUTS_LEFTOVER, NOTE, seen(REPORT, entry=phased(Phase.FINISHED, 2))),
    Case(
        Kind.ROLLOUTS_LEFTOVER,
        WARNING,
        seen(REPORT, entry=phased(Phase.FINISHED, 8), searched=LEFT),
        "app.py:3",
    ),
    Case(Kind.ROLLOUTS_ABANDONED, NOTE, seen(REPORT, entry=phased(Phase.ROLLED_BACK, 0.5))),
    Case(Kind.ROLLOUTS_ABANDONED, WARNING, seen(REPORT, entry=phased(Phase.ROLLED_BACK, 2))),
    Case(Kind.ROLLOUTS_UNDECLARED, WARNING, seen(process(plans={}))),
    Case(
        Kind.ROLLOUTS_UNGUARDED,
        WARNING,
        seen(
            process(plans={}), entry=replace(ENTRY, plan=replace(PLAN, guards=(), course=AUTOMATIC))
        ),
    ),
    Case(
        Kind.ROLLOUTS_UNGUARDED,
        NOTE,
        seen(process(plans={}), entry=replace(ENTRY, plan=replace(PLAN, guards=()))),
    ),
    Case(
        Kind.ROLLOUTS_OWNERLESS,
        NOTE,
        seen(process(plans={}), entry=replace(ENTRY, plan=replace(PLAN, owner=None))),
    ),
    Case(
        Kind.ROLLOUTS_STABLE,
        WARNING,
        seen(REPORT, others=(replace(phased(Phase.ROLLED_BACK, 9), release="1.4.2"),)),
    ),
    Case(Kind.CONFIGURATION_OK, OK, seen(REPORT, configured=True)),
    Case(
        Kind.CONFIGURATION_WRONG,
        BAD,
        seen(REPORT, problems=(Problem("canary.toml:poll", "-", "-"),)),
    ),
    Case(Kind.CODE_OK, OK, seen(REPORT, searched=LEFT)),
    Case(Kind.CODE_OK, OK, seen(REPORT, searched=Searched("/src"))),
    Case(Kind.CODE_UNFINISHED, NOTE, seen(REPORT, searched=replace(LEFT, whole=False))),
)
