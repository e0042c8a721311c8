"""Making a claim: an auditor has the model, signs what was measured, and gives it to the publisher.

Not checked here: whether it is true, and whether any device will accept the signer.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

from edgesdk import encryption, toml
from edgesdk.claim import FORMAT, SALT_BYTES, ClaimFile, Statement, read_claims
from edgesdk.errors import InputError
from edgesdk.manifest import LONGEST_MODEL_ID, MODEL_ID
from edgesdk.record import sign_envelope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edgesdk.claim import Claim
    from edgesdk.keys import Signer
    from edgesdk.primitives import Buffer


def parse_claims(data: bytes) -> tuple[Claim, ...]:
    """The claims of a TOML file, as somebody has written them down.

    Raises:
        InputError: ``argument``.
    """
    fields = toml.parse(data, "claims", error=_unfit)
    fields.constant("format", FORMAT)
    claims = read_claims(fields, "claim")
    fields.end()
    return claims


def make_claim(
    model: Buffer,
    model_id: str,
    claims: Iterable[Claim],
    signers: Iterable[Signer],
    *,
    created: int,
    expires: int | None = None,
    random: Callable[[int], bytes] = secrets.token_bytes,
) -> ClaimFile:
    """Sign claims about a model; all of ``signers`` sign the same statement.

    Raises:
        InputError: ``argument``: what no statement can hold.
    """
    if len(model_id) > LONGEST_MODEL_ID or not MODEL_ID.fullmatch(model_id):
        raise InputError("argument", f"expected a model id like door/person, got {model_id!r}")
    if expires is not None and expires <= created:
        raise InputError("argument", f"expected an expiry after {created}, got {expires}")
    salt = random(SALT_BYTES)
    digest = encryption.subject_digest(salt, model_id, model)
    statement = Statement.build(model_id, digest, claims, created=created, expires=expires)
    envelope = statement.envelope
    for signer in signers:
        envelope = sign_envelope(envelope, signer)
    return ClaimFile(replace(statement, envelope=envelope), salt)


def _unfit(text: str) -> InputError:
    return InputError("argument", text)
