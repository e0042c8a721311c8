"""What commands have in common: how they are declared, and the types of their options.

A command is a function of an ``Output`` and its own options::

    @command("sign", examples=["edgesdk sign door.emb --key release.key"])
    @click.argument("bundle", type=FILE)
    def sign(out: Output, *, bundle: str) -> None: ...
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, TypeAlias

import click
from click.shell_completion import CompletionItem

from edgesdk.canonical import LARGEST_INTEGER
from edgesdk.cli.exits import printable
from edgesdk.errors import ConfigurationError, InputError, KeyUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from edgesdk.files import Home

    Words: TypeAlias = click.Choice[str]
    Integers: TypeAlias = click.ParamType[int]
    Reals: TypeAlias = click.ParamType[float]
    Texts: TypeAlias = click.ParamType[str]
else:
    # Generic from click 8.2 on only.
    Words = click.Choice
    Integers = Reals = Texts = click.ParamType

Function: TypeAlias = Callable[..., None]
Decorator: TypeAlias = Callable[[Function], Function]

# `files` looks at permissions itself, and says more about them than click would.
FILE = click.Path(allow_dash=True, readable=False)
PATH = click.Path(readable=False)

# That of edgesdk.record, which brings cryptography.
LONGEST_LABEL = 64
_AHEAD = re.compile(r"(\d{1,6})([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class Command(click.Command):
    """A command whose help ends with examples, as they stand."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **options: Any) -> None:  # noqa: ANN401 - click's
        options["params"] = [*options.get("params", ()), *common_options()]
        super().__init__(*args, **options)
        self.examples = tuple(examples)

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """``--help``, as the other commands say what they say."""
        return telling(super().get_help_option(ctx))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Errors of the parser itself come without the command that they are about."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx
            raise

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lines that can be copied."""
        super().format_epilog(ctx, formatter)
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write("".join(f"  {line}\n" for line in example.splitlines()))


def telling(option: click.Option | None) -> click.Option | None:
    """The option ``--help`` by way of ``Output``: also as a document, also on a full disk."""
    if option is not None:
        option.callback = _show_help
    return option


def _show_help(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's
    if not value or ctx.resilient_parsing:
        return
    text = ctx.get_help()
    ctx.obj.document["help"] = text
    for line in text.splitlines():
        ctx.obj.line(line)
    ctx.obj.finish()
    ctx.exit()


def command(name: str, *, examples: Sequence[str]) -> Callable[[Function], click.Command]:
    """Make a command of a function; every command has ``--json`` and ``--debug``."""

    def declare(function: Function) -> click.Command:
        @functools.wraps(function)
        def run(**given: object) -> None:
            function(click.get_current_context().obj, **given)

        return click.command(name, cls=Command, examples=examples)(run)

    return declare


def common_options() -> list[click.Parameter]:
    """``--json`` and ``--debug``. Their values have been read before anything was parsed: an error
    of parsing is told in the form that was asked for.
    """
    texts = {
        "--json": "One JSON document on standard output, errors too.",
        "--debug": "Show more: the log, and where an internal error arose.",
    }
    return [
        click.Option([name], is_flag=True, expose_value=False, help=text)
        for name, text in texts.items()
    ]


def asked_for(option: str, arguments: Sequence[str]) -> bool:
    """Whether a flag is among the arguments, as far as one can tell before they are parsed."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return option in options


# ---- types


class Choice(Words):
    """One of a few words."""

    def get_invalid_choice_message(self, value: object, ctx: click.Context | None = None) -> str:
        """In the words of the other errors."""
        del ctx
        return f"expected one of {', '.join(map(str, self.choices))}, got {value!r}"


class Integer(Integers):
    """A number within bounds."""

    name = "integer"

    def __init__(self, least: int, most: int = LARGEST_INTEGER) -> None:
        self._least, self._most = least, most

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> int:
        """The number."""
        try:
            number = int(value)
        except ValueError:
            number = self._least - 1
        if not self._least <= number <= self._most:
            bounds = f"at least {self._least}"
            if self._most != LARGEST_INTEGER:
                bounds = f"{self._least} to {self._most}"
            self.fail(f"expected an integer, {bounds}, got {value!r}", param, ctx)
        return number


class Number(Reals):
    """A finite real number; ``positive`` leaves out zero and what is below."""

    name = "number"

    def __init__(self, *, positive: bool = False) -> None:
        self._positive = positive

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """The number."""
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        least = 0.0 if self._positive else -LARGEST_INTEGER
        if not least <= number <= LARGEST_INTEGER or (self._positive and not number):
            kind = "a number above 0" if self._positive else "a number"
            self.fail(f"expected {kind}, got {value!r}", param, ctx)
        return number


