"""What is shown on a terminal and elsewhere."""

from __future__ import annotations

import io

import pytest

from canary_middleware.demo.crowd import Answer, Crowd
from canary_middleware.demo.display import Display
from canary_middleware.demo.story import pulse


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def show(out: io.StringIO) -> str:
    display = Display(out)
    display.live(f"now {display.bar(0.5, 60)}")
    display.live("then")
    display.line(display.paint("done", "green"))
    display.live("last")
    display.close()
    return out.getvalue()


def test_terminal_has_one_line_that_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "71")
    assert show(Terminal()) == (
        "now \x1b[33m█████\x1b[0m░░░░░\r\x1b[Kthen\r\x1b[K\x1b[32mdone\x1b[0m\nlast\n"
    )


def test_terminal_has_lines_above_it_that_change_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    out = Terminal()
    display = Display(out)
    display.live("now", ["one", "two"])
    display.live("then", ["one"])
    display.line("done")
    shown = ["one\ntwo\nnow", "\r\x1b[2A\x1b[J", "one\nthen", "\r\x1b[1A\x1b[J", "done\n"]
    assert out.getvalue() == "".join(shown)


def test_lines_that_no_terminal_is_high_enough_for_are_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "5")
    out = Terminal()
    Display(out).live("now", [str(number) for number in range(9)])
    assert out.getvalue() == "0\n1\n2\nnow"


def test_sentences_are_wrapped_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setenv("TERM", "xterm")
    sentence = "five words of " * 6
    terminal, pipe = Terminal(), io.StringIO()
    for out in (terminal, pipe):
        Display(out).wrapped(sentence.strip(), indent=2, hanging=4)
    assert pipe.getvalue() == f"  {sentence.strip()}\n"
    first, *others = terminal.getvalue().splitlines()
    assert others
    assert all(len(line) < 50 for line in (first, *others))
    assert all(line.startswith("      ") for line in others)


def test_colour_of_a_verdict_takes_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setenv("TERM", "xterm")
    out = Terminal()
    Display(out).verdict("ok", "green", "x" * 42 + " y")
    assert out.getvalue() == f"  \x1b[32mok\x1b[0m  {'x' * 42}\n      y\n"


def test_no_color_keeps_the_line_and_drops_the_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    shown = show(Terminal())
    assert "\r" in shown
    assert "m" not in shown.replace("\x1b[K", "")


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_pipes_and_dumb_terminals_get_plain_lines(
    stream: type[io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert show(stream()) == "done\n"


def test_state_of_things_is_told_again_after_a_while() -> None:
    out = io.StringIO()
    display = Display(out)
    for _ in range(3):
        display.live("so far", every=0.0)
    assert out.getvalue() == "so far\n" * 3


def test_bar_shows_whatever_is_above_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "71")
    display = Display(io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    bars = [display.bar(share, 60) for share in (0.0, 0.001, 0.5, 1.0)]
    assert bars == ["..........", "#.........", "#####.....", "##########"]


def test_nothing_is_told_in_words_where_they_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "71")
    display = Display(io.StringIO())
    assert display.bar(0.0, 60, "nobody") == "nobody    "
    assert display.bar(0.0, 60, "nobody at all") == ".........."
    assert display.bar(0.5, 60, "nobody") == "#####....."


@pytest.mark.parametrize(
    ("versions", "words"),
    [
        ([], "nobody yet"),
        (["1.4.2", "1.4.2"], "everybody on 1.4.2"),
        (["1.4.2", "1.5.0"], "############............"),
    ],
)
def test_a_scene_says_in_words_that_everybody_is_on_stable(versions: list[str], words: str) -> None:
    crowd = Crowd([1], 1.0)
    crowd.answers = [Answer(1, version, 2.0, 2.0, 7, 2.0, None) for version in versions]
    line = pulse(crowd, Display(io.StringIO()), "killed", since=1.0)
    assert f"  killed   {words.ljust(24)} " in line
