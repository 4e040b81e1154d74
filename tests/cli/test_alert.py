"""``canary alert test`` tries every webhook of the configuration, and shows no address."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from canary_middleware.cli import main
from canary_middleware.core.webhook import key_of, signed
from tests.cli.documented import PROMISED, keys
from tests.support.receiver import Receiver

SECRET = "s" * 32


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with Receiver() as made:
        yield made


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("CANARY_ALERTS", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "canary.toml"


def declared(*hooks: Receiver) -> str:
    tables = [f'[[alerts]]\nurl = "{hook.url()}"\n' for hook in hooks]
    return f'namespace = "shop"\nwebhook_secret = "{SECRET}"\n' + "".join(tables)


def test_every_webhook_gets_a_signed_event(
    hook: Receiver, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(declared(hook))
    assert main(["alert", "test"]) == 0
    out = capsys.readouterr().out
    assert f"127.0.0.1:{hook.port}" in out
    assert "s3cr3t" not in out
    (message,) = hook.messages
    at = int(message.headers["webhook-timestamp"])
    assert signed(key_of(SECRET), message.id, at, message.body).items() <= message.headers.items()
    assert (message.json["type"], message.json["namespace"]) == ("canary.test", "shop")
    assert message.id in out


def test_one_that_does_not_take_it_is_told_and_the_others_get_it(
    hook: Receiver, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Receiver(500) as broken:
        file.write_text(declared(broken, hook))
        assert main(["alert", "test", "--json"]) == 1
        found = json.loads(capsys.readouterr().out)
        assert keys(found) == keys(PROMISED["alert test"])
        assert [(one["taken"], one["status"]) for one in found["webhooks"]] == [
            (False, 500), (True, 200),
        ]  # fmt: skip
        assert main(["alert", "test"]) == 1
        assert "500, not taken" in capsys.readouterr().out
    file.write_text(declared(broken))
    assert main(["alert", "test"]) == 1
    assert "connection refused" in capsys.readouterr().out


@pytest.mark.parametrize(("text", "said"), [
    ("", "alerts: there is none"),
    ('[[alerts]]\nurl = "ftp://h/s3cr3t"', "alerts[0], url: is neither http nor https"),
])  # fmt: skip
def test_without_a_webhook_it_says_what_to_write(
    file: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    file.write_text(text)
    assert main(["alert", "test"]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert "s3cr3t" not in err
