"""Files and pipes: ``-`` is standard input or standard output.

Where a result goes is decided and refused before any work is done: a ``Target`` is made first,
and written last. Nothing is overwritten except by commands that say so; nothing binary is written
to a terminal, and nothing is read from one.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgesdk import files
from edgesdk.cli.output import unwritable
from edgesdk.errors import ConfigurationError, InputError, MalformedBundleError
from edgesdk.limits import MIB

if TYPE_CHECKING:
    from pathlib import Path

    from edgesdk.cli.output import Output
    from edgesdk.errors import EdgeError
    from edgesdk.files import Refusal

PIPE = "-"
_PIECE_BYTES = 1 * MIB


def read(
    path: str,
    *,
    limit: int,
    what: str,
    error: Refusal = MalformedBundleError,
    follow: bool = False,
) -> bytes:
    """A file, or all of standard input; ``follow`` as in ``files.read_once``.

    Raises:
        InputError: standard input is a terminal.
        ConfigurationError: ``missing``, ``permissions``; what ``error`` makes of the rest.
    """
    if path != PIPE:
        return files.read_once(path, limit=limit, error=error, follow=follow)
    stream = sys.stdin.buffer
    if stream.isatty():
        raise InputError(
            "argument",
            f"expected {what} on standard input, got a terminal",
            hint="name a file, or pipe one in",
        )
    parts = []
    room = limit + 1
    try:
        # In pieces: one read for all of it would make room for all that is allowed.
        while room and (part := stream.read(min(room, _PIECE_BYTES))):
            parts.append(part)
            room -= len(part)
    except OSError as cause:
        raise InputError(
            "argument", f"expected {what} on standard input, got: {cause.strerror}"
        ) from None
    if not room:
        raise error("too-large", f"standard input: expected at most {limit} bytes, got more")
    return b"".join(parts)


def as_input_error(reason: str, message: str) -> EdgeError:
    """For files that are an argument rather than part of a bundle."""
    del reason
    return InputError("argument", message)


@dataclass(frozen=True)
class Target:
    """Where a result goes."""

    path: str
    replaces: bool
    mode: int

    @classmethod
    def new(
        cls, out: Output, path: str, *, what: str, binary: bool = True, mode: int = 0o644
    ) -> Target:
        """A file that is not there yet, or standard output.

        Raises:
            ConfigurationError: ``invalid``: there is something of that name.
            InputError: standard output is a terminal, and the result is not for one.
        """
        if path == PIPE:
            _claim(out, what, binary=binary)
        elif os.path.lexists(path):
            raise ConfigurationError(
                "invalid",
                f"{path}: expected no file of that name, got one; it is not overwritten",
                hint="choose another name, or move the old one away",
            )
        return cls(path, replaces=False, mode=mode)

    @classmethod
    def replacing(cls, out: Output, path: str, *, what: str) -> Target:
        """A file that may be there, and is then replaced in one step; or standard output."""
        if path == PIPE:
            _claim(out, what, binary=True)
        return cls(path, replaces=True, mode=0o644)

    def write(self, data: bytes) -> None:
        """All of it, or nothing."""
        if self.path == PIPE:
            _write_stdout(data)
        elif self.replaces:
            files.write_replace(self.path, data, mode=self.mode)
        else:
            files.write_new(self.path, data, mode=self.mode)

    @property
    def shown(self) -> str:
        """Its name for people."""
        return "standard output" if self.path == PIPE else self.path


def make_folder(path: Path, *, mode: int) -> None:
    """Make a folder, and those above it, unless it is there."""
    try:
        path.mkdir(mode=mode, parents=True, exist_ok=True)
    except PermissionError as cause:
        raise ConfigurationError(
            "permissions", f"{path}: expected to make this folder, got: {cause.strerror}"
        ) from None
    except OSError as cause:
        raise ConfigurationError(
            "invalid", f"{path}: expected a folder, got: {cause.strerror}"
        ) from None


def _claim(out: Output, what: str, *, binary: bool) -> None:
    out.claim_stdout()
    if binary and sys.stdout.isatty():
        raise InputError(
            "argument",
            f"expected a file or a pipe for {what}, got a terminal",
            hint="name a file with -o FILE, or pipe it into the next command",
        )


def _write_stdout(data: bytes) -> None:
    try:
        sys.stdout.buffer.write(data)
        if sys.stdout.isatty():
            # Text for programs has no line end of its own.
            sys.stdout.buffer.write(b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as cause:
        raise unwritable(cause) from None
