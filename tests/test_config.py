"""`canary.toml` and `CANARY_*` against the constructor, and every mistake with its place."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from canary_middleware import (
    Audience,
    Callers,
    Canary,
    ConfigurationError,
    Ramp,
    Rescue,
    Rollout,
    Webhook,
)
from canary_middleware.config import canary_from, load
from canary_middleware.config.kinds import FILE, ROLLOUT, VARIABLES
from canary_middleware.core.guards import Action, Guard, Precaution
from canary_middleware.core.ramp import Step

KEY, OTHER = "k" * 32, "o" * 32
DOCS = Path(__file__).parents[1] / "docs" / "configuration.md"
MINIMAL = f"""
secret_keys = ["{KEY}"]
[rollouts.checkout]
stable = "1.4.2"
canary = "1.5.0"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "canary.toml"


def nobody(view: object) -> None:
    """An ``identify`` that knows nobody."""


def mistakes(file: Path | None, **environ: str) -> dict[str, str]:
    """Message and hint by place, the file's own path left out."""
    with pytest.raises(ConfigurationError) as caught:
        canary_from(file, environ=environ)
    places = [str(problem.place) for problem in caught.value.problems]
    assert len(places) == len(set(places)), places
    return {
        problem.place.removeprefix(f"{file}:"): f"{problem.message} ({problem.hint})"
        for problem in caught.value.problems
    }


# --- the same as the constructor ----------------------------------------------------------------


def test_every_argument_of_the_facade_can_be_written() -> None:
    arguments = set(inspect.signature(Canary).parameters)
    only_code = {"identify", "credentials", "telemetry", "clock", "wall"}
    files = {"secret_keys_file", "bucket_secret_file", "webhook_secret_file"}
    assert set(FILE) - files == arguments - only_code
    assert set(VARIABLES.values()) == set(FILE)
    declared = set(inspect.signature(Rollout).parameters)
    assert set(ROLLOUT) == declared - {"name"}


def test_a_file_says_what_the_constructor_says(file: Path) -> None:
    file.write_text(f"""
    namespace = "shop"
    store = "redis://localhost:6379/0"
    secret_keys = ["{OTHER}", "{KEY}"]
    bucket_secret = "{KEY}"
    vary = ["Authorization"]
    callers = {{ signed = true, networks = ["10.0.0.0/8"] }}
    secure = "auto"
    overrides = ["header", "query"]
    max_staleness = "never"
    kill_grace = 2
    drain = 900
    poll = 0.5
    first_load = 0.1
    snapshot_path = "state"
    debug = false

    [rollouts.checkout]
    stable = "1.4.2"
    canary = "1.5.0"
    paths = ["/checkout"]
    methods = ["GET", "POST"]
    exclude = ["/checkout/static"]
    owner = "payments"
    ramp = {{ steps = ["1%", {{ weight = "5%", approval = true, samples = 9 }}], bake = "2h" }}
    guards = [
        {{ metric = "failures", margin = "2%", tolerance = "20%" }},
        {{ metric = "latency", quantile = "p90", action = "warn" }},
        {{ metric = "rate", of = "orders", worse = "higher", margin = "none" }},
        {{ metric = "never", of = "charges", name = "twice", above = 1 }},
    ]
    precaution = false
    alpha = "5%"
    horizon = "10m"
    timeout = "5s"
    testers = {{ subjects = ["alice"], groups = ["beta"] }}
    denied = {{ groups = ["embargo"] }}
    rescue = {{ methods = ["GET"], budget = "10%", enabled = false }}

    [rollouts.search]
    stable = "1"
    canary = "2"
    owner = "search"
    ramp = "observe_first"
    guards = "defaults"
    precaution = {{ p99 = 2.5 }}
    """)
    found = load(file, {})
    assert found.problems == ()
    assert found.settings == {
        "namespace": "shop",
        "store": "redis://localhost:6379/0",
        "secret_keys": (OTHER, KEY),
        "bucket_secret": KEY,
        "vary": ("Authorization",),
        "callers": Callers(signed=True, networks=["10.0.0.0/8"]),
        "secure": "auto",
        "overrides": ("header", "query"),
        "max_staleness": None,
        "kill_grace": 2,
        "drain": 900,
        "poll": 0.5,
        "first_load": 0.1,
        "snapshot_path": file.parent / "state",
        "debug": False,
    }
    assert found.rollouts == (
        Rollout(
            "checkout",
            stable="1.4.2",
            canary="1.5.0",
            paths=("/checkout",),
            methods=("GET", "POST"),
            exclude=("/checkout/static",),
            owner="payments",
            ramp=Ramp("1%", Step("5%", approval=True, samples=9), bake="2h"),
            guards=(
                Guard.errors(margin="2%", tolerance="20%"),
                Guard.latency("p90", action=Action.WARN),
                Guard.rate("orders", worse="higher", margin=None),
                Guard.never("charges", name="twice"),
            ),
            precaution=None,
            alpha="5%",
            horizon="10m",
            timeout="5s",
            testers=Audience(["alice"], ["beta"]),
            denied=Audience(groups=["embargo"]),
            rescue=Rescue(("GET",), "10%", enabled=False),
        ),
        Rollout(
            "search", stable="1", canary="2", owner="search", ramp=Ramp.observe_first(),
            guards=Guard.defaults(), precaution=Precaution(p99=2.5),
        ),
    )  # fmt: skip
    canary = canary_from(file, environ={}, identify=nobody)
    assert canary.namespace == "shop"
    assert canary.engine.rollouts == found.rollouts
    assert mistakes(file).keys() == {"rollouts.checkout.testers", "rollouts.checkout.denied"}


