"""``edgesdk grant``: the content key of a bundle for one device, or for a fleet."""

# ruff: noqa: PLC0415 - granting brings cryptography, which --help does not need
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgesdk import files
from edgesdk.cli.exits import Misuse
from edgesdk.cli.options import (
    FILE,
    PATH,
    WHEN,
    command,
    date,
    key_option,
    now,
    output_option,
)
from edgesdk.cli.pack import content_key_path
from edgesdk.cli.signers import opened
from edgesdk.cli.streams import PIPE, Target, as_input_error, make_folder, read
from edgesdk.errors import EdgeError, InputError
from edgesdk.limits import BUNDLE, PUBLISHER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edgesdk.cli.output import Output
    from edgesdk.keys import PublicRecord


@command(
    "grant",
    examples=[
        "edgesdk grant digits.emb camera-17.pub --key grant.key",
        "edgesdk grant digits.emb --devices fleet.jsonl --key grant.key",
        "edgesdk grant unsigned.emb camera-17.pub --key grant.key --attach",
    ],
)
@click.argument("bundle", type=FILE)
@click.argument("record", type=PATH, nargs=-1)
@key_option("The key of the role grant.")
@click.option(
    "--content-key",
    type=PATH,
    metavar="FILE",
    help="What `pack` wrote.  [beside BUNDLE, as .content.key]",
)
@click.option(
    "--devices",
    type=PATH,
    multiple=True,
    metavar="FILE",
    help="Many records: one on each line, or a folder of .pub files.",
)
@click.option("--not-after", type=WHEN, metavar="TIME", help="When the grant ends.  [never]")
@click.option("--attach", is_flag=True, help="Put the grants into the bundle, before it is signed.")
@output_option("The grant; with several, a folder; with --attach, the bundle.")
def grant(
    out: Output,
    *,
    bundle: str,
    record: tuple[str, ...],
    key: str,
    content_key: str | None,
    devices: tuple[str, ...],
    not_after: int | None,
    attach: bool,
    output: str | None,
) -> None:
    """Let devices open a bundle.

    RECORD is the enrolment record of a device. The grant for one device is written
    beside the bundle, as BUNDLE.grant for BUNDLE.emb, where the device looks for it.
    Grants for several go into a folder BUNDLE.grants, one for each by the name of
    its device; a device also finds them as grants/*.grant in its own folder.

    TIME is a date like 2027-01-31, a time like 2027-01-31T12:00:00Z, or a span from
    now like 90d.
    """
    from edgesdk.keys import ContentKey
    from edgesdk.publish import pack as publish

    candidates = _Candidates.of(record, devices)
    place = _Place.of(out, bundle, output, several=len(candidates.lines) > 1, attach=attach)
    key_path = content_key or _beside(bundle)
    data = read(bundle, limit=BUNDLE.file_bytes, what="the bundle")
    _check_all(out, candidates)
    made: list[dict[str, str]] = []
    grants: list[bytes] = []
    with (
        ContentKey.open(key_path) as secret,
        opened([key]) as (issuer,),
        out.progress("granting", len(candidates.lines)) as advance,
    ):
        for public in candidates.records():
            issued = publish.grant(data, secret, public, issuer, created=now(), not_after=not_after)
            if attach:
                grants.append(issued)
            path = place.write(public, issued)
            made.append(
                {
                    "device": public.name,
                    "kid": public.kid.hex(),
                    "name": public.label,
                    "path": path,
                }
            )
            advance(1)
    if attach:
        place.target.write(publish.attach(data, grants))
    out.document.update({"bundle": bundle, "not_after": not_after, "grants": made})
    _tell(out, place, made, not_after)


def _beside(bundle: str) -> str:
    if bundle == PIPE:
        raise Misuse("expected --content-key FILE for a bundle on standard input, got none")
    return content_key_path(bundle)


# ---- for whom


