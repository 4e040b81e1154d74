from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from canary_middleware.core.codec import (
    MAX_BYTES,
    MAX_REVISION,
    Decoder,
    decode,
    decode_audit,
    decode_report,
    encode,
    encode_audit,
    encode_report,
    printable,
)
from canary_middleware.core.guards import Guard
from canary_middleware.core.records import Audit, OpenStreams, ProcessReport
from canary_middleware.core.state import (
    EVERYTHING,
    Cap,
    Document,
    Entry,
    Kill,
    Phase,
    Plan,
    RolloutState,
)
from canary_middleware.core.weight import FULL
from canary_middleware.errors import StoreCorruptError, StoreError

words = st.text(st.characters(min_codepoint=33, max_codepoint=0x24F), min_size=1, max_size=12)
words = words.filter(lambda text: text.isprintable() and text != EVERYTHING)
seconds = st.floats(0, 1e11)
plans = st.builds(
    Plan,
    stable=words,
    canary=words,
    paths=st.lists(words, max_size=3).map(tuple),
    methods=st.lists(words, max_size=2).map(tuple),
    exclude=st.lists(words, max_size=2).map(tuple),
    steps=st.lists(st.integers(0, FULL), max_size=4).map(tuple),
    owner=st.none() | words,
)


@st.composite
def entries(draw: st.DrawFn, revision: int) -> Entry:
    plan = draw(plans)
    numbers = st.integers(0, revision)
    return Entry(
        plan.canary,
        draw(words),
        draw(st.sampled_from(Phase)),
        draw(st.integers(0, FULL)),
        draw(st.integers(-1, len(plan.steps) - 1)),
        draw(numbers),
        draw(numbers),
        draw(seconds),
        draw(words),
        plan,
        caps=(Cap(draw(words), draw(st.floats(0, 1e6)), draw(numbers)),),
        proven=draw(words),
    )


@st.composite
def documents(draw: st.DrawFn) -> Document:
    revision = draw(st.integers(0, MAX_REVISION))
    numbers = st.integers(0, revision)
    kills = st.builds(Kill, by=words, why=words, at=seconds, revision=numbers)
    rollouts = {}
    for name in draw(st.sets(words, max_size=3)):
        found = {e.release: e for e in draw(st.lists(entries(revision), max_size=3))}
        rollouts[name] = RolloutState(draw(st.sampled_from([None, *found])), found)
    return Document(
        draw(words),
        revision,
        draw(st.dictionaries(words | st.just(EVERYTHING), kills, max_size=3)),
        draw(st.dictionaries(words, numbers, max_size=3)),
        rollouts,
    )


SAMPLE = Document(
    "ab12",
    9,
    {EVERYTHING: Kill("me", "smoke", 5.0, 8)},
    {"search": 3},
    {
        "checkout": RolloutState(
            "2",
            {
                "2": Entry(
                    "2", "1", Phase.PAUSED, 5_000, 0, 4, 7, 1.5, "x", Plan("1", "2", steps=(5_000,))
                )
            },
        )
    },
)


@given(documents())
def test_documents_survive_the_round_trip(document: Document) -> None:
    data = encode(document)
    assert decode(data) == document
    assert encode(decode(data)) == data


def set_at(*path: Any) -> Callable[[Any, Any], None]:
    def change(root: Any, value: Any) -> None:
        for step in path[:-1]:
            root = root[step]
        root[path[-1]] = value

    return change


ENTRY = ("body", "rollouts", "checkout", "entries", "2")
WRONG: list[tuple[tuple[str, ...], Any]] = [
    (("schema",), 2),
    (("schema",), True),
    (("lineage",), ""),
    (("lineage",), 7),
    (("revision",), -1),
    (("revision",), 9.0),
    (("revision",), 2**53),
    (("revision",), 10**400),
    (("kills",), []),
    (("kills", "\u001b[2J"), {}),
    (("kills", "*", "at"), float("nan")),
    (("kills", "*", "at"), float("inf")),
    (("kills", "*", "at"), 1e308),
    (("kills", "*", "at"), -1),
    (("kills", "*", "why"), "two\nlines"),
    (("kills", "*", "why"), "x" * 1_001),
    (("kills", "*", "by"), "\ud800"),
    (("kills", "*", "revision"), 10),
    (("body", "lifted", "search"), 10),
    (("body", "rollouts", "*"), {"current": None, "entries": {}}),
    (("body", "rollouts", "checkout", "current"), "9"),
    (("body", "rollouts", "checkout", "more"), 1),
    ((*ENTRY, "weight"), float("nan")),
    ((*ENTRY, "weight"), -1),
    ((*ENTRY, "weight"), 1e308),
    ((*ENTRY, "weight"), FULL + 1),
    ((*ENTRY, "weight"), "5%"),
    ((*ENTRY, "weight"), True),
    ((*ENTRY, "step"), 1),
    ((*ENTRY, "epoch"), 10),
    ((*ENTRY, "phase"), "flying"),
    ((*ENTRY, "release"), "3"),
    ((*ENTRY, "plan", "canary"), "3"),
    ((*ENTRY, "plan", "steps"), 5),
    ((*ENTRY, "plan", "steps"), [FULL + 1]),
    ((*ENTRY, "plan", "paths"), [None]),
    ((*ENTRY, "plan"), None),
    ((*ENTRY, "proven"), None),
    ((*ENTRY, "proven"), "two\nlines"),
]


