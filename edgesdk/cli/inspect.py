"""``edgesdk inspect``: what a file says of itself. Nothing is verified, and no key is needed."""

# ruff: noqa: PLC0415 - each kind of file brings what reads it
from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from edgesdk import canonical, files
from edgesdk.cli.options import FILE, PATH, command, date
from edgesdk.cli.streams import PIPE, as_input_error, read
from edgesdk.cli.trust import describe as describe_trust
from edgesdk.cli.trust import parse_trust, read_trust, show_roles
from edgesdk.cli.trust import summary as trust_summary
from edgesdk.errors import InputError
from edgesdk.limits import BUNDLE, MODEL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgesdk.cli.output import Output
    from edgesdk.trust import TrustRoot

_HEAD_BYTES = 8
_BUNDLE_MAGIC = b"EDGEMB"
_KEY_MAGIC = b"EDGEKEY"
_MODEL_IDENTIFIER = b"TFL3"
_CONTENT_KIND = 4


@command(
    "inspect",
    examples=[
        "edgesdk inspect digits.tflite",
        "edgesdk inspect digits.emb --trust trust.json",
        "edgesdk inspect release.pub",
    ],
)
@click.argument("file", type=FILE)
@click.option("--trust", type=PATH, metavar="FILE", help="Name the signers that this file knows.")
def inspect(out: Output, *, file: str, trust: str | None) -> None:
    """Show what a file is, without any key.

    FILE is a bundle, a .tflite model, a public record, a grant, a claim file, a trust
    file or a key file. Of a model it shows inputs, outputs, operators with the kernels that
    they take here, and memory. Of a key file it shows whose it is, never a secret.

    What is shown is what the file says of itself: `edgesdk verify` is what checks it.
    """
    root = None if trust is None else read_trust(trust)
    if _head(file)[: len(_KEY_MAGIC)] == _KEY_MAGIC:
        _show_key(out, file)
        return
    data = read(file, limit=MODEL.model_bytes, what="a file", error=as_input_error, follow=True)
    out.document.update({"file": file, "bytes": len(data)})
    if data[: len(_BUNDLE_MAGIC)] == _BUNDLE_MAGIC:
        from edgesdk.cli.inspect_bundle import show_bundle

        show_bundle(out, data, root)
    elif data[4:_HEAD_BYTES] == _MODEL_IDENTIFIER:
        from edgesdk.cli.inspect_model import show_model

        show_model(out, data)
    elif data[:1] == b"{":
        _show_envelope(out, data, root)
    elif data[: len(_KEY_MAGIC)] == _KEY_MAGIC:
        raise InputError("argument", "expected a key file by its name, got one by a pipe")
    else:
        raise _unknown("something else")


def names_of(root: TrustRoot | None) -> Mapping[bytes, tuple[str, str]]:
    """Name and algorithm of the signers of a trust file, by the ids of their keys."""
    from edgesdk.primitives import keyid

    if root is None:
        return {}
    return {
        keyid(algorithm, public): (signer.name, algorithm.label)
        for signer in root.signers.values()
        for algorithm, public in signer.keys.items()
    }


def signature_in_words(signature: Mapping[str, str | None]) -> str:
    """By whom, as far as that is known."""
    by = signature["name"] or "an unknown signer"
    algorithm = f"{signature['algorithm']} " if signature["algorithm"] else ""
    return f"{algorithm}by {by}, key {(signature['keyid'] or '')[:16]}..."


def _head(path: str) -> bytes:
    """The first bytes. A key file must not be read like any other: its bytes are wiped later."""
    if path == PIPE:
        return b""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except (OSError, ValueError):
        return b""  # what is wrong with it, `files` will say
    try:
        return os.read(descriptor, _HEAD_BYTES)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


# ---- keys


