"""``edgesdk device``: a device's own key, born where it is used."""

# ruff: noqa: PLC0415 - keys bring cryptography, which --help does not need
from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import click

from edgesdk.cli.exits import Misuse
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
        "edgesdk device init --floors-only",
    ],
)
@home_option
@click.option("--name", type=LABEL, metavar="TEXT", help="A name for people.  [the host's]")
@output_option("Where the enrolment record goes.  [device.pub in the folder]")
@click.option("--floors-only", is_flag=True, help="Only its floors: it has its key already.")
def init(
    out: Output, *, home: str | None, name: str | None, output: str | None, floors_only: bool
) -> None:
    """Make this device's key and its enrolment record.

    The key is made here, is stored in the configuration folder with mode 0600 and
    never leaves it. The enrolment record is public: the publisher of models makes
    grants with it, the cloud gateway lets the device in by it.

    From then on the device remembers which releases it has accepted, and loads no
    older ones.
    """
    from edgesdk import floors
    from edgesdk.keys import SecretKey

    place = Home.find(home)
    if floors_only:
        if (name, output) != (None, None):
            raise Misuse("expected --name and -o for a new key, got them with --floors-only")
        _floors_only(out, place)
        return
    check_absent(
        place.device_key,
        hint=f"`edgesdk record {place.device_key} --kind device` writes its record again",
    )
    record = output or str(place.folder / "device.pub")
    target = Target.new(out, record, what="the enrolment record", binary=False)
    make_folder(place.folder, mode=0o700)
    make_folder(place.folder / "grants", mode=0o700)
    # Before the key: with a key and without floors, it would be a device that forgets.
    floors.provision(place)
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


def _floors_only(out: Output, place: Home) -> None:
    from edgesdk import floors

    make_folder(place.folder, mode=0o700)
    floors.provision(place)
    out.document["floors"] = str(place.state)
    out.fields([("floors", str(place.state))])