@pytest.mark.parametrize(("path", "value"), WRONG, ids=lambda part: str(part)[:40])
def test_one_wrong_part_refuses_the_whole(path: tuple[str, ...], value: Any) -> None:
    root = json.loads(encode(SAMPLE))
    set_at(*path)(root, value)
    with pytest.raises(StoreCorruptError, match="state"):
        decode(json.dumps(root).encode())


@pytest.mark.parametrize(("path", "value"), [
    (("guards", 0, "weight"), 5e-324),
    (("guards", 0, "of"), "revenue"),  # of failures: a process that adopts it would fail
    (("guards", 0, "metric"), "mean"),
    (("course", "alpha"), 0),
    (("course", "alpha"), 2.0),
])  # fmt: skip
def test_what_the_judge_cannot_reckon_with_is_refused(path: tuple[Any, ...], value: Any) -> None:
    # It takes logarithms, and every page shows what it says.
    plan = Plan("1", "2", guards=tuple(Guard.defaults()))
    entry = replace(SAMPLE.rollouts["checkout"].entries["2"], plan=plan, step=-1)
    rollouts = {"checkout": RolloutState("2", {"2": entry})}
    root = json.loads(encode(replace(SAMPLE, rollouts=rollouts)))
    decode(json.dumps(root).encode())
    set_at(*ENTRY, "plan", *path)(root, value)
    with pytest.raises(StoreCorruptError, match=r"guards\.0\.|alpha"):
        decode(json.dumps(root).encode())


@given(st.data())
def test_any_single_change_is_refused_or_is_another_valid_document(data: st.DataObject) -> None:
    root = json.loads(encode(SAMPLE))
    node = root
    while True:
        key = data.draw(st.sampled_from(sorted(node)))
        if not (isinstance(node[key], dict) and node[key] and data.draw(st.booleans())):
            break
        node = node[key]
    junk: st.SearchStrategy[Any] = st.one_of(
        st.none(), st.booleans(), st.floats(), st.text(), st.integers(), st.just([[]])
    )
    node[key] = data.draw(junk | st.dictionaries(st.text(), junk, max_size=2))
    try:
        document = decode(json.dumps(root).encode())
    except StoreCorruptError:
        return
    assert decode(encode(document)) == document


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda t: t.encode("utf-8", "replace")))
@example(b"")
@example(b"null")
@example(b"[" * 100_000)
@example(b'{"schema":1')
@example(b"\xff\xfe")
@example(b"\x80\x04\x95c__main__\nprint\n.")
def test_garbage_is_refused(data: bytes) -> None:
    for read in (decode, decode_audit, decode_report):
        with pytest.raises(StoreCorruptError):
            read(data)


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity"])
def test_a_line_that_could_not_be_written_again_is_refused(number: str) -> None:
    """What is sent of a line is known by its text: one without would stop all that follow."""
    line = encode_audit(Audit(1.5, "me", "kill", EVERYTHING, "", "killed", "", 9, {"seen": 1.25}))
    assert decode_audit(line).evidence == {"seen": 1.25}
    with pytest.raises(StoreCorruptError, match="is no number"):
        decode_audit(line.replace(b"1.25", number.encode()))


def test_the_refusal_names_the_place() -> None:
    root = json.loads(encode(SAMPLE))
    set_at(*ENTRY, "weight")(root, -1)
    place = r"state\.body\.rollouts\.checkout\.entries\.2\.weight"
    with pytest.raises(StoreCorruptError, match=place):
        decode(json.dumps(root).encode())


