"""``edgesdk demo``: the main job on real digits."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgesdk.cli.options import PATH, command
from edgesdk.cli.streams import make_folder

if TYPE_CHECKING:
    from edgesdk.cli.output import Output


@command("demo", examples=["edgesdk demo --report reports/demo"])
@click.option(
    "--report",
    type=PATH,
    default="edgesdk-demo",
    show_default=True,
    metavar="FOLDER",
    help="Where the report goes.",
)
def demo(out: Output, *, report: str) -> None:
    """See all of it work on real digits.

    Packs, signs and grants a small network, starts a broker and a gateway in this
    machine, reads handwritten digits on the device and in the cloud, tries to fool
    the device, kills the broker, and writes a report. Takes a minute or two.
    """
    # Its libraries are those of the extra `demo`.
    scenes = importlib.import_module("edgesdk.demo")
    folder = Path(report)
    make_folder(folder, mode=0o755)
    status = scenes.run(folder, console=out.console())
    out.document.update({"report": str(folder), "status": status})
    if status:
        out.finish()
        raise click.exceptions.Exit(status)
