"""``edgesdk record``: the public record of a key that there is already."""

# ruff: noqa: PLC0415 - keys bring cryptography, which --help does not need
from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgesdk.cli.options import KEY, LABEL, LONGEST_LABEL, Choice, command, output_option
from edgesdk.cli.signers import opened, shown
from edgesdk.cli.streams import Target

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edgesdk.cli.output import Output
    from edgesdk.keys import PublicRecord

SUITES = {
    "both": ("ed25519", "ml-dsa-65"),
    "ed25519": ("ed25519",),
    "ml-dsa-65": ("ml-dsa-65",),
}


@command(
    "record",
    examples=[
        "edgesdk record release.key -o release-again.pub",
        'edgesdk record "exec:python3 signer.py seeds.bin" --name hsm -o hsm.pub',
    ],
)
@click.argument("key", type=KEY)
@click.option(
    "--kind",
    type=Choice(["signer", "device", "gateway"]),
    metavar="KIND",
    default="signer",
    show_default=True,
    help="What the key is for: signer, device or gateway.",
)
@click.option("--name", type=LABEL, metavar="TEXT", help="A name for people.  [that of the file]")
@output_option("Where the record goes.  [standard output]")
def record(out: Output, *, key: str, kind: str, name: str | None, output: str | None) -> None:
    """Write the public record of a key.

    KEY is a URI: a path, env:NAME, or exec:COMMAND for a program that signs (an
    HSM, a cloud KMS). The record proves that its keys belong together; it is what
    `trust init`, `grant` and `gateway enrol` take.
    """
    from edgesdk.keys import make_record, open_secret_key

    target = Target.new(out, output or "-", what="the record", binary=False)
    label = name or _label(key)
    if kind == "signer":
        with opened([key]) as (signer,):
            public = make_record(signer, label)
    else:
        with open_secret_key(key, kind=kind) as secret:  # type: ignore[arg-type]
            public = secret.record(label)
    target.write(public.encode())
    out.document.update({"record": target.path, **describe(public)})
    show(out, public, [("record", target.shown)])


def describe(public: PublicRecord) -> dict[str, Any]:
    """What a record says, for programs."""
    return {
        "kind": public.kind,
        "name": public.label,
        "kid": public.kid.hex(),
        "device_name": public.name,
        "algorithms": [algorithm.label for algorithm in public.keys],
    }


def show(out: Output, public: PublicRecord, files: Iterable[tuple[str, str]]) -> None:
    """The same for people."""
    out.fields([*files, *summary(public)])


def summary(public: PublicRecord) -> list[tuple[str, str]]:
    """What a record says, for people."""
    algorithms = ", ".join(algorithm.label for algorithm in public.keys)
    named = [] if public.kind == "signer" else [(f"{public.kind} name", public.name)]
    return [
        ("kind", f"{public.kind}, {algorithms}"),
        ("name", public.label),
        ("kid", public.kid.hex()),
        *named,
    ]


def _label(uri: str) -> str:
    """A name for a key that was given none."""
    scheme = re.match(r"(env|exec|file):", uri)
    if scheme is None or scheme[1] == "file":
        return Path(uri).stem[:LONGEST_LABEL] or "key"
    return shown(uri).removeprefix(scheme[0])[:LONGEST_LABEL] or "key"
