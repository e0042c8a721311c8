"""Installs what an extra of pyproject.toml asks for, and what builds the core, with progress.

The project itself is not installed here: it is built in place, and linked, by the Makefile.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def load() -> dict[str, dict]:
    """pyproject.toml; Python 3.10 has no parser for it, but pip carries one."""
    try:
        import tomllib
    except ImportError:
        from pip._vendor import tomli as tomllib
    return tomllib.loads(PROJECT.read_text())


def expand(extra: str, extras: dict[str, list[str]]) -> list[str]:
    """The requirements of an extra, those of the project's own extras that it names included."""
    found = []
    for requirement in extras[extra]:
        own = re.fullmatch(r"edgesdk\[([^\]]+)\]", requirement)
        if own is None:
            found.append(requirement)
        else:
            for name in own[1].split(","):
                found += expand(name.strip(), extras)
    return found


def main() -> int:
    document = load()
    wanted = [
        *document["build-system"]["requires"],
        *document["project"]["dependencies"],
        *expand(sys.argv[1], document["project"]["optional-dependencies"]),
    ]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    # An old pip does not know the tags of new wheels.
    subprocess.run([*pip, "install", "--quiet", "--upgrade", "pip"], check=True)
    command = [*pip, "install", "--no-warn-script-location", *dict.fromkeys(wanted)]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
