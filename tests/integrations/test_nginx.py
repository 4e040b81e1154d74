"""``integrations/nginx`` on Debian's nginx (FAULTS S13, a to e): by its own check and by hand.

Broken variants that the check must find: a proxy told to ignore our headers, an application that
does not send them, a cache key without the version, a decision whose cookie is not passed on.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.integrations.pages import PAGES
from tests.support.clients import IMAGE, Response, Visitor
from tests.support.nginx import configured
from tests.support.servers import Process, free_port

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "integrations" / "nginx"
SETTINGS = {
    "CANARY_STORE": "memory://",
    "CANARY_NAMESPACE": "shop",
    "CANARY_SECRET_KEYS": "a-key-of-these-tests-long-enough-to-be-one",
    "CANARY_AUTOSTART": "50%",
    "CANARY_SECURE": "false",
    "CANARY_CONFIG": None,
}
APPS = {
    "8001": ("tests.integrations.pages:pages", {"VERSION": "1.4.2"}),
    "8002": ("tests.integrations.pages:pages", {"VERSION": "1.5.0"}),
    "8003": ("decision:app", {}),
}
WRAPPED = "tests.integrations.wrapped"
PRIVATE = ("/checkout", "/checkout/max-age", "/checkout/vary", "/checkout/no-store",
           "/checkout/missing", "/checkout/moved")  # fmt: skip
OPEN = ("/checkout/public", "/checkout/forever", "/checkout/shared")
OUTSIDE = ("/static/app.css", "/about")
KEEP = "proxy_cache_lock on; proxy_cache_valid any 60s;"
DEAF = f"{KEEP} proxy_ignore_headers Cache-Control Set-Cookie Vary;"


def replaced(text: str, changes: Mapping[str, str]) -> str:
    """The text with every change made; one that finds nothing is a mistake of the test."""
    for old, new in changes.items():
        assert old in text, f"the configuration has no {old!r} any more"
        text = text.replace(old, new)
    return text


@contextmanager
def application(
    app: str, log: Path, env: Mapping[str, str | None]
) -> Iterator[tuple[int, Process]]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--port", str(port), "--app-dir", str(FOLDER), app]
    # Added, not replaced: the same tests run on the built wheel, which is found by it.
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    merged = {"PYTHONPATH": path, **SETTINGS, **env}
    with Process(command, log / f"app-{port}.log", env=merged, cwd=ROOT) as server:
        yield port, server.wait_port(port)
        server.kill()
    assert "Traceback" not in server.output()


@contextmanager
def nginx(conf: str, folder: Path, changes: Mapping[str, str]) -> Iterator[int]:
    """Debian's nginx with one of our files, as an ordinary process on a free port."""
    port, cache = free_port(), "shop" if conf == "cache.conf" else "canary"
    own = {"listen 8080": f"listen 127.0.0.1:{port}", f"/var/cache/nginx/{cache}": f"{folder}/kept"}
    site = replaced((FOLDER / conf).read_text(), {**own, **changes})
    # Workers share what is kept; one alone would not show it.
    command = configured(folder, site, workers=2)
    with Process(command, folder / "nginx.log") as server:
        server.wait_port(port)
        yield port


@contextmanager
def caching(
    folder: Path, changes: Mapping[str, str] | None = None, app: str = "wrapped"
) -> Iterator[int]:
    """``cache.conf``: nginx keeps, the application decides."""
    with application(f"{WRAPPED}:{app}", folder, {}) as (port, _):
        own = {"127.0.0.1:8001": f"127.0.0.1:{port}"}
        with nginx("cache.conf", folder, {**own, **(changes or {})}) as front:
            yield front


@contextmanager
def deciding(
    folder: Path, changes: Mapping[str, str] | None = None
) -> Iterator[tuple[int, Process]]:
    """``canary.conf``: nginx keeps and dispatches, the endpoint decides."""
    with ExitStack() as stack:
        own = {}
        for place, (app, env) in APPS.items():
            port, server = stack.enter_context(application(app, folder, env))
            own[f"127.0.0.1:{place}"] = f"127.0.0.1:{port}"
        front = stack.enter_context(nginx("canary.conf", folder, {**own, **(changes or {})}))
        yield front, server


