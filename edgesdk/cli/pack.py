"""``edgesdk pack``: from a ``.tflite`` file to an unsigned bundle and its content key."""

# ruff: noqa: PLC0415 - packing brings numpy, cryptography and the core, which --help does not need
from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgesdk.cli.keygen import check_absent
from edgesdk.cli.options import (
    FILE,
    PATH,
    WHEN,
    Integer,
    command,
    date,
    device_options,
    named,
    now,
    output_option,
)
from edgesdk.cli.streams import PIPE, Target, as_input_error, read
from edgesdk.errors import InputError
from edgesdk.limits import EVIDENCE, PUBLISHER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgesdk.claim import ClaimFile
    from edgesdk.cli.output import Output
    from edgesdk.cli.tensors import Frame
    from edgesdk.contract import Contract
    from edgesdk.manifest import Manifest
    from edgesdk.publish.metadata import Additions
    from edgesdk.publish.pack import Packed

_LARGEST_REAL = 3.4e38


@command(
    "pack",
    examples=[
        (
            "edgesdk pack digits.tflite --model-id demo/digits --model-version 1.0 \\\n"
            "    --sequence 1 --label-file digits.txt --golden digits.npy"
        ),
        (
            "cat digits.tflite | edgesdk pack - --model-id demo/digits \\\n"
            "    --model-version 1.1 --sequence 2 --content-key digits-2.content.key \\\n"
            "    | edgesdk sign - --key release.key -o digits-2.emb"
        ),
    ],
)
@click.argument("model", type=FILE)
@click.option("--model-id", required=True, metavar="ID", help="Which model, like door/person.")
@click.option("--model-version", required=True, metavar="TEXT", help="Which release, for people.")
@click.option(
    "--sequence",
    type=Integer(1),
    required=True,
    metavar="N",
    help="Rises with each release of the model.",
)
@click.option(
    "--epoch",
    type=Integer(0),
    default=0,
    show_default=True,
    metavar="N",
    help="That of the devices' trust file.",
)
@output_option("The bundle.  [MODEL, as .emb]")
@click.option(
    "--content-key",
    type=PATH,
    metavar="FILE",
    help="Where the content key goes.  [beside the bundle, as .content.key]",
)
@click.option(
    "--golden",
    type=PATH,
    multiple=True,
    metavar="FILE",
    help="Inputs for golden vectors, .npy or .npz.  [2 random ones]",
)
@click.option(
    "--label-file",
    multiple=True,
    metavar="[OUTPUT=]FILE",
    help="Labels of an output's entries, one on each line.",
)
@click.option("--colour", multiple=True, metavar="[INPUT=]ORDER", help="rgb, bgr or gray.")
@click.option(
    "--mean", multiple=True, metavar="[INPUT=]X,...", help="The model expects (x - mean) / std ..."
)
@click.option("--std", multiple=True, metavar="[INPUT=]X,...", help="... with this divisor.")
@click.option(
    "--evidence",
    type=PATH,
    multiple=True,
    metavar="FILE",
    help="What an auditor has signed of this model, by `claim`.",
)
@click.option("--licence", metavar="SPDX", help="Licence of the model.")
@click.option("--not-before", type=WHEN, metavar="TIME", help="From when it may be used.")
@click.option("--expires", type=WHEN, metavar="TIME", help="When it ends.  [never]")
@device_options
def pack(
    out: Output,
    *,
    model: str,
    model_id: str,
    model_version: str,
    sequence: int,
    epoch: int,
    output: str | None,
    content_key: str | None,
    golden: tuple[str, ...],
    label_file: tuple[str, ...],
    colour: tuple[str, ...],
    mean: tuple[str, ...],
    std: tuple[str, ...],
    evidence: tuple[str, ...],
    licence: str | None,
    not_before: int | None,
    expires: int | None,
    vendor_id: str | None,
    class_id: str | None,
) -> None:
    """Encrypt a model into an unsigned bundle.

    MODEL is a .tflite file, or - for standard input. The bundle carries a contract
    of inputs and outputs (from the model, its metadata and the options here), and
    golden vectors: inputs with the outputs computed here, which every device must
    reproduce bit for bit before it uses the model.

    The content key is what `grant` gives to devices. It is written with mode 0600,
    never overwritten, and should stay with you. Sign the bundle next.

    With --vendor-id or --class-id only such devices take it. TIME is a date like
    2027-01-31, a time like 2027-01-31T12:00:00Z, or a span from now like 90d.
    """
    from edgesdk.contract import Contract
    from edgesdk.interpreter import Interpreter
    from edgesdk.limits import MODEL
    from edgesdk.publish.pack import Release
    from edgesdk.publish.pack import pack as make

    where = output or (PIPE if model == PIPE else f"{model.removesuffix('.tflite')}.emb")
    target = Target.new(out, where, what="the bundle")
    key_path = content_key or _beside(where)
    check_absent(key_path, hint="each packing has a key of its own: choose another -o")
    content = read(
        model, limit=MODEL.model_bytes, what="the model", error=as_input_error, follow=True
    )
    loaded = Interpreter(model_content=content, engine="native")
    loaded.allocate_tensors()
    contract = Contract.of(loaded)
    packed = make(
        content,
        Release(
            model_id=model_id,
            model_version=model_version,
            sequence=sequence,
            epoch=epoch,
            licence=licence,
            not_before=not_before,
            expires=expires,
            vendor_id=vendor_id,
            class_id=class_id,
        ),
        created=now(),
        golden=_golden(golden, contract) if golden else None,
        additions=_additions(contract, label_file, colour, mean, std),
        evidence=[_claims(path) for path in evidence],
    )
    _save(packed, key_path, target)
    _tell(out, packed.manifest, target, key_path, len(packed.bundle))


