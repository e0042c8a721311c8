"""Public records: what others may know of a device, a signer or a gateway.

A record is an envelope that each of the keys in it has signed, which proves that they belong
together. A device's record is what it enrols with; a signer's goes into the trust file.

Order of checks: the envelope's form; members; keys of right size and none of small order; the
keys that its kind must have; ``kid`` as computed from them; a good signature by each of its own
signing keys, and by no other.

Not checked here: whether anybody trusts it. That is what ``trust`` is for.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, cast

from edgesdk import canonical, primitives
from edgesdk.envelope import Domain, Envelope, Signature
from edgesdk.errors import InputError, MalformedBundleError, SignatureError
from edgesdk.limits import BUNDLE
from edgesdk.primitives import ED25519, ML_DSA_65, ML_KEM_768, X25519, Algorithm

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from edgesdk.primitives import Buffer

Kind: TypeAlias = Literal["device", "signer", "gateway"]

KINDS: Mapping[Kind, int] = {"device": 1, "signer": 2, "gateway": 3}
KID_BYTES = 16
LONGEST_LABEL = 64

RECEIVER = (ML_KEM_768, X25519, ED25519)
SIGNER = (ED25519, ML_DSA_65)


class Signer(Protocol):
    """Whatever signs: a key file, or an external program."""

    def keys(self) -> Mapping[Algorithm, bytes]:
        """The public keys that it signs with."""

    def sign(self, message: bytes, context: bytes) -> Mapping[Algorithm, bytes]:
        """One signature by each of them; ``context`` is for ML-DSA."""


@dataclass(frozen=True)
class PublicRecord:
    """What others know of a device, signer or gateway; its own keys have signed it."""

    kind: Kind
    kid: bytes
    label: str
    keys: Mapping[Algorithm, bytes]
    envelope: Envelope

    @classmethod
    def parse(cls, data: bytes) -> PublicRecord:
        """Read a record, and have its keys prove that they belong to it.

        Raises:
            MalformedBundleError: ``record``, ``weak-key``.
            SignatureError: ``unsigned``, ``threshold``, ``unknown-signer``, ``signature``.
        """
        envelope = Envelope.parse(
            data, expect=Domain.RECORD, limit=BUNDLE.record_bytes, error=_unfit
        )
        fields = canonical.Fields(canonical.parse(envelope.payload, error=_unfit), "record", _unfit)
        fields.constant("format", 1)
        kind = cast("Kind", fields.choice("kind", tuple(KINDS)))
        label = fields.text("name", longest=LONGEST_LABEL, least=1)
        kid = fields.hexadecimal("kid", KID_BYTES)
        keys = parse_public_keys(fields.nested("keys"))
        fields.end()
        if not fits(kind, keys):
            raise _unfit(f"expected the keys of a {kind}, got {', '.join(a.label for a in keys)}")
        if kid != make_kid(KINDS[kind], keys.items()):
            raise _unfit("expected the kid of its keys, got another")
        _check_possession(envelope, keys)
        return cls(kind, kid, label, MappingProxyType(keys), envelope)

    def encode(self) -> bytes:
        """The bytes of a record's file."""
        return self.envelope.encode()

    @property
    def name(self) -> str:
        """The ``kid`` in base32."""
        return name_of(self.kid)

    def seal(self, plaintext: Buffer, info: bytes) -> bytes:
        """Encrypt so that only the holder of the secret key can open it, with this ``info``."""
        if X25519 not in self.keys:
            raise InputError("argument", f"expected a record of a device, got one of a {self.kind}")
        return primitives.hpke_seal(self.keys[ML_KEM_768], self.keys[X25519], plaintext, info)

    def verify_ed25519(self, signature: Buffer, message: Buffer) -> None:
        """Return if the signature is good, else raise SignatureError."""
        if ED25519 not in self.keys:
            raise InputError("argument", "expected a record with ed25519, got one without")
        primitives.verify(ED25519, self.keys[ED25519], signature, message, b"")


def make_record(
    signer: Signer,
    label: str,
    *,
    kind: Kind = "signer",
    public: Mapping[Algorithm, bytes] | None = None,
) -> PublicRecord:
    """The record of whatever signs. ``public`` is given where there are keys besides."""
    keys = dict(sorted((public or signer.keys()).items()))
    payload = canonical.encode(
        {
            "format": 1,
            "keys": public_keys_to_json(keys),
            "kid": make_kid(KINDS[kind], keys.items()).hex(),
            "kind": kind,
            "name": label,
        }
    )
    signed = sign_envelope(Envelope(Domain.RECORD, payload), signer)
    # Parsing makes every check that a reader will make, among them that of the signatures.
    return PublicRecord.parse(signed.encode())


def sign_envelope(envelope: Envelope, signer: Signer) -> Envelope:
    """The same envelope with a signature by each of the signer's keys as well."""
    public = signer.keys()
    made = signer.sign(envelope.message, envelope.domain.context)
    return envelope.with_signatures(
        Signature(primitives.keyid(a, public[a]), value) for a, value in made.items()
    )


def parse_public_keys(fields: canonical.Fields) -> dict[Algorithm, bytes]:
    """Read ``{"ed25519": base64, ...}``: known algorithms, right sizes, no weak keys."""
    keys = {}
    for algorithm in Algorithm:
        if algorithm.label in fields:
            public = fields.base64(algorithm.label, size=algorithm.sizes.public)
            primitives.check_public(algorithm, public)
            keys[algorithm] = public
    fields.end()
    return keys


def public_keys_to_json(keys: Mapping[Algorithm, bytes]) -> canonical.JSON:
    """The inverse of ``parse_public_keys``."""
    return {algorithm.label: canonical.to_base64(public) for algorithm, public in keys.items()}


def make_kid(kind: int, public: Iterable[tuple[int, bytes]]) -> bytes:
    """The name of a set of keys, given in ascending order of types."""
    digest = hashlib.sha256(b"edgesdk/kid/v1\x00" + struct.pack("<H", kind))
    for entry, key in public:
        digest.update(struct.pack("<HH", entry, len(key)) + key)
    return digest.digest()[:KID_BYTES]


def kid_of_signer(keys: Mapping[Algorithm, bytes]) -> bytes:
    """The ``kid`` that a trust file calls a signer by."""
    return make_kid(KINDS["signer"], sorted(keys.items()))


def name_of(kid: bytes) -> str:
    """Base32, 26 characters that fit into a topic or a host name."""
    return base64.b32encode(kid).decode("ascii").rstrip("=").lower()


def fits(kind: Kind, algorithms: Collection[Algorithm]) -> bool:
    """Whether these are the keys that a device, gateway or signer must have."""
    if kind == "signer":
        return bool(algorithms) and set(algorithms) <= set(SIGNER)
    return set(algorithms) == set(RECEIVER)


def _check_possession(envelope: Envelope, keys: Mapping[Algorithm, bytes]) -> None:
    expected = {primitives.keyid(a, public): a for a, public in keys.items() if a.signs}
    found = {signature.keyid: signature.value for signature in envelope.signatures}
    if not found:
        raise SignatureError("unsigned", "expected a record signed by its own keys, got none")
    if found.keys() - expected.keys():
        raise SignatureError("unknown-signer", "expected its own keys only, got another's")
    if expected.keys() - found.keys():
        raise SignatureError("threshold", "expected a signature by each of its keys, got fewer")
    for keyid, algorithm in expected.items():
        primitives.verify(
            algorithm, keys[algorithm], found[keyid], envelope.message, Domain.RECORD.context
        )


def _unfit(text: str) -> MalformedBundleError:
    return MalformedBundleError("record", f"a public record: {text}")
