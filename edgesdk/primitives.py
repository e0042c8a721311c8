"""The cryptographic primitives of suite 1: the one importer of the cryptography library.

Its errors end here: a signature that does not verify is a ``SignatureError``, whatever does not
open is a ``DecryptionError`` with its one reason, and a key that must not be used is a
``MalformedBundleError``.

Secrets come in as buffers that the caller owns and wipes. The library keeps copies of its own
while an operation lasts and frees them without clearing them; nothing here outlives its call
except ``Aes256Gcm``, which lives as long as the caller keeps it.

Not checked here: whether a key may do what it does. That is what ``trust`` is for.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from edgesdk.errors import DecryptionError, InputError, MalformedBundleError, SignatureError

Buffer: TypeAlias = "bytes | bytearray | memoryview"

AES_256_KEY_BYTES = 32
TAG_BYTES = 16
NONCE_BYTES = 12
# HPKE with MLKEM768-X25519: encapsulated key (1,088 + 32), then the AEAD's tag.
HPKE_OVERHEAD = 1120 + TAG_BYTES

_HPKE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_CURVE_PRIME = 2**255 - 19
_EDWARDS_D = -121665 * pow(121666, -1, _CURVE_PRIME) % _CURVE_PRIME
_ZEROS = bytes(64 * 1024)


class Algorithm(IntEnum):
    """What a key is for; the values are the entry types of a key file."""

    ML_KEM_768 = 1
    X25519 = 2
    ED25519 = 3
    ML_DSA_65 = 4

    @property
    def label(self) -> str:
        """The name in JSON documents: ``ed25519``, ``ml-dsa-65``."""
        return self.name.lower().replace("_", "-")

    @property
    def sizes(self) -> Sizes:
        """How long its secrets, public keys and signatures are."""
        return _SIZES[self]

    @property
    def signs(self) -> bool:
        """Whether it makes signatures; the others receive what is sealed."""
        return self in SIGNATURE_IDS


@dataclass(frozen=True)
class Sizes:
    """In bytes; ``signature`` is 0 where there is none."""

    secret: int
    public: int
    signature: int = 0


_SIZES = {
    Algorithm.ML_KEM_768: Sizes(secret=64, public=1184),
    Algorithm.X25519: Sizes(secret=32, public=32),
    Algorithm.ED25519: Sizes(secret=32, public=32, signature=64),
    Algorithm.ML_DSA_65: Sizes(secret=32, public=1952, signature=3309),
}

ED25519 = Algorithm.ED25519
ML_DSA_65 = Algorithm.ML_DSA_65
ML_KEM_768 = Algorithm.ML_KEM_768
X25519 = Algorithm.X25519

# The ``alg`` byte of signature blocks and key ids.
SIGNATURE_IDS = {Algorithm.ED25519: 1, Algorithm.ML_DSA_65: 2}


def keyid(algorithm: Algorithm, public: bytes) -> bytes:
    """The 32-byte name of a signing key in signature blocks and envelopes."""
    return hashlib.sha256(bytes([SIGNATURE_IDS[algorithm]]) + public).digest()


def public_of(algorithm: Algorithm, secret: Buffer) -> bytes:
    """The public key of a secret one."""
    if algorithm is ED25519:
        return Ed25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
    if algorithm is ML_DSA_65:
        return MLDSA65PrivateKey.from_seed_bytes(secret).public_key().public_bytes_raw()
    if algorithm is X25519:
        return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
    return MLKEM768PrivateKey.from_seed_bytes(secret).public_key().public_bytes_raw()


def check_public(algorithm: Algorithm, public: bytes) -> None:
    """Refuse a public key that proves nothing, or that has a second spelling.

    Raises:
        MalformedBundleError: ``weak-key``: of another length, of small order, not on the curve,
            or not in its canonical encoding.
    """
    if len(public) != algorithm.sizes.public:
        raise _weak(algorithm, f"{algorithm.sizes.public} bytes", f"{len(public)}")
    if algorithm is ED25519:
        _check_edwards(public)
    elif algorithm is X25519:
        _check_montgomery(public)
    elif algorithm is ML_KEM_768:
        _ml_kem_public(public)


def sign(algorithm: Algorithm, secret: Buffer, message: Buffer, context: bytes) -> bytes:
    """A signature. ``context`` separates the domains of ML-DSA; Ed25519 has none."""
    if algorithm is ED25519:
        return Ed25519PrivateKey.from_private_bytes(secret).sign(message)
    if algorithm is ML_DSA_65:
        return MLDSA65PrivateKey.from_seed_bytes(secret).sign(message, context)
    raise InputError("argument", f"expected a signing algorithm, got {algorithm.label}")


def verify(
    algorithm: Algorithm, public: bytes, signature: Buffer, message: Buffer, context: bytes
) -> None:
    """Return if the signature is good.

    Raises:
        SignatureError: ``signature``: it is not.
    """
    try:
        if algorithm is ED25519:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
        elif algorithm is ML_DSA_65:
            MLDSA65PublicKey.from_public_bytes(public).verify(signature, message, context)
        else:
            raise InputError("argument", f"expected a signing algorithm, got {algorithm.label}")
    except (InvalidSignature, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise SignatureError(
            "signature", f"expected a valid {algorithm.label} signature, got another"
        ) from None


def hpke_seal(ml_kem: bytes, x25519: bytes, plaintext: Buffer, info: bytes) -> bytes:
    """HPKE base mode, single shot, MLKEM768-X25519, HKDF-SHA256, AES-256-GCM."""
    hybrid = MLKEM768X25519PublicKey(
        _ml_kem_public(ml_kem), X25519PublicKey.from_public_bytes(x25519)
    )
    try:
        return _HPKE.encrypt(plaintext, hybrid, info)
    except ValueError:
        raise _weak(X25519, "a point of large order", "one of small order") from None


def hpke_open(ml_kem_seed: Buffer, x25519_seed: Buffer, sealed: Buffer, info: bytes) -> bytearray:
    """The inverse of ``hpke_seal``. The caller wipes what it gets.

    Raises:
        DecryptionError: ``payload``: for every cause.
    """
    hybrid = MLKEM768X25519PrivateKey(
        MLKEM768PrivateKey.from_seed_bytes(ml_kem_seed),
        X25519PrivateKey.from_private_bytes(x25519_seed),
    )
    try:
        return bytearray(_HPKE.decrypt(sealed, hybrid, info))
    except (InvalidTag, ValueError):
        raise undecryptable() from None


class Aes256Gcm:
    """AES-256-GCM without associated data, from buffers into buffers.

    Raises:
        InputError: ``argument``: a key of another length, which would be another cipher.
    """

    def __init__(self, key: Buffer) -> None:
        self._cipher = _aes_256(key)

    def encrypt_into(self, nonce: bytes, plaintext: Buffer, into: memoryview) -> None:
        """Fill ``into``, which is exactly ``TAG_BYTES`` longer than the plaintext."""
        self._cipher.encrypt_into(nonce, plaintext, None, into)

    def decrypt_into(self, nonce: bytes, ciphertext: Buffer, into: memoryview) -> None:
        """Fill ``into``, which is exactly ``TAG_BYTES`` shorter than the ciphertext.

        When this raises, ``into`` holds bytes that nobody has authenticated: wipe it.

        Raises:
            DecryptionError: ``payload``: the tag is not that of this text.
        """
        try:
            self._cipher.decrypt_into(nonce, ciphertext, None, into)
        except (InvalidTag, ValueError):
            raise undecryptable() from None


def aes_256_gcm_seal(key: Buffer, nonce: bytes, plaintext: Buffer) -> bytes:
    """Ciphertext and tag."""
    return _aes_256(key).encrypt(nonce, plaintext, None)


def aes_256_gcm_open(key: Buffer, nonce: bytes, sealed: Buffer) -> bytes:
    """The plaintext.

    Raises:
        DecryptionError: ``payload``.
    """
    cipher = _aes_256(key)
    try:
        return cipher.decrypt(nonce, sealed, None)
    except (InvalidTag, ValueError):
        raise undecryptable() from None


def hkdf_sha256(key: Buffer, *, salt: bytes, info: bytes, length: int) -> bytearray:
    """HKDF with SHA-256, extract and expand. The caller wipes what it gets."""
    output = bytearray(length)
    HKDF(hashes.SHA256(), length, salt, info).derive_into(key, output)
    return output


def expand_sha512(key: Buffer, *, info: bytes, length: int) -> bytearray:
    """HKDF-Expand with SHA-512. The caller wipes what it gets."""
    output = bytearray(length)
    HKDFExpand(hashes.SHA512(), length, info).derive_into(key, output)
    return output


def hmac_sha256(key: Buffer, message: Buffer) -> bytes:
    """HMAC with SHA-256."""
    return hmac.digest(key, message, "sha256")


def compare(left: Buffer, right: Buffer) -> bool:
    """Whether both are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(left, right)