def content_key_path(bundle: str) -> str:
    """``door.emb`` has ``door.content.key``."""
    return f"{bundle.removesuffix('.emb')}.content.key"


def _beside(bundle: str) -> str:
    if bundle == PIPE:
        raise InputError(
            "argument",
            "expected --content-key FILE for a bundle on standard output, got none",
        )
    return content_key_path(bundle)


def _save(packed: Packed, key_path: str, target: Target) -> None:
    """Both, or none: a key without its bundle is worth nothing and would be in the way."""
    with packed.content_key as key:
        key.save(key_path)
    try:
        target.write(packed.bundle)
    except BaseException:
        Path(key_path).unlink(missing_ok=True)
        raise


def _golden(paths: Sequence[str], contract: Contract) -> list[Frame]:
    from edgesdk.cli.tensors import read_frames

    return [
        frame
        for path in paths
        for frame in read_frames(
            read(path, limit=PUBLISHER.array_bytes, what="golden inputs", error=as_input_error),
            contract,
            where=path,
        )
    ]


def _claims(path: str) -> ClaimFile:
    from edgesdk.claim import ClaimFile

    return ClaimFile.parse(read(path, limit=EVIDENCE.claim_file_bytes, what="claims"))


def _additions(
    contract: Contract,
    labels: Sequence[str],
    colour: Sequence[str],
    mean: Sequence[str],
    std: Sequence[str],
) -> dict[str, Additions]:
    """What the options say of inputs and outputs, by their names."""
    from edgesdk.contract import COLOURS
    from edgesdk.publish.metadata import Additions

    inputs = [spec.name for spec in contract.inputs]
    outputs = [spec.name for spec in contract.outputs]
    colours = named(colour, "--colour", inputs)
    means, stds = named(mean, "--mean", inputs), named(std, "--std", inputs)
    files = named(labels, "--label-file", outputs)
    if means.keys() != stds.keys():
        raise InputError("argument", "expected --mean and --std together, got one of them")
    for order in colours.values():
        if order not in COLOURS:
            raise InputError(
                "argument", f"--colour: expected one of {', '.join(COLOURS)}, got {order!r}"
            )
    found = {
        name: Additions(
            colour=colours.get(name),
            mean=_reals(means[name], "--mean") if name in means else None,
            std=_reals(stds[name], "--std") if name in stds else None,
        )
        for name in {*colours, *means}
    }
    return found | {name: Additions(labels=_labels(path)) for name, path in files.items()}


def _reals(text: str, option: str) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = (math.nan,)
    if not all(abs(value) <= _LARGEST_REAL for value in values):
        raise InputError("argument", f"{option}: expected numbers with commas, got {text!r}")
    return values


def _labels(path: str) -> tuple[str, ...]:
    data = read(path, limit=PUBLISHER.label_bytes, what="labels", error=as_input_error, follow=True)
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise InputError("argument", f"{path}: expected labels in UTF-8, got others") from None
    while lines and not lines[-1].strip():
        lines.pop()
    return tuple(" ".join(line.split()) for line in lines)


def _tell(out: Output, manifest: Manifest, target: Target, key_path: str, size: int) -> None:
    binding = manifest.binding
    out.document.update(
        {
            "bundle": target.path,
            "bytes": size,
            "content_key": key_path,
            "bundle_id": binding.bundle_id.hex(),
            "model_id": binding.model_id,
            "model_version": manifest.model_version,
            "sequence": binding.sequence,
            "epoch": binding.epoch,
            "created": manifest.created,
            "expires": manifest.expires,
            "golden": manifest.golden_count,
            "claims": sum(len(entry.statement.claims) for entry in manifest.evidence),
        }
    )
    out.fields(
        [
            ("bundle", f"{target.shown}  ({size:,} bytes, unsigned)"),
            ("content key", f"{key_path}  (secret, mode 0600)"),
            ("model", f"{binding.model_id} {manifest.model_version}"),
            ("release", f"sequence {binding.sequence}, epoch {binding.epoch}"),
            ("golden vectors", str(manifest.golden_count)),
            ("expires", date(manifest.expires)),
        ]
    )
