"""``edgesdk sign``: a signer's signatures on a bundle."""

# ruff: noqa: PLC0415 - signing brings cryptography, which --help does not need
from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edgesdk.cli.options import FILE, command, key_option, output_option
from edgesdk.cli.signers import opened, shown
from edgesdk.cli.streams import Target, read
from edgesdk.limits import BUNDLE

if TYPE_CHECKING:
    from edgesdk.cli.output import Output


@command(
    "sign",
    examples=[
        "edgesdk sign digits.emb --key release.key",
        'edgesdk sign digits.emb --key "exec:python3 signer.py seeds.bin" -o hsm.emb',
        "edgesdk sign - --key release.key -o - < digits.emb > signed.emb",
    ],
)
@click.argument("bundle", type=FILE)
@key_option("The key that signs; may be repeated.", multiple=True)
@output_option("The signed bundle.  [BUNDLE itself]")
def sign(out: Output, *, bundle: str, key: tuple[str, ...], output: str | None) -> None:
    """Sign a bundle.

    Adds the signatures of each key to those that are there. The bundle is checked
    first, so that nobody's signature gets onto one that no device would take. Its
    model stays encrypted: a signer needs no content key.

    URI is a path, env:NAME, or exec:COMMAND for a program that signs (docs/keys.md).
    """
    from edgesdk.bundle import Bundle
    from edgesdk.publish.pack import sign as add

    target = Target.replacing(out, output or bundle, what="the bundle")
    data = read(bundle, limit=BUNDLE.file_bytes, what="the bundle")
    made = []
    with opened(key) as signers:
        for signer in signers:
            data = add(data, signer)
            public = signer.keys()
            made.append([algorithm.label for algorithm in public])
    target.write(data)
    signatures = Bundle.parse(data).signatures
    out.document.update(
        {
            "bundle": target.path,
            "bytes": len(data),
            "signed": made,
            "signatures": [signature.keyid.hex() for signature in signatures],
        }
    )
    out.fields(
        [
            ("bundle", f"{target.shown}  ({len(data):,} bytes)"),
            *(
                ("signed by", f"{shown(uri)}  ({', '.join(algorithms)})")
                for uri, algorithms in zip(key, made, strict=True)
            ),
            ("signatures", str(len(signatures))),
        ]
    )
