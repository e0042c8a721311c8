"""``edgesdk claim``: sign what was measured of a model; and claims as other commands show them."""

# ruff: noqa: PLC0415 - signing brings cryptography, which --help does not need
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

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
from edgesdk.cli.signers import opened, shown
from edgesdk.cli.streams import PIPE, Target, as_input_error, read
from edgesdk.limits import EVIDENCE, MODEL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from edgesdk.claim import ClaimFile, Statement
    from edgesdk.cli.output import Output
    from edgesdk.evidence import Finding, Verdict
    from edgesdk.trust import TrustRoot


@command(
    "claim",
    examples=[
        (
            "edgesdk claim digits.tflite claims.toml --model-id demo/digits \\\n"
            "    --key auditor.key --expires 365d -o measured.claim"
        ),
    ],
)
@click.argument("model", type=FILE)
@click.argument("claims", type=PATH)
@click.option("--model-id", required=True, metavar="ID", help="Which model, like door/person.")
@key_option("The key that signs; may be repeated.", multiple=True)
@click.option("--expires", type=WHEN, metavar="TIME", help="When the claims end.  [never]")
@output_option("The claim file.  [MODEL, as .claim]")
def claim(
    out: Output,
    *,
    model: str,
    claims: str,
    model_id: str,
    key: tuple[str, ...],
    expires: int | None,
    output: str | None,
) -> None:
    """Sign claims about a model, as an auditor.

    MODEL is the .tflite file that was looked at, or - for standard input. CLAIMS is
    a TOML file that says what was found (docs/evidence.md). What comes out is for
    `pack --evidence`: give it to the publisher. It holds a secret by which anybody
    can tell whether a model is this one, so it is written with mode 0600.

    TIME is a date like 2027-01-31, a time like 2027-01-31T12:00:00Z, or a span from
    now like 90d.
    """
    from edgesdk.publish.claim import make_claim, parse_claims

    where = output or (PIPE if model == PIPE else f"{model.removesuffix('.tflite')}.claim")
    target = Target.new(out, where, what="the claims", binary=False, mode=0o600)
    found = parse_claims(
        read(claims, limit=EVIDENCE.toml_bytes, what="claims", error=as_input_error, follow=True)
    )
    content = read(
        model, limit=MODEL.model_bytes, what="the model", error=as_input_error, follow=True
    )
    with opened(key) as signers:
        made = make_claim(content, model_id, found, signers, created=now(), expires=expires)
    target.write(made.encode())
    out.document.update({"claim": target.path, **describe_statement(made.statement, None)})
    out.fields(
        [
            ("claims", f"{target.shown}  (for the publisher, mode 0600)"),
            *summary(made.statement),
            *(("signed by", shown(uri)) for uri in key),
        ]
    )


def show_claim_file(out: Output, file: ClaimFile, root: TrustRoot | None) -> None:
    """What a claim file says, without its salt."""
    out.document.update({"type": "claim", **describe_statement(file.statement, root)})
    signers = _signers(file.statement, root)
    out.fields(
        [
            ("what", "claims for a publisher (nothing here has been verified)"),
            *summary(file.statement),
            ("signed by", ", ".join(signers) or "nobody"),
        ]
    )


def summary(statement: Statement) -> list[tuple[str, str]]:
    """A statement for people."""
    return [
        ("model", statement.model_id),
        ("made", date(statement.created)),
        ("expires", date(statement.expires)),
        *(("claim", str(each)) for each in statement.claims),
    ]


def describe_statement(statement: Statement, root: TrustRoot | None) -> dict[str, Any]:
    """A statement for programs."""
    return {
        "model_id": statement.model_id,
        "digest": statement.digest.hex(),
        "created": statement.created,
        "expires": statement.expires,
        "claims": [each.to_json() for each in statement.claims],
        "signatures": [
            {"keyid": signature.keyid.hex(), "name": _names(root).get(signature.keyid)}
            for signature in statement.envelope.signatures
        ],
    }


def claim_rows(statement: Statement, root: TrustRoot | None) -> list[tuple[str, str, str]]:
    """Claim, who signed it, and when: rows of a table."""
    signers = ", ".join(_signers(statement, root)) or "nobody"
    return [(str(each), signers, date(statement.created)) for each in statement.claims]


def show_verdicts(out: Output, verdicts: Sequence[Verdict], root: TrustRoot) -> None:
    """Demand by demand: what is demanded, what there is, and what is wrong with it."""
    out.document["evidence"] = [_describe_verdict(each, root) for each in verdicts]
    for verdict in verdicts:
        out.line()
        out.fields([("demand", str(verdict.demand)), *_verdict_rows(verdict, root)])
    if verdicts:
        out.line()


def _verdict_rows(verdict: Verdict, root: TrustRoot) -> list[tuple[str, str]]:
    if not verdict.findings:
        return [("claim", "none"), ("verdict", f"REFUSED [{verdict.reason}]: {verdict.text}")]
    return [
        row
        for finding in verdict.findings
        for row in (("claim", _claimed(finding, root)), ("verdict", _judged(finding)))
    ]


def _claimed(finding: Finding, root: TrustRoot) -> str:
    statement = finding.entry.statement
    return f"{finding.claim}, by {', '.join(_signers(statement, root)) or 'nobody'}"


def _judged(finding: Finding) -> str:
    if finding.reason is None:
        return "accepted"
    refuses = finding.counts or finding.reason == "claim-signature"
    return f"{'REFUSED' if refuses else 'does not count'} [{finding.reason}]: {finding.text}"


def _describe_verdict(verdict: Verdict, root: TrustRoot) -> dict[str, Any]:
    return {
        "demand": str(verdict.demand),
        "kind": verdict.demand.kind,
        "met": verdict.reason is None,
        "reason": verdict.reason,
        "claims": [
            {
                "claim": finding.claim.to_json(),
                "by": _signers(finding.entry.statement, root),
                "counts": finding.counts,
                "reason": finding.reason,
                "message": finding.text or None,
            }
            for finding in verdict.findings
        ],
    }


def _signers(statement: Statement, root: TrustRoot | None) -> list[str]:
    """Names of those whose keys are named under a statement, each once; nothing is verified."""
    names = _names(root)
    found = [names.get(each.keyid) for each in statement.envelope.signatures]
    unknown = ["unknown signers"] if None in found else []
    return [*_once(name for name in found if name is not None), *unknown]


def _once(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _names(root: TrustRoot | None) -> Mapping[bytes, str]:
    from edgesdk.cli.inspect import names_of

    return {keyid: name for keyid, (name, _) in names_of(root).items()}
