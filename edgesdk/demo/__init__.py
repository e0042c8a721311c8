"""``edgesdk demo``: the main job on real handwritten digits, from keys to a dead broker.

A publisher packs, signs and grants a tiny network; a device verifies, decrypts and runs it, and
asks a larger one in the cloud where it is not sure; then it is attacked, and the broker killed.
Every part is the real one: the commands, the broker, the gateway, the scans. All of it stays in a
temporary folder and on the loopback interface; the report is what remains.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from edgesdk.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

_LIBRARIES = ("amqtt", "cachetools", "jinja2", "matplotlib", "sklearn")


def run(report: Path, *, console: Console) -> int:
    """Show it all, and write the report into a folder that is there. 0: all went as it must.

    Raises:
        ConfigurationError: ``extra``: libraries of the extra ``demo`` are not installed.
    """
    missing = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            "extra",
            f"expected the libraries of edgesdk[demo], got none of {', '.join(missing)}",
            hint='pip install "edgesdk[demo]"',
        )
    from edgesdk.demo.story import tell  # noqa: PLC0415 - it needs what has just been looked for

    return tell(report, console=console)
