"""The payload: Cobblestone-256 (c2sp.org/chunked-encryption) from memory into memory.

``open_`` fills memory of the caller, that the caller has locked, with the plaintext of a verified
bundle. It makes no other copy: each chunk is decrypted in place, and the content key lives in a
``bytearray`` that is wiped. The order:

8. every segment of the ciphertext has its signed digest (made before the grant was verified; see
   ``VerifiedBundle.check_payload``);
9. the wrapped key opens for this device and this release; the commitment is that of this key; the
   tag of each chunk, first to last.

A decryption that fails leaves bytes in the buffer that nobody has authenticated, so on every
failure, an interrupt among them, the whole buffer is overwritten with zeros before the error
leaves. All these failures are one ``DecryptionError``, so that they tell an attacker nothing.

Not checked here: ``plaintext_mac``. Signed digests, commitment and tags fix the plaintext;
``check_plaintext`` is for those who want to see it.

One thread: hashing is most of the time, and a second thread would win a millisecond for a usual
model.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgesdk import primitives
from edgesdk.bundle import (
    CHUNK_BYTES,
    COMMITMENT_BYTES,
    PAYLOAD_HEAD_BYTES,
    SALT_BYTES,
    SEALED_CHUNK_BYTES,
    Binding,
    chunk_count,
    sealed_bytes,
    segments,
)
from edgesdk.claim import subject_info
from edgesdk.errors import EvidenceError, InputError
from edgesdk.grant import wrap_info
from edgesdk.primitives import NONCE_BYTES, TAG_BYTES, Aes256Gcm, undecryptable

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgesdk.claim import Evidence
    from edgesdk.keys import ContentKey, PublicRecord, SecretKey
    from edgesdk.primitives import Buffer
    from edgesdk.trust import VerifiedBundle, VerifiedGrant

_KEY_BYTES = 32
_COBBLESTONE = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00"


def open_(verified: VerifiedBundle, grant: VerifiedGrant, key: SecretKey, into: memoryview) -> None:
    """Decrypt into ``into``: writable, contiguous, of exactly ``plaintext_len`` bytes.

    Raises:
        InputError: ``argument``: other memory than that, or a grant of another bundle.
        DecryptionError: ``payload``: for every other cause; ``into`` is zero then.
    """
    if grant.verified is not verified:
        raise InputError("argument", "expected the grant of this bundle, got another's")
    # Views are released, so that a traceback does not keep the caller from closing its memory.
    with _writable(into, verified.manifest.plaintext_len) as plaintext:
        try:
            verified.check_payload()
            content_key = _unwrap(grant, key)
            try:
                context = _context(verified.manifest.binding)
                decrypt(content_key, context, verified.bundle.payload, plaintext)
            finally:
                primitives.wipe(content_key)
        except BaseException:
            primitives.wipe(plaintext)
            raise


def check_grant(verified: VerifiedBundle, grant: VerifiedGrant, key: SecretKey) -> None:
    """Return if ``open_`` would come as far as the first chunk, else raise DecryptionError."""
    content_key = _unwrap(grant, key)
    try:
        _check_key(content_key, verified.manifest.binding, verified.bundle.payload)
    finally:
        primitives.wipe(content_key)


def check_plaintext(
    verified: VerifiedBundle, grant: VerifiedGrant, key: SecretKey, plaintext: memoryview
) -> None:
    """Return if ``plaintext_mac`` is that of the plaintext, else raise DecryptionError."""
    content_key = _unwrap(grant, key)
    try:
        mac = plaintext_mac(content_key, verified.manifest.binding, plaintext)
    finally:
        primitives.wipe(content_key)
    if not primitives.compare(mac, verified.manifest.plaintext_mac):
        raise undecryptable()


@dataclass(frozen=True)
class Sealed:
    """What a publisher makes of a plaintext."""

    payload: bytearray
    table: bytes
    plaintext_mac: bytes


def seal(
    plaintext: Buffer,
    content_key: ContentKey,
    binding: Binding,
    *,
    random: Callable[[int], bytes] = secrets.token_bytes,
) -> Sealed:
    """Encrypt a payload with a content key that is used for it alone."""
    material, context = content_key.material, _context(binding)
    payload = encrypt(material, context, memoryview(plaintext), random(SALT_BYTES))
    table = b"".join(hashlib.sha256(segment).digest() for segment in segments(memoryview(payload)))
    return Sealed(payload, table, plaintext_mac(material, binding, plaintext))


def wrap(content_key: ContentKey, binding: Binding, record: PublicRecord) -> bytes:
    """Seal a content key for one device and one release."""
    return record.seal(content_key.material, wrap_info(binding, record.kid))


def check_content_key(content_key: ContentKey, binding: Binding, payload: Buffer) -> None:
    """Return if this is the key that the payload commits to, else raise DecryptionError."""
    _check_key(content_key.material, binding, memoryview(payload))


def encrypt(content_key: Buffer, context: bytes, plaintext: memoryview, salt: bytes) -> bytearray:
    """Salt, commitment, and chunks of which the last is shorter than the others."""
    payload = bytearray(sealed_bytes(len(plaintext)))
    derived = _derive(content_key, context, salt)
    try:
        view = memoryview(payload)
        view[:SALT_BYTES] = salt
        view[SALT_BYTES:PAYLOAD_HEAD_BYTES] = derived[-COMMITMENT_BYTES:]
        cipher, base = _cipher(derived)
        for number in range(chunk_count(len(plaintext))):
            chunk = plaintext[number * CHUNK_BYTES :][:CHUNK_BYTES]
            start = PAYLOAD_HEAD_BYTES + number * SEALED_CHUNK_BYTES
            sealed = view[start : start + len(chunk) + TAG_BYTES]
            cipher.encrypt_into(_nonce(base, number), chunk, sealed)
    finally:
        primitives.wipe(derived)
    return payload


def decrypt(content_key: Buffer, context: bytes, payload: memoryview, into: memoryview) -> None:
    """Check the commitment, then decrypt and authenticate chunk after chunk.

    When this raises, ``into`` holds unauthenticated bytes: ``open_`` wipes them.

    Raises:
        DecryptionError: ``payload``.
    """
    if len(payload) != sealed_bytes(len(into)):
        raise undecryptable()
    derived = _derive(content_key, context, bytes(payload[:SALT_BYTES]))
    try:
        _check_commitment(derived, payload)
        cipher, base = _cipher(derived)
    finally:
        primitives.wipe(derived)
    for number in range(chunk_count(len(into))):
        start = PAYLOAD_HEAD_BYTES + number * SEALED_CHUNK_BYTES
        sealed = payload[start : start + SEALED_CHUNK_BYTES]
        with into[number * CHUNK_BYTES : (number + 1) * CHUNK_BYTES] as chunk:
            cipher.decrypt_into(_nonce(base, number), sealed, chunk)


def plaintext_mac(content_key: Buffer, binding: Binding, plaintext: Buffer) -> bytes:
    """A digest of the plaintext that only holders of the content key can compare."""
    info = binding.context("edgesdk/plaintext-mac/v1")
    mac_key = primitives.expand_sha512(content_key, info=info, length=_KEY_BYTES)
    try:
        return primitives.hmac_sha256(mac_key, plaintext)
    finally:
        primitives.wipe(mac_key)


def subject_digest(salt: Buffer, model_id: str, model: Buffer) -> bytes:
    """The digest by which claims name a model: for those who know its salt.

    ``salt`` and the key made of it have one length, so that no two of them are the same HMAC key.
    """
    key = primitives.expand_sha512(salt, info=subject_info(model_id), length=_KEY_BYTES)
    try:
        return primitives.hmac_sha256(key, model)
    finally:
        primitives.wipe(key)


def seal_salt(content_key: ContentKey, binding: Binding, digest: bytes, salt: bytes) -> bytes:
    """The salt of a subject, for those who can open the payload."""
    key = _salt_key(content_key.material, binding, digest)
    try:
        return primitives.aes_256_gcm_seal(key, bytes(NONCE_BYTES), salt)
    finally:
        primitives.wipe(key)


def check_evidence(
    verified: VerifiedBundle, grant: VerifiedGrant, key: SecretKey, model: memoryview
) -> None:
    """Return if all claims that the policy relied on are about these bytes of a model.

    A publisher who may release models could else put an audit of one model beside another.

    Raises:
        EvidenceError: ``claim-subject``.
        DecryptionError: ``payload``: a salt that does not open.
    """
    if not verified.relied:
        return
    content_key = _unwrap(grant, key)
    try:
        for entry in verified.relied:
            _check_claim(entry, content_key, verified.manifest.binding, model)
    finally:
        primitives.wipe(content_key)


def _check_claim(entry: Evidence, content_key: Buffer, binding: Binding, model: memoryview) -> None:
    statement = entry.statement
    salt_key = _salt_key(content_key, binding, statement.digest)
    try:
        salt = primitives.aes_256_gcm_open(salt_key, bytes(NONCE_BYTES), entry.sealed_salt)
    finally:
        primitives.wipe(salt_key)
    if not primitives.compare(subject_digest(salt, statement.model_id, model), statement.digest):
        raise EvidenceError(
            "claim-subject",
            f"expected claims about this model of {binding.model_id}, got some about another",
        )


def _salt_key(content_key: Buffer, binding: Binding, digest: bytes) -> bytearray:
    """A key that is used once: the digest of a subject is of one salt only."""
    info = binding.context("edgesdk/claim-salt/v1") + digest
    return primitives.expand_sha512(content_key, info=info, length=_KEY_BYTES)


def _unwrap(grant: VerifiedGrant, key: SecretKey) -> bytearray:
    # What is wrapped has the length of a content key, as ``Grant.parse`` has seen to.
    issued = grant.grant
    return key.unseal(issued.wrapped, wrap_info(issued.binding, issued.device))


def _check_key(content_key: Buffer, binding: Binding, payload: memoryview) -> None:
    derived = _derive(content_key, _context(binding), bytes(payload[:SALT_BYTES]))
    try:
        _check_commitment(derived, payload)
    finally:
        primitives.wipe(derived)


def _context(binding: Binding) -> bytes:
    """What a payload is bound to."""
    return binding.context("edgesdk/emb/v1")


def _derive(content_key: Buffer, context: bytes, salt: bytes) -> bytearray:
    """Key, base nonce and commitment, one after the other."""
    if len(content_key) != _KEY_BYTES:
        # HKDF would take any.
        raise InputError(
            "argument", f"expected a content key of {_KEY_BYTES} bytes, got {len(content_key)}"
        )
    info = _COBBLESTONE + salt + context
    length = _KEY_BYTES + NONCE_BYTES + COMMITMENT_BYTES
    return primitives.expand_sha512(content_key, info=info, length=length)


def _check_commitment(derived: bytearray, payload: memoryview) -> None:
    """AES-GCM alone would let one ciphertext open under two keys."""
    commitment = payload[SALT_BYTES:PAYLOAD_HEAD_BYTES]
    if not primitives.compare(memoryview(derived)[-COMMITMENT_BYTES:], commitment):
        raise undecryptable()


def _cipher(derived: bytearray) -> tuple[Aes256Gcm, int]:
    base = int.from_bytes(derived[_KEY_BYTES : _KEY_BYTES + NONCE_BYTES], "big")
    return Aes256Gcm(memoryview(derived)[:_KEY_BYTES]), base


def _nonce(base: int, number: int) -> bytes:
    return (base ^ number).to_bytes(NONCE_BYTES, "big")


def _writable(into: memoryview, size: int) -> memoryview:
    if into.readonly or not into.c_contiguous or into.nbytes != size:
        raise InputError(
            "argument", f"expected {size} bytes of writable memory, got {into.nbytes} or read-only"
        )
    return into.cast("B")
