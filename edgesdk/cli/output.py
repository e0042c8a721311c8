"""What a command says: text for people, or one JSON document for programs.

A command fills ``document`` and calls ``line``, ``fields`` and ``table`` beside it. With
``--json`` the text is left out and the document is written at the end, also when the command
fails half-way; otherwise the text goes to standard output, or to standard error where standard
output carries a file. Progress, warnings and errors always go to standard error.

Whatever is shown may come from a file that nobody has checked: control characters never reach
the terminal.
"""

# ruff: noqa: PLC0415 - rich takes longer to import than most commands to run
from __future__ import annotations

import io
import json
import logging
import os
import sys
import traceback
import warnings
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from edgesdk.cli.exits import ExitCode, Misuse, NoCommandError, explain, printable
from edgesdk.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import TextIO

    from rich.console import Console
    from rich.table import Table

    from edgesdk.cli.exits import Failure

# Where there is no terminal, lines are as long as they are, so that grep finds whole ones.
_UNBOUNDED = 4096
_COLOURS = {"error": "\x1b[1;31m", "warning": "\x1b[33m", "hint": "\x1b[36m"}


class Output:
    """The voice of one command."""

    def __init__(self, *, as_json: bool = False, debug: bool = False) -> None:
        self.as_json = as_json
        self.debug = debug
        self.document: dict[str, Any] = {}
        self._claimed = False

    def claim_stdout(self) -> None:
        """Standard output carries a file from now on."""
        if self.as_json:
            raise Misuse(
                "expected --json or `-o -`, got both: each is all of standard output",
                hint="write the file with -o FILE",
            )
        self._claimed = True

    # ---- text for people

    def line(self, text: str = "") -> None:
        """A line as it stands."""
        if not self.as_json:
            self._write(printable(text) + "\n")

    def fields(self, rows: Iterable[tuple[str, str]]) -> None:
        """Names and values in two columns."""
        if self.as_json:
            return
        from rich.table import Table

        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        for name, value in rows:
            grid.add_row(printable(name), printable(value))
        self._render(grid)

    def table(
        self, headers: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[int] = ()
    ) -> None:
        """Rows under headers; the columns of ``right`` hold numbers."""
        if self.as_json:
            return
        from rich.table import Table

        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for number, header in enumerate(headers):
            justify = "right" if number in right else "left"
            table.add_column(header, justify=justify, overflow="fold")  # type: ignore[arg-type]
        for row in rows:
            table.add_row(*map(printable, row))
        self._render(table)

    def _render(self, table: Table) -> None:
        # Not by rich itself: it has an exit code of its own for a closed pipe.
        buffer = io.StringIO()
        self.console(buffer, on_terminal=self._people.isatty()).print(table)
        # It pads each line to the width of its table.
        self._write("".join(f"{line.rstrip()}\n" for line in buffer.getvalue().splitlines()))

    def console(self, stream: TextIO | None = None, *, on_terminal: bool | None = None) -> Console:
        """The face that rich gives a stream; by default the one that text for people goes to."""
        from rich.console import Console

        stream = stream or (sys.stderr if self.as_json else self._people)
        if on_terminal is None:
            on_terminal = stream.isatty()
        bounded = on_terminal or "COLUMNS" in os.environ
        return Console(
            file=stream,
            force_terminal=on_terminal,
            width=None if bounded else _UNBOUNDED,
            markup=False,
            highlight=False,
            emoji=False,
        )

    def _write(self, text: str) -> None:
        try:
            self._people.write(text)
        except BrokenPipeError:
            raise
        except OSError as cause:
            raise unwritable(cause) from None

    @property
    def _people(self) -> TextIO:
        return sys.stderr if self._claimed else sys.stdout

    # ---- beside it

    @contextmanager
    def progress(self, what: str, total: float) -> Iterator[Callable[[float], None]]:
        """A bar on a terminal; the caller tells how much more is done each time."""
        if self.as_json or not sys.stderr.isatty():
            yield lambda _: None
            return
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self.console(sys.stderr), transient=True) as bars:
            task = bars.add_task(what, total=total)
            yield lambda done: bars.advance(task, done)

    def warn(self, text: str) -> None:
        """Something that does not stop the command."""
        self._label("warning", printable(text))

    def _label(self, label: str, text: str) -> None:
        coloured = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
        coloured = coloured and os.environ.get("TERM") != "dumb"
        shown = f"{_COLOURS[label]}{label}:\x1b[0m" if coloured else f"{label}:"
        sys.stderr.write(f"{shown} {text}\n")

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Show what the library logs, and warns of, while the command runs."""
        logger = logging.getLogger("edgesdk")
        level, handler = logger.level, _Handler(self)
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG if self.debug else logging.WARNING)
        try:
            with warnings.catch_warnings():
                warnings.showwarning = lambda message, *_, **__: self.warn(str(message))
                yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)

    # ---- the end

    def finish(self) -> None:
        """Write the document, if one was asked for, and make sure that all has been written."""
        try:
            if self.as_json:
                sys.stdout.write(json.dumps(self.document, indent=2, allow_nan=False) + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError as cause:
            raise unwritable(cause) from None

    def fail(self, error: BaseException) -> ExitCode:
        """Say what went wrong; the exit code for it."""
        failure = explain(error)
        if self.debug and failure.code is ExitCode.INTERNAL:
            traceback.print_exception(error, file=sys.stderr)
        if self.as_json:
            self.document = {"error": failure.to_json(), **self.document}
            # Where standard output takes nothing, the line has to do.
            with suppress(ConfigurationError):
                self.finish()
        if isinstance(error, NoCommandError) and not self.as_json:
            sys.stderr.write(error.overview + "\n")
            return failure.code
        self._show(failure)
        return failure.code

    def _show(self, failure: Failure) -> None:
        if failure.code is ExitCode.INTERRUPTED:
            # The terminal has shown ^C, and the cursor stands behind it.
            sys.stderr.write("\n" if sys.stderr.isatty() else "")
        self._label("error", failure.text)
        if failure.hint:
            self._label("hint", printable(failure.hint))


def unwritable(cause: OSError) -> ConfigurationError:
    """Standard output took no more: a full disk, most of the time."""
    return ConfigurationError(
        "invalid", f"standard output: expected to write to it, got: {cause.strerror}"
    )


class _Handler(logging.Handler):
    """Warnings of the library, as the command line words them."""

    def __init__(self, out: Output) -> None:
        super().__init__()
        self._out = out

    def emit(self, record: logging.LogRecord) -> None:
        # A refusal is about to be raised, and will be told as the error that it is.
        if record.name == "edgesdk.trust" and not self._out.debug:
            return
        reason = getattr(record, "reason", None)
        self._out.warn(record.getMessage() + (f" [{reason}]" if reason else ""))
