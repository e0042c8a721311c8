"""How a command ends: exit codes, and an error as one line for people or one object for programs.

``EXIT_CODES`` and ``_FAMILIES`` are the tables behind docs/cli.md.
"""

from __future__ import annotations

import re
import traceback
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import click

from edgesdk.errors import (
    ConfigurationError,
    EdgeError,
    InputError,
    ModelError,
    TransportError,
    TrustError,
    UpdateError,
)


class ExitCode(IntEnum):
    """What a command's exit status says."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    TRUST = 3
    MODEL = 4
    TRANSPORT = 5
    INPUT = 6
    UPDATE = 7
    INTERRUPTED = 130
    PIPE = 141


EXIT_CODES = {
    ExitCode.OK: "done",
    ExitCode.INTERNAL: "a fault of edgesdk itself",
    ExitCode.USAGE: "a command, option or argument that does not exist or does not fit",
    ExitCode.TRUST: "TrustError: not to be trusted, or no key for it",
    ExitCode.MODEL: "ModelError: the model cannot run here",
    ExitCode.TRANSPORT: "TransportError: the way to the cloud failed",
    ExitCode.INPUT: "InputError, ConfigurationError: what was passed, or a file that is needed",
    ExitCode.UPDATE: "UpdateError: an update could not be made",
    ExitCode.INTERRUPTED: "interrupted by Ctrl-C",
    ExitCode.PIPE: "whoever read the output has closed the pipe",
}

# The first that fits counts; what is in none of them is a fault of ours.
_FAMILIES: tuple[tuple[type[EdgeError], ExitCode], ...] = (
    (TrustError, ExitCode.TRUST),
    (ModelError, ExitCode.MODEL),
    (TransportError, ExitCode.TRANSPORT),
    (InputError, ExitCode.INPUT),
    (ConfigurationError, ExitCode.INPUT),
    (UpdateError, ExitCode.UPDATE),
)

# Which installation brings a module that some command needs.
_EXTRAS = {
    "numpy": "edgesdk",
    "cryptography": "edgesdk",
    "paho": "edgesdk",
    "cachetools": '"edgesdk[maas]"',
    "amqtt": '"edgesdk[demo]"',
    "sklearn": '"edgesdk[demo]"',
    "matplotlib": '"edgesdk[demo]"',
    "jinja2": '"edgesdk[demo]"',
}

# What could end a line, steer a terminal, turn the order of what is read, or not be encoded.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class Misuse(click.UsageError):
    """A usage error with a hint."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class NoCommandError(Misuse):
    """No command at all; ``overview`` is the help that people get to see in place of an error."""

    def __init__(self, command: str, overview: str) -> None:
        super().__init__("expected a command, got none", hint=f"{command} --help")
        self.overview = overview


@dataclass(frozen=True)
class Failure:
    """An error as the command line tells it."""

    code: ExitCode
    kind: str
    reason: str
    message: str
    hint: str | None = None

    @property
    def text(self) -> str:
        """Without the word ``error:`` in front of it, on one line."""
        return printable(f"{self.kind}[{self.reason}]: {self.message}")

    def to_json(self) -> dict[str, str | None]:
        """The member ``error`` of a document."""
        return {
            "class": self.kind,
            "reason": self.reason,
            "message": self.message,
            "hint": self.hint,
        }


def printable(text: str) -> str:
    """The text on one line; what could steer a terminal is shown as an escape."""
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


def explain(error: BaseException) -> Failure:
    """What to say of an error, and the exit code for it."""
    if isinstance(error, EdgeError):
        return Failure(_code_of(error), _kind(error), error.reason, error.message, error.hint)
    if isinstance(error, click.UsageError):
        return _of_usage(error)
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return Failure(ExitCode.INTERRUPTED, "Interrupted", "interrupted", "stopped by Ctrl-C")
    if isinstance(error, MemoryError):
        text = "expected memory for it, got none from the system"
        return Failure(ExitCode.MODEL, "ResourceError", "memory", text)
    if isinstance(error, ModuleNotFoundError) and error.name:
        missing = error.name.split(".")[0]
        if missing in _EXTRAS:
            return Failure(
                ExitCode.INPUT,
                ConfigurationError.__name__,
                "extra",
                f"expected the library {missing}, got none",
                f"pip install {_EXTRAS[missing]}",
            )
    return _of_fault(error)


def _code_of(error: EdgeError) -> ExitCode:
    for family, code in _FAMILIES:
        if isinstance(error, family):
            return code
    return ExitCode.INTERNAL


def _kind(error: BaseException) -> str:
    return type(error).__name__


def _of_usage(error: click.UsageError) -> Failure:
    """Usage errors of click in the words of the others."""
    command = error.ctx.command_path if error.ctx else "edgesdk"
    hint = f"{command} --help"
    message = error.format_message()
    reason = "usage"
    if isinstance(error, Misuse):
        hint = error.hint or hint
    elif isinstance(error, click.MissingParameter):
        reason, message = "missing", f"expected {_parameter(error)}, got none"
    elif isinstance(error, click.NoSuchOption):
        reason = "no-such-option"
        message = f"expected an option of `{command}`, got {error.option_name}"
        if error.possibilities:
            hint = f"did you mean {' or '.join(sorted(error.possibilities))}?"
    elif isinstance(error, click.BadParameter):
        reason, message = "bad-value", f"{_parameter(error)}: {error.message}"
    return Failure(ExitCode.USAGE, "UsageError", reason, message, hint)


def _parameter(error: click.BadParameter) -> str:
    if error.param is None:
        return "a parameter"
    if isinstance(error.param, click.Argument):
        return (error.param.name or "").upper()
    return max(error.param.opts, key=len)


def _of_fault(error: BaseException) -> Failure:
    """Where, but not with which values: they are not ours to print."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return Failure(
        ExitCode.INTERNAL,
        "InternalError",
        "internal",
        f"internal error, {_kind(error)}{where}",
        "this is a fault of edgesdk: please report it, with what --debug shows",
    )
