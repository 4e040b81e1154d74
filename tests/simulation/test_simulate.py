"""`canary simulate`: what it takes from where, and what it prints, writes and refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from canary_middleware.cli import main, supposing
from canary_middleware.core.guards import Guard
from canary_middleware.core.model import Cohort, Rollout
from canary_middleware.core.outcomes import OutcomeClass
from canary_middleware.core.ramp import Ramp
from canary_middleware.core.records import ProcessReport
from canary_middleware.core.state import Entry, Phase, Plan
from canary_middleware.core.throw import Cell
from canary_middleware.core.totals import Arm, Entries, Ledgers, Matured, Seen, bucket_of
from canary_middleware.core.verdict import Decision, Evidence, Verdict
from canary_middleware.errors import VerbRefusedError
from canary_middleware.measures import Measured
from canary_middleware.simulation.traffic import DAY, Traffic
from canary_middleware.stores import open_store

PLAN = Plan.from_rollout(
    Rollout(
        "checkout", stable="1.4.2", canary="1.5.0", owner="pay",
        guards=(*Guard.defaults(), Guard.rate("orders", margin=None)),
        ramp=Ramp("10%", "50%", "100%", bake="20m"),
    )
)  # fmt: skip
QUICK = ("--runs", "2", "--visitors", "2000000")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("CANARY_STORE", "CANARY_NAMESPACE", "CANARY_CONFIG"):
        monkeypatch.delenv(name, raising=False)


class Typed:
    """One command line and what came of it."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> None:
        self.code = main(["simulate", *arguments])
        self.out, self.err = capsys.readouterr()

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def test_the_defaults_say_how_a_good_release_fares_and_what_bad_ones_cost(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    done = Typed(capsys, *QUICK, "--svg", str(tmp_path / "a.svg"))
    assert done.code == 0, done.err
    assert "1% 5% 25% 50% 100%, 10 min each (the defaults)" in done.out
    assert "2,000,000 visitors a day" in done.out
    assert "promoted               100%" in done.out
    assert "rolled back by mistake 0 of 2 (the judge promises 1% at most)" in done.out
    (crash,) = (line for line in done.out.splitlines() if line.startswith("crash"))
    assert crash.split()[1] == "100%"
    assert crash.endswith("errors")
    assert "no guard watches for this" in done.out
    picture = ET.parse(tmp_path / "a.svg").getroot()  # our own file
    drawn = [element.tag.rpartition("}")[2] for element in picture.iter()]
    assert drawn.count("polyline") == 2 + 7
    texts = {element.text for element in picture.iter()}
    assert {"crash", "no guard watches for this", "promoted: 100%"} <= texts


def test_json_has_what_the_page_promises(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "simulate.md").read_text()
    promised = json.loads(page.split("```json\n")[1].split("```")[0])
    found = Typed(capsys, *QUICK, "--rate", "orders=5%", "--json").json

    def names(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: names(member) for name, member in value.items() if name != "rates"}
        return names(value[0]) if isinstance(value, list) and value else None

    found["good"]["lacking"] = promised["good"]["lacking"] = {}
    assert names(found) == names(promised)
    assert found["traffic"]["rates"] == {"orders": 0.05}


def test_a_rollout_of_the_file_is_simulated_as_declared(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "canary.toml").write_text(
        '[rollouts.search]\nstable = "1"\ncanary = "2"\nramp = ["20%", "100%"]\n'
    )
    done = Typed(capsys, "search", *QUICK, "--bake", "5m")
    assert "search: 20% 100%, 5 min each (from canary.toml)" in done.out
    assert "nothing moves this ramp but people: simulated with 5m per step" in done.out
    assert "it declares no guards: simulated with the default ones" in done.out
    unknown = Typed(capsys, "checkout", *QUICK)
    assert unknown.code == 1
    assert "canary.toml declares: search" in unknown.err


def test_what_processes_declare_wins_over_the_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    store = open_store(url, "shop")
    store.report(ProcessReport("p1", "web-1", 1, "asgi", -1, 0.1, {"checkout": PLAN}))
    store.close()
    where = ("--store", url, "--namespace", "shop")
    done = Typed(capsys, "checkout", *QUICK, *where)
    assert "checkout: 10% 50% 100%, 20 min each (as running processes declare it)" in done.out
    assert "guards: errors, latency, orders; client-errors, throughput only warn" in done.out
    live = Typed(capsys, "checkout", *QUICK, *where, "--live")
    assert live.code == 1
    assert "it was never started, so nothing is measured" in live.err


def test_traffic_comes_from_a_file_and_options_win(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "traffic.toml").write_text(
        'visitors = 3000000\nrequests = 5\nerrors = "0.2%"\np50 = "40ms"\np99 = "1.5s"\n'
        'visit = "10m"\npeople = 8000000\n[rates]\norders = "4%"\n'
    )
    options = ("--traffic", "traffic.toml", "--errors", "0.4%", "--runs", "2", "--json")
    told = Typed(capsys, *options).json["traffic"]
    assert told == {
        "visitors": 3e6, "requests": 5, "people": 8e6, "errors": 0.004, "p50": 0.04, "p99": 1.5,
        "rates": {"orders": 0.04},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--errors", "0.01"), "has no percent sign"),
        (("--visitors", "0"), "is not a number above 0"),
        (("--p50", "100"), 'write something like "120ms"'),
        (("--p50", "2s"), "p99 must be longer than p50"),
        (("--rate", "orders"), 'write something like "orders=5%"'),
        (("--requests", "0.5"), "at least 1 request"),
        (("--live",), "--live needs the name"),
        (("--traffic", "none.toml"), "none.toml"),
        (("--runs", "1"), "1"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    done = Typed(capsys, *arguments)
    assert done.code == 2
    assert words in done.err


def test_everything_wrong_with_a_traffic_file_is_said_at_once(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "t.toml").write_text('visitors = "many"\nerrors = 0.1\nweather = "mild"\nrates=1\n')
    done = Typed(capsys, "--traffic", "t.toml")
    assert done.code == 2
    for word in ("visitors", "errors", "weather", "rates"):
        assert f"t.toml: {word}: " in done.err


def measured(stable: int = 4000) -> Measured:
    cell, late = Cell(3), Cell(7, 10_000)
    seen = {Cohort.STABLE: Seen(), Cohort.CANARY: Seen()}
    seen[Cohort.STABLE].kinds[OutcomeClass.SUCCESS] = stable - 80
    seen[Cohort.STABLE].kinds[OutcomeClass.SERVER_ERROR] = 80
    seen[Cohort.STABLE].starts[bucket_of(0.05)] = stable - 80
    seen[Cohort.STABLE].starts[bucket_of(0.8)] = 80
    seen[Cohort.CANARY].kinds[OutcomeClass.SUCCESS] = 500
    ledgers = Ledgers(run=3, seen=seen)
    ledgers.entries = {
        Arm(cell, Cohort.STABLE): Entries(1350),
        Arm(cell, Cohort.CANARY): Entries(150),
        Arm(late, Cohort.STABLE): Entries(700),  # these were counted when they came first
    }
    matured = {Arm(cell, Cohort.STABLE): Matured(1000, {"orders": [40]})}
    evidence = Evidence({3: 10_000}, 3, ledgers.entries, matured=matured)
    return Measured(ledgers, evidence, Verdict(Decision.INCONCLUSIVE, False, (), (0, 0)))


ENTRY = Entry(
    "1.5.0", "1.4.2", Phase.RAMPING, 10_000, 0, 3, 3, 1000.0, "", PLAN, run=3, begun=1000.0
)


def test_live_totals_become_traffic() -> None:
    traffic = supposing.measured_traffic(measured(), ENTRY, 1000.0 + DAY / 24, "checkout")
    assert traffic.visitors == pytest.approx(1500 * 24)
    assert traffic.requests == pytest.approx(3.0)
    assert traffic.errors == pytest.approx(0.02)
    assert traffic.p50 == pytest.approx(0.05, rel=0.06)
    assert traffic.p99 == pytest.approx(0.8, rel=0.06)
    assert traffic.rates == {"orders": 0.04}


@pytest.mark.parametrize("few", [measured(100), replace(measured(), ledgers=Ledgers(run=3))])
def test_too_little_is_no_traffic(few: Measured) -> None:
    with pytest.raises(VerbRefusedError, match="requests to stable were measured, 200 are needed"):
        supposing.measured_traffic(few, ENTRY, 5000.0, "checkout")


def test_an_option_wins_over_the_file_and_that_over_what_was_measured(tmp_path: Path) -> None:
    file = tmp_path / "t.toml"
    file.write_text('requests = 7\nerrors = "3%"\n')
    base = Traffic(visitors=5, requests=2, rates={"a": 0.1})
    told = supposing.traffic_of({"errors": 0.5, "p50": None}, file, base, {"b": 0.2})
    assert (told.visitors, told.requests, told.errors) == (5, 7, 0.5)
    assert told.rates == {"a": 0.1, "b": 0.2}
