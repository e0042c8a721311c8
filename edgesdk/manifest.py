"""The manifest: what a publisher says of a bundle, as an in-toto statement.

``Manifest.parse`` checks form, types and bounds (docs/bundle-format.md, section 1.5), in the
order of the members here.

Not checked here: whether it agrees with the bundle around it (``bundle.check_manifest``), who
signed it, and whether it is for this device and this time (``trust``).
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgesdk import canonical
from edgesdk.claim import Evidence
from edgesdk.contract import Contract
from edgesdk.errors import InputError, MalformedBundleError
from edgesdk.limits import BUNDLE, EVIDENCE

if TYPE_CHECKING:
    from edgesdk.canonical import JSON, Fields

FORMAT = 1
SUITE = 1
# What the compiled core of this release can run; a manifest may ask for a newer one.
CORE_LEVEL = 1

BUNDLE_ID_BYTES = 32
DIGEST_BYTES = 32
LONGEST_MODEL_ID = 128
LONGEST_TEXT = 64
LONGEST_LICENCE = 256
MOST_OPERATORS = 1024
MOST_VECTORS = 1024
MODEL_ID = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*")

_STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
_PREDICATE_TYPE = "urn:edgesdk:bundle:v1"
_TABLE_DIGEST = "edgesdk-table-sha256"


@dataclass(frozen=True)
class Binding:
    """Which release of which model: what keys and grants are bound to."""

    bundle_id: bytes
    model_id: str
    epoch: int
    sequence: int

    @classmethod
    def parse(cls, fields: Fields) -> Binding:
        """Read its four members, from a manifest or a grant."""
        return cls(
            fields.hexadecimal("bundle_id", BUNDLE_ID_BYTES),
            fields.text("model_id", longest=LONGEST_MODEL_ID, pattern=MODEL_ID),
            fields.integer("epoch"),
            fields.integer("sequence", least=1),
        )

    def to_json(self) -> dict[str, JSON]:
        """The inverse of ``parse``."""
        return {
            "bundle_id": self.bundle_id.hex(),
            "epoch": self.epoch,
            "model_id": self.model_id,
            "sequence": self.sequence,
        }

    def context(self, purpose: str) -> bytes:
        """The bytes that tie a key to one purpose and one release."""
        model_id = self.model_id.encode("ascii")
        return b"".join(
            (
                purpose.encode("ascii") + b"\x00",
                self.bundle_id,
                struct.pack("<H", len(model_id)) + model_id,
                struct.pack("<QQ", self.epoch, self.sequence),
            )
        )


@dataclass(frozen=True)
class Manifest:
    """Every member of the predicate, and the digest of the subject."""

    binding: Binding
    model_version: str
    table_digest: bytes
    created: int
    payload_len: int
    plaintext_len: int
    plaintext_mac: bytes
    model_len: int
    operators: tuple[tuple[str, int], ...]
    contract: Contract
    golden_count: int
    min_core: int = CORE_LEVEL
    min_revocation_seq: int = 0
    not_before: int | None = None
    expires: int | None = None
    vendor_id: str | None = None
    class_id: str | None = None
    licence: str | None = None
    evidence: tuple[Evidence, ...] = ()

    @property
    def model_id(self) -> str:
        """Which model it is."""
        return self.binding.model_id

    @classmethod
    def parse(cls, data: bytes) -> Manifest:
        """Read a manifest.

        Raises:
            MalformedBundleError: ``manifest``; ``claim``, of what auditors have signed in it.
        """
        if len(data) > BUNDLE.manifest_bytes:
            raise _malformed(f"expected at most {BUNDLE.manifest_bytes} bytes, got {len(data)}")
        fields = canonical.Fields(canonical.parse(data, error=_malformed), "manifest", _malformed)
        fields.constant("_type", _STATEMENT_TYPE)
        fields.constant("predicateType", _PREDICATE_TYPE)
        subject, table_digest = _subject(fields)
        manifest = _predicate(fields.nested("predicate"), table_digest)
        fields.end()
        if subject != manifest.model_id:
            raise _malformed(f"expected the subject {manifest.model_id}, got {subject}")
        return manifest

    def encode(self) -> bytes:
        """Canonical JSON, of which ``parse`` makes the same manifest.

        Raises:
            InputError: ``argument``: a member that ``parse`` would refuse.
        """
        data = canonical.encode(
            {
                "_type": _STATEMENT_TYPE,
                "predicate": self._to_json(),
                "predicateType": _PREDICATE_TYPE,
                "subject": [
                    {"digest": {_TABLE_DIGEST: self.table_digest.hex()}, "name": self.model_id}
                ],
            }
        )
        try:
            Manifest.parse(data)
        except MalformedBundleError as error:
            raise InputError("argument", error.message) from None
        return data

    def _to_json(self) -> dict[str, JSON]:
        optional: dict[str, JSON | None] = {
            "class_id": self.class_id,
            "expires": self.expires,
            "licence": self.licence,
            "not_before": self.not_before,
            "vendor_id": self.vendor_id,
        }
        return {
            **self.binding.to_json(),
            **{name: value for name, value in optional.items() if value is not None},
            "contract": self.contract.to_json(),
            "created": self.created,
            "evidence": [entry.to_json() for entry in self.evidence],
            "format": FORMAT,
            "golden": {"count": self.golden_count},
            "min_core": self.min_core,
            "min_revocation_seq": self.min_revocation_seq,
            "model_len": self.model_len,
            "model_version": self.model_version,
            "operators": [[name, version] for name, version in self.operators],
            "payload_len": self.payload_len,
            "plaintext_len": self.plaintext_len,
            "plaintext_mac": self.plaintext_mac.hex(),
            "suite": SUITE,
        }


def _subject(fields: Fields) -> tuple[str, bytes]:
    (entry,) = fields.entries("subject", longest=1, least=1)
    subject = fields.check_nested("subject", entry)
    digests = subject.nested("digest")
    digest = digests.hexadecimal(_TABLE_DIGEST, DIGEST_BYTES)
    digests.end()
    name = subject.text("name", longest=LONGEST_MODEL_ID)
    subject.end()
    return name, digest


def _predicate(fields: Fields, table_digest: bytes) -> Manifest:
    fields.constant("format", FORMAT)
    fields.constant("suite", SUITE)
    golden = fields.nested("golden")
    manifest = Manifest(
        binding=Binding.parse(fields),
        model_version=fields.text("model_version", longest=LONGEST_TEXT),
        table_digest=table_digest,
        created=fields.integer("created"),
        payload_len=fields.integer("payload_len"),
        plaintext_len=fields.integer("plaintext_len"),
        plaintext_mac=fields.hexadecimal("plaintext_mac", DIGEST_BYTES),
        model_len=fields.integer("model_len", least=1),
        operators=_operators(fields),
        contract=Contract.from_json(fields.nested("contract")),
        golden_count=golden.integer("count", least=1, most=MOST_VECTORS),
        min_core=fields.integer("min_core", least=1),
        min_revocation_seq=fields.integer("min_revocation_seq"),
        not_before=fields.integer("not_before") if "not_before" in fields else None,
        expires=fields.integer("expires") if "expires" in fields else None,
        vendor_id=_text(fields, "vendor_id", LONGEST_TEXT),
        class_id=_text(fields, "class_id", LONGEST_TEXT),
        licence=_text(fields, "licence", LONGEST_LICENCE),
        evidence=_evidence(fields),
    )
    golden.end()
    fields.end()
    return manifest


def _operators(fields: Fields) -> tuple[tuple[str, int], ...]:
    found = []
    for entry in fields.entries("operators", longest=MOST_OPERATORS):
        if not isinstance(entry, list) or len(entry) != 2:  # noqa: PLR2004 - a pair
            raise fields.refuse("operators", "pairs of name and version", "something else")
        name = fields.check_text("operators", entry[0], longest=LONGEST_MODEL_ID, least=1)
        version = fields.check_integer("operators", entry[1], least=1, most=2**31 - 1)
        found.append((name, version))
    if found != sorted(set(found)):
        raise fields.refuse("operators", "each once and in order", "another order")
    return tuple(found)


def _evidence(fields: Fields) -> tuple[Evidence, ...]:
    entries = fields.entries("evidence", longest=EVIDENCE.statements)
    found = [Evidence.read(fields.check_nested("evidence", entry)) for entry in entries]
    if len({entry.statement.envelope.payload for entry in found}) != len(found):
        raise fields.refuse("evidence", "each statement once", "one twice")
    return tuple(found)


def _text(fields: Fields, name: str, longest: int) -> str | None:
    return fields.text(name, longest=longest, least=1) if name in fields else None


def _malformed(text: str) -> MalformedBundleError:
    return MalformedBundleError("manifest", text)