def test_variables_say_the_same_without_any_file(tmp_path: Path) -> None:
    environ = {
        "CANARY_NAMESPACE": "shop",
        "CANARY_STORE": "unix:///run/redis.sock",
        "CANARY_SECRET_KEYS": f"{OTHER}, {KEY}",
        "CANARY_BUCKET_SECRET": KEY,
        "CANARY_VARY": "Authorization,X-Tenant",
        "CANARY_CALLERS": "{signed = true}",
        "CANARY_SECURE": "false",
        "CANARY_OVERRIDES": "header cookie",
        "CANARY_MAX_STALENESS": "120",
        "CANARY_KILL_GRACE": "2",
        "CANARY_DRAIN": "30",
        "CANARY_POLL": "0.5",
        "CANARY_FIRST_LOAD": "0.1",
        "CANARY_SNAPSHOT_PATH": str(tmp_path),
        "CANARY_DEBUG": "1",
        "CANARY_ROLLOUTS": 'checkout = {stable = "1", canary = "2", ramp = ["5%"]}',
        "CANARY_TEST_REDIS_URL": "redis://of-another-program",
    }
    found = load(None, environ)
    assert found.problems == ()
    assert found.settings == {
        "namespace": "shop",
        "store": "unix:///run/redis.sock",
        "secret_keys": (OTHER, KEY),
        "bucket_secret": KEY,
        "vary": ("Authorization", "X-Tenant"),
        "callers": Callers(signed=True),
        "secure": False,
        "overrides": ("header", "cookie"),
        "max_staleness": 120.0,
        "kill_grace": 2.0,
        "drain": 30.0,
        "poll": 0.5,
        "first_load": 0.1,
        "snapshot_path": str(tmp_path),
        "debug": True,
    }
    assert found.rollouts == (Rollout("checkout", stable="1", canary="2", ramp=Ramp("5%")),)
    assert canary_from(environ=environ).namespace == "shop"


def test_a_variable_wins_over_the_file_and_code_over_both(file: Path) -> None:
    file.write_text(MINIMAL.replace("[rollouts", 'namespace = "file"\nautostart = "1%"\n[rollouts'))
    environ = {"CANARY_NAMESPACE": "variable", "CANARY_AUTOSTART": "2%", "CANARY_POLL": ""}
    assert load(file, environ).settings["namespace"] == "variable"
    canary = canary_from(file, environ=environ, namespace="code")
    assert canary.namespace == "code"
    assert canary.engine.snapshot.lanes[0].entry is not None
    assert canary.engine.snapshot.lanes[0].entry.weight == 2_000
    assert load(file, {"CANARY_CONFIG": "elsewhere"}).file == file


def test_rollouts_in_code_join_those_of_the_file(file: Path) -> None:
    file.write_text(MINIMAL)
    search = Rollout("search", stable="1", canary="2", testers=Audience(predicate=bool))
    canary = canary_from(file, environ={}, rollouts=[search], identify=nobody, bucket_secret=KEY)
    assert [rollout.name for rollout in canary.engine.rollouts] == ["checkout", "search"]