def _show_key(out: Output, path: str) -> None:
    from edgesdk.keys import ContentKey, SecretKey
    from edgesdk.primitives import wipe

    data = files.read_private(path, limit=BUNDLE.key_bytes)
    try:
        is_content = int.from_bytes(data[8:10], "little") == _CONTENT_KIND
        if is_content:
            with ContentKey.parse(memoryview(data)) as content:
                kind, kid, algorithms, name = "content", content.kid, ["content-key"], None
        else:
            with SecretKey.parse(memoryview(data)) as key:
                kind, kid, name = key.kind, key.kid, key.name
                algorithms = [algorithm.label for algorithm in key.public()]
    finally:
        wipe(data)
    found = {"type": "key", "kind": kind, "kid": kid.hex(), "algorithms": algorithms}
    out.document.update({"file": path, "bytes": len(data), **found, "device_name": name})
    owner = "bundle" if is_content else kind
    named = [(f"{kind} name", name)] if name and kind != "signer" else []
    out.fields(
        [
            ("file", f"{path}  (secret)"),
            ("what", f"the key of a {owner}, {', '.join(algorithms)}"),
            ("kid", kid.hex()),
            *named,
        ]
    )


# ---- envelopes


def _show_envelope(out: Output, data: bytes, root: TrustRoot | None) -> None:
    from edgesdk.cli import record
    from edgesdk.envelope import Domain
    from edgesdk.grant import Grant
    from edgesdk.record import PublicRecord

    data = data.rstrip(b"\r\n")
    found = canonical.parse_lenient(data, error=_unreadable)
    kind = found.get("payloadType") if isinstance(found, dict) else None
    if kind == Domain.RECORD.payload_type:
        public = PublicRecord.parse(data)
        out.document.update({"type": "record", **record.describe(public)})
        out.fields([("what", "a public record, signed by its own keys"), *record.summary(public)])
    elif kind == Domain.GRANT.payload_type:
        _show_grant(out, Grant.parse(data), root)
    elif kind == Domain.ROOT.payload_type:
        trusted = parse_trust(data)
        out.document.update({"type": "trust", **describe_trust(trusted)})
        what = ("what", "a trust file, signed by its own role root")
        out.fields([what, *trust_summary(trusted)])
        show_roles(out, trusted)
    elif isinstance(found, dict) and "statement" in found:
        from edgesdk.claim import ClaimFile
        from edgesdk.cli.claim import show_claim_file

        show_claim_file(out, ClaimFile.parse(data), root)
    else:
        raise _unknown("another document")


def _show_grant(out: Output, grant: Any, root: TrustRoot | None) -> None:  # noqa: ANN401 - a Grant
    from edgesdk.record import name_of

    names = names_of(root)
    signers = []
    for each in grant.envelope.signatures:
        name, algorithm = names.get(each.keyid, (None, None))
        signers.append({"keyid": each.keyid.hex(), "algorithm": algorithm, "name": name})
    binding = grant.binding
    out.document.update(
        {
            "type": "grant",
            "model_id": binding.model_id,
            "epoch": binding.epoch,
            "sequence": binding.sequence,
            "bundle_id": binding.bundle_id.hex(),
            "device": grant.device.hex(),
            "device_name": name_of(grant.device),
            "created": grant.created,
            "not_after": grant.not_after,
            "serial": grant.serial.hex(),
            "signatures": signers,
        }
    )
    out.fields(
        [
            ("what", "a grant (nothing here has been verified)"),
            ("model", f"{binding.model_id}, sequence {binding.sequence}, epoch {binding.epoch}"),
            ("bundle id", binding.bundle_id.hex()),
            ("device", f"{name_of(grant.device)}"),
            ("device kid", grant.device.hex()),
            ("made", date(grant.created)),
            ("ends", date(grant.not_after)),
            ("serial", grant.serial.hex()),
            *(("signature", signature_in_words(each)) for each in signers),
        ]
    )


def _unreadable(text: str) -> InputError:
    return InputError("argument", f"a document: {text}")


def _unknown(came: str) -> InputError:
    return InputError(
        "argument",
        f"expected a bundle, model, key, record, grant, claim or trust file, got {came}",
    )
