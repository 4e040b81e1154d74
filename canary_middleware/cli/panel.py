"""``panel``: the panel as a server, and the tokens of those who may see it."""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import ssl
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from canary_middleware.cli.connection import Connection, connected
from canary_middleware.cli.show import print_json, print_json_line, say
from canary_middleware.errors import ConfigurationError, MissingExtraError, Problem, StoreError
from canary_middleware.overview.wording import shown
from canary_middleware.panel.people import Person, Role
from canary_middleware.panel.tokens import mint, name_problem, written
from canary_middleware.verbs import whoami

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from canary_middleware.stores import StateStore

_PATIENCE: Final = 2.0
_PROXY: Final = (
    "--certificate FILE and --key FILE, or --behind-proxy where a proxy ends TLS and nobody else "
    "reaches this port; from your own machine: ssh -L 8400:127.0.0.1:8400 HOST"
)

_tokens = click.option(
    "--tokens", envvar="CANARY_PANEL_TOKENS", metavar="FILE", show_envvar=True,
    default="panel.tokens", show_default=True, help="Who may sign in: a line for each.",
)  # fmt: skip


def a_name(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """Callback of a parameter that names a person."""
    if problem := name_problem(value):
        raise click.BadParameter(problem, ctx, param)
    return value


@click.group(
    invoke_without_command=True,
    epilog="""\b
Example:
  canary panel token alice --role operate
  canary panel
""",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8400,
    show_default=True,
    help="0: any that is free.",
)
@_tokens
@click.option(
    "--trust", multiple=True, metavar="NETWORK",
    help="Proxies that are believed about who the client is; may be repeated.",
)  # fmt: skip
@click.option("--behind-proxy", is_flag=True, help="A proxy ends TLS, and only it reaches us.")
@click.option("--certificate", metavar="FILE", help="To speak TLS; PEM, with its chain.")
@click.option("--key", metavar="FILE", help="Of the certificate, if it is not in the same file.")
@click.option(
    "--root-path", default="", metavar="PATH", help="Where a proxy that cuts it off has us."
)
@connected
@click.pass_context
def panel(
    context: click.Context,
    connection: Connection,
    host: str,
    port: int,
    tokens: str,
    trust: tuple[str, ...],
    behind_proxy: bool,
    certificate: str | None,
    key: str | None,
    root_path: str,
) -> None:
    """Serve the panel: what `status`, `watch` and the verbs show and do, in a browser.

    Nobody gets in without a token; `canary panel token NAME` makes one. It talks to the store and
    to nothing else, so it serves applications of any framework. An application may mount it, too:
    docs/panel.md.
    """
    if context.invoked_subcommand is not None:
        if context.get_parameter_source("tokens") is ParameterSource.COMMANDLINE:
            # It would be made for another file than the one that was meant.
            raise click.UsageError("--tokens stands after `token`", context)
        return
    _refuse_clear_text(host, behind_proxy=behind_proxy, tls=certificate is not None)
    if certificate is not None:
        _refuse_no_certificate(certificate, key)
    if not Path(tokens).exists():
        _offer(Path(tokens))
    with connection.store(_PATIENCE) as store:
        _warn(store)
        app = _made(
            store, namespace=connection.namespace, tokens=tokens, trust=trust,
            behind_proxy=behind_proxy,
        )  # fmt: skip
        listening = _listening(host, port)
        where = _Where(connection, f"[{host}]" if ":" in host else host, tokens)
        where.serve(app, listening, certificate, key, root_path.rstrip("/"))


@panel.command(
    epilog="""\b
Example:
  canary panel token alice --role operate
"""
)
@click.argument("name", callback=a_name)
@click.option(
    "--role", type=click.Choice([role.value for role in Role]), default=Role.VIEW.value,
    show_default=True, help="Whoever may operate may also view.",
)  # fmt: skip
@_tokens
@click.option("--json", "as_json", is_flag=True, help="Print for machines; docs/cli.md.")
def token(name: str, role: str, tokens: str, as_json: bool) -> None:
    """Make a token for somebody.

    It is shown once; the file keeps its hash only. Removing the line ends all sessions of it.
    """
    made = _append(Path(tokens), Person(name, Role(role)))
    if as_json:
        print_json({"name": name, "role": role, "token": made, "file": tokens})
        return
    say(made)
    say(f"canary: for {name}, who may {role}; it is not shown again", err=True)
    say(f"canary: its hash is in {shown(tokens)}", err=True)


def _append(path: Path, person: Person) -> str:
    made = mint()
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "a+b") as file:
            file.seek(0)
            content = file.read()
            # Whoever edited it last perhaps left the last line open.
            gap = b"\n" if content and not content.endswith(b"\n") else b""
            file.write(gap + f"{written(person, made)}\n".encode())
    except OSError as error:
        why = error.strerror or "cannot be written"
        raise ConfigurationError([Problem(str(path), why, "--tokens FILE")]) from error
    return made


