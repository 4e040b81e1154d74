from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from canary_middleware.core.model import (
    Audience,
    Cohort,
    Reason,
    Rollout,
    Visitor,
)
from canary_middleware.core.outcomes import OutcomeClass
from canary_middleware.core.routing import Drawn
from canary_middleware.core.state import Document, Phase
from canary_middleware.core.weight import FULL
from canary_middleware.engine.identity import as_visitor
from canary_middleware.engine.views import AsgiView
from canary_middleware.engine.visit import Visit
from tests.core.control import CHECKOUT, killed
from tests.engine.world import (
    ALL,
    BOTH,
    HALF,
    IMAGE,
    NAVIGATION,
    NEW,
    NONE,
    OLD,
    Hook,
    at,
    cookie_for,
    counts,
    pair,
    subject_for,
    under,
    value,
    world,
)

# --- exposure and draws ---------------------------------------------------------------------------


def test_nothing_is_read_drawn_or_counted_before_a_rollout_is_asked_for() -> None:
    identify = Hook("alice")
    made = under(HALF, identify=identify)
    visit = made.visit(cookie="__Host-canary-shop=forged.forged")
    visit.finish(OutcomeClass.SUCCESS)
    assert visit.cookie_line() is None
    assert visit.inputs() == ()
    assert (identify.calls, made.numbers.drawn, made.events()) == (0, 0, {})
    assert made.engine.recorder.cells() == {}


def test_an_exposure_is_decided_once() -> None:
    made = under(HALF)
    visit = made.visit()
    first = visit.expose("checkout")
    made.engine.adopt(ALL)
    assert visit.expose("checkout") is first
    assert list(visit.exposed) == ["checkout"]
    assert made.numbers.drawn == 1


def test_a_new_visitor_gets_an_id_and_keeps_it() -> None:
    made = under(HALF)
    versions = set()
    for _ in range(20):
        visit = made.visit()
        first = visit.expose("checkout")
        cookie = pair(visit.cookie_line())
        again = made.visit(cookie=cookie)
        assert again.expose("checkout") is first, "remembered per snapshot"
        assert again.cookie_line() is None, "S14: only when something changed"
        versions.add(first.version)
    assert versions == {"1", "2"}


@pytest.mark.parametrize("found", [NONE, ALL, None, at(FULL, Phase.PROMOTED)])
def test_no_id_is_drawn_where_the_bucket_does_not_matter(found: Document | None) -> None:
    made = under(found)
    visit = made.visit()
    visit.expose("checkout")
    assert (made.numbers.drawn, visit.cookie_line(), visit.inputs()) == (0, None, ())


def test_a_part_of_a_page_draws_nothing() -> None:
    made = under(HALF)
    visit = made.visit(**IMAGE)
    assert visit.expose("checkout").reason is Reason.NO_VISITOR
    assert visit.cookie_line() is None
    assert visit.inputs() == ("Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest")
    assert made.numbers.drawn == 0
    navigation = made.visit(**NAVIGATION)
    assert navigation.expose("checkout").reason is Reason.WEIGHT
    assert navigation.cookie_line() is not None


def test_a_part_of_a_page_with_a_cookie_is_its_visitor() -> None:
    made = under(HALF)
    cookie = cookie_for(made, canary=True)
    visit = made.visit(cookie=cookie, **IMAGE)
    assert visit.expose("checkout").is_canary
    assert visit.inputs() == ()


def test_two_rollouts_of_one_request_share_the_id_and_differ_in_their_draws() -> None:
    made = under(HALF, *BOTH)
    pairs = set()
    for _ in range(40):
        visit = made.visit()
        pairs.add((visit.expose("checkout").version, visit.expose("search").version))
    assert made.numbers.drawn == 40
    assert len(pairs) == 4


@pytest.mark.parametrize(
    ("path", "name", "reason"),
    [("/a", "elsewhere", Reason.OUT_OF_SCOPE), ("/a", "unknown", Reason.NO_REQUEST)],
)
def test_a_rollout_that_does_not_cover_the_request(path: str, name: str, reason: Reason) -> None:
    made = under(HALF, CHECKOUT, Rollout("elsewhere", "1", "2", paths=("/b",)))
    visit = made.visit(path)
    found = visit.expose(name)
    assert (found.reason, found.is_canary) == (reason, False)
    assert visit.exposed == {}
    assert made.events() == ({"unknown_rollout": 1} if name == "unknown" else {})


