"""The command line: ``edgesdk VERB`` and ``edgesdk NOUN VERB`` (docs/cli.md).

``main`` needs the extra ``cli``. Without it, it says so in one line; importing this package needs
nothing.
"""

from __future__ import annotations

import importlib.util
import json
import sys

_LIBRARIES = ("click", "rich")
# That of a ConfigurationError, exits.ExitCode.INPUT: what is in ``exits`` needs click.
_UNUSABLE = 6


def main() -> None:
    """The program ``edgesdk``. It does not return: the exit status says how it went."""
    missing = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        _refuse(f"expected {' and '.join(_LIBRARIES)}, got no {' and no '.join(missing)}")
    from edgesdk.cli.root import edgesdk  # noqa: PLC0415 - it needs what has just been looked for

    edgesdk.main(prog_name="edgesdk")


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
