"""The ``.emb`` bundle: bytes to parts and back (docs/bundle-format.md, section 1).

No keys and no files here. ``Bundle.parse`` makes checks 1 and 2 of section 5 as far as form goes,
in this order:

1. prelude: magic, suite, flags and reserved bytes zero, each length within its cap, and the
   lengths add up to exactly the bytes that came;
2. signature block: entries whole, known algorithms with signatures of their size, key ids strictly
   ascending.

Nothing beyond the signature block is looked at. A ``Bundle`` is bytes in parts, believed by
nobody: ``trust.verify`` makes a ``VerifiedBundle`` of it.

Later, when signatures have been verified: ``check_manifest`` (part of check 5) compares manifest,
prelude and table, and ``Bundle.grants`` reads the recipients.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, zip_longest
from typing import TYPE_CHECKING

from edgesdk.envelope import KEYID_BYTES, Domain, Signature, merge, pae
from edgesdk.errors import InputError, MalformedBundleError
from edgesdk.limits import BUNDLE, BundleLimits
from edgesdk.manifest import DIGEST_BYTES, SUITE, Binding, Manifest
from edgesdk.primitives import SIGNATURE_IDS, TAG_BYTES, undecryptable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from edgesdk.primitives import Buffer

__all__ = ["Binding", "Bundle", "Manifest", "Prelude", "check_manifest"]

MAGIC = b"EDGEMB\x01\n"
STATEMENT_MAGIC = b"EDGEST\x01\n"
KID_BYTES = 16

# Suite 1: Cobblestone-256.
CHUNK_BYTES = 16 * 1024
SEGMENT_CHUNKS = 64
SALT_BYTES = 24
COMMITMENT_BYTES = 32
PAYLOAD_HEAD_BYTES = SALT_BYTES + COMMITMENT_BYTES
SEALED_CHUNK_BYTES = CHUNK_BYTES + TAG_BYTES
SEGMENT_BYTES = SEGMENT_CHUNKS * SEALED_CHUNK_BYTES
SMALLEST_PAYLOAD = PAYLOAD_HEAD_BYTES + TAG_BYTES + 1

_PRELUDE = struct.Struct("<8sHHIIIIQ28s")
_SIGNATURE = struct.Struct(f"<B{KEYID_BYTES}sH")
_RECIPIENT = struct.Struct(f"<{KID_BYTES}sI")
_RESERVED = bytes(28)
_SIGNATURE_BYTES = {number: a.sizes.signature for a, number in SIGNATURE_IDS.items()}


@dataclass(frozen=True)
class Prelude:
    """The lengths of the parts: the only bytes that are read before a signature is checked."""

    sig_len: int
    manifest_len: int
    table_len: int
    recip_len: int
    payload_len: int

    SIZE = _PRELUDE.size

    @classmethod
    def parse(cls, data: Buffer, *, limits: BundleLimits = BUNDLE) -> Prelude:
        """Read the first 64 bytes.

        Raises:
            MalformedBundleError: ``prelude``, ``unsupported-suite``, ``size``.
        """
        if len(data) < cls.SIZE:
            raise _malformed("prelude", f"at least {cls.SIZE} bytes", f"{len(data)}")
        magic, suite, flags, *lengths, reserved = _PRELUDE.unpack_from(data)
        if magic != MAGIC:
            version_only = magic[:6] == MAGIC[:6] and magic[7:] == MAGIC[7:]
            reason = "unsupported-suite" if version_only else "prelude"
            raise _malformed(reason, f"a bundle of version 1, {MAGIC!r}", f"{magic!r}")
        if suite != SUITE:
            raise _malformed("unsupported-suite", f"suite {SUITE}", f"{suite}")
        if flags or reserved != _RESERVED:
            raise _malformed("prelude", "flags and reserved bytes of zero", "others")
        prelude = cls(*lengths)
        prelude._check_caps(limits)
        return prelude

    def _check_caps(self, limits: BundleLimits) -> None:
        for name, value, least, most in (
            ("sig_len", self.sig_len, 0, limits.signatures_bytes),
            ("manifest_len", self.manifest_len, 1, limits.manifest_bytes),
            ("table_len", self.table_len, DIGEST_BYTES, limits.table_bytes),
            ("recip_len", self.recip_len, 0, limits.recipients_bytes),
            ("payload_len", self.payload_len, SMALLEST_PAYLOAD, limits.payload_bytes),
        ):
            if not least <= value <= most:
                raise _malformed("size", f"{name} from {least} to {most}", f"{value}")
        if self.table_len % DIGEST_BYTES:
            raise _malformed("size", f"table_len in steps of {DIGEST_BYTES}", f"{self.table_len}")

    def encode(self, *, sig_len: int | None = None) -> bytes:
        """The 64 bytes; the statement holds them with ``sig_len`` zero."""
        return _PRELUDE.pack(
            MAGIC,
            SUITE,
            0,
            self.sig_len if sig_len is None else sig_len,
            self.manifest_len,
            self.table_len,
            self.recip_len,
            self.payload_len,
            _RESERVED,
        )

    @property
    def total(self) -> int:
        """The size of the whole bundle."""
        return (
            self.SIZE
            + self.sig_len
            + self.manifest_len
            + self.table_len
            + self.recip_len
            + self.payload_len
        )


@dataclass(frozen=True)
class SignatureEntry(Signature):
    """A signature of the block, with the number of its algorithm."""

    algorithm: int


@dataclass(frozen=True)
class Bundle:
    """The parts of a bundle. Their form is right; nothing in them has been believed."""

    prelude: Prelude
    signatures: tuple[SignatureEntry, ...]
    manifest_bytes: bytes
    table: bytes
    recipients: bytes
    payload: memoryview

    @classmethod
    def parse(cls, data: bytes | memoryview, *, limits: BundleLimits = BUNDLE) -> Bundle:
        """Checks 1 and 2.

        Raises:
            MalformedBundleError: ``prelude``, ``unsupported-suite``, ``size``, ``signatures``.
        """
        view = _private(data)
        prelude = Prelude.parse(view, limits=limits)
        if prelude.total != len(view):
            raise _malformed("size", f"{prelude.total} bytes, as the parts add up", f"{len(view)}")
        parts = []
        start = Prelude.SIZE
        for length in (
            prelude.sig_len,
            prelude.manifest_len,
            prelude.table_len,
            prelude.recip_len,
            prelude.payload_len,
        ):
            parts.append(view[start : start + length])
            start += length
        block, manifest, table, recipients, payload = parts
        signatures = _parse_signatures(bytes(block), limits)
        return cls(prelude, signatures, bytes(manifest), bytes(table), bytes(recipients), payload)

    @classmethod
    def build(
        cls, manifest: bytes, table: bytes, payload: Buffer, *, grants: Mapping[bytes, bytes]
    ) -> Bundle:
        """An unsigned bundle of its parts; ``grants`` by the ``kid`` of their device."""
        recipients = b"".join(
            _RECIPIENT.pack(kid, len(grant)) + grant for kid, grant in sorted(grants.items())
        )
        prelude = Prelude(0, len(manifest), len(table), len(recipients), len(payload))
        return cls.parse(b"".join((prelude.encode(), manifest, table, recipients, payload)))

    def encode(self) -> bytes:
        """The bytes of the file."""
        block = b"".join(
            _SIGNATURE.pack(entry.algorithm, entry.keyid, len(entry.value)) + entry.value
            for entry in self.signatures
        )
        prelude = self.prelude.encode(sig_len=len(block))
        return b"".join(
            (prelude, block, self.manifest_bytes, self.table, self.recipients, self.payload)
        )

    def with_signatures(self, added: Iterable[SignatureEntry]) -> bytes:
        """The bytes with these signatures as well; one by the same key is replaced."""
        entries = merge(self.signatures, added)
        if len(entries) > BUNDLE.signatures:
            raise InputError(
                "argument", f"expected at most {BUNDLE.signatures} signatures, got {len(entries)}"
            )
        return Bundle(
            self.prelude, entries, self.manifest_bytes, self.table, self.recipients, self.payload
        ).encode()

    @cached_property
    def statement(self) -> bytes:
        """The 168 bytes that stand for the whole bundle."""
        return b"".join(
            (
                STATEMENT_MAGIC,
                self.prelude.encode(sig_len=0),
                hashlib.sha256(self.manifest_bytes).digest(),
                hashlib.sha256(self.table).digest(),
                hashlib.sha256(self.recipients).digest(),
            )
        )

    @property
    def message(self) -> bytes:
        """What is signed: the statement with its type."""
        return pae(Domain.BUNDLE.payload_type, self.statement)

    def grants(self) -> dict[bytes, bytes]:
        """The grants that travel with the bundle, by the ``kid`` of their device.

        Raises:
            MalformedBundleError: ``recipients``.
        """
        found: dict[bytes, bytes] = {}
        last = b""
        start = 0
        while start < len(self.recipients):
            if start + _RECIPIENT.size > len(self.recipients):
                raise _malformed("recipients", "a whole entry", "a part of one")
            kid, length = _RECIPIENT.unpack_from(self.recipients, start)
            start += _RECIPIENT.size
            if not 0 < length <= min(BUNDLE.grant_bytes, len(self.recipients) - start):
                raise _malformed("recipients", "a grant within its bounds", f"{length} bytes")
            if kid <= last and found:
                raise _malformed("recipients", "entries strictly ascending", "another order")
            found[kid] = self.recipients[start : start + length]
            last = kid
            start += length
        return found


def check_manifest(bundle: Bundle, manifest: Manifest) -> None:
    """Return if manifest, prelude and table say the same.

    Raises:
        MalformedBundleError: ``manifest-mismatch``.
    """
    vectors = manifest.golden_count * manifest.contract.vector_bytes
    digest = hashlib.sha256(bundle.table).digest()
    for what, expected, came in (
        ("payload_len", bundle.prelude.payload_len, manifest.payload_len),
        ("payload_len", sealed_bytes(manifest.plaintext_len), manifest.payload_len),
        ("table_len", DIGEST_BYTES * segment_count(manifest.plaintext_len), len(bundle.table)),
        ("plaintext_len", manifest.model_len + vectors, manifest.plaintext_len),
        ("the digest of the table", digest.hex(), manifest.table_digest.hex()),
    ):
        if expected != came:
            raise _malformed("manifest-mismatch", f"{what} {expected}", f"{came}")


def check_segments(bundle: Bundle) -> None:
    """Check 8: return if every segment of the payload has the digest that the table gives.

    Raises:
        DecryptionError: ``payload``.
    """
    table = bundle.table
    digests = [table[i : i + DIGEST_BYTES] for i in range(0, len(table), DIGEST_BYTES)]
    for expected, segment in zip_longest(digests, segments(bundle.payload)):
        if segment is None or hashlib.sha256(segment).digest() != expected:
            raise undecryptable()


def segments(payload: memoryview) -> Iterator[memoryview]:
    """The pieces of a payload that the table has digests of."""
    # Salt and commitment belong to the first.
    start, stop = 0, PAYLOAD_HEAD_BYTES + SEGMENT_BYTES
    while start < len(payload):
        yield payload[start:stop]
        start, stop = stop, stop + SEGMENT_BYTES


def chunk_count(plaintext_len: int) -> int:
    """The last chunk is always shorter than the others, and may be empty."""
    return plaintext_len // CHUNK_BYTES + 1


def sealed_bytes(plaintext_len: int) -> int:
    """The size of a payload."""
    return PAYLOAD_HEAD_BYTES + plaintext_len + TAG_BYTES * chunk_count(plaintext_len)


def segment_count(plaintext_len: int) -> int:
    """How many digests a table has."""
    return -(-chunk_count(plaintext_len) // SEGMENT_CHUNKS)


def _private(data: bytes | memoryview) -> memoryview:
    """Memory that nobody can change between check and use."""
    if isinstance(data, memoryview) and isinstance(data.obj, bytes) and data.c_contiguous:
        return data.cast("B")
    return memoryview(bytes(data))


def _parse_signatures(block: bytes, limits: BundleLimits) -> tuple[SignatureEntry, ...]:
    entries: list[SignatureEntry] = []
    start = 0
    while start < len(block):
        if len(entries) == limits.signatures:
            raise _malformed("signatures", f"at most {limits.signatures} entries", "more")
        if start + _SIGNATURE.size > len(block):
            raise _malformed("signatures", "a whole entry", "a part of one")
        algorithm, keyid, length = _SIGNATURE.unpack_from(block, start)
        start += _SIGNATURE.size
        if start + length > len(block):
            raise _malformed("signatures", f"{length} bytes", f"{len(block) - start}")
        expected = _SIGNATURE_BYTES.get(algorithm, length)
        if length != expected:
            raise _malformed("signatures", f"{expected} bytes for {algorithm}", f"{length}")
        entries.append(SignatureEntry(keyid, block[start : start + length], algorithm))
        start += length
    if any(left.keyid >= right.keyid for left, right in pairwise(entries)):
        raise _malformed("signatures", "key ids strictly ascending", "another order")
    return tuple(entries)


def _malformed(reason: str, expected: str, came: str) -> MalformedBundleError:
    return MalformedBundleError(reason, f"a bundle: expected {expected}, got {came}")
