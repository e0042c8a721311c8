"""The sealed envelope between a device and its gateway: docs/cloud-protocol.md, 1 to 4. Pure.

A request becomes, step by step, something that may be acted on; each step makes what only the
one before it can::

    bytes -> SealedRequest      parse_request: magic, version, type, zero flags, sizes
          -> AuthenticRequest   authenticate: signed by this device
          -> OpenRequest        unseal: meant for this gateway, and readable
    OpenRequest -> bytes        seal_answer
    bytes -> body               Exchange.open_answer: answers this very request, by the gateway

Not checked here: whether the topic fits the header and the device is enrolled, the time window
and replays (``maas.gateway``), and what the body says (``oip``).

Topics are computed from keys and never taken from a message.
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
from dataclasses import InitVar, dataclass, field, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from edgesdk import primitives
from edgesdk.errors import ConfigurationError, DeadlineExceededError, RemoteError, SignatureError
from edgesdk.record import name_of

if TYPE_CHECKING:
    from edgesdk.keys import SecretKey
    from edgesdk.record import PublicRecord


@dataclass(frozen=True)
class ProtocolLimits:
    """Bounds on messages."""

    message_bytes: int = 4 * 1024 * 1024
    skew_ms: int = 30_000  # how far apart two clocks may be
    ttl_ms: int = 600_000


LIMITS = ProtocolLimits()

HEADER_BYTES: Final = 64
REPLY_KEY_BYTES: Final = 32
SALT_BYTES: Final = 16
SIGNATURE_BYTES: Final = 64

_HEADER = struct.Struct("<4sBBH8s16s16sQI4s")
_MAGIC = b"EDCL"
_VERSION = 1
_REQUEST_LABEL = b"edgesdk/cloud/request/v1\0"
_ANSWER_LABEL = b"edgesdk/cloud/answer/v1\0"
_POOL = re.compile(r"[a-z0-9-]{1,32}")
# A sealed request holds at least a reply key, a sealed answer at least nothing.
_LEAST_REQUEST = HEADER_BYTES + primitives.HPKE_OVERHEAD + REPLY_KEY_BYTES + SIGNATURE_BYTES
_LEAST_ANSWER = HEADER_BYTES + SALT_BYTES + primitives.TAG_BYTES + SIGNATURE_BYTES


def malformed(text: str) -> RemoteError:
    """The error for what is not a message of the protocol."""
    return RemoteError("malformed", text)


# Topics


def check_pool(pool: str) -> str:
    """The name of a pool, or a ConfigurationError."""
    if not _POOL.fullmatch(pool):
        raise ConfigurationError("invalid", f"expected a pool like {_POOL.pattern}, got {pool!r}")
    return pool


def request_topic(device: bytes, pool: str) -> str:
    """Where a device asks."""
    return f"e/v1/{name_of(device)}/req/{pool}"


def request_filter(pool: str) -> str:
    """Where all devices ask."""
    return f"e/v1/+/req/{pool}"


def answer_topic(device: bytes) -> str:
    """Where a device is answered."""
    return f"e/v1/{name_of(device)}/rep"


def service_topic(pool: str) -> str:
    """Where a gateway announces itself."""
    return f"e/v1/svc/{pool}"


def worker_group(pool: str) -> str:
    """The group in which workers share requests."""
    return f"gw-{pool}"


# Header


class Kind(IntEnum):
    """Types of messages."""

    REQUEST = 1
    ANSWER = 2


@dataclass(frozen=True)
class Header:
    """The 64 bytes before everything. Times are milliseconds since 1970."""

    kind: Kind
    gateway: bytes  # the first 8 bytes of its kid
    device: bytes
    request_id: bytes
    created_ms: int
    ttl_ms: int
    model_tag: bytes

    @classmethod
    def ask(
        cls,
        *,
        device: bytes,
        gateway: bytes,
        model_id: str,
        created_ms: int,
        ttl_ms: int,
        request_id: bytes | None = None,
    ) -> Header:
        """The header of a new request; ``gateway`` is the whole ``kid``."""
        return cls(
            kind=Kind.REQUEST,
            gateway=gateway[:8],
            device=device,
            request_id=os.urandom(16) if request_id is None else request_id,
            created_ms=created_ms,
            ttl_ms=ttl_ms,
            model_tag=model_tag(model_id),
        )

    @classmethod
    def parse(cls, message: bytes, *, expect: Kind) -> Header:
        """Read the header of a message of that kind.

        Raises:
            RemoteError: ``malformed``.
        """
        if len(message) < HEADER_BYTES:
            raise malformed(f"expected at least {HEADER_BYTES} bytes, got {len(message)}")
        magic, version, kind, flags, *rest = _HEADER.unpack_from(message)
        if (magic, version, kind, flags) != (_MAGIC, _VERSION, expect, 0):
            raise malformed(
                f"expected version {_VERSION}, type {int(expect)} and no flags, "
                f"got {magic!r}, version {version}, type {kind}, flags {flags}"
            )
        header = cls(expect, *rest)
        if not 1 <= header.ttl_ms <= LIMITS.ttl_ms:
            raise malformed(
                f"expected a time to live of 1 to {LIMITS.ttl_ms} ms, got {header.ttl_ms}"
            )
        return header

    def encode(self) -> bytes:
        """The 64 bytes."""
        return _HEADER.pack(
            _MAGIC,
            _VERSION,
            self.kind,
            0,
            self.gateway,
            self.device,
            self.request_id,
            self.created_ms,
            self.ttl_ms,
            self.model_tag,
        )

    @property
    def expires_ms(self) -> int:
        """When it is too late."""
        return self.created_ms + self.ttl_ms

    def answer(self, *, now_ms: int) -> Header:
        """The header of an answer to this request that is made now."""
        left = min(max(self.expires_ms - now_ms, 1), LIMITS.ttl_ms)
        return replace(self, kind=Kind.ANSWER, created_ms=now_ms, ttl_ms=left)

    def is_answered_by(self, other: Header) -> bool:
        """Whether the other is the header of an answer to this request."""
        return other == replace(
            self, kind=Kind.ANSWER, created_ms=other.created_ms, ttl_ms=other.ttl_ms
        )

    def check_window(self, *, now_ms: int) -> None:
        """Raise unless the request came in time, by two clocks that agree well enough.

        Raises:
            RemoteError: ``clock``.
            DeadlineExceededError: ``expired``.
        """
        apart = now_ms - self.created_ms
        if abs(apart) > LIMITS.skew_ms + (self.ttl_ms if apart > 0 else 0):
            raise RemoteError(
                "clock", f"expected clocks within {LIMITS.skew_ms} ms, got {apart} ms apart"
            )
        if now_ms >= self.expires_ms:
            late = now_ms - self.expires_ms
            raise DeadlineExceededError("expired", f"expected it in time, got it {late} ms late")


def model_tag(model_id: str) -> bytes:
    """The four bytes by which operators tell models apart."""
    return hashlib.sha256(model_id.encode()).digest()[:4]


# Request


@dataclass(frozen=True)
class Exchange:
    """A request under way, as the device keeps it: what opens its answer."""

    header: Header
    reply_key: bytes = field(repr=False)

    def open_answer(self, message: bytes, gateway: PublicRecord) -> bytes:
        """The body of the answer, if the gateway gave it to this very request.

        Raises:
            RemoteError: ``malformed``.
            SignatureError: ``signature``.
            DecryptionError: ``payload``.
        """
        header = Header.parse(message, expect=Kind.ANSWER)
        if not _LEAST_ANSWER <= len(message) <= LIMITS.message_bytes:
            raise malformed(f"expected {_LEAST_ANSWER} bytes or more, got {len(message)}")
        if not self.header.is_answered_by(header):
            raise malformed("expected an answer to this request, got one to another")
        view = memoryview(message)
        signed, signature = view[:-SIGNATURE_BYTES], view[-SIGNATURE_BYTES:]
        gateway.verify_ed25519(signature, _to_sign(_ANSWER_LABEL, signed))
        salt = bytes(view[HEADER_BYTES : HEADER_BYTES + SALT_BYTES])
        sealed = signed[HEADER_BYTES + SALT_BYTES :]
        secret = _answer_secret(self.reply_key, salt, message[:HEADER_BYTES])
        key, nonce = secret[:32], bytes(secret[32:])
        try:
            return primitives.aes_256_gcm_open(key, nonce, sealed)
        finally:
            primitives.wipe(secret)
            primitives.wipe(key)


def seal_request(
    body: bytes,
    *,
    header: Header,
    device: SecretKey,
    gateway: PublicRecord,
    reply_key: bytes | None = None,
) -> tuple[bytes, Exchange]:
    """The message that asks, and what opens its answer."""
    reply_key = os.urandom(REPLY_KEY_BYTES) if reply_key is None else reply_key
    start = header.encode()
    sealed = gateway.seal(reply_key + body, _REQUEST_LABEL + start)
    signed = start + sealed
    signature = device.sign_ed25519(_to_sign(_REQUEST_LABEL, signed))
    return signed + signature, Exchange(header, reply_key)


@dataclass(frozen=True)
class SealedRequest:
    """Bytes in the form of a request. Nothing of it is believed yet."""

    header: Header
    message: bytes = field(repr=False)


@dataclass(frozen=True)
class AuthenticRequest:
    """A request that its device has signed. Only ``authenticate`` makes one."""

    header: Header
    message: bytes = field(repr=False)
    proof: InitVar[object]

    def __post_init__(self, proof: object) -> None:
        _check_proof(proof)


@dataclass(frozen=True)
class OpenRequest:
    """A request that can be read and answered. Only ``unseal`` makes one."""

    header: Header
    reply_key: bytes = field(repr=False)
    body: bytes = field(repr=False)
    proof: InitVar[object]

    def __post_init__(self, proof: object) -> None:
        _check_proof(proof)


# Whoever else constructs one of the two has no token to show.
_PROOF = object()


def _check_proof(proof: object) -> None:
    if proof is not _PROOF:
        raise TypeError("expected to be made by authenticate or unseal, got a call from elsewhere")


def parse_request(message: bytes) -> SealedRequest:
    """Look at the form of what came.

    Raises:
        RemoteError: ``malformed``.
    """
    header = Header.parse(message, expect=Kind.REQUEST)
    if not _LEAST_REQUEST <= len(message) <= LIMITS.message_bytes:
        raise malformed(
            f"expected {_LEAST_REQUEST} to {LIMITS.message_bytes} bytes, got {len(message)}"
        )
    return SealedRequest(header, message)


def authenticate(request: SealedRequest, device: PublicRecord) -> AuthenticRequest:
    """Establish that this device asks.

    Raises:
        SignatureError: ``unknown-signer``, ``signature``.
    """
    if request.header.device != device.kid:
        raise SignatureError("unknown-signer", "expected a request of this device, got another's")
    view = memoryview(request.message)
    device.verify_ed25519(
        view[-SIGNATURE_BYTES:], _to_sign(_REQUEST_LABEL, view[:-SIGNATURE_BYTES])
    )
    return AuthenticRequest(request.header, request.message, proof=_PROOF)


def unseal(request: AuthenticRequest, gateway: SecretKey) -> OpenRequest:
    """Read it with the gateway's key.

    Raises:
        DecryptionError: ``payload``.
    """
    view = memoryview(request.message)
    info = _REQUEST_LABEL + bytes(view[:HEADER_BYTES])
    plaintext = gateway.unseal(bytes(view[HEADER_BYTES:-SIGNATURE_BYTES]), info)
    try:
        reply_key, body = bytes(plaintext[:REPLY_KEY_BYTES]), bytes(plaintext[REPLY_KEY_BYTES:])
    finally:
        primitives.wipe(plaintext)
    return OpenRequest(request.header, reply_key, body, proof=_PROOF)


def seal_answer(
    request: OpenRequest,
    body: bytes,
    *,
    gateway: SecretKey,
    now_ms: int,
    salt: bytes | None = None,
) -> bytes:
    """The message that answers.

    Raises:
        RemoteError: ``too-large``: no device would take it.
    """
    size = _LEAST_ANSWER + len(body)
    if size > LIMITS.message_bytes:
        raise RemoteError(
            "too-large", f"expected an answer of at most {LIMITS.message_bytes} bytes, got {size}"
        )
    salt = os.urandom(SALT_BYTES) if salt is None else salt
    start = request.header.answer(now_ms=now_ms).encode()
    secret = _answer_secret(request.reply_key, salt, start)
    key, nonce = secret[:32], bytes(secret[32:])
    try:
        sealed = primitives.aes_256_gcm_seal(key, nonce, body)
    finally:
        primitives.wipe(secret)
        primitives.wipe(key)
    signed = b"".join([start, salt, sealed])
    return signed + gateway.sign_ed25519(_to_sign(_ANSWER_LABEL, signed))


def _answer_secret(reply_key: bytes, salt: bytes, header: bytes) -> bytearray:
    """Key (32) and nonce (12). The salt keeps two workers from using a nonce twice."""
    return primitives.hkdf_sha256(
        reply_key, salt=salt, info=_ANSWER_LABEL + header, length=32 + primitives.NONCE_BYTES
    )


def _to_sign(label: bytes, signed: bytes | memoryview) -> bytes:
    return label + hashlib.sha512(signed).digest()