@pytest.mark.parametrize("name", [None, 5, "x" * 10_000, "a\r\nb", ""])
def test_any_name_may_be_asked_for(name: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert not under(HALF).visit().expose(name).is_canary
    (record,) = caplog.records
    assert len(record.getMessage()) < 256, "S24"
    assert "\n" not in record.getMessage()


def test_visitors_are_remembered_per_snapshot_only() -> None:
    made = under(HALF)
    cookie = cookie_for(made, canary=True)
    assert made.visit(cookie=cookie).expose("checkout").is_canary
    made.engine.adopt(at(1))
    assert not made.visit(cookie=cookie).expose("checkout").is_canary
    made.engine.adopt(killed(HALF))
    assert made.visit(cookie=cookie).expose("checkout").reason is Reason.KILL_SWITCH
    made.engine.adopt(HALF)
    assert made.visit(cookie=cookie).expose("checkout").is_canary


def test_a_thread_under_the_old_state_cannot_spoil_what_is_remembered_under_the_new() -> None:
    """Two threads of one visitor: one still routes by 100 %, meanwhile the weight falls to 0."""
    made = under(HALF)
    cookie = cookie_for(made, canary=True)

    class Interrupted(str):
        __slots__ = ()

        def encode(self, *arguments: Any) -> bytes:
            if made.engine.document is HALF:
                made.engine.adopt(at(1))
                assert not made.visit(cookie=cookie).expose("checkout").is_canary
            return super().encode(*arguments)

    known = made.engine.visitors.known(cookie.encode())
    assert known is not None
    known.drawn = Drawn.anonymous(Interrupted(known.cookie.id))
    assert not made.visit(cookie=cookie).expose("checkout").is_canary
    assert not made.visit(cookie=cookie).expose("checkout").is_canary


# --- identify -------------------------------------------------------------------------------------


def test_identify_is_asked_once_and_only_if_something_depends_on_it() -> None:
    identify = Hook("alice")
    made = under(HALF, *BOTH, identify=identify)
    visit = made.visit()
    for _ in range(2):
        visit.expose("checkout")
        visit.expose("search")
    assert identify.calls == 1
    for found in (None, killed(HALF), at(FULL, Phase.IDLE), at(FULL, Phase.ROLLED_BACK)):
        made.engine.adopt(found)
        made.visit().expose("checkout")
    assert identify.calls == 1


def test_what_identify_read_is_in_vary() -> None:
    made = world(identify=lambda view: view.header("X-User"), vary=("Authorization",))
    made.engine.adopt(HALF)
    visit = made.visit(x_user="alice")
    visit.expose("checkout")
    assert visit.inputs() == ("X-User", "Authorization")


def test_an_identified_visitor_needs_no_cookie() -> None:
    made = under(HALF)
    for canary in (True, False):
        subject = subject_for(made, canary=canary)
        process = under(HALF, identify=Hook(subject))
        visit = process.visit(**IMAGE)
        assert visit.expose("checkout").is_canary is canary
        assert visit.cookie_line() is None
        assert process.numbers.drawn == 0


@pytest.mark.parametrize("canary", [True, False])
def test_the_first_draw_wins_at_sign_in(canary: bool) -> None:
    """This browser keeps its anonymous draw, in both directions; its cookie is bound now."""
    who = Hook(None)
    made = under(HALF, identify=who)
    cookie = cookie_for(made, canary=canary)
    anonymous = made.visit(cookie=cookie)
    assert anonymous.expose("checkout").is_canary is canary
    assert anonymous.cookie_line() is None

    who.answer = subject_for(made, canary=not canary)
    signing_in = made.visit(cookie=cookie)
    assert signing_in.expose("checkout").is_canary is canary
    bound = pair(signing_in.cookie_line())
    assert who.answer.encode() not in value(signing_in.cookie_line())

    after = made.visit(cookie=bound)
    assert after.expose("checkout").is_canary is canary
    assert after.cookie_line() is None

    who.answer = None
    signed_out = made.visit(cookie=bound)
    assert signed_out.expose("checkout").is_canary is canary
    assert signed_out.cookie_line() is None


@pytest.mark.parametrize("canary", [True, False])
def test_the_cookie_of_one_user_is_ignored_for_another(canary: bool) -> None:
    """S3: cookie of A with identity B gives B's own version, and A's cookie stays A's."""
    who = Hook("user-a")
    made = under(HALF, identify=who)
    signing_in = made.visit(cookie=cookie_for(made, canary=not canary))
    signing_in.expose("checkout")
    cookie_of_a = pair(signing_in.cookie_line())

    who.answer = subject_for(made, canary=canary)
    other = made.visit(cookie=cookie_of_a)
    assert other.expose("checkout").is_canary is canary
    assert other.cookie_line() is None


def test_several_rollouts_bind_once() -> None:
    made = under(HALF, *BOTH, identify=Hook("alice"))
    visit = made.visit(cookie=cookie_for(made, canary=True))
    visit.expose("checkout")
    visit.expose("search")
    assert value(visit.cookie_line()).count(b".") == 4


def test_rotation_reissues_for_identified_and_anonymous_alike() -> None:
    for identify in (None, Hook(None), Hook("alice")):
        before = under(HALF, keys=(OLD,), identify=identify)
        cookie = cookie_for(before, canary=True)
        bound = before.visit(cookie=cookie)
        bound.expose("checkout")
        cookie = pair(bound.cookie_line()) if bound.cookie_line() else cookie
        during = under(HALF, keys=(OLD, NEW), identify=identify)
        visit = during.visit(cookie=cookie)
        assert visit.expose("checkout").is_canary
        assert visit.cookie_line() is not None
        after = under(HALF, keys=(NEW,), identify=identify)
        settled = after.visit(cookie=pair(visit.cookie_line()))
        assert settled.expose("checkout").is_canary
        assert settled.cookie_line() is None


def test_testers_and_the_denied() -> None:
    rollout = replace(CHECKOUT, testers=Audience(groups=["beta"]), denied=Audience(["mallory"]))
    who = Hook(Visitor("alice", frozenset({"beta"})))
    made = under(NONE, rollout, identify=who)
    assert made.visit().expose("checkout").reason is Reason.TESTER
    who.answer = Visitor("mallory", frozenset({"beta"}))
    assert made.visit().expose("checkout").reason is Reason.DENIED


@pytest.mark.parametrize(
    ("found", "visitor"),
    [
        (None, None), ("", None), ("alice", Visitor("alice")), (Visitor("alice"), Visitor("alice")),
    ],
)  # fmt: skip
def test_what_identify_may_return(found: Any, visitor: Visitor | None) -> None:
    assert as_visitor(found) == visitor


@pytest.mark.parametrize("found", [5, 0, False, True, b"alice", ["alice"], object(), {"id": 5}])
def test_what_identify_may_not_return_is_an_error_and_stable(
    found: Any, caplog: pytest.LogCaptureFixture
) -> None:
    made = under(ALL, identify=Hook(found))
    assert made.visit().expose("checkout").reason is Reason.ERROR
    assert made.events() == {"error_identify": 1}
    assert type(found).__name__ in caplog.text
    assert "alice" not in caplog.text, "S9"


# --- hooks that fail ------------------------------------------------------------------------------


class BrokenError(Exception):
    """What a hook of the host may raise."""


def no_subject(request: Any) -> Visitor:
    user_id: Any = 42
    return Visitor(user_id)


@pytest.mark.parametrize("identify", [Hook(BrokenError()), no_subject])
def test_a_failing_identify_is_stable_logged_once_and_counted(
    identify: Any, caplog: pytest.LogCaptureFixture
) -> None:
    made = under(ALL, *BOTH, identify=identify)
    for _ in range(3):
        visit = made.visit(cookie=cookie_for(under(HALF), canary=True))
        for name in ("checkout", "search"):
            assert visit.expose(name).reason is Reason.ERROR
        visit.finish(OutcomeClass.SUCCESS)
    assert made.events() == {"error_identify": 3}
    assert len(caplog.records) == 1
    assert counts(made, Cohort.STABLE) == {"2xx": 3}


@pytest.mark.parametrize("side", ["testers", "denied"])
def test_a_failing_predicate_is_stable_logged_once_and_counted(
    side: str, caplog: pytest.LogCaptureFixture
) -> None:
    predicate = Hook(BrokenError())
    changes: Any = {side: Audience(predicate=predicate)}
    rollout = replace(CHECKOUT, **changes)
    made = under(ALL, rollout, identify=Hook("alice"))
    for _ in range(3):
        assert made.visit().expose("checkout").reason is Reason.ERROR
    assert made.events() == {"error_audience": 3}
    assert (len(caplog.records), predicate.calls) == (1, 3)


def test_in_debug_both_raise_and_are_counted_once() -> None:
    made = under(ALL, identify=Hook(BrokenError()), debug=True)
    with pytest.raises(BrokenError):
        made.visit().expose("checkout")
    assert made.events() == {"error_identify": 1}

    rollout = replace(CHECKOUT, testers=Audience(predicate=Hook(BrokenError())))
    made = under(ALL, rollout, identify=Hook("alice"), debug=True)
    with pytest.raises(BrokenError):
        made.visit().expose("checkout")
    assert made.events() == {"error_audience": 1}


def test_what_leaves_the_process_is_not_caught() -> None:
    def leave(request: Any) -> str:
        raise SystemExit

    with pytest.raises(SystemExit):
        under(ALL, identify=leave).visit().expose("checkout")


def test_identify_that_asks_for_a_rollout_itself_leaves_the_whole_request_on_stable() -> None:
    visits: list[Visit] = []
    identify = Hook("alice", before=lambda: visits[0].expose("checkout"))
    made = under(ALL, identify=identify)
    visits.append(made.visit())
    assert visits[0].expose("checkout").reason is Reason.ERROR
    assert visits[0].expose("checkout") is visits[0].exposed["checkout"]
    assert identify.calls == 1
    visits[0].finish(OutcomeClass.SUCCESS)
    assert counts(made, Cohort.STABLE) == {"2xx": 1}


@pytest.mark.parametrize("answer", ["alice", BrokenError(), None])
def test_an_awaited_identify_follows_the_same_rules(answer: Any) -> None:
    hook = Hook(answer)

    async def identify(request: Any) -> Any:
        await asyncio.sleep(0)
        return hook(request)

    made = under(ALL, identify=identify)
    visit = made.visit()
    asyncio.run(visit.identify())
    wanted = Reason.ERROR if isinstance(answer, Exception) else Reason.WEIGHT
    assert visit.expose("checkout").reason is wanted
    assert hook.calls == 1
    assert visit.visitor() == as_visitor(None if isinstance(answer, Exception) else answer)


def test_an_awaited_identify_looks_at_the_state_of_now() -> None:
    """The first visit of a process is made before its first load is there."""
    made = world(identify=Hook("alice"))
    visit = made.visit()
    made.engine.adopt(ALL)
    asyncio.run(visit.identify())
    assert visit.expose("checkout").reason is Reason.WEIGHT
    assert visit.visitor() == Visitor("alice")


class Interrupted(AsgiView):
    """Another thread of the handler asks for ``search`` while this one reads the request."""

    __slots__ = ("meanwhile",)

    meanwhile: Callable[[], object] | None

    def interrupt(self) -> None:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()


class InterruptedAtTheCookie(Interrupted):
    """Before it has seen that there is none."""

    def cookie_header(self) -> bytes:
        header = super().cookie_header()
        self.interrupt()
        return header


class InterruptedAtTheDraw(Interrupted):
    """Before it has drawn."""

    def fetch_metadata(self) -> tuple[str | None, str | None, str | None]:
        self.interrupt()
        return super().fetch_metadata()


@pytest.mark.parametrize("view", [InterruptedAtTheCookie, InterruptedAtTheDraw])
def test_threads_of_a_first_request_draw_by_the_id_of_its_cookie(view: type[Interrupted]) -> None:
    made = under(HALF, *BOTH)
    snapshot = made.engine.snapshot
    for _ in range(40):
        visit = made.visit()
        visit.view = interrupted = view(visit.view.native)
        interrupted.meanwhile = partial(visit.expose, "search")
        visit.expose("checkout")
        given = {name: found.cohort for name, found in visit.exposed.items()}
        again = made.visit(cookie=pair(visit.cookie_line()))
        assert given == {name: again.expose(name).cohort for name in snapshot.by_name}


def test_an_awaited_identify_may_answer_at_once() -> None:
    visit = under(ALL, identify=Hook("alice")).visit()
    asyncio.run(visit.identify())
    assert visit.visitor() == Visitor("alice")
