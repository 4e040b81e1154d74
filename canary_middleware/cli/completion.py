"""``canary completion``: the script with which a shell completes verbs, rollouts and releases."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from canary_middleware.cli.show import say
from canary_middleware.errors import ConfigurationError, Problem

_SHELLS = ("bash", "zsh", "fish")


@click.command(
    epilog="""\b
Examples:
  canary completion bash > ~/.local/share/bash-completion/completions/canary
  canary completion zsh > "${fpath[1]}/_canary"
  canary completion fish > ~/.config/fish/completions/canary.fish
"""
)
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that completes verbs, options, rollouts and releases.

    Names come from the store that CANARY_STORE and CANARY_NAMESPACE name, or the options typed
    before; a store that does not answer within 0.3 seconds completes nothing. bash has to be 4.4 or
    newer.
    """
    kind = get_completion_class(shell)
    if kind is None:
        problem = Problem(shell, "is not known to this version of click", "upgrade click")
        raise ConfigurationError([problem])
    program = ctx.find_root()
    name = str(program.info_name)
    say(kind(program.command, {}, name, f"_{name}_COMPLETE".upper()).source().rstrip("\n"))