def test_size_is_bounded_both_ways() -> None:
    with pytest.raises(StoreCorruptError, match="bytes of at most"):
        decode(b" " * (MAX_BYTES + 1))
    kills = {f"r{n}": Kill("b" * 900, "w" * 900, 1.0, 1) for n in range(200)}
    with pytest.raises(StoreError, match="would take"):
        encode(replace(SAMPLE, kills=kills))


def test_a_report_that_nobody_would_read_is_refused() -> None:
    plan = Plan("1", "2", paths=tuple(f"/{number:0900}" for number in range(300)))
    with pytest.raises(StoreError, match="report of this process would take"):
        encode_report(ProcessReport("id", "host", 7, "asgi", 1, None, {"checkout": plan}))


def test_a_revision_that_nobody_would_read_is_refused() -> None:
    last = replace(SAMPLE, revision=MAX_REVISION)
    assert decode(encode(last)) == last
    with pytest.raises(StoreError, match="last revision"):
        encode(replace(last, revision=MAX_REVISION + 1))


def test_audit_and_report_survive_the_round_trip() -> None:
    audit = Audit(1.5, "me", "kill", EVERYTHING, "", "killed", "", 9)
    assert decode_audit(encode_audit(audit)) == audit
    report = ProcessReport("id", "host", 7, "asgi", -1, None, {"checkout": Plan("1", "2")}, 3, 4.0)
    assert decode_report(encode_report(report)) == report
    heard = replace(report, revision=5, staleness=0.25)
    assert decode_report(encode_report(heard)) == heard
    for text in ("", "disk full"):
        killed = replace(report, kill_file=text)
        assert decode_report(encode_report(killed)) == killed
    streams = (OpenStreams("checkout", "1", 7), OpenStreams("checkout", "2", 3, 2, 4.5))
    open_there = replace(report, streams=streams)
    assert decode_report(encode_report(open_there)) == open_there
    for odd in (b"-1", b"null", b'"3"'):
        data = encode_report(open_there).replace(b'"open":3', b'"open":' + odd)
        with pytest.raises(StoreCorruptError, match=r"streams\.1\.open"):
            decode_report(data)
    for odd in (b"7", b'"\\u001b[2J"'):
        data = encode_report(report).replace(b'"kill_file":null', b'"kill_file":' + odd)
        with pytest.raises(StoreCorruptError, match="kill_file"):
            decode_report(data)


@given(st.text())
def test_printable_text_is_accepted_as_a_reason(text: str) -> None:
    kill = Kill("me", printable(text), 1.0, 1)
    document = replace(SAMPLE, kills={EVERYTHING: kill})
    assert decode(encode(document)) == document


def as_pushed(document: Document) -> bytes:
    """In the order in which the store's scripts write."""
    root = json.loads(encode(document))
    order = ("schema", "lineage", "revision", "kills", "body")
    return json.dumps({name: root[name] for name in order}, separators=(",", ":")).encode()


@given(st.lists(documents() | st.just(SAMPLE), min_size=2, max_size=6), st.data())
def test_the_decoder_tells_what_decode_tells(known: list[Document], data: st.DataObject) -> None:
    decoder = Decoder()
    for document in known:
        kill = Kill(',"body":', '","body":{', 1.0, document.revision)
        for other in (document, replace(document, kills={EVERYTHING: kill}), SAMPLE):
            pushed = as_pushed(other)
            assert decoder.decode(pushed) == decode(pushed) == other
            cut = data.draw(st.integers(0, len(pushed) - 1))
            with pytest.raises(StoreCorruptError):
                decoder.decode(pushed[:cut])


def test_the_decoder_reads_an_unchanged_body_once_and_never_at_a_lower_revision() -> None:
    decoder = Decoder()
    first = decoder.decode(as_pushed(SAMPLE))
    second = decoder.decode(as_pushed(replace(SAMPLE, revision=10)))
    assert second.rollouts is first.rollouts
    with pytest.raises(StoreCorruptError, match="kills"):
        decoder.decode(as_pushed(replace(SAMPLE, revision=7)))
    with pytest.raises(StoreCorruptError, match="period"):
        decoder.decode(as_pushed(replace(SAMPLE, revision=6, kills={})))


def test_a_rollout_may_be_called_as_the_body_is() -> None:
    decoder = Decoder()
    kill = SAMPLE.kills[EVERYTHING]
    rollouts = {"body": RolloutState(), **SAMPLE.rollouts}
    for revision in (9, 10, 11):
        document = replace(
            SAMPLE, revision=revision, kills={"a": kill, "body": kill}, rollouts=rollouts
        )
        assert decoder.decode(as_pushed(document)) == document