def check(port: int, page: str = "/checkout", visitors: int = 150) -> tuple[int, str]:
    """The check that the integration ships, run as its readers run it."""
    command = [
        sys.executable, str(FOLDER / "check.py"), f"http://127.0.0.1:{port}{page}",
        "--visitors", str(visitors), *(f"--public={path}" for path in OUTSIDE),
    ]  # fmt: skip
    answer = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    print(answer.stdout)
    return answer.returncode, answer.stdout + answer.stderr


class Front(NamedTuple):
    """What visitors talk to."""

    kind: str
    port: int

    def revalidates(self, path: str) -> bool:
        """Whether "you have it" can be the answer: from nginx only where it keeps the page."""
        known = self.kind == "application" or (
            self.kind == "canary.conf" and path != "/checkout/no-store"
        )
        return known and PAGES[path][0] == 200


@pytest.fixture(scope="module", params=["application", "cache.conf", "canary.conf"])
def front(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Front]:
    """The application itself, and an nginx with each of our files, told to keep whatever it may."""
    folder = tmp_path_factory.mktemp("nginx")
    eager = {"proxy_cache_lock on;": KEEP}
    with ExitStack() as stack:
        if request.param == "application":
            port, _ = stack.enter_context(application(f"{WRAPPED}:wrapped", folder, {}))
        elif request.param == "cache.conf":
            port = stack.enter_context(caching(folder, eager))
        else:
            port, _ = stack.enter_context(deciding(folder, eager))
        yield Front(request.param, port)


def words(response: Response, name: str) -> list[str]:
    return [part.strip().lower() for line in response.all(name) for part in line.split(",")]


@pytest.mark.parametrize("page", ["/checkout", "/checkout/max-age", "/checkout/vary"])
def test_e_hundreds_of_visitors_and_nobody_gets_what_is_anothers(front: Front, page: str) -> None:
    code, said = check(front.port, page, visitors=300)
    assert code == 0, said


@pytest.mark.parametrize("path", PRIVATE)
def test_a_b_c_whatever_carries_our_cookie_is_private_and_varies(front: Front, path: str) -> None:
    with Visitor(front.port) as visitor:
        answers = [visitor.request("HEAD", path), visitor.get(path), visitor.request("HEAD", path)]
        assert [len(answer.all("Set-Cookie")) for answer in answers] == [1, 0, 0]
        etag = answers[1].header("ETag")
        assert etag is not None
        answers.append(visitor.request("GET", path, headers={"If-None-Match": etag}))
    assert answers[3].status == (304 if front.revalidates(path) else PAGES[path][0])
    for answer in answers:
        cache, vary = words(answer, "Cache-Control"), words(answer, "Vary")
        assert cache == (["no-store"] if path.endswith("no-store") else ["private", "no-cache"])
        assert len(set(vary)) == len(vary), "doubled"
        theirs = [name.strip().lower() for name in PAGES[path][1].get("Vary", "").split(",")]
        assert {"cookie", *filter(None, theirs)} <= set(vary), "replaced instead of appended"


@pytest.mark.parametrize("path", OPEN)
def test_d_a_page_that_was_made_public_carries_no_cookie(front: Front, path: str) -> None:
    for _ in range(5):
        with Visitor(front.port) as visitor:
            answer = visitor.get(path)
            assert answer.all("Set-Cookie") + answer.all("Vary") == []
            assert answer.all("Cache-Control") == [PAGES[path][1]["Cache-Control"]]


@pytest.mark.parametrize("path", OUTSIDE)
def test_d_what_no_rollout_touches_is_kept_for_everybody_as_it_is(front: Front, path: str) -> None:
    seen = []
    for _ in range(5):
        with Visitor(front.port) as visitor:
            answer = visitor.get(path)
            assert answer.all("Set-Cookie") == []
            for name in ("Cache-Control", "Vary"):
                assert answer.header(name) == PAGES[path][1].get(name)
            seen.append(answer.header("X-Cache-Status"))
    assert seen[1:] == [None if front.kind == "application" else "HIT"] * 4


def test_parallel_images_before_the_first_page_draw_nobody(front: Front) -> None:
    with Visitor(front.port) as visitor:
        for _ in range(5):
            image = visitor.get("/checkout/max-age", IMAGE)
            assert (image.text, image.all("Set-Cookie")) == ("page 1.4.2\n", [])


# --- the decision endpoint behind nginx ----------------------------------------------------------


