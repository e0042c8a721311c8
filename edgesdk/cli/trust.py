"""``edgesdk trust``: the file that says whom a device believes."""

# ruff: noqa: PLC0415 - keys bring cryptography, which --help does not need
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from edgesdk import files
from edgesdk.cli.options import (
    PATH,
    WHEN,
    Choice,
    Integer,
    command,
    date,
    key_option,
    named,
    now,
    output_option,
)
from edgesdk.cli.record import SUITES
from edgesdk.cli.signers import opened
from edgesdk.cli.streams import Target
from edgesdk.errors import InputError, MalformedBundleError
from edgesdk.limits import BUNDLE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edgesdk.cli.output import Output
    from edgesdk.keys import PublicRecord
    from edgesdk.publish.root import Members
    from edgesdk.trust import TrustRoot

_ROLES = ("root", "release", "grant", "auditor")


@command(
    "init",
    examples=[
        (
            "edgesdk trust init --root root.pub --release release.pub \\\n"
            "    --grant grant.pub --key root.key"
        ),
    ],
)
@click.option(
    "--root",
    "root",
    type=PATH,
    multiple=True,
    required=True,
    metavar="RECORD",
    help="Who may replace the trust file.",
)
@click.option(
    "--release",
    "release",
    type=PATH,
    multiple=True,
    required=True,
    metavar="RECORD",
    help="Who may sign bundles.",
)
@click.option(
    "--grant",
    "grant",
    type=PATH,
    multiple=True,
    required=True,
    metavar="RECORD",
    help="Who may let devices open them.",
)
@click.option(
    "--auditor",
    "auditor",
    type=PATH,
    multiple=True,
    metavar="RECORD",
    help="Whose claims about models count.",
)
@key_option("The key of a root signer.", multiple=True)
@output_option("Where the trust file goes.  [trust.json]")
@click.option(
    "--suite",
    type=Choice(list(SUITES)),
    metavar="SUITE",
    default="both",
    show_default=True,
    help="What every signer must sign with: ed25519, ml-dsa-65 or both.",
)
@click.option(
    "--threshold",
    multiple=True,
    metavar="ROLE=N",
    help="How many signers of a role must agree.  [1]",
)
@click.option(
    "--scope",
    multiple=True,
    metavar="ROLE=MODELS",
    help="Model ids, with commas, or prefixes like door/*.  [*]",
)
@click.option("--epoch", type=Integer(0), metavar="N", help="Epoch of bundles.  [0, or as before]")
@click.option("--expires", type=WHEN, metavar="TIME", help="When it ends.  [never]")
@click.option(
    "--previous",
    type=PATH,
    metavar="FILE",
    help="The trust file that this one replaces; its root role must sign too.",
)
def init(
    out: Output,
    *,
    key: tuple[str, ...],
    output: str | None,
    suite: str,
    threshold: tuple[str, ...],
    scope: tuple[str, ...],
    epoch: int | None,
    expires: int | None,
    previous: str | None,
    **records: tuple[str, ...],
) -> None:
    """Make the trust file of devices from public records.

    It names who may release models, who may grant them to devices, whose claims
    about models count, and who may replace the file itself. It is signed by the
    role root, and is put on each device when that is provisioned. Use a key and a
    machine for each role.

    Options may be repeated where several people share a role. TIME is a date like
    2027-01-31, a time like 2027-01-31T12:00:00Z, or a span from now like 90d.
    """
    from edgesdk.primitives import Algorithm
    from edgesdk.publish.root import make_trust
    from edgesdk.trust import rotate

    target = Target.new(out, output or "trust.json", what="the trust file", binary=False)
    before = None if previous is None else read_trust(previous)
    roles = _roles(records, threshold, scope)
    try:
        with opened(key) as signers:
            data = make_trust(
                roles,
                signers,
                created=now(),
                version=1 if before is None else before.version + 1,
                epoch=(0 if before is None else before.epoch) if epoch is None else epoch,
                expires=expires,
                suite=[a for a in Algorithm if a.label in SUITES[suite]],
            )
    except MalformedBundleError as error:
        # The file is made of these options; nobody else's bytes are in it.
        if error.reason != "trust-file":
            raise
        raise InputError("argument", error.message) from None
    made = parse_trust(data) if before is None else rotate(before, data)
    target.write(data)
    out.document.update({"trust": target.path, **describe(made)})
    out.fields([("trust file", target.shown), *summary(made)])
    show_roles(out, made)


def read_trust(path: str) -> TrustRoot:
    """A trust file that nobody else can change."""
    return parse_trust(files.read_trusted(path, limit=BUNDLE.trust_bytes))


def parse_trust(data: bytes) -> TrustRoot:
    """Its members; its own root role has signed it."""
    from edgesdk.trust import TrustRoot

    return TrustRoot.parse(data)


def read_record(path: str) -> PublicRecord:
    """A public record; a line's end behind it does no harm."""
    from edgesdk.record import PublicRecord

    return PublicRecord.parse(files.read_once(path, limit=BUNDLE.record_bytes).rstrip(b"\r\n"))


def describe(root: TrustRoot) -> dict[str, Any]:
    """What a trust file says, for programs."""
    return {
        "version": root.version,
        "epoch": root.epoch,
        "created": root.created,
        "expires": root.expires,
        "suite": [algorithm.label for algorithm in root.suite],
        "signers": {kid.hex(): signer.name for kid, signer in root.signers.items()},
        "roles": {
            name: {
                "signers": [kid.hex() for kid in role.signers],
                "threshold": role.threshold,
                "scope": list(role.scope),
            }
            for name, role in root.roles.items()
        },
    }


def summary(root: TrustRoot) -> list[tuple[str, str]]:
    """The same for people, without the roles."""
    return [
        ("version", f"{root.version}, epoch {root.epoch}"),
        ("made", date(root.created)),
        ("expires", date(root.expires)),
        ("signatures", " and ".join(algorithm.label for algorithm in root.suite)),
    ]


def show_roles(out: Output, root: TrustRoot) -> None:
    """Who is in which role."""
    rows = [
        (
            name if number == 0 else "",
            f"{role.threshold} of {len(role.signers)}" if number == 0 else "",
            root.signers[kid].name,
            kid.hex(),
            ", ".join(role.scope) if number == 0 else "",
        )
        for name, role in root.roles.items()
        for number, kid in enumerate(role.signers)
    ]
    out.line()
    out.table(("role", "needs", "signer", "kid", "models"), rows)


def _roles(
    records: dict[str, tuple[str, ...]], threshold: Iterable[str], scope: Iterable[str]
) -> dict[str, Members]:
    from edgesdk.publish.root import Members

    needed = named(threshold, "--threshold")
    scopes = named(scope, "--scope")
    # The role auditor is there if somebody is in it.
    known = [role for role in _ROLES if records[role]]
    for option, entries in (("--threshold", needed), ("--scope", scopes)):
        unknown = sorted(entries.keys() - set(known))
        if unknown:
            raise InputError(
                "argument", f"{option}: expected a role of {', '.join(known)}, got {unknown[0]}"
            )
    return {
        role: Members(
            tuple(read_record(path) for path in records[role]),
            threshold=_threshold(needed.get(role, "1"), len(records[role])),
            scope=tuple(scopes[role].split(",")) if role in scopes else ("*",),
        )
        for role in known
    }


def _threshold(text: str, signers: int) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= signers:
        raise InputError(
            "argument", f"--threshold: expected 1 to {signers}, as there are signers, got {text}"
        )
    return int(text)
