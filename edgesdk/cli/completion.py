"""``edgesdk completion``: what a shell needs to complete commands and options."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.shell_completion import get_completion_class

from edgesdk.cli.options import Choice, command

if TYPE_CHECKING:
    from edgesdk.cli.output import Output


@command(
    "completion",
    examples=[
        "edgesdk completion bash > ~/.local/share/bash-completion/completions/edgesdk",
        "edgesdk completion zsh > ~/.zfunc/_edgesdk",
        "edgesdk completion fish > ~/.config/fish/completions/edgesdk.fish",
    ],
)
@click.argument("shell", type=Choice(["bash", "zsh", "fish"]))
def completion(out: Output, *, shell: str) -> None:
    """Print the completion script of a shell.

    For bash it needs bash 4.4 and the package bash-completion; for zsh a folder
    like ~/.zfunc in fpath, before compinit.
    """
    found = get_completion_class(shell)
    if found is None:
        raise TypeError(f"expected click to know {shell}")
    made = found(
        click.get_current_context().find_root().command, {}, "edgesdk", "_EDGESDK_COMPLETE"
    )
    # Without source(), which starts a bash to look at its version.
    script = made.source_template % made.source_vars()
    out.document.update({"shell": shell, "script": script})
    for line in script.splitlines():
        out.line(line.replace("\t", "    "))