def test_pages_are_kept_per_version_where_the_edge_decides(tmp_path: Path) -> None:
    with deciding(tmp_path) as (port, _):
        seen: dict[str, list[str | None]] = {"page 1.4.2\n": [], "page 1.5.0\n": []}
        for path in ("/checkout/max-age", "/checkout/edge"):
            for _ in range(30):
                with Visitor(port) as visitor:
                    answer = visitor.get(path)
                    assert answer.header("X-Accel-Expires") is None
                    assert answer.header("Cache-Control") == "private, no-cache"
                    seen[answer.text].append(answer.header("X-Cache-Status"))
    for statuses in seen.values():
        assert statuses.count("MISS") == 2
        assert statuses.count("HIT") == len(statuses) - 2


@pytest.mark.parametrize("silence", ["killed", "stopped"])
def test_without_a_decision_everybody_gets_stable_and_nobody_an_error(
    tmp_path: Path, silence: str
) -> None:
    with deciding(tmp_path) as (port, decision), ExitStack() as stack:
        drawn = [stack.enter_context(Visitor(port)) for _ in range(20)]
        before = {visitor: visitor.get("/checkout").text for visitor in drawn}
        assert set(before.values()) == {"page 1.4.2\n", "page 1.5.0\n"}
        decision.kill() if silence == "killed" else decision.pause()
        with ThreadPoolExecutor(len(drawn)) as threads:  # nginx waits for a decision each time
            answers = list(threads.map(lambda visitor: visitor.get("/checkout"), drawn))
        for answer in answers:
            assert (answer.status, answer.text) == (200, "page 1.4.2\n")
            assert answer.all("Set-Cookie") == []
        if silence == "stopped":
            decision.resume()
            assert {visitor: visitor.get("/checkout").text for visitor in drawn} == before


def test_a_visitor_cannot_speak_for_the_proxy(tmp_path: Path) -> None:
    forged = {
        "X-Original-URI": "/checkout",
        "X-Original-Method": "GET",
        "X-Canary-Cohort": "canary",
    }
    with deciding(tmp_path) as (port, _):
        for _ in range(20):
            with Visitor(port, headers=forged) as visitor:
                about = visitor.get("/about")
                assert about.all("Set-Cookie") == []
                asked = visitor.get("/_canary")
                assert (asked.body, asked.all("Set-Cookie")) == (b"", [])
                assert asked.all("X-Canary-Cohort") == []


def test_a_post_goes_to_the_version_of_its_visitor_and_is_not_kept(tmp_path: Path) -> None:
    with deciding(tmp_path) as (port, _):
        for _ in range(20):
            with Visitor(port) as visitor:
                mine = visitor.get("/checkout/max-age").text
                posted = visitor.post("/checkout/max-age", b"x" * 100_000)
                assert (posted.text, posted.header("X-Cache-Status")) == (mine, None)


# --- broken on purpose ---------------------------------------------------------------------------


def test_broken_a_proxy_that_ignores_our_headers_is_found(tmp_path: Path) -> None:
    with caching(tmp_path, {"proxy_cache_lock on;": DEAF}) as port:
        code, said = check(port)
    assert code == 1
    assert "a cookie that several visitors got" in said


def test_broken_an_application_that_does_not_send_them_is_found(tmp_path: Path) -> None:
    with caching(tmp_path, {"proxy_cache_lock on;": KEEP}, app="bare") as port:
        code, said = check(port)
    assert code == 1
    assert "a page with somebody's cookie that caches may keep" in said


def test_broken_a_cache_key_without_the_version_is_found(tmp_path: Path) -> None:
    with deciding(tmp_path, {"$request_uri|$canary_version": "$request_uri"}) as (port, _):
        code, said = check(port, "/checkout/max-age")
    assert code == 1
    assert "only one version was served" in said


def test_broken_a_decision_whose_cookie_is_lost_is_found(tmp_path: Path) -> None:
    lost = {"add_header Set-Cookie     $canary_cookie_line always;": ""}
    with deciding(tmp_path, lost) as (port, _):
        code, said = check(port, "/checkout/max-age")
    assert code == 1
    assert "two versions for one visitor" in said


def test_broken_an_auth_request_without_our_error_page_is_an_outage(tmp_path: Path) -> None:
    ours = "error_page 400 401 403 404 500 502 503 504 =204 @canary_silent;"
    with deciding(tmp_path, {ours: ""}) as (port, decision), Visitor(port) as visitor:
        assert visitor.get("/checkout").status == 200
        decision.kill()
        assert visitor.get("/checkout").status == 500
