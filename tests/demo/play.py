"""``python -m tests.demo.play '{"visitors": 200, ...}' [crowd]``: the demo in another setting."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

from canary_middleware.demo.browser import Jar, Response
from canary_middleware.demo.crowd import Crowd, Visitor
from canary_middleware.demo.run import play
from canary_middleware.demo.stage import Setting


class LeakyJar(Jar):
    """Takes no cookie."""

    def take(self, response: Response) -> None:
        pass


class ForgetfulCrowd(Crowd):
    """Its visitors drop their cookies."""

    def new_visitor(self, number: int) -> Visitor:
        return Visitor(number, LeakyJar())


CROWDS: Mapping[str, type[Crowd]] = {"crowd": Crowd, "forgetful": ForgetfulCrowd}

if __name__ == "__main__":
    setting, crowd = sys.argv[1:]
    raise SystemExit(play(Setting(**json.loads(setting)), sys.stdout, CROWDS[crowd]))