def test_the_file_is_found_by_its_variable_and_in_the_working_directory(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(file.parent)
    assert load(None, {}).file is None
    file.write_text(MINIMAL)
    assert load(None, {}).file == Path("canary.toml")
    other = file.with_name("other.toml")
    other.write_text(MINIMAL)
    assert load(None, {"CANARY_CONFIG": str(other)}).file == other


def test_secrets_come_from_files_relative_to_the_file(file: Path, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"{OTHER}\n{KEY}\n")
    (tmp_path / "buckets").write_text(f"{KEY}\n")
    file.write_text('secret_keys_file = "keys"\nbucket_secret_file = "buckets"\n')
    assert load(file, {}).settings == {"secret_keys": (OTHER, KEY), "bucket_secret": KEY}
    environ = {"CANARY_SECRET_KEYS": KEY}
    assert load(file, environ).settings["secret_keys"] == (KEY,)
    environ = {"CANARY_SECRET_KEYS_FILE": str(tmp_path / "buckets")}
    assert load(file, environ).settings["secret_keys"] == (KEY,)


# --- mistakes -----------------------------------------------------------------------------------


def test_all_mistakes_are_told_at_once_with_their_places(file: Path) -> None:
    file.write_text("""
    namespace = "my shop"
    secret_keyz = ["x"]
    secret_keys = ["short"]
    max_staleness = "later"
    poll = true
    overrides = ["header", "path"]

    [rollouts.checkout]
    stable = "1.4.2"
    canary = "1.4.2"
    paths = "/checkout"
    weight = "5%"
    ramp = [1, "5%"]
    testers = { group = ["beta"] }
    rescue = { budget = "200%", methods = ["get"] }

    [rollouts.search]
    canary = 2.0
    exclude = ["static"]

    [rollouts]
    bad = 3
    """)
    found = mistakes(file, CANARY_SECURE="maybe", CANARY_SECRET_KEY="x", CANARY_AUTOSTART="5")
    expected = {
        "namespace": "'my shop' is not a name",
        "secret_keyz": "did you mean secret_keys?",
        "secret_keys[0]": "has 5 bytes, at least 32",
        "max_staleness": '"never"',
        "poll": "True is not a number of seconds",
        "overrides": "'path' is no way",
        "rollouts.checkout.canary": "is the same as stable",
        "rollouts.checkout.paths": "is str, not a list",
        "rollouts.checkout.weight": "is unknown (known are: stable, canary, paths",
        "rollouts.checkout.ramp": "a bare number (1)",
        "rollouts.checkout.testers.group": "did you mean groups?",
        "rollouts.checkout.rescue.budget": "outside 0% to 100%",
        "rollouts.checkout.rescue.methods": "write 'GET'",
        "rollouts.search.stable": "is missing",
        "rollouts.search.canary": 'is float, not text (write "2.0")',
        "rollouts.search.exclude": "write '/static'",
        "rollouts.bad": "is int, not a table",
        "CANARY_SECURE": 'write true, false or "auto"',
        "CANARY_SECRET_KEY": "did you mean CANARY_SECRET_KEYS?",
        "CANARY_AUTOSTART": "no percent sign",
    }
    assert found.keys() == expected.keys()
    for place, part in expected.items():
        assert part in found[place], place


def test_what_is_missing_names_both_places(file: Path) -> None:
    file.write_text('store = "redis://localhost"\n')
    assert mistakes(file).keys() == {
        "rollouts or CANARY_ROLLOUTS",
        "namespace or CANARY_NAMESPACE",
        "secret_keys or CANARY_SECRET_KEYS",
    }
    with pytest.raises(ConfigurationError) as caught:
        canary_from(environ={"CANARY_STORE": "redis://localhost"})
    assert {problem.place for problem in caught.value.problems} == {
        "CANARY_ROLLOUTS", "CANARY_NAMESPACE", "CANARY_SECRET_KEYS",
    }  # fmt: skip


def test_identify_needs_its_secret_in_a_place_that_can_be_written(file: Path) -> None:
    file.write_text(MINIMAL)
    with pytest.raises(ConfigurationError) as caught:
        canary_from(file, environ={}, identify=nobody)
    (problem,) = caught.value.problems
    assert problem.place == f"{file}:bucket_secret or CANARY_BUCKET_SECRET"


def test_a_rollout_from_code_keeps_its_place(file: Path) -> None:
    file.write_text(MINIMAL)
    with pytest.raises(ConfigurationError) as caught:
        canary_from(file, environ={}, rollouts=[Rollout("x", stable="1", canary="1")])
    assert [problem.place for problem in caught.value.problems] == ["rollout 'x', canary"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("namespace = ", "is not TOML"),
        ("namespace = 5", 'is int, not text (write "5")'),
        ("secret_keys = 'one'", "is str, not a list"),
        ("secret_keys = [1]", "holds something that is not text"),
        ("bucket_secret = 12345", "is int, not text (put it between quotes)"),
        ("vary = ['a b']", "is not a header name"),
        ("callers = true", "is bool, not a table (callers = {signed = true})"),
        ("callers = {signd = true}", "signd is unknown"),
        ("callers = {signed = 1}", "1 is neither true nor false"),
        ("callers = {networks = ['0.0.0.0/0']}", "0.0.0.0/0 is everybody"),
        ("debug = 'yes'", "is neither true nor false"),
        ("rollouts = 5", "is int, not a table"),
        (
            "[rollouts.x]\nramp = '5%'",
            "'5%' is no preset (one of default, observe_first, blue_green",
        ),
        ("[rollouts.x]\nramp = {stepz = []}", "is unknown (known are: steps, bake"),
        ("[rollouts.x]\nramp = {steps = '5%'}", "is str, not a list"),
        ("[rollouts.x]\nramp = [{bake = '5m'}]", "has no weight"),
        ("[rollouts.x]\nramp = 5", "is int, not a table"),
        ("[rollouts.x]\nramp = {steps = ['5%'], bake = 5}", "a bare number (5)"),
        ("[rollouts.x]\nramp = 'default'", "the abort plan is written before the start"),
        ("[rollouts.x]\nguards = 'errors'", "'errors', not a list (write \"defaults\""),
        ("[rollouts.x]\nguards = [5]", "is int, not a table"),
        ("[rollouts.x]\nguards = [{margin = '1%'}]", "is missing (one of errors, client_errors"),
        (
            "[rollouts.x]\nguards = [{metric = 'luck'}]",
            "'luck' is none (one of errors",
        ),
        ("[rollouts.x]\nguards = [{metric = 'share', off = 'a'}]", "is unknown (known are: name"),
        ("[rollouts.x]\nguards = [{metric = 'failures', margin = 1}]", 'is ambiguous (write "1%")'),
        ("[rollouts.x]\nguards = [{metric = 'share'}]", "is missing (what observe()"),
        (
            "[rollouts.x]\nguards = [{metric = 'failures', action = 'rollback'}]",
            "'rollback' is none (\"breach\", which rolls back",
        ),
        ("[rollouts.x]\nguards = [{metric = 'failures', of = 'x'}]", "has no meaning"),
        ("[rollouts.x]\nprecaution = {failures = 'x'}", "'x' has no percent sign"),
        ("[rollouts.x]\nprecaution = true", "is bool, not a table (false, or"),
        ("[rollouts.x]\nalpha = 0.01", "a bare number (0.01)"),
        ("[rollouts.x]\ntesters = ['a']", "is list, not a table"),
        ("poll = 61", "61 is more than 60 seconds"),
        ("first_load = 61.5", "61.5 is more than 60 seconds"),
        ("poll = 30\nmax_staleness = 60", "at least 2 * poll + 1, here 61"),
        ("snapshot_path = 'no/such'", "there is no directory"),
        ("[rollouts.x]\nowner = 'a\u00adb'", "is not one line of text"),
        ("[rollouts.x]\npaths = ['/a\u00adb']", "cannot be shared"),
        ("[rollouts.x]\ntesters = {groups = ['a']}", "nobody can be one"),
        ("secret_keys_file = 'nosuch'", "cannot be read: No such file"),
        ("secret_keys = []\nsecret_keys_file = 'canary.toml'", "stands beside secret_keys"),
    ],
)
def test_one_mistake(file: Path, text: str, reason: str) -> None:
    file.write_text(text)
    assert reason in " ".join(mistakes(file).values())