def _offer(path: Path) -> None:
    """Make a first token, where somebody is there to say yes and to see it."""
    name = whoami().partition("@")[0]
    asked = sys.stdin.isatty() and sys.stderr.isatty()
    question = f"There is no {path}. Make it, with a token for {name}?"
    if not (asked and click.confirm(question, default=True, err=True)):
        hint = f"canary panel token {name} --role operate --tokens {path}"
        raise ConfigurationError(
            [Problem(str(path), "does not exist, so nobody could get in", hint)]
        )
    made = _append(path, Person(name, Role.OPERATE))
    say(f"Your token, which is not shown again: {made}", err=True)


def _refuse_clear_text(host: str, *, behind_proxy: bool, tls: bool) -> None:
    if tls or behind_proxy or _is_loopback(host):
        return
    wrong = f"{host} is reached from other machines, and tokens would travel in clear text"
    raise ConfigurationError([Problem("--host", wrong, _PROXY)])


def _refuse_no_certificate(certificate: str, key: str | None) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except OSError as error:  # of ssl, too
        wrong = f"cannot be used: {error.strerror or error}"
        hint = "a certificate and its key, as PEM"
        raise ConfigurationError([Problem("--certificate, --key", wrong, hint)]) from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _warn(store: StateStore) -> None:
    try:
        store.load()
    except StoreError as error:
        say(f"canary: the store does not answer yet: {shown(str(error))}", err=True)


def _made(store: StateStore, **options: Any) -> Starlette:
    from canary_middleware.panel import panel

    return panel(store, **options)


@dataclass(frozen=True, slots=True)
class _Where:
    """Tells where the panel is, and serves it there."""

    connection: Connection
    host: str
    tokens: str

    def serve(
        self,
        app: Starlette,
        listening: socket.socket,
        certificate: str | None,
        key: str | None,
        root_path: str,
    ) -> None:
        try:
            from canary_middleware.panel.serving import Tls, serve
        except ModuleNotFoundError as error:
            raise MissingExtraError("uvicorn", "panel") from error
        tls = Tls(certificate, key) if certificate else None
        url = f"{'https' if tls else 'http'}://{self.host}:{listening.getsockname()[1]}/"
        # Lines of the log begin with a time, whatever is in them.
        logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
        # That strangers send nonsense is no news, and would be told once for each of them.
        logging.getLogger("uvicorn").setLevel(logging.ERROR)
        serve(app, listening, tls=tls, root_path=root_path, started=partial(self.tell, url))

    def tell(self, url: str) -> None:
        namespace = self.connection.namespace
        if self.connection.as_json:
            print_json_line({"url": url, "namespace": namespace, "tokens": self.tokens})
        else:
            say(f"The panel of {namespace}: {url} (Ctrl-C ends it)")
            sys.stdout.flush()


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, *_, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(where[:2], family=family, backlog=2048)
    except OSError as error:
        why = (error.strerror or str(error)).partition(" (")[0]
        wrong = f"cannot listen at {host} port {port}: {why}"
        hint = "another --port, or --port 0 for any that is free"
        raise ConfigurationError([Problem("--port", wrong, hint)]) from error
