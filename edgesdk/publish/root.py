"""Making the trust file: who may sign what, signed by its own root role.

``make_trust`` writes version 1, and each version after it; ``sign_trust`` adds the signatures of
somebody who is elsewhere. A rotation is signed by the role ``root`` of both versions.

Not checked here: whether the people are who they say. A record proves that its keys belong
together, and whoever runs this has looked at its ``kid``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgesdk import canonical
from edgesdk.envelope import Domain, Envelope
from edgesdk.errors import InputError
from edgesdk.manifest import FORMAT
from edgesdk.primitives import ED25519, ML_DSA_65, Algorithm
from edgesdk.record import kid_of_signer, public_keys_to_json, sign_envelope
from edgesdk.root import TrustRoot, read_envelope

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from edgesdk.canonical import JSON
    from edgesdk.keys import PublicRecord, Signer

DEFAULT_SUITE = (ED25519, ML_DSA_65)


@dataclass(frozen=True)
class Members:
    """Who is in a role of the trust file, how many must agree, and on which models."""

    records: tuple[PublicRecord, ...]
    threshold: int = 1
    scope: tuple[str, ...] = ("*",)


def make_trust(
    roles: Mapping[str, Members],
    signers: Iterable[Signer],
    *,
    created: int,
    version: int = 1,
    epoch: int = 0,
    expires: int | None = None,
    suite: Sequence[Algorithm] = DEFAULT_SUITE,
) -> bytes:
    """A trust file, signed by all of ``signers``: enough of its own role ``root``.

    The default suite asks each signer for Ed25519 and ML-DSA-65 both. For the next version of a
    trust file, ``signers`` are those of its role ``root`` and those of the version before.

    Raises:
        InputError: ``argument``: a record without the keys of the suite.
        MalformedBundleError, SignatureError: what devices would not take either.
    """
    people = [record for members in roles.values() for record in members.records]
    payload: dict[str, JSON] = {
        "created": created,
        "epoch": epoch,
        "format": FORMAT,
        "roles": {name: _role_to_json(members, suite) for name, members in roles.items()},
        "signers": {_kid(record, suite).hex(): _to_json(record, suite) for record in people},
        "suite": [algorithm.label for algorithm in sorted(suite)],
        "version": version,
    }
    if expires is not None:
        payload["expires"] = expires
    data = Envelope(Domain.ROOT, canonical.encode(payload)).encode()
    for signer in signers:
        data = sign_trust(data, signer)
    TrustRoot.parse(data)
    return data


def sign_trust(data: bytes, signer: Signer) -> bytes:
    """Add a signer's signatures to a trust file, whoever else has signed it."""
    return sign_envelope(read_envelope(data), signer).encode()


def _role_to_json(members: Members, suite: Sequence[Algorithm]) -> dict[str, JSON]:
    return {
        "scope": list(members.scope),
        "signers": [*sorted(_kid(record, suite).hex() for record in members.records)],
        "threshold": members.threshold,
    }


def _to_json(record: PublicRecord, suite: Sequence[Algorithm]) -> dict[str, JSON]:
    return {"keys": public_keys_to_json(_keys(record, suite)), "name": record.label}


def _kid(record: PublicRecord, suite: Sequence[Algorithm]) -> bytes:
    return kid_of_signer(_keys(record, suite))


def _keys(record: PublicRecord, suite: Sequence[Algorithm]) -> dict[Algorithm, bytes]:
    missing = [algorithm.label for algorithm in suite if algorithm not in record.keys]
    if record.kind != "signer" or missing:
        raise InputError(
            "argument",
            f"expected a signer with {' and '.join(a.label for a in suite)},"
            f" got {record.kind} {record.label} without {', '.join(missing) or 'that purpose'}",
        )
    return {algorithm: record.keys[algorithm] for algorithm in sorted(suite)}
