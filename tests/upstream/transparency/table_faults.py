"""Broken upstreams: rows U1 to U7."""

from __future__ import annotations

from typing import Final

from tests.upstream.transparency.case import (
    CHUNKED,
    FINE,
    Case,
    answer,
    chunked,
    path,
    request,
)
from tests.upstream.transparency.expect import (
    FRESH,
    POISON,
    Cut,
    Expectation,
    Fails,
    Leaves,
    Row,
    Torn,
    Unharmed,
)
from tests.upstream.transparency.steps import (
    BODY,
    CLOSE,
    HANG,
    RESET,
    Answered,
    IfReused,
    Pause,
    Received,
    Step,
)
from tests.upstream.transparency.wire import Header

OK: Final = b"HTTP/1.1 200 OK\r\n"
STRAY: Final = answer(body=POISON + b"\n")
AFTERWARDS: Final = (BODY, answer(body=FRESH))
HEAD10: Final = answer(headers=[(b"Content-Length", b"10")], body=None)
HEAD_CHUNKED: Final = answer(headers=[CHUNKED], body=None)
SHORT: Final = b"/short"
BROKEN: Final = Fails(frozenset({502}))
SLOW: Final = Fails(frozenset({504}), between=(0.35, 1.9))


def _fault(
    name: str,
    *steps: Step,
    expect: Expectation,
    method: bytes = b"GET",
    place: bytes = b"",
    body: bytes = b"",
) -> Case:
    headers = [(b"Content-Length", b"%d" % len(body))] if body else []
    sent = request(path(name, place=place), headers, body, method=method)
    return Case(f"{name}", "faults", (sent,), (BODY, *steps), expect, (method,))


def _poison(name: str, *steps: Step, expect: Expectation, method: bytes = b"GET") -> Case:
    """Ten more clients come, one after the other, who must get their own answers."""
    sent = request(path(name), method=method)
    return Case(
        name, "faults", (sent,), (BODY, *steps), expect, (method,), AFTERWARDS, 10, alone=True
    )


