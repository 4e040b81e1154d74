#!/usr/bin/env python3
"""Does a cache keep visitors and versions apart? Asks it as some hundred browsers would.

    python3 integrations/nginx/check.py http://127.0.0.1:8080/checkout --public /static/shop.css

The page must say its version, and both versions must be served (a weight such as 50%). Needs
nothing but Python; ends with 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import http.client
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from urllib.parse import urlsplit

NAVIGATION = {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


@dataclass(frozen=True)
class Answer:
    """One answer; ``what`` says to which question."""

    what: str
    status: int
    headers: Sequence[tuple[str, str]]
    body: str

    def all(self, name: str) -> list[str]:
        """Every line of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def words(self, name: str) -> list[str]:
        """Every member of a header that is a list, in lower case."""
        values = self.all(name)
        parts = [part.strip().lower() for value in values for part in value.split(",")]
        return [part for part in parts if part]


@dataclass
class Browser:
    """One visitor: its answers in order, its cookies."""

    address: str
    answers: list[Answer] = field(default_factory=list)
    cookies: dict[str, str] = field(default_factory=dict)

    def ask(
        self, connection: http.client.HTTPConnection, path: str, what: str, **more: str
    ) -> Answer:
        """One request, with what the cookies say."""
        method = "HEAD" if what == "HEAD" else "GET"
        jar = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        headers = {**NAVIGATION, **({"Cookie": jar} if jar else {}), **more}
        connection.request(method, path, headers=headers)
        raw = connection.getresponse()
        body = raw.read().decode("utf-8", "replace")
        answer = Answer(what, raw.status, raw.getheaders(), body)
        for line in answer.all("Set-Cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name.strip()] = value.strip()
        self.answers.append(answer)
        return answer

    def browse(self, path: str, public: Sequence[str]) -> Browser:
        """The page, the page again in three ways, then what is public."""
        connection = http.client.HTTPConnection(self.address, timeout=10)
        try:
            self.ask(connection, path, "GET")
            again = self.ask(connection, path, "GET again")
            self.ask(connection, path, "HEAD")
            for etag in again.all("ETag"):
                self.ask(connection, path, "304", **{"If-None-Match": etag})
            for other in public:
                self.ask(connection, other, f"public {other}")
        finally:
            connection.close()
        return self


def versions(browser: Browser, pattern: re.Pattern[str]) -> list[str]:
    """The versions in the pages that a browser got."""
    pages = [answer for answer in browser.answers if answer.what.startswith("GET")]
    return [found[0] for page in pages if (found := pattern.search(page.body))]


def faults_of(browser: Browser, pattern: re.Pattern[str]) -> Iterator[str]:
    """What one browser saw and should not have."""
    first, again, *others = browser.answers
    seen = versions(browser, pattern)
    if len(seen) != 2:
        yield f"no version in a page ({first.status}, {again.status})"
    elif len(set(seen)) > 1:
        yield "two versions for one visitor"
    if not first.all("Set-Cookie"):
        yield "no cookie with the first page"
    if not is_private(first):
        yield "a page with somebody's cookie that caches may keep"
    for answer in (again, *others):
        if answer.all("Set-Cookie"):
            yield f"{answer.what}: a cookie nobody asked for"
        yield from differences(again, answer)
    for answer in browser.answers:
        vary = answer.words("Vary")
        if len(set(vary)) != len(vary):
            yield f"{answer.what}: Vary names a header twice"


def is_private(answer: Answer) -> bool:
    """Whether no shared cache may give this answer to somebody else."""
    control = answer.words("Cache-Control")
    kept_apart = "private" in control or "no-store" in control
    return kept_apart and "public" not in control and "cookie" in answer.words("Vary")


def differences(page: Answer, answer: Answer) -> Iterator[str]:
    """HEAD and 304 must say what GET says (nginx asks for no 304 where it may not keep)."""
    if answer.what not in ("HEAD", "304"):
        return
    for name in ("Cache-Control", "Vary"):
        if set(answer.words(name)) != set(page.words(name)):
            yield f"{answer.what}: another {name} than GET"


def shared_cookies(browsers: Sequence[Browser]) -> int:
    """Cookies that reached more than one visitor."""
    owners = Counter(
        line
        for browser in browsers
        for line in {line for answer in browser.answers for line in answer.all("Set-Cookie")}
    )
    return sum(count > 1 for count in owners.values())


def judge(browsers: Sequence[Browser], pattern: re.Pattern[str]) -> Counter[str]:
    """Everything that was wrong, and how often."""
    faults = Counter(fault for browser in browsers for fault in faults_of(browser, pattern))
    faults["a cookie that several visitors got"] = shared_cookies(browsers)
    if len({version for browser in browsers for version in versions(browser, pattern)}) < 2:
        faults["only one version was served, so nothing could be mixed"] = 1
    return +faults


def main() -> int:
    """Ask, judge, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("url", help="a page below a rollout, through the cache")
    parser.add_argument(
        "--public", action="append", default=[], help="a path that is the same for all"
    )
    parser.add_argument("--visitors", type=int, default=300)
    parser.add_argument(
        "--version", default=r"\b\d+\.\d+\.\d+\b", help="how the page says its version"
    )
    wanted = parser.parse_args()
    address, pattern = urlsplit(wanted.url), re.compile(wanted.version)
    with ThreadPoolExecutor(8) as threads:
        waiting = [
            threads.submit(Browser(address.netloc).browse, address.path or "/", wanted.public)
            for _ in range(wanted.visitors)
        ]
        browsers = [one.result() for one in waiting]
    shares = Counter(
        versions(browser, pattern)[0] for browser in browsers if versions(browser, pattern)
    )
    cached = Counter(
        word for browser in browsers for a in browser.answers for word in a.words("X-Cache-Status")
    )
    print(f"visitors by version: {dict(shares)}; cache: {dict(cached)}")
    faults = judge(browsers, pattern)
    for fault, count in faults.most_common():
        print(f"WRONG {count} times: {fault}")
    print("wrong" if faults else "nobody got anything of anybody else")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
