"""``hyperion completion``: the script that teaches a shell the commands and options."""

from __future__ import annotations

import click

from hyperion.cli.command import Command

VARIABLE = "_HYPERION_COMPLETE"


@click.command(
    cls=Command,
    examples=(
        'eval "$(hyperion completion bash)"',
        "hyperion completion zsh > ~/.zfunc/_hyperion",
        "hyperion completion fish > ~/.config/fish/completions/hyperion.fish",
    ),
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the shell completion script.

    Put its output where your shell reads it at start.
    """
    from click.shell_completion import get_completion_class

    from hyperion.cli.root import root

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}")
    script = kind(root, {}, "hyperion", VARIABLE)
    # Not script.source(): for bash that starts a bash to ask its version.
    click.echo(script.source_template % script.source_vars())