def test_a_file_that_is_not_there_or_not_text(file: Path) -> None:
    assert "cannot be read: No such file" in " ".join(mistakes(file).values())
    file.write_bytes(b"\xff\xfe")
    assert "is not TOML" in " ".join(mistakes(file).values())


def test_a_variable_that_is_no_toml_or_no_number() -> None:
    found = mistakes(None, CANARY_ROLLOUTS="checkout", CANARY_POLL="soon", CANARY_SECRET_KEYS=KEY)
    assert "is not TOML" in found["CANARY_ROLLOUTS"]
    assert "'soon' is not a number of seconds" in found["CANARY_POLL"]
    environ = {"CANARY_ROLLOUTS": 'checkout = {stable = "1", canary = 2}'}
    found = mistakes(None, CANARY_SECRET_KEYS=KEY, **environ)
    assert found.keys() == {"CANARY_ROLLOUTS: rollouts.checkout.canary"}


def test_no_mistake_shows_a_secret(file: Path, tmp_path: Path) -> None:
    secret = "hunter2"
    (tmp_path / "keys").write_bytes(secret.encode() + b"\xff")
    file.write_text(f"""
    store = "redis://:{secret}@localhost"
    secret_keys = ["{secret}", "{secret}"]
    bucket_secret = "{secret}"
    """)
    environ = {"CANARY_SECRET_KEYS_FILE": str(tmp_path / "keys")}
    for variables in ({}, environ, {"CANARY_STORE": f"mysql://{secret}"}):
        assert secret not in repr(mistakes(file, **variables))


