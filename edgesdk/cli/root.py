"""The commands, and how they are found, run and ended.

A command's module is imported when the command runs, and what it computes with only then: so
``edgesdk --version``, ``--help`` and completion stay fast on a small board. ``edgesdk.main`` is
where every error ends, as a line (or a document) and an exit code.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import click
from click.shell_completion import CompletionItem, shell_complete

from edgesdk import __version__
from edgesdk.cli.exits import ExitCode, Misuse, NoCommandError
from edgesdk.cli.options import asked_for, common_options, telling
from edgesdk.cli.output import Output

if TYPE_CHECKING:
    from collections.abc import Mapping

_COMPLETE = "_EDGESDK_COMPLETE"


@dataclass(frozen=True)
class Entry:
    """A command: where it is, and the first line of its help; or what is in a group."""

    text: str
    where: str = ""
    group: Mapping[str, Mapping[str, Entry]] | None = None


class LazyGroup(click.Group):
    """A group that imports a command when it is called."""

    def __init__(
        self,
        name: str,
        sections: Mapping[str, Mapping[str, Entry]],
        **options: Any,  # noqa: ANN401 - click's
    ) -> None:
        super().__init__(
            name,
            callback=_demand_command,
            invoke_without_command=True,
            subcommand_metavar="COMMAND [ARGS]...",
            **options,
        )
        self._sections = sections
        self._entries = {n: e for section in sections.values() for n, e in section.items()}

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """``--help``, as the other commands say what they say."""
        return telling(super().get_help_option(ctx))

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which one needs them."""
        del ctx
        return list(self._entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import it."""
        del ctx
        entry = self._entries.get(cmd_name)
        if entry is None:
            return None
        if entry.group is not None:
            return LazyGroup(cmd_name, entry.group, help=entry.text, params=common_options())
        module, _, name = entry.where.partition(":")
        found: click.Command = getattr(importlib.import_module(module), name)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the next argument names."""
        name = args[0]
        if name not in self._entries and not ctx.resilient_parsing:
            close = difflib.get_close_matches(name, self._entries)
            hint = f"did you mean {' or '.join(close)}?" if close else None
            error = Misuse(f"expected a command of `{ctx.command_path}`, got {name!r}", hint=hint)
            error.ctx = ctx
            raise error
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Under the heading of their sections."""
        del ctx
        width = max(map(len, self._entries))
        for title, entries in self._sections.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), e.text) for name, e in entries.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """Names of commands, without importing them."""
        found = [
            CompletionItem(name, help=entry.text)
            for name, entry in self._entries.items()
            if name.startswith(incomplete)
        ]
        return found + click.Command.shell_complete(self, ctx, incomplete)


class Root(LazyGroup):
    """The program."""

    def main(self, args: Any = None, prog_name: str | None = None, **_: Any) -> NoReturn:  # type: ignore[override] # noqa: ANN401 - click's
        """Run a command, tell of errors, and exit."""
        name = prog_name or "edgesdk"
        instruction = os.environ.get(_COMPLETE)
        if instruction:
            sys.exit(shell_complete(self, {}, name, _COMPLETE, instruction))
        status = self._run(name, list(sys.argv[1:] if args is None else args))
        try:
            sys.stdout.flush()
        except OSError:
            _close_pipes()
        sys.exit(status)

    def _run(self, name: str, arguments: list[str]) -> int:
        for stream in (sys.stdout, sys.stderr):
            # A label that the terminal's encoding lacks must not end the command.
            with suppress(AttributeError):
                stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        out = Output(as_json=asked_for("--json", arguments), debug=asked_for("--debug", arguments))
        try:
            try:
                with out.listening(), self.make_context(name, arguments, obj=out) as context:
                    self.invoke(context)
                out.finish()
            except click.exceptions.Exit as done:
                return done.exit_code
            except BrokenPipeError:
                raise
            except Exception as error:  # noqa: BLE001 - here is where all errors end
                return out.fail(error)
            except KeyboardInterrupt as error:
                return out.fail(error)
        except BrokenPipeError:
            _close_pipes()
            return ExitCode.PIPE
        return ExitCode.OK


def _close_pipes() -> None:
    """Nobody takes any more: what is still buffered must not fail when Python exits."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            try:
                os.dup2(nowhere, stream.fileno())
            finally:
                os.close(nowhere)


@click.pass_context
def _demand_command(ctx: click.Context) -> None:
    """Without a command, show what there is."""
    if ctx.invoked_subcommand is None:
        raise NoCommandError(ctx.command_path, ctx.get_help())


def _show_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's
    if not value or ctx.resilient_parsing:
        return
    out: Output = ctx.obj
    out.document["version"] = __version__
    out.line(f"edgesdk {__version__}")
    out.finish()
    ctx.exit()


SECTIONS: dict[str, dict[str, Entry]] = {
    "Keys and trust": {
        "keygen": Entry("Make the key of a signer or a gateway.", "edgesdk.cli.keygen:keygen"),
        "record": Entry("Write the public record of a key.", "edgesdk.cli.record:record"),
        "device": Entry(
            "Set up a device.",
            group={
                "Commands": {
                    "init": Entry(
                        "Make this device's key and its enrolment record.",
                        "edgesdk.cli.device:init",
                    )
                }
            },
        ),
        "trust": Entry(
            "Say whom devices trust.",
            group={
                "Commands": {
                    "init": Entry(
                        "Make the trust file of devices from public records.",
                        "edgesdk.cli.trust:init",
                    )
                }
            },
        ),
    },
    "Publish a model": {
        "claim": Entry("Sign claims about a model, as an auditor.", "edgesdk.cli.claim:claim"),
        "pack": Entry("Encrypt a model into an unsigned bundle.", "edgesdk.cli.pack:pack"),
        "sign": Entry("Sign a bundle.", "edgesdk.cli.sign:sign"),
        "grant": Entry("Let devices open a bundle.", "edgesdk.cli.grant:grant"),
    },
    "Use a model": {
        "verify": Entry("Check a bundle as a device would.", "edgesdk.cli.verify:verify"),
        "run": Entry("Run a model on an input.", "edgesdk.cli.run:run"),
        "compare": Entry(
            "Compare a .tflite model's numbers with LiteRT's.", "edgesdk.cli.compare:compare"
        ),
        "bench": Entry("Time a model on this machine.", "edgesdk.cli.bench:bench"),
    },
    "Look": {
        "inspect": Entry("Show what a file is, without any key.", "edgesdk.cli.inspect:inspect"),
        "doctor": Entry("Show what this machine can do.", "edgesdk.cli.doctor:doctor"),
    },
    "The cloud": {
        "gateway": Entry(
            "Answer devices from the cloud.",
            group={
                "Commands": {
                    "enrol": Entry("Serve these devices from now on.", "edgesdk.cli.gateway:enrol"),
                    "run": Entry("Run models for enrolled devices.", "edgesdk.cli.gateway:run"),
                }
            },
        ),
    },
    "More": {
        "demo": Entry("See all of it work on real digits.", "edgesdk.cli.demo:demo"),
        "completion": Entry(
            "Print the completion script of a shell.", "edgesdk.cli.completion:completion"
        ),
    },
}

edgesdk = Root(
    "edgesdk",
    SECTIONS,
    help="Run, protect and back up quantized models on devices that you do not control.",
    epilog="`edgesdk COMMAND --help` has examples.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
    params=[
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_show_version,
            help="Show the version and exit.",
        ),
        *common_options(),
    ],
)
