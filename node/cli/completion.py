"""`safelight completion`.

Belongs here: printing the script that teaches a shell the command.
Never here: what is offered (``complete``).
"""

from __future__ import annotations

import click

from node.cli.common import Settings, new_command

SHELLS = ("bash", "zsh", "fish")


@new_command("completion")
@click.argument("shell", type=click.Choice(SHELLS), help="Your shell.")
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the script that lets your shell complete commands, names and ids.

    Example: safelight completion bash > ~/.local/share/bash-completion/completions/safelight
    """
    from click.shell_completion import get_completion_class

    from node.cli import output

    kind = get_completion_class(shell)
    assert kind is not None, "click knows the shells that the argument allows"
    root = context.find_root().command
    # Not `source()`: it looks for a shell of this kind here, and this may be a packager's machine.
    complete = kind(root, {}, "safelight", "_SAFELIGHT_COMPLETE")
    script = complete.source_template % complete.source_vars()
    output.present(
        {"shell": shell, "script": script},
        lambda _: output.raw(script),
        as_json=context.ensure_object(Settings).json,
    )
