"""What a bundle says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgesdk.bundle import Bundle, Manifest
from edgesdk.cli.claim import claim_rows, describe_statement
from edgesdk.cli.inspect import names_of, signature_in_words
from edgesdk.cli.options import date
from edgesdk.cli.tensors import contract_rows, describe_contract
from edgesdk.primitives import SIGNATURE_IDS
from edgesdk.record import name_of

if TYPE_CHECKING:
    from edgesdk.cli.output import Output
    from edgesdk.trust import TrustRoot

_SHOWN_RECIPIENTS = 8


def show_bundle(out: Output, data: bytes, root: TrustRoot | None) -> None:
    """Signers, manifest, sizes and recipients."""
    bundle = Bundle.parse(data)
    manifest = Manifest.parse(bundle.manifest_bytes)
    signatures = _signatures(bundle, root)
    recipients = [kid.hex() for kid in bundle.grants()]
    sizes = {
        "signatures": bundle.prelude.sig_len,
        "manifest": bundle.prelude.manifest_len,
        "table": bundle.prelude.table_len,
        "recipients": bundle.prelude.recip_len,
        "payload": bundle.prelude.payload_len,
        "model": manifest.model_len,
    }
    out.document.update(
        {
            "type": "bundle",
            "signatures": signatures,
            **_describe(manifest),
            "evidence": [describe_statement(each.statement, root) for each in manifest.evidence],
            "sizes": sizes,
            "recipients": recipients,
        }
    )
    out.fields(
        [
            ("what", "a bundle (nothing here has been verified)"),
            *_summary(manifest),
            *(("signature", signature_in_words(each)) for each in signatures),
            *([] if signatures else [("signature", "none yet")]),
            *_recipients(recipients),
            ("sizes", ", ".join(f"{name} {size:,}" for name, size in sizes.items())),
        ]
    )
    out.line()
    out.table(("", "name", "type", "meaning"), contract_rows(manifest.contract))
    out.line()
    if manifest.evidence:
        rows = [row for entry in manifest.evidence for row in claim_rows(entry.statement, root)]
        out.table(("claim", "signed by", "made"), rows)
        out.line()
    operators = ", ".join(f"{name} v{version}" for name, version in manifest.operators)
    out.fields([("operators", operators)])


def _signatures(bundle: Bundle, root: TrustRoot | None) -> list[dict[str, str | None]]:
    names = names_of(root)
    algorithms = {number: a.label for a, number in SIGNATURE_IDS.items()}
    return [
        {
            "keyid": each.keyid.hex(),
            "algorithm": algorithms.get(each.algorithm, f"unknown {each.algorithm}"),
            "name": names.get(each.keyid, (None,))[0],
        }
        for each in bundle.signatures
    ]


def _recipients(kids: list[str]) -> list[tuple[str, str]]:
    if not kids:
        return [("recipients", "none inside: grants come by themselves")]
    shown = [("recipient", name_of(bytes.fromhex(kid))) for kid in kids[:_SHOWN_RECIPIENTS]]
    rest = len(kids) - len(shown)
    return shown + ([("recipients", f"and {rest:,} more")] if rest else [])


def _describe(manifest: Manifest) -> dict[str, Any]:
    binding = manifest.binding
    return {
        "model_id": binding.model_id,
        "model_version": manifest.model_version,
        "sequence": binding.sequence,
        "epoch": binding.epoch,
        "bundle_id": binding.bundle_id.hex(),
        "created": manifest.created,
        "not_before": manifest.not_before,
        "expires": manifest.expires,
        "vendor_id": manifest.vendor_id,
        "class_id": manifest.class_id,
        "licence": manifest.licence,
        "min_core": manifest.min_core,
        "golden": manifest.golden_count,
        "operators": [{"name": n, "version": v} for n, v in manifest.operators],
        "contract": describe_contract(manifest.contract),
    }


def _summary(manifest: Manifest) -> list[tuple[str, str]]:
    binding = manifest.binding
    optional = (
        ("not before", date(manifest.not_before) if manifest.not_before is not None else None),
        ("vendor", manifest.vendor_id),
        ("class", manifest.class_id),
        ("licence", manifest.licence),
    )
    return [
        ("model", f"{binding.model_id} {manifest.model_version}"),
        ("release", f"sequence {binding.sequence}, epoch {binding.epoch}"),
        ("bundle id", binding.bundle_id.hex()),
        ("packed", date(manifest.created)),
        ("expires", date(manifest.expires)),
        *((name, value) for name, value in optional if value is not None),
        ("golden", f"{manifest.golden_count} vectors"),
    ]
