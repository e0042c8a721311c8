"""What a gateway tells all devices: docs/cloud-protocol.md, section 5.

A device uses it to refuse locally what would be too large, and to learn that a gateway is back.
It needs none in order to ask.

Order of checks: the envelope's form; the gateway's signature; the payload's form; this gateway,
this pool, and a time that has not passed.

Not checked here: whether it is the newest. An older one that still holds can be shown again by
the broker; it bounds what the device sends, and grants nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgesdk import canonical
from edgesdk.envelope import Domain, Envelope
from edgesdk.errors import RemoteError, SignatureError
from edgesdk.primitives import ED25519, keyid
from edgesdk.record import KID_BYTES, sign_envelope

if TYPE_CHECKING:
    from edgesdk.canonical import JSON
    from edgesdk.record import PublicRecord, Signer


@dataclass(frozen=True)
class AnnouncementLimits:
    """Bounds of an announcement."""

    total_bytes: int = 64 * 1024
    models: int = 256
    pool_characters: int = 32
    model_id_characters: int = 128
    version_characters: int = 64


LIMITS = AnnouncementLimits()


@dataclass(frozen=True)
class Announcement:
    """A gateway's largest request and its models."""

    gateway: bytes
    pool: str
    max_bytes: int
    until: int  # seconds since 1970
    models: tuple[tuple[str, str], ...]  # id and version

    @classmethod
    def parse(cls, data: bytes, *, gateway: PublicRecord, pool: str, now: int) -> Announcement:
        """Read the announcement of this gateway for this pool.

        Raises:
            RemoteError: ``malformed``.
            SignatureError: ``unsigned``, ``unknown-signer``, ``signature``.
        """
        envelope = Envelope.parse(
            data, expect=Domain.SERVICE, limit=LIMITS.total_bytes, error=_malformed
        )
        _check_signature(envelope, gateway)
        value = canonical.parse(envelope.payload, error=_malformed)
        announcement = _read(canonical.Fields(value, "announcement", _malformed))
        if (announcement.gateway, announcement.pool) != (gateway.kid, pool):
            raise _malformed("expected this gateway and pool, got another")
        if announcement.until <= now:
            raise _malformed(
                f"expected one that holds at {now}, got one until {announcement.until}"
            )
        return announcement

    def encode(self, signer: Signer) -> bytes:
        """The announcement, signed by the gateway's key."""
        payload = canonical.encode(self._document())
        return sign_envelope(Envelope(Domain.SERVICE, payload), signer).encode()

    def _document(self) -> dict[str, JSON]:
        return {
            "format": 1,
            "gateway": self.gateway.hex(),
            "max_bytes": self.max_bytes,
            "models": [
                {"model_id": model_id, "model_version": version}
                for model_id, version in self.models
            ],
            "pool": self.pool,
            "until": self.until,
        }


def _check_signature(envelope: Envelope, gateway: PublicRecord) -> None:
    """One signature, by the gateway's key and under its name."""
    if not envelope.signatures:
        raise SignatureError("unsigned", "expected a signature by the gateway, got none")
    (signature, *others) = envelope.signatures
    if others or signature.keyid != keyid(ED25519, gateway.keys[ED25519]):
        raise SignatureError("unknown-signer", "expected the gateway to sign alone, got another")
    gateway.verify_ed25519(signature.value, envelope.message)


def _read(fields: canonical.Fields) -> Announcement:
    fields.constant("format", 1)
    announcement = Announcement(
        gateway=fields.hexadecimal("gateway", KID_BYTES),
        pool=fields.text("pool", longest=LIMITS.pool_characters),
        max_bytes=fields.integer("max_bytes"),
        until=fields.integer("until"),
        models=tuple(
            _read_model(fields.check_nested("models", entry))
            for entry in fields.entries("models", longest=LIMITS.models)
        ),
    )
    fields.end()
    return announcement


def _read_model(fields: canonical.Fields) -> tuple[str, str]:
    model_id = fields.text("model_id", longest=LIMITS.model_id_characters)
    version = fields.text("model_version", longest=LIMITS.version_characters)
    fields.end()
    return model_id, version


def _malformed(text: str) -> RemoteError:
    return RemoteError("malformed", text)
