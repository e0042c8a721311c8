"""``edgesdk device``: a device's own key, born where it is used."""

# ruff: noqa: PLC0415 - keys bring cryptography, which --help does not need
from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import click

from edgesdk.cli.keygen import check_absent
from edgesdk.cli.options import LABEL, LONGEST_LABEL, command, home_option, output_option
from edgesdk.cli.record import describe, show
from edgesdk.cli.streams import Target, make_folder
from edgesdk.files import Home

if TYPE_CHECKING:
    from edgesdk.cli.output import Output


@command(
    "init",
    examples=[
        "edgesdk device init --name camera-17",
        "edgesdk device init --home /etc/edgesdk -o - > camera-17.pub",
    ],
)
@home_option
@click.option("--name", type=LABEL, metavar="TEXT", help="A name for people.  [the host's]")
@output_option("Where the enrolment record goes.  [device.pub in the folder]")
def init(out: Output, *, home: str | None, name: str | None, output: str | None) -> None:
    """Make this device's key and its enrolment record.

    The key is made here, is stored in the configuration folder with mode 0600 and
    never leaves it. The enrolment record is public: the publisher of models makes
    grants with it, the cloud gateway lets the device in by it.
    """
    from edgesdk.keys import SecretKey

    place = Home.find(home)
    check_absent(
        place.device_key,
        hint=f"`edgesdk record {place.device_key} --kind device` writes its record again",
    )
    record = output or str(place.folder / "device.pub")
    target = Target.new(out, record, what="the enrolment record", binary=False)
    make_folder(place.folder, mode=0o700)
    make_folder(place.folder / "grants", mode=0o700)
    with SecretKey.generate("device") as made:
        public = made.record((name or socket.gethostname())[:LONGEST_LABEL] or "device")
        made.save(place.device_key)
    target.write(public.encode())
    out.document.update({"key": str(place.device_key), "record": target.path, **describe(public)})
    show(
        out,
        public,
        [("key", f"{place.device_key}  (secret, mode 0600)"), ("record", target.shown)],
    )
    if not os.path.lexists(place.trust):
        out.line()
        out.line("Next, the publisher's trust.json goes into the same folder.")