REFUSING: Final = (
    _fault("refuse-get", expect=Fails(frozenset({502, 503}), (0, 0)), place=b"/dead"),
    _fault(
        "refuse-post",
        expect=Fails(frozenset({502, 503}), (0, 0)),
        place=b"/dead",
        method=b"POST",
        body=b"hello",
    ),
    _fault(
        "refuse-head", expect=Fails(frozenset({502, 503}), (0, 0)), place=b"/dead", method=b"HEAD"
    ),
    _fault(
        "connect-hangs", expect=Fails(frozenset({502, 504}), (0, 0), (0.2, 1.9)), place=b"/full"
    ),
)
HANGING: Final = (
    _fault("hang-get", HANG, expect=SLOW, place=SHORT),
    _fault("hang-post", HANG, expect=SLOW, place=SHORT, method=b"POST", body=b"hello"),
    _fault("hang-in-head", b"HTTP/1.1 200 OK\r\nX-A", HANG, expect=SLOW, place=SHORT),
    _fault("hang-after-103", b"HTTP/1.1 103 Early Hints\r\n\r\n", HANG, expect=SLOW, place=SHORT),
    _fault("hang-in-length", HEAD10, b"12345", HANG, expect=Cut(b"12345"), place=SHORT),
    _fault(
        "hang-in-chunked",
        HEAD_CHUNKED,
        chunked(b"12345", end=False),
        HANG,
        expect=Cut(b"12345"),
        place=SHORT,
    ),
)
ENDING: Final = (
    _fault("reset-get", RESET, expect=BROKEN),
    _fault("reset-post", RESET, expect=BROKEN, method=b"POST", body=b"hello"),
    _fault("close-get", CLOSE, expect=BROKEN),
    _fault("close-post", CLOSE, expect=BROKEN, method=b"POST", body=b"hello"),
    _fault("close-in-status", b"HTTP/1.1 2", CLOSE, expect=BROKEN),
    _fault("close-in-head", OK + b"Content-Le", CLOSE, expect=BROKEN),
    _fault("reset-in-head", OK + b"Content-Le", Pause(0.05), RESET, expect=BROKEN),
    _fault("close-after-100", b"HTTP/1.1 100 Continue\r\n\r\n", CLOSE, expect=BROKEN),
    _fault("close-in-length", HEAD10, b"12345", CLOSE, expect=Cut(b"12345")),
    _fault("reset-in-length", HEAD10, b"12345", Received(b"12345"), RESET, expect=Cut(b"12345")),
    _fault("close-in-chunk", HEAD_CHUNKED, b"a\r\n12345", CLOSE, expect=Cut(b"12345")),
    _fault(
        "close-between-chunks",
        HEAD_CHUNKED,
        chunked(b"12345", end=False),
        CLOSE,
        expect=Cut(b"12345"),
    ),
    _fault(
        "reset-between-chunks",
        HEAD_CHUNKED,
        chunked(b"12345", end=False),
        Received(b"12345"),
        RESET,
        expect=Cut(b"12345"),
    ),
    _fault(
        "close-before-last-chunk-ends",
        HEAD_CHUNKED,
        chunked(b"12345", end=False),
        b"0\r\n",
        CLOSE,
        expect=Cut(b"12345"),
    ),
    _fault(
        "close-in-trailers",
        HEAD_CHUNKED,
        chunked(b"12345", end=False),
        b"0\r\nX-A: 1\r\n",
        CLOSE,
        expect=Cut(b"12345"),
    ),
    _fault("close-before-body", HEAD10, CLOSE, expect=Cut()),
    _fault(
        "reset-in-old",
        answer(version=b"1.0", body=None),
        b"12345",
        Received(b"12345"),
        RESET,
        expect=Cut(b"12345"),
    ),
    _fault(
        "chunk-size-garbage",
        HEAD_CHUNKED,
        chunked(b"12345", end=False),
        b"xyz\r\n123\r\n",
        expect=Cut(b"12345"),
    ),
    _fault(
        "chunk-end-garbage", HEAD_CHUNKED, b"5\r\n12345XX", HANG, expect=Cut(b"12345"), place=SHORT
    ),
)
GARBAGE: Final = tuple(
    _fault(name, step, Pause(0.05), CLOSE, expect=BROKEN)
    for name, step in {
        "garbage": b"\x00\x01\x02 nonsense \xff\r\n\r\n",
        "garbage-text": b"Hello there\r\n\r\n",
        "garbage-tls": bytes.fromhex("15030100020228"),
        "line-no-version": b"200 OK\r\nContent-Length: 2\r\n\r\nok",
        "line-other-protocol": b"ICY 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "line-version-2": b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "line-status-short": b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok",
        "line-status-text": b"HTTP/1.1 abc OK\r\nContent-Length: 2\r\n\r\nok",
        "line-status-zero": b"HTTP/1.1 000 No\r\nContent-Length: 2\r\n\r\nok",
        "line-status-999": b"HTTP/1.1 999 No\r\nContent-Length: 2\r\n\r\nok",
        "line-switch-unasked": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n"
                               b"Connection: upgrade\r\n\r\n",
        "lengths-differ": OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
        "lengths-list": OK + b"Content-Length: 2, 3\r\n\r\nok!",
        "length-text": OK + b"Content-Length: two\r\n\r\nok",
        "length-minus": OK + b"Content-Length: -2\r\n\r\nok",
        "length-huge": OK + b"Content-Length: 99999999999999999999999\r\n\r\nok",
        "length-and-chunked": OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
                                   b"2\r\nok\r\n0\r\n\r\n",
        "coding-unknown": OK + b"Transfer-Encoding: xchunked\r\n\r\nok",
        "coding-gzip": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "coding-not-last": OK + b"Transfer-Encoding: chunked, gzip\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "nul-in-answer": OK + b"X-A: a\x00b\r\nContent-Length: 2\r\n\r\nok",
        "cr-in-answer": OK + b"X-A: a\rX-B: b\r\nContent-Length: 2\r\n\r\nok",
        "folded-answer": OK + b"X-A: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
        "name-with-space": OK + b"X-A : a\r\nContent-Length: 2\r\n\r\nok",
        "line-without-colon": OK + b"X-A\r\nContent-Length: 2\r\n\r\nok",
        "head-300-kb": OK + b"X-A: " + b"a" * 300_000 + b"\r\nContent-Length: 2\r\n\r\nok",
        "head-endless": OK + b"X-A: b\r\n" * 40_000,
    }.items()
)  # fmt: skip
POISONED: Final = (
    _poison("stray-at-once", answer() + STRAY, expect=Unharmed(frozenset({200, 502}))),
    _poison("stray-later", answer(), Pause(0.05), STRAY, expect=Unharmed(frozenset({200}))),
    _poison("stray-after-chunked", HEAD_CHUNKED + chunked(b"ok") + STRAY,
            expect=Unharmed(frozenset({200, 502}))),
    _poison("stray-after-204", b"HTTP/1.1 204 No Content\r\n\r\n" + STRAY,
            expect=Unharmed(frozenset({204, 502}))),
    _poison("body-after-204",
            b"HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n" + POISON + b"\n",
            expect=Unharmed(frozenset({204, 502}))),
    _poison("body-after-304",
            b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n" + POISON + b"\n",
            expect=Unharmed(frozenset({304, 502}))),
    _poison("body-after-head", answer(body=POISON + b"\n"), method=b"HEAD",
            expect=Unharmed(frozenset({200, 502}))),
    _poison("stray-after-head", answer(body=None, headers=[(b"Content-Length", b"3")]) + STRAY,
            method=b"HEAD", expect=Unharmed(frozenset({200, 502}))),
    _poison("length-exceeded", HEAD10 + b"1234567890" + POISON,
            expect=Unharmed(frozenset({200, 502}))),
    _poison("lengths-hide-answer",
            OK + b"Content-Length: 2\r\nContent-Length: %d\r\n\r\nok" % (len(STRAY) + 2) + STRAY,
            expect=Unharmed(frozenset({502}))),
    _poison("chunked-hides-answer",
            OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + STRAY,
            expect=Unharmed(frozenset({502}))),
    _poison("early-answer-then-stray", answer(), STRAY, STRAY,
            expect=Unharmed(frozenset({200, 502}))),
)  # fmt: skip


