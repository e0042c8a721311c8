"""DSSE: what is signed is a payload together with its type.

The type is part of the signed message, and ML-DSA has a context of its own for each kind of file,
so a signature made for one kind is worth nothing on another. ``Domain`` is the table of both.

``Envelope.parse`` checks form only, in this order: size; canonical JSON; members; the payload
type that the caller expects; base64; key ids strictly ascending.

Not checked here: signatures (a key is looked up by ``trust`` or ``keys``), and what the payload
says.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

from edgesdk import canonical
from edgesdk.limits import BUNDLE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edgesdk.canonical import JSON, Refusal

KEYID_BYTES = 32


class Domain(Enum):
    """Kinds of signed files: payload type, and the context of ML-DSA."""

    BUNDLE = ("application/vnd.edgesdk.bundle-statement", b"edgesdk-emb-v1")
    GRANT = ("application/vnd.edgesdk.grant+json", b"edgesdk-grant-v1")
    ROOT = ("application/vnd.edgesdk.root+json", b"edgesdk-root-v1")
    RECORD = ("application/vnd.edgesdk.record+json", b"edgesdk-record-v1")
    # A gateway signs its announcements with Ed25519 alone; the context is kept for later.
    SERVICE = ("application/vnd.edgesdk.service+json", b"edgesdk-service-v1")
    CLAIM = ("application/vnd.edgesdk.claim+json", b"edgesdk-claim-v1")

    @property
    def payload_type(self) -> str:
        """The media type that is signed along."""
        return self.value[0]

    @property
    def context(self) -> bytes:
        """The context of ML-DSA signatures."""
        return self.value[1]


def pae(payload_type: str, body: bytes) -> bytes:
    """The pre-authentication encoding: what is signed. Lengths keep type and body apart."""
    return b"DSSEv1 %d %b %d %b" % (
        len(payload_type.encode()),
        payload_type.encode(),
        len(body),
        body,
    )


@dataclass(frozen=True)
class Signature:
    """A signature, and the name of the key that should verify it."""

    keyid: bytes
    value: bytes


_Signature = TypeVar("_Signature", bound=Signature)


@dataclass(frozen=True)
class Envelope:
    """A payload, its kind, and signatures in ascending order of key ids."""

    domain: Domain
    payload: bytes
    signatures: tuple[Signature, ...] = ()

    @classmethod
    def parse(cls, data: bytes, *, expect: Domain, limit: int, error: Refusal) -> Envelope:
        """Read an envelope of one kind; refusals are what ``error`` makes of the cause."""
        if len(data) > limit:
            raise error(f"expected at most {limit} bytes, got {len(data)}")
        fields = canonical.Fields(canonical.parse(data, error=error), "envelope", error)
        return cls.read(fields, expect=expect, limit=limit, error=error)

    @classmethod
    def read(
        cls, fields: canonical.Fields, *, expect: Domain, limit: int, error: Refusal
    ) -> Envelope:
        """The same for an envelope that lies inside another document."""
        fields.constant("payloadType", expect.payload_type)
        payload = fields.base64("payload", longest=limit)
        entries = fields.entries("signatures", longest=BUNDLE.signatures)
        fields.end()
        signatures = tuple(_parse_signature(fields.check_nested("signatures", e)) for e in entries)
        keyids = [signature.keyid for signature in signatures]
        if any(left >= right for left, right in pairwise(keyids)):
            raise error("expected signatures strictly ascending by keyid, got another order")
        return cls(expect, payload, signatures)

    def encode(self) -> bytes:
        """Canonical JSON."""
        return canonical.encode(self.to_json())

    def to_json(self) -> dict[str, JSON]:
        """The inverse of ``read``."""
        signatures: list[JSON] = [
            {"keyid": signature.keyid.hex(), "sig": canonical.to_base64(signature.value)}
            for signature in self.signatures
        ]
        return {
            "payload": canonical.to_base64(self.payload),
            "payloadType": self.domain.payload_type,
            "signatures": signatures,
        }

    @property
    def payload_type(self) -> str:
        """The media type of the payload."""
        return self.domain.payload_type

    @property
    def message(self) -> bytes:
        """What is signed."""
        return pae(self.domain.payload_type, self.payload)

    def with_signatures(self, signatures: Iterable[Signature]) -> Envelope:
        """The same payload with these as well; one by the same key is replaced."""
        return replace(self, signatures=merge(self.signatures, signatures))


def merge(held: Iterable[_Signature], added: Iterable[_Signature]) -> tuple[_Signature, ...]:
    """Both, one for each key (the later one), in ascending order of key ids."""
    by_key = {signature.keyid: signature for signature in (*held, *added)}
    return tuple(by_key[keyid] for keyid in sorted(by_key))


def _parse_signature(fields: canonical.Fields) -> Signature:
    keyid = fields.hexadecimal("keyid", KEYID_BYTES)
    value = fields.base64("sig", longest=BUNDLE.signatures_bytes)
    fields.end()
    return Signature(keyid, value)