def test_every_mistake_in_guards_and_ramp_is_told_and_names_its_member(file: Path) -> None:
    file.write_text(f"""{MINIMAL}
    owner = "me"
    guards = [
        {{ metric = "errors", margin = 1, tolerance = 0.2, weight = "2", colour = "red" }},
        {{ metric = "rollback", margin = 0.01, above = "x" }},
        7,
        {{ metric = ["latency"], worse = 3 }},
        {{ metric = "latency", quantile = ["p99"], name = 5, action = ["warn"] }},
        {{ metric = "mean", of = "revenue", margin = "0%" }},
        {{ of = "orders", cap = "y" }},
    ]
    precaution = {{ p95 = 1, p99 = "x" }}
    [rollouts.checkout.ramp]
    steps = [1, {{ bake = "1h" }}, {{ weight = "5%", wait = 1 }}]
    bake = 10
    colour = 1
    """)
    found = mistakes(file)
    expected = {
        "guards[0].margin": 'a bare number (1) is ambiguous (write "1%")',
        "guards[0].tolerance": 'write "20%" for the fraction, or "0.2%"',
        "guards[0].weight": "'2' is not a number above 0",
        "guards[0].colour": "is unknown (known are: name, metric",
        "guards[1].metric": "'rollback' is none (one of errors",
        "guards[1].margin": 'write "1%" for the fraction, or "0.01%"',
        "guards[1].above": "'x' is not a number",
        "guards[2]": "is int, not a table",
        "guards[3].metric": "['latency'] is none",
        "guards[3].worse": "3 is none (one of 'higher', 'lower')",
        "guards[4].quantile": "['p99'] is none",
        "guards[4].name": "5 is not a name",
        "guards[4].action": '"breach", which rolls back',
        "guards[5].margin": "0% can never be proven",
        "guards[6].metric": "is missing",
        "guards[6].cap": "'y' is not a number",
        "ramp": 'a bare number (1) is ambiguous (write "1%")',
        "ramp.steps[1]": "has no weight",
        "ramp.steps[2].wait": "is unknown (known are: weight, bake",
        "ramp.bake": "a bare number (10)",
        "ramp.colour": "is unknown (known are: steps, bake",
        "precaution.p95": "is unknown (known are: failures",
        "precaution.p99": "'x' is not a number of seconds",
    }
    assert found.keys() == {f"rollouts.checkout.{place}" for place in expected}
    for place, part in expected.items():
        assert part in found[f"rollouts.checkout.{place}"], place


@pytest.mark.parametrize(
    ("words", "guard"),
    [
        (("errors", "failures"), Guard.errors()),
        (("throughput", "returned"), Guard.throughput()),
        (("rate", "share"), Guard.rate("orders")),
        (("client_errors",), Guard.client_errors()),
        (("latency",), Guard.latency()),
        (("mean",), Guard.mean("orders", cap=5)),
        (("never",), Guard.never("orders")),
    ],
)
def test_a_guard_is_called_as_in_code_or_by_what_it_looks_at(
    file: Path, words: tuple[str, ...], guard: Guard
) -> None:
    more = ', of = "orders"' * bool(guard.of) + ", cap = 5" * bool(guard.cap)
    page = (DOCS.parent / "configuration.md").read_text()
    for word in words:
        file.write_text(f'{MINIMAL}guards = [{{ metric = "{word}"{more} }}]')
        assert load(file, {}).rollouts[0].guards == (guard,)
        assert f'`"{word}"`' in page


# --- the documentation --------------------------------------------------------------------------