def _row(name: str, methods: tuple[bytes, ...], expect: Row, *, body: bytes = b"") -> Case:
    """Requests one after the other; whatever connection the origin has served before, it drops."""
    length = [(b"Content-Length", b"%d" % len(body))] if body else []
    steps: list[Step] = []
    for number, method in enumerate(methods):
        extra = length if method == b"POST" else []
        sent = request(path(name, b"/%d" % number), extra, body if extra else b"", method=method)
        steps += [sent, Pause(0.06)]
    dropped = (IfReused((RESET,)), BODY, answer())
    return Case(name, "faults", tuple(steps), dropped, expect, methods, alone=True)


REUSED: Final = (
    _row("reused-gets", (b"GET",) * 8, Row((200,) * 8, (8, 16))),
    _row("reused-post", (b"GET", b"POST"), Row((200, 502), (1, 3)), body=b"hello"),
    Case(
        "idle-closed",
        "faults",
        tuple(
            step
            for n in range(8)
            for step in (request(path("idle-closed", b"/%d" % n)), Pause(0.06))
        ),
        (BODY, answer(), Pause(0.02), CLOSE),
        Row((200,) * 8, (8, 8)),
        (b"GET",) * 8,
        alone=True,
    ),
)


def _torn(name: str, header: Header, piece: bytes, end: Step) -> Case:
    head = request(path(name), [header], method=b"POST")
    return Case(name, "faults", (head, piece, Pause(0.1), end), FINE, Torn(), (b"POST",))


TEN: Final = (b"Content-Length", b"10")
TORN: Final = (
    _torn("upload-reset-in-length", TEN, b"12345", RESET),
    _torn("upload-closed-in-length", TEN, b"12345", CLOSE),
    _torn("upload-reset-between-chunks", CHUNKED, b"5\r\n12345\r\n", RESET),
    _torn("upload-closed-between-chunks", CHUNKED, b"5\r\n12345\r\n", CLOSE),
    _torn("upload-closed-in-chunk", CHUNKED, b"a\r\n12345", CLOSE),
    _torn("upload-closed-in-trailers", CHUNKED, b"5\r\n12345\r\n0\r\nX-A: 1", CLOSE),
    _torn("upload-closed-before-body", CHUNKED, b"", CLOSE),
)
UPLOAD: Final = request(
    path("reset-in-old-beside-upload"),
    [(b"Content-Length", b"280000")],
    b"x" * 280_000,
    method=b"POST",
)
RESET_BESIDE: Final = Case(  # the reset is met by what is sent of the rest
    "reset-in-old-beside-upload",
    "faults",
    (UPLOAD[:140_000], Pause(0.3), UPLOAD[140_000:]),
    (answer(version=b"1.0", body=None), b"12345", Pause(0.1), RESET),
    Cut(b"12345"),
    (b"POST",),
)
GONE: Final = (
    Case(
        "client-gone-waiting",
        "faults",
        (request(path("client-gone-waiting")), Received(b"GET"), Pause(0.05), RESET),
        (BODY, HANG),
        Leaves(),
    ),
    Case(
        "client-gone-streaming",
        "faults",
        (request(path("client-gone-streaming")), Answered(b"12345"), RESET),
        (BODY, HEAD_CHUNKED, chunked(b"12345", end=False), HANG),
        Leaves(),
    ),
    Case(
        "client-gone-uploading",
        "faults",
        (
            request(path("client-gone-uploading"), [(b"Content-Length", b"10")], method=b"POST"),
            b"12345",
            Received(b"12345"),
            RESET,
        ),
        (HANG,),
        Leaves(),
    ),
)

BREAKING: Final = (*REFUSING, *HANGING, *ENDING, RESET_BESIDE)
FAULTS: Final = (*BREAKING, *GARBAGE, *POISONED, *REUSED, *TORN, *GONE)
