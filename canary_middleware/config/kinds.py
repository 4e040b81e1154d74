"""What each setting may be, in a file and in a variable."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, Final

from canary_middleware.config.measures import guards, precaution, ramp
from canary_middleware.config.shapes import WrongError, a_text, group, members, whole
from canary_middleware.core.model import Audience, Rescue
from canary_middleware.core.service import Callers
from canary_middleware.core.validate import seconds_problems
from canary_middleware.core.webhook import Webhook

_HOOK: Final = '{url = "https://hooks.example.com/canary"}'


def _anything(value: object) -> object:
    return value  # the facade says what is wrong with it


def _secret(value: object) -> str:
    if not isinstance(value, str):
        raise WrongError(f"is {type(value).__name__}, not text", "put it between quotes")
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise WrongError(f"is {type(value).__name__}, not a list", 'write ["..."]')
    if not all(isinstance(item, str) for item in value):
        raise WrongError("holds something that is not text", 'write ["...", "..."]')
    return tuple(value)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise WrongError(f"{value!r} is neither true nor false", "write true or false")
    return value


def _secure(value: object) -> object:
    if value == "auto" or isinstance(value, bool):
        return value
    raise WrongError(f"{value!r} is none of the three", 'write true, false or "auto"')


def _seconds(value: object) -> object:
    for problem in seconds_problems(value, "", "a number such as 0.8"):
        raise WrongError(problem.message, problem.hint)
    return value


def _limit(value: object) -> object:
    if value == "never":
        return None
    for problem in seconds_problems(value, "", 'a number such as 60.0, or "never"'):
        raise WrongError(problem.message, problem.hint)
    return value


def _callers(value: object) -> Callers:
    table = group(value, "callers = {signed = true}")
    for name, member in table.items():
        if name == "signed":
            _flag(member)
        elif name == "networks":
            _texts(member)
        else:
            raise WrongError(f"{name} is unknown", "signed, networks")
    return Callers(**table)


# --- what a variable's text means in TOML -------------------------------------------------------


def _words(text: str) -> object:
    return text.replace(",", " ").split()


def _number(text: str) -> object:
    try:
        return float(text)
    except ValueError:
        return text


def _switch(text: str) -> object:
    return {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)


def _toml(text: str) -> object:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        hint = 'checkout = {stable = "1", canary = "2"}'
        raise WrongError(f"is not TOML: {error}", hint) from None


def _inline(text: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError as error:
        raise WrongError(f"is not TOML: {error}", "{signed = true}") from None


def _hooks(value: object) -> tuple[Webhook, ...]:
    if not isinstance(value, list):
        raise WrongError(f"is {type(value).__name__}, not a list", '[[alerts]] with url = "..."')
    wrong: list[WrongError] = []
    return whole(tuple(_hook(item, f"[{at}]", wrong) for at, item in enumerate(value)), wrong)


def _hook(value: object, at: str, wrong: list[WrongError]) -> Webhook:
    """A hook, with a stand-in for what is none; its values are checked by the facade."""
    stand_in = f"https://stand-in.invalid/{at}"
    if not isinstance(value, dict):
        wrong.append(WrongError(f"is {type(value).__name__}, not a table", _HOOK, at))
        return Webhook(stand_in)
    table = members(value, [one.name for one in fields(Webhook)], at, wrong)
    if "url" not in table:
        wrong.append(WrongError("has no url", _HOOK, at))
    return Webhook(**{"url": stand_in, **table})


Check = Callable[[Any], object]
SETTINGS: Final[Mapping[str, tuple[Check, Callable[[str], object]]]] = {
    "namespace": (a_text, str),
    "store": (_secret, str),  # its URL may carry a password
    "secret_keys": (_texts, _words),
    "secret_keys_file": (a_text, str),
    "bucket_secret": (_secret, str),
    "bucket_secret_file": (a_text, str),
    "vary": (_texts, _words),
    "callers": (_callers, _inline),
    "secure": (_secure, _switch),
    "overrides": (_texts, _words),
    "max_staleness": (_limit, _number),
    "kill_grace": (_seconds, _number),
    "drain": (_seconds, _number),
    "poll": (_seconds, _number),
    "first_load": (_seconds, _number),
    "claim_budget": (_seconds, _number),
    "snapshot_path": (a_text, str),
    "alerts": (_hooks, _inline),
    "webhook_secret": (_secret, str),
    "webhook_secret_file": (a_text, str),
    "autostart": (_anything, str),
    "debug": (_flag, _switch),
    "rollouts": (group, _toml),
}


def spoken(name: str, text: str) -> object:
    """The setting in the text of a variable."""
    check, parse = SETTINGS[name]
    return check(parse(text))


FILE: Final[Mapping[str, Check]] = {name: check for name, (check, _) in SETTINGS.items()}
VARIABLES: Final[Mapping[str, str]] = {f"CANARY_{name.upper()}": name for name in SETTINGS}
ROLLOUT: Final[Mapping[str, Check]] = {
    "stable": a_text,
    "canary": a_text,
    "paths": _texts,
    "methods": _texts,
    "exclude": _texts,
    "owner": a_text,
    "ramp": ramp,
    "policy": a_text,
    "session": _anything,
    "affinity": a_text,
    "claim_life": _anything,
    "rollback_window": _anything,
    "testers": group,
    "denied": group,
    "rescue": group,
    "guards": guards,
    "precaution": precaution,
    "alpha": _anything,
    "horizon": _anything,
    "timeout": _anything,
}
_AUDIENCE: Final[Mapping[str, Check]] = {"subjects": _texts, "groups": _texts}
PARTS: Final[Mapping[str, tuple[type[Any], Mapping[str, Check]]]] = {
    "testers": (Audience, _AUDIENCE),
    "denied": (Audience, _AUDIENCE),
    "rescue": (Rescue, {"methods": _texts, "keyed": _texts, "budget": _anything, "enabled": _flag}),
}
