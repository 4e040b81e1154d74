"""``canary panel``, and the tokens that it makes."""

from __future__ import annotations

import json
import signal
import ssl
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from canary_middleware.cli import main
from canary_middleware.panel.people import Role
from canary_middleware.panel.tokens import find, parse
from tests.cli.conftest import Shell
from tests.cli.terminal import terminal
from tests.support.clients import Visitor
from tests.support.servers import Process, free_port, wait_until
from tests.support.tls import issue

CANARY = [sys.executable, "-m", "canary_middleware.cli"]


class Said:
    """What one call of the program left behind."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *words: str) -> None:
        capsys.readouterr()
        self.code = main(words)
        self.out, self.err = capsys.readouterr()


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    return tmp_path / "panel.tokens"


def made(capsys: pytest.CaptureFixture[str], tokens: Path, *words: str) -> str:
    said = Said(capsys, "panel", "token", *words, "--tokens", str(tokens))
    assert said.code == 0, said.err
    return said.out.strip()


def test_a_token_is_shown_once_and_only_its_hash_is_kept(
    capsys: pytest.CaptureFixture[str], tokens: Path
) -> None:
    alice = made(capsys, tokens, "alice", "--role", "operate")
    bob = made(capsys, tokens, "Bob B.")
    text = tokens.read_text()
    assert stat.S_IMODE(tokens.stat().st_mode) == 0o600
    assert alice not in text
    assert bob not in text
    lines, problems = parse(text, "t")
    assert not problems
    found = [find(lines, token) for token in (alice, bob)]
    people = [(line.person.name, line.person.role) for line in found if line is not None]
    assert people == [("alice", Role.OPERATE), ("Bob B.", Role.VIEW)]


def test_a_token_is_appended_after_a_last_line_that_somebody_left_open(
    capsys: pytest.CaptureFixture[str], tokens: Path
) -> None:
    tokens.write_text("# the night shift")
    made(capsys, tokens, "alice")
    made(capsys, tokens, "bob")
    assert [line.person.name for line in parse(tokens.read_text(), "t")[0]] == ["alice", "bob"]


def test_a_token_for_machines(capsys: pytest.CaptureFixture[str], tokens: Path) -> None:
    told = json.loads(made(capsys, tokens, "ci", "--role", "operate", "--json"))
    assert told["token"].startswith("cnp_")
    assert {name: told[name] for name in ("name", "role", "file")} == {
        "name": "ci", "role": "operate", "file": str(tokens),
    }  # fmt: skip


@pytest.mark.parametrize(("name", "why"), [
    ("a\nb", "printed"), ("", "printed"), ("#x", "comment"), ("x" * 81, "80"),
])  # fmt: skip
def test_no_token_for_what_is_no_name(
    capsys: pytest.CaptureFixture[str], tokens: Path, name: str, why: str
) -> None:
    said = Said(capsys, "panel", "token", name, "--tokens", str(tokens))
    assert (said.code, said.out) == (2, "")
    assert why in said.err
    assert len(said.err.splitlines()) == 1
    assert not tokens.exists()


def test_no_token_for_another_file_than_the_one_that_was_meant(
    capsys: pytest.CaptureFixture[str], tokens: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tokens.parent)
    said = Said(capsys, "panel", "--tokens", "other.tokens", "token", "alice")
    assert said.code == 2
    assert "--tokens stands after `token`" in said.err
    assert list(tokens.parent.iterdir()) == []


def store_of(tokens: Path) -> list[str]:
    return ["--store", f"sqlite:///{tokens.parent / 'c.db'}", "--namespace", "shop"]


@pytest.mark.parametrize(("words", "why"), [
    (["--host", "0.0.0.0"], "ssh -L 8400"),
    (["--host", "panel.internal"], "--behind-proxy"),
    (["--host", "0.0.0.0", "--certificate", "none.pem"], "No such file"),
    (["--tokens", "none.tokens"], "canary panel token"),
    (["--trust", "proxy.internal"], "is no network"),
    (["--store", "memory://"], "lives inside one process"),
    (["--store", "sqlite:////nowhere/at/all/c.db"], "no directory"),
])  # fmt: skip
def test_says_in_one_line_why_it_does_not_start(
    capsys: pytest.CaptureFixture[str], tokens: Path, words: list[str], why: str
) -> None:
    made(capsys, tokens, "alice")
    said = Said(capsys, "panel", *store_of(tokens), "--tokens", str(tokens), *words)
    assert said.code == (3 if "no directory" in why else 2)
    assert len(said.err.splitlines()) == 1
    assert why in said.err
    assert said.out == ""


def test_every_problem_of_the_file_is_told(
    capsys: pytest.CaptureFixture[str], tokens: Path
) -> None:
    tokens.write_text("alice admin sha256:1\nbob\n")
    tokens.chmod(0o600)
    said = Said(capsys, "panel", *store_of(tokens), "--tokens", str(tokens))
    assert said.code == 2
    assert [f"{tokens}:{line}:" in said.err for line in (1, 2)] == [True, True]


@contextmanager
def serving(tokens: Path, *words: str, scheme: str = "http") -> Iterator[tuple[Process, int]]:
    port = free_port()
    command = [*CANARY, "panel", *store_of(tokens), "--tokens", str(tokens), "--port", str(port)]
    with Process([*command, *words], tokens.parent / "panel.log") as process:
        process.wait_log(f"The panel of shop: {scheme}://")
        yield process, port


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ends_in_order_also_with_open_streams(
    capsys: pytest.CaptureFixture[str], tokens: Path, number: int
) -> None:
    token = made(capsys, tokens, "alice")
    with serving(tokens) as (process, port):
        headers = {"Authorization": f"Bearer {token}"}
        with Visitor(port, headers=headers) as visitor:
            assert visitor.get("/").status == 200
            with visitor.stream("/events?page=overview") as stream:
                assert stream.readline()
                began = time.monotonic()
                process.signal(number)
                assert process.wait(10) == 0
                assert time.monotonic() - began < 8
                assert stream.read() is not None
        assert "Traceback" not in process.output()


def test_speaks_tls_and_its_cookies_are_secure_then(
    capsys: pytest.CaptureFixture[str], tokens: Path
) -> None:
    made(capsys, tokens, "alice")
    files = issue(tokens.parent, "panel", "localhost")
    words = ["--certificate", str(files.certificate), "--key", str(files.key)]
    with serving(tokens, *words, "--host", "0.0.0.0", scheme="https") as (_, port):
        context = ssl.create_default_context(cafile=files.authority)
        url = f"https://localhost:{port}/sign-in"
        with urllib.request.urlopen(url, context=context, timeout=10) as answer:
            assert answer.status == 200
            assert "; Secure" in answer.headers["Set-Cookie"]
            assert answer.headers["Server"] is None


def test_behind_a_proxy_its_cookies_are_secure_whatever_the_proxy_says(
    capsys: pytest.CaptureFixture[str], tokens: Path
) -> None:
    made(capsys, tokens, "alice")
    with serving(tokens, "--behind-proxy") as (_, port), Visitor(port) as visitor:
        assert "; Secure" in (visitor.get("/sign-in").header("Set-Cookie") or "")
        told = {"X-Forwarded-Proto": "http"}
        answer = visitor.request("GET", "/sign-in", headers=told)
        assert "; Secure" in (answer.header("Set-Cookie") or "")


def test_a_port_that_is_taken_is_told(capsys: pytest.CaptureFixture[str], tokens: Path) -> None:
    made(capsys, tokens, "alice")
    with serving(tokens) as (_, port):
        words = ["--tokens", str(tokens), "--port", str(port)]
        said = Said(capsys, "panel", *store_of(tokens), *words)
    assert said.code == 2
    assert "another --port" in said.err
    assert len(said.err.splitlines()) == 1


def test_without_its_libraries_it_names_the_extra(tokens: Path) -> None:
    program = (
        "import sys; sys.modules['uvicorn'] = None; sys.modules['starlette'] = None;"
        "from canary_middleware.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    tokens.touch(0o600)
    words = ["panel", *store_of(tokens), "--tokens", str(tokens)]
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("canary: starlette is not installed")
    assert "canary-middleware[panel]" in done.stderr


def test_makes_a_first_token_where_somebody_says_yes(canary: Shell, tokens: Path) -> None:
    words = ["panel", "--tokens", str(tokens), "--port", str(free_port())]
    with terminal(canary, *words) as asked:
        wait_until(lambda: "Make it, with a token for" in asked.read())
        asked.type("n\n")
        assert asked.end() == 2
        assert not tokens.exists()
    with terminal(canary, *words) as asked:
        wait_until(lambda: "Make it, with a token for" in asked.read())
        asked.type("y\n")
        wait_until(lambda: "(Ctrl-C ends it)" in asked.read())
        token = asked.sent.partition("not shown again: ")[2].split()[0]
        line = find(parse(tokens.read_text(), "t")[0], token)
        assert line is not None
        assert line.person.role is Role.OPERATE
        asked.process.send_signal(signal.SIGINT)
        assert asked.end() == 0