def wipe(buffer: bytearray | memoryview) -> None:
    """Overwrite with zeros, in place."""
    with memoryview(buffer).cast("B") as view:
        for start in range(0, len(view), len(_ZEROS)):
            stop = min(start + len(_ZEROS), len(view))
            view[start:stop] = _ZEROS[: stop - start]


def _aes_256(key: Buffer) -> AESGCM:
    if len(key) != AES_256_KEY_BYTES:
        raise InputError("argument", f"expected a key of {AES_256_KEY_BYTES} bytes, got {len(key)}")
    return AESGCM(key)


def _check_edwards(public: bytes) -> None:
    """A signature by a key of small order verifies for almost any message."""
    ordinate = int.from_bytes(public, "little") & (2**255 - 1)
    if ordinate >= _CURVE_PRIME:
        raise _weak(ED25519, "its canonical encoding", "a second one")
    square = ordinate * ordinate % _CURVE_PRIME
    # The points of order 1, 2 and 4 have y in {1, -1, 0}. Those of order 8 double to y = 0, and
    # so their y is a root of d y^4 + 2 y^2 - 1.
    order_eight = (_EDWARDS_D * square * square + 2 * square - 1) % _CURVE_PRIME == 0
    if square in {0, 1} or order_eight:
        raise _weak(ED25519, "a point of large order", "one of small order")
    # x^2 = (y^2 - 1) / (d y^2 + 1) must have a root; a quotient is a square when the product is.
    product = (square - 1) * (_EDWARDS_D * square + 1) % _CURVE_PRIME
    if pow(product, (_CURVE_PRIME - 1) // 2, _CURVE_PRIME) != 1:
        raise _weak(ED25519, "a point on the curve", "something else")


def _check_montgomery(public: bytes) -> None:
    """A shared secret with a point of small order is known to everybody."""
    if int.from_bytes(public, "little") >= _CURVE_PRIME:
        raise _weak(X25519, "its canonical encoding", "a second one")
    try:
        X25519PrivateKey.from_private_bytes(bytes(32)).exchange(
            X25519PublicKey.from_public_bytes(public)
        )
    except ValueError:
        raise _weak(X25519, "a point of large order", "one of small order") from None


def _ml_kem_public(public: bytes) -> MLKEM768PublicKey:
    try:
        return MLKEM768PublicKey.from_public_bytes(public)
    except ValueError:
        raise _weak(Algorithm.ML_KEM_768, "coefficients below the modulus", "others") from None


def _weak(algorithm: Algorithm, expected: str, came: str) -> MalformedBundleError:
    return MalformedBundleError(
        "weak-key", f"a public {algorithm.label} key: expected {expected}, got {came}"
    )


def undecryptable() -> DecryptionError:
    """The one error of whatever does not open; one text, too, so that it is no oracle."""
    return DecryptionError("payload", "expected a ciphertext for this key, got something else")
