"""Every bound that edgesdk puts on what it reads from outside, with its unit."""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


@dataclass(frozen=True)
class BundleLimits:
    """Bounds on bundles, grants, keys and trust files (docs/bundle-format.md)."""

    signatures_bytes: int = 64 * KIB
    signatures: int = 16
    manifest_bytes: int = 256 * KIB
    table_bytes: int = 4 * MIB
    recipients_bytes: int = 4 * MIB
    payload_bytes: int = 1 * GIB
    grant_bytes: int = 16 * KIB
    trust_bytes: int = 256 * KIB
    key_bytes: int = 4 * KIB
    record_bytes: int = 16 * KIB
    # Files in the folder of grants; the rest is not looked at.
    grant_files: int = 4096
    json_depth: int = 8

    @property
    def file_bytes(self) -> int:
        """The largest file that can be a bundle: its prelude and all parts at their most."""
        parts = self.signatures_bytes + self.manifest_bytes + self.table_bytes
        return 64 + parts + self.recipients_bytes + self.payload_bytes


BUNDLE = BundleLimits()


@dataclass(frozen=True)
class FloorLimits:
    """Bounds on the durable floors of a device (docs/bundle-format.md, section 6)."""

    models: int = 1024
    file_bytes: int = 512 * KIB
    # How long a process waits for another one that raises the floors.
    lock_seconds: float = 10.0


FLOORS = FloorLimits()


@dataclass(frozen=True)
class EvidenceLimits:
    """Bounds on claims and on the policies that demand them (docs/evidence.md)."""

    # Statements in one bundle, bytes of the payload of one, and claims in it.
    statements: int = 16
    statement_bytes: int = 16 * KIB
    claims: int = 64
    # What an auditor gives to a publisher: the statement with its signatures, and a salt.
    claim_file_bytes: int = 128 * KIB
    # Characters of a text, and entries of a list of texts.
    text: int = 256
    entries: int = 64
    # A policy, or a list of claims that is to be signed.
    toml_bytes: int = 64 * KIB
    toml_depth: int = 8
    demands: int = 128
    age_days: int = 36_500
    # By how much an auditor's clock may be ahead of the device's.
    clock_seconds: int = 300


EVIDENCE = EvidenceLimits()


@dataclass(frozen=True)
class SignerLimits:
    """Bounds on a program that signs (docs/keys.md)."""

    seconds: float = 60.0
    answer_bytes: int = 16 * KIB


SIGNER = SignerLimits()


@dataclass(frozen=True)
class PublisherLimits:
    """Bounds on the files that a publisher gives to the tools."""

    label_bytes: int = 1 * MIB
    # Of a list in the metadata of a model.
    metadata_entries: int = 1024
    # Arrays in one file, packed and unpacked.
    array_bytes: int = 1 * GIB
    fleet_bytes: int = 256 * MIB


PUBLISHER = PublisherLimits()


@dataclass(frozen=True)
class ModelLimits:
    """Bounds on what a .tflite file may ask of the core. Pass your own to ``Interpreter``."""

    model_bytes: int = 2 * GIB - 1
    tensors: int = 65_536
    operators: int = 65_536
    tensor_bytes: int = 2 * GIB - 1
    arena_bytes: int = 2 * GIB - 1
    packed_bytes: int = 4 * GIB
    # Runs of subgraphs by IF, WHILE and CALL_ONCE in one invoke.
    calls: int = 2**20
    # Multiply-accumulates and bytes moved in one invoke: a bound on its time.
    work: int = 2**42


MODEL = ModelLimits()