class When(Integers):
    """A time: ``2027-01-31``, ``2027-01-31T12:00:00Z``, or ``90d`` from now."""

    name = "time"

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> int:
        """Seconds since 1970-01-01T00:00:00Z."""
        if isinstance(value, int):
            return value
        ahead = _AHEAD.fullmatch(value)
        if ahead:
            return now() + int(ahead[1]) * _SECONDS[ahead[2]]
        try:
            # Python 3.10 does not know the Z.
            moment = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", value))
        except ValueError:
            text = "expected a time like 2027-01-31, 2027-01-31T12:00:00Z or 90d"
            self.fail(f"{text}, got {value!r}", param, ctx)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=timezone.utc)
        if moment.year < 1970:  # noqa: PLR2004 - where the count begins
            self.fail(f"expected a time from 1970 on, got {value!r}", param, ctx)
        return int(moment.timestamp())


class Label(Texts):
    """A name for people, as a public record holds it."""

    name = "text"

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str:
        """The name."""
        text = str(value)
        came = f"{len(text)} characters" if printable(text) == text else repr(text)
        if not 1 <= len(text) <= LONGEST_LABEL or printable(text) != text:
            expected = f"1 to {LONGEST_LABEL} printable characters"
            self.fail(f"expected {expected}, got {came}", param, ctx)
        return text


class KeyUri(Texts):
    """A key by its URI (docs/keys.md)."""

    name = "key"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
        """A path, most of the time."""
        del ctx, param
        return [CompletionItem(incomplete, type="file")]


KEY = KeyUri()
LABEL = Label()
WHEN = When()


# ---- options that several commands have


def home_option(function: Function) -> Function:
    """The configuration folder."""
    return click.option(
        "--home",
        type=PATH,
        metavar="FOLDER",
        help="The configuration folder.  [$EDGESDK_HOME, else /etc/edgesdk]",
    )(function)


@contextmanager
def home_hint(home: Home) -> Iterator[None]:
    """What is missing in the configuration folder is missed with the remedy."""
    try:
        yield
    except (ConfigurationError, KeyUnavailableError) as error:
        if error.hint is None and error.reason in {"missing", "no-key"}:
            error.hint = _remedy(home, error.message)
        raise


def _remedy(home: Home, message: str) -> str | None:
    if message.startswith(f"{home.device_key}:"):
        return "`edgesdk device init` makes it; the folder is --home, $EDGESDK_HOME or /etc/edgesdk"
    if message.startswith(f"{home.folder}/"):
        return "it belongs into the configuration folder: --home, $EDGESDK_HOME or /etc/edgesdk"
    return None


def output_option(text: str) -> Decorator:
    """Where the result goes."""
    return click.option("-o", "--output", type=FILE, metavar="FILE", help=text)


def key_option(text: str, *, required: bool = True, multiple: bool = False) -> Decorator:
    """The key that signs."""
    return click.option(
        "--key", type=KEY, required=required, multiple=multiple, metavar="URI", help=text
    )


def device_options(function: Function) -> Function:
    """What a bundle may be restricted to."""
    function = click.option("--class-id", metavar="TEXT", help="Class of the device.")(function)
    return click.option("--vendor-id", metavar="TEXT", help="Vendor of the device.")(function)


def compute_options(function: Function) -> Function:
    """How the model is run."""
    function = click.option("--isa", metavar="NAME", help="Kernels to use.  [the fastest]")(
        function
    )
    return click.option(
        "--threads", type=Integer(1, 1024), metavar="N", help="Threads for each run.  [1]"
    )(function)


def named(entries: Iterable[str], option: str, names: Sequence[str] = ()) -> dict[str, str]:
    """``NAME=VALUE`` of an option that may be repeated; one without a name is for ``names[0]``."""
    found: dict[str, str] = {}
    for entry in entries:
        name, separator, value = entry.rpartition("=")
        if not separator and names:
            name = names[0]
        if not name or not value or (names and name not in names):
            known = f"NAME one of {', '.join(names)}" if names else "as NAME=VALUE"
            raise InputError("argument", f"{option}: expected {known}, got {entry!r}")
        if name in found:
            raise InputError("argument", f"{option}: expected {name} once, got it twice")
        found[name] = value
    return found


# ---- time


def now() -> int:
    """Seconds since 1970-01-01T00:00:00Z."""
    return int(time.time())


def date(seconds: int | None, *, absent: str = "never") -> str:
    """A time for people."""
    if seconds is None:
        return absent
    try:
        moment = datetime.fromtimestamp(seconds, timezone.utc)
    except (OverflowError, OSError, ValueError):
        return f"{seconds} s after 1970"
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
