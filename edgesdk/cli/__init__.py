"""The command line: ``edgesdk VERB`` and ``edgesdk NOUN VERB`` (docs/cli.md).

``main`` needs the extra ``cli``. Without it, it says so in one line; importing this package needs
nothing.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys

_LIBRARIES = ("click", "rich")
# That of a ConfigurationError, exits.ExitCode.INPUT: what is in ``exits`` needs click.
_UNUSABLE = 6


def main() -> None:
    """The program ``edgesdk``. It does not return: the exit status says how it went."""
    _replace_closed_streams()
    missing = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        _refuse(f"expected {' and '.join(_LIBRARIES)}, got no {' and no '.join(missing)}")
    from edgesdk.cli.root import edgesdk  # noqa: PLC0415 - it needs what has just been looked for

    edgesdk.main(prog_name="edgesdk")


def _replace_closed_streams() -> None:
    """Have no file take the place of a standard stream that the caller has closed.

    Errors then go nowhere; reading input, and writing output, fails as it should.
    """
    for number, mode in enumerate((os.O_WRONLY, os.O_RDONLY, os.O_WRONLY)):
        if not _is_open(number):
            os.open(os.devnull, mode)  # the lowest number that is free: this one
    sys.stdin = sys.stdin or os.fdopen(0, "r", closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _refuse(message: str) -> None:
    remedy = 'pip install "edgesdk[cli]"'
    if "--json" in sys.argv:
        error = {
            "class": "ConfigurationError",
            "reason": "extra",
            "message": message,
            "hint": remedy,
        }
        sys.stdout.write(json.dumps({"error": error}, indent=2) + "\n")
    else:
        sys.stderr.write(f"error: ConfigurationError[extra]: {message}: {remedy}\n")
    sys.exit(_UNUSABLE)