def blocks(language: str) -> Iterator[str]:
    yield from re.findall(rf"```{language}\n(.*?)```", DOCS.read_text(), re.DOTALL)


def test_the_complete_example_loads_and_is_complete(file: Path, tmp_path: Path) -> None:
    example = next(blocks("toml"))
    file.write_text(example)
    (tmp_path / "canary-keys").write_text(f"{OTHER}\n{KEY}\n")
    environ = {"CANARY_BUCKET_SECRET": KEY}
    canary = canary_from(file, environ=environ, identify=nobody)
    assert [rollout.name for rollout in canary.engine.rollouts] == ["checkout", "search"]
    secrets = {"secret_keys", "bucket_secret", "bucket_secret_file", "autostart"}
    secrets |= {"webhook_secret", "webhook_secret_file"}
    assert {name for name in FILE if name in example} >= set(FILE) - secrets
    assert {name for name in ROLLOUT if f"{name} = " in example} == set(ROLLOUT)


def test_the_table_names_every_variable() -> None:
    text = DOCS.read_text()
    assert [name for name in VARIABLES if f"`{name}`" not in text] == []


def test_the_ramp_of_the_page_is_one_in_code_and_in_the_file(file: Path) -> None:
    (example,) = (text for text in blocks("python") if "Ramp(" in text)
    scope: dict[str, object] = {}
    exec(compile(f"{example.replace('Rollout(', 'made = Rollout(')}", str(DOCS), "exec"), scope)
    written = re.search(r"`(ramp = \[.*?\])`", DOCS.read_text())
    assert written
    file.write_text(MINIMAL + written[1])
    (loaded,) = load(file, {}).rollouts
    assert loaded == scope["made"]
    assert loaded.ramp.weights == (10_000, 50_000)


# --- alerts -------------------------------------------------------------------------------------

HOOK = "https://hooks.example.com/s3cr3t"


def test_alerts_are_tables_in_a_file_or_toml_in_a_variable(file: Path) -> None:
    table = f"""
    [[alerts]]
    url = "{HOOK}"
    format = "slack"
    events = ["kill"]
    """
    file.write_text(MINIMAL + table)
    expected = (Webhook(HOOK, format="slack", events=("kill",)),)
    found = load(file, {}).settings["alerts"]
    assert [(one.url, one.format, tuple(one.events)) for one in found] == [
        (one.url, one.format, one.events) for one in expected
    ]
    spoken = load(None, {"CANARY_ALERTS": f'[{{url = "{HOOK}", secret = "{KEY}"}}]'})
    assert spoken.problems == ()
    assert spoken.settings["alerts"] == (Webhook(HOOK, secret=KEY),)


def test_the_secret_of_webhooks_may_be_in_a_file_of_its_own(file: Path, tmp_path: Path) -> None:
    (tmp_path / "hooks").write_text(f"{KEY}\n")
    file.write_text(f'webhook_secret_file = "hooks"\n{MINIMAL}')
    found = load(file, {})
    assert (found.settings["webhook_secret"], found.problems) == (KEY, ())
    assert load(None, {"CANARY_WEBHOOK_SECRET": OTHER}).settings["webhook_secret"] == OTHER


def test_mistakes_in_alerts_have_a_place_and_show_no_address(file: Path) -> None:
    table = f"""
    [[alerts]]
    url = "{HOOK} "
    [[alerts]]
    uri = "{HOOK}"
    [[alerts]]
    url = "{HOOK}"
    events = ["exploded"]
    """
    file.write_text(f'webhook_secret = "short"\n{MINIMAL}' + table)
    found = mistakes(file)
    assert set(found) == {
        "alerts[1].uri", "alerts[1]", "alerts[0], url", "alerts[2], events", "webhook_secret",
    }  # fmt: skip
    assert "s3cr3t" not in str(found)
    assert "short" not in str(found)


def test_a_gate_is_part_of_a_ramp_and_must_know_who_asks(file: Path) -> None:
    ramp = f'ramp = {{ steps = ["1%", "5%"], bake = "1h", gate = "{HOOK}" }}'
    file.write_text(f'{MINIMAL}owner = "me"\nguards = "defaults"\n{ramp}\n')
    assert set(mistakes(file)) == {"webhook_secret or CANARY_WEBHOOK_SECRET"}
    canary = canary_from(file, environ={"CANARY_WEBHOOK_SECRET": KEY})
    assert canary.engine.rollouts[0].ramp.gate == HOOK
    canary.stop()
