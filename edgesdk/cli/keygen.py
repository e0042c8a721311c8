"""``edgesdk keygen``: the key of a signer or of a gateway, and its public record."""

# ruff: noqa: PLC0415 - keys bring cryptography, which --help does not need
from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgesdk.cli.options import LABEL, LONGEST_LABEL, PATH, Choice, command
from edgesdk.cli.record import SUITES, describe, show
from edgesdk.cli.streams import Target
from edgesdk.errors import InputError, KeyUnavailableError

if TYPE_CHECKING:
    from edgesdk.cli.output import Output


@command(
    "keygen",
    examples=[
        "edgesdk keygen release.key",
        "edgesdk keygen --kind gateway gateway.key",
    ],
)
@click.argument("key", type=PATH)
@click.option(
    "--kind",
    type=Choice(["signer", "gateway"]),
    metavar="KIND",
    default="signer",
    show_default=True,
    help="What the key is for: signer or gateway.",
)
@click.option("--name", type=LABEL, metavar="TEXT", help="A name for people.  [that of the file]")
@click.option(
    "--suite",
    type=Choice(list(SUITES)),
    metavar="SUITE",
    help="What a signer signs with: ed25519, ml-dsa-65 or both.  [both]",
)
@click.option("--record", type=PATH, metavar="FILE", help="The public record.  [KEY, as .pub]")
def keygen(
    out: Output, *, key: str, kind: str, name: str | None, suite: str | None, record: str | None
) -> None:
    """Make the key of a signer or a gateway.

    Writes the secret KEY with mode 0600, and beside it the public record, which
    others need: `release.key` and `release.pub`. Neither is ever overwritten.

    The key of a device is made on the device, by `edgesdk device init`.
    """
    from edgesdk.keys import SecretKey
    from edgesdk.primitives import Algorithm

    if suite is not None and kind != "signer":
        raise InputError("argument", f"expected --suite for a signer only, got it for a {kind}")
    check_absent(key)
    target = Target.new(out, record or record_path(key), what="the record", binary=False)
    chosen = [a for a in Algorithm if a.label in SUITES[suite or "both"]]
    algorithms = chosen if kind == "signer" else None
    with SecretKey.generate(kind, algorithms=algorithms) as made:  # type: ignore[arg-type]
        public = made.record(name or Path(key).stem[:LONGEST_LABEL])
        made.save(key)
    target.write(public.encode())
    out.document.update({"key": key, "record": target.path, **describe(public)})
    show(out, public, [("key", f"{key}  (secret, mode 0600)"), ("record", target.shown)])


def check_absent(path: str | os.PathLike[str], *, hint: str | None = None) -> None:
    """Refuse early what ``save`` would refuse after the work.

    Raises:
        KeyUnavailableError: ``key-exists``.
    """
    if os.path.lexists(path):
        raise KeyUnavailableError(
            "key-exists",
            f"{path}: expected no file of that name, got one; a key is never overwritten",
            hint=hint or "choose another name, or move the old key away",
        )


def record_path(key: str) -> str:
    """``release.key`` and ``release`` have ``release.pub``."""
    return f"{key.removesuffix('.key')}.pub"
