"""Grants: the content key of one bundle, sealed for one device (docs/bundle-format.md, section 3).

``Grant.parse`` checks form only: the envelope, canonical JSON, members, types and bounds.

Not checked here: who signed it, for what and until when (``trust.verify_grant``), and whether it
opens (``encryption.open_``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgesdk import canonical
from edgesdk.envelope import Domain, Envelope
from edgesdk.errors import InputError, MalformedBundleError
from edgesdk.limits import BUNDLE
from edgesdk.manifest import FORMAT, Binding
from edgesdk.primitives import HPKE_OVERHEAD

if TYPE_CHECKING:
    from edgesdk.canonical import JSON

KEM = "mlkem768-x25519"
CONTENT_KEY_BYTES = 32
KID_BYTES = 16
SERIAL_BYTES = 16
WRAPPED_BYTES = HPKE_OVERHEAD + CONTENT_KEY_BYTES


@dataclass(frozen=True)
class Grant:
    """What a grant says; ``envelope`` is what its issuer signed."""

    binding: Binding
    device: bytes
    wrapped: bytes
    serial: bytes
    created: int
    not_after: int | None
    envelope: Envelope

    @classmethod
    def parse(cls, data: bytes) -> Grant:
        """Read a grant.

        Raises:
            MalformedBundleError: ``grant``.
        """
        limit = BUNDLE.grant_bytes
        return cls.of(Envelope.parse(data, expect=Domain.GRANT, limit=limit, error=_malformed))

    @classmethod
    def of(cls, envelope: Envelope) -> Grant:
        """What an envelope's payload says."""
        value = canonical.parse(envelope.payload, error=_malformed)
        fields = canonical.Fields(value, "grant", _malformed)
        fields.constant("format", FORMAT)
        fields.constant("kem", KEM)
        grant = cls(
            binding=Binding.parse(fields),
            device=fields.hexadecimal("device", KID_BYTES),
            wrapped=fields.base64("wrapped", size=WRAPPED_BYTES),
            serial=fields.hexadecimal("serial", SERIAL_BYTES),
            created=fields.integer("created"),
            not_after=fields.integer("not_after") if "not_after" in fields else None,
            envelope=envelope,
        )
        fields.end()
        return grant

    @classmethod
    def build(
        cls,
        binding: Binding,
        device: bytes,
        wrapped: bytes,
        *,
        serial: bytes,
        created: int,
        not_after: int | None = None,
    ) -> Grant:
        """An unsigned grant.

        Raises:
            InputError: ``argument``: a member that ``parse`` would refuse.
        """
        payload: dict[str, JSON] = {
            **binding.to_json(),
            "created": created,
            "device": device.hex(),
            "format": FORMAT,
            "kem": KEM,
            "serial": serial.hex(),
            "wrapped": canonical.to_base64(wrapped),
        }
        if not_after is not None:
            payload["not_after"] = not_after
        try:
            return cls.of(Envelope(Domain.GRANT, canonical.encode(payload)))
        except MalformedBundleError as error:
            raise InputError("argument", error.message) from None

    def encode(self) -> bytes:
        """The bytes of a grant's file."""
        return self.envelope.encode()


def wrap_info(binding: Binding, device: bytes) -> bytes:
    """HPKE's ``info``: a wrapped key opens for one release and one device only."""
    return binding.context("edgesdk/wrap/v1") + device


def _malformed(text: str) -> MalformedBundleError:
    return MalformedBundleError("grant", text)
