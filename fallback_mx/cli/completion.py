"""`fallback-mx completion`: the script by which a shell completes commands, options and the names of primaries."""

from __future__ import annotations

import click

from fallback_mx.cli.exits import DONE

PROGRAM = "fallback-mx"
VARIABLE = "_FALLBACK_MX_COMPLETE"


@click.command(short_help="Print the script by which a shell completes commands.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> int:
    """Print the script by which a shell completes commands, options, states and the names of primaries.

    Write it once, by the line for your shell; the script itself asks the program, so it need not be written anew for a
    new version.

    \b
    Examples:
      fallback-mx completion bash > /etc/bash_completion.d/fallback-mx
      fallback-mx completion zsh > /usr/local/share/zsh/site-functions/_fallback-mx
      fallback-mx completion fish > ~/.config/fish/completions/fallback-mx.fish
    """
    from click.shell_completion import get_completion_class

    made_by = get_completion_class(shell)
    assert made_by is not None
    root = context.find_root().command
    # Not `source()`: for bash that starts one, to see how old it is, and the file may be for another machine.
    script = made_by(root, {}, PROGRAM, VARIABLE)
    click.echo(script.source_template % script.source_vars())
    return DONE
