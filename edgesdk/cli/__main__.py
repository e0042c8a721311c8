"""``python -m edgesdk.cli`` is ``edgesdk``."""

from __future__ import annotations

from edgesdk.cli import main

main()