@dataclass(frozen=True)
class _Candidates:
    """Records that have not been read yet, and where each comes from."""

    lines: list[tuple[str, bytes]]

    @classmethod
    def of(cls, records: Sequence[str], fleets: Sequence[str]) -> _Candidates:
        paths = [*records, *(p for fleet in fleets if Path(fleet).is_dir() for p in _folder(fleet))]
        lines = [(path, _read_record(path)) for path in paths]
        for fleet in fleets:
            if not Path(fleet).is_dir():
                lines += _lines(fleet)
        if not lines:
            raise Misuse("expected a RECORD or --devices with some, got no device")
        return cls(lines)

    def records(self) -> Iterator[PublicRecord]:
        """Read one after the other: a fleet of records at once would fill the memory."""
        from edgesdk.record import PublicRecord

        for where, line in self.lines:
            try:
                public = PublicRecord.parse(line)
            except EdgeError as error:
                raise type(error)(
                    error.reason, f"{where}: {error.message}", hint=error.hint
                ) from None
            if public.kind != "device":
                raise InputError(
                    "argument",
                    f"{where}: expected the record of a device, got one of a {public.kind}",
                )
            yield public


def _folder(path: str) -> list[str]:
    return sorted(str(found) for found in Path(path).glob("*.pub"))


def _read_record(path: str) -> bytes:
    return read(path, limit=BUNDLE.record_bytes, what="a record").rstrip(b"\r\n")


def _lines(path: str) -> list[tuple[str, bytes]]:
    data = read(
        path, limit=PUBLISHER.fleet_bytes, what="records", error=as_input_error, follow=True
    )
    stripped = ((number, line.strip()) for number, line in enumerate(data.splitlines(), 1))
    return [(f"{path}, line {number}", line) for number, line in stripped if line]


def _check_all(out: Output, candidates: _Candidates) -> None:
    """Find the one bad record of a fleet before the first grant is written."""
    seen: dict[bytes, str] = {}
    with out.progress("reading records", len(candidates.lines)) as advance:
        for (where, _), public in zip(candidates.lines, candidates.records(), strict=True):
            if public.kid in seen:
                raise InputError(
                    "argument",
                    f"{where}: expected each device once, got {public.name} of "
                    f"{seen[public.kid]} again",
                )
            seen[public.kid] = where
            advance(1)


# ---- where to


@dataclass(frozen=True)
class _Place:
    """A grant's file, a folder of them, or the bundle that takes them in."""

    target: Target
    write: Callable[[PublicRecord, bytes], str]
    what: str

    @classmethod
    def of(
        cls, out: Output, bundle: str, output: str | None, *, several: bool, attach: bool
    ) -> _Place:
        if attach:
            target = Target.replacing(out, output or bundle, what="the bundle")
            return cls(target, lambda *_: target.path, "bundle")
        stem = "bundle" if bundle == PIPE else bundle.removesuffix(".emb")
        if several:
            return cls._folder(output or f"{stem}.grants")
        where = output or (PIPE if bundle == PIPE else str(files.grant_beside(bundle)))
        target = Target.new(out, where, what="the grant", binary=False)

        def write(_: PublicRecord, data: bytes) -> str:
            target.write(data)
            return target.path

        return cls(target, write, "grant")

    @classmethod
    def _folder(cls, path: str) -> _Place:
        """Grants of an earlier run are replaced: a grant is easily made again."""
        if path == PIPE:
            raise Misuse("expected a folder for several grants, got standard output")
        make_folder(Path(path), mode=0o755)

        def write(public: PublicRecord, data: bytes) -> str:
            file = Target(f"{path}/{public.name}.grant", replaces=True, mode=0o644)
            file.write(data)
            return file.path

        return cls(Target(path, replaces=True, mode=0o644), write, "folder")


def _tell(
    out: Output, place: _Place, made: Sequence[dict[str, str]], not_after: int | None
) -> None:
    one = made[0]
    who = f"{one['name']}, {one['device']}" if len(made) == 1 else f"{len(made):,} devices"
    out.fields(
        [(place.what, place.target.shown), ("for", who), ("ends", date(not_after))],
    )
    if place.what == "bundle":
        out.line("Sign the bundle next: its grants are signed along.")
