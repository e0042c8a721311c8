"""The readers of docs/bundle-format.md and of announcements, and what each promises of any bytes.

An input is one byte that says which reader, and then what is read. ``check`` returns what became of
it: it was read, and written again gave the same bytes, or the reader refused it with one of the
errors that it names. It raises whatever else happens, and ``CostError`` where one small input has
taken more than a second of processor time or 64 MB of memory.

As a program it writes seeds into a folder: ``formats.py FOLDER``, with the folder of tests on
``PYTHONPATH``. They are the world of the tests:
its bundle, grant, trust file, records, keys, and the documents inside of them by themselves, since
nothing that is mutated comes through base64 and signatures.
"""

from __future__ import annotations

import resource
import sys
import time
from collections import Counter
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from edgesdk import canonical, record
from edgesdk.announcement import Announcement
from edgesdk.bundle import Bundle, Prelude
from edgesdk.contract import Contract
from edgesdk.envelope import Domain, Envelope
from edgesdk.errors import EdgeError, MalformedBundleError, RemoteError, SignatureError
from edgesdk.grant import Grant
from edgesdk.keys import ContentKey, PublicRecord, SecretKey
from edgesdk.manifest import Manifest
from edgesdk.primitives import ED25519
from edgesdk.publish.root import Members
from edgesdk.root import OPTIONAL_ROLES, TrustRoot, read_envelope
from fixtures_protect import NOW, make_world, stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECONDS = 1.0
KIBIBYTES = 64 * 1024
# ru_maxrss is in KiB, but in bytes on macOS.
_UNIT = 1024 if sys.platform == "darwin" else 1
POOL = "default"
MANIFEST, TABLE, PAYLOAD = b"{}", bytes(32), bytes(73)


class CostError(AssertionError):
    """An input took more time or memory than any may."""


# ---- the readers


def prelude(data: bytes) -> bytes:
    return Prelude.parse(data).encode() + data[Prelude.SIZE :]


def bundle(data: bytes) -> bytes:
    found = Bundle.parse(data)
    assert len(found.statement) == 168
    assert len(Bundle.parse(found.with_signatures(())).signatures) == len(found.signatures)
    return found.encode()


def signature_block(data: bytes) -> bytes:
    """Alone, so that no length need follow what is mutated."""
    head = Prelude(len(data), len(MANIFEST), len(TABLE), 0, len(PAYLOAD)).encode()
    return bundle(head + data + MANIFEST + TABLE + PAYLOAD)[len(head) :][: len(data)]


def recipients(data: bytes) -> bytes:
    head = Prelude(0, len(MANIFEST), len(TABLE), len(data), len(PAYLOAD)).encode()
    grants = Bundle.parse(head + MANIFEST + TABLE + data + PAYLOAD).grants()
    return Bundle.build(MANIFEST, TABLE, PAYLOAD, grants=grants).recipients


def manifest(data: bytes) -> bytes:
    found = Manifest.parse(data)
    assert found.contract.vector_bytes > 0
    return found.encode()


def grant(data: bytes) -> bytes:
    return Grant.parse(data).encode()


def grant_payload(data: bytes) -> bytes:
    return Grant.of(Envelope(Domain.GRANT, data)).envelope.payload


def trust(data: bytes) -> bytes:
    return TrustRoot.parse(data).envelope.encode()


def trust_payload(data: bytes) -> bytes:
    return read_envelope(Envelope(Domain.ROOT, data).encode()).payload


def public_record(data: bytes) -> bytes:
    return PublicRecord.parse(data).encode()


def record_payload(data: bytes) -> bytes:
    """Signed by the world's device, so that a record of its keys comes through."""
    signed = record.sign_envelope(Envelope(Domain.RECORD, data), make_cast().device)
    return PublicRecord.parse(signed.encode()).envelope.payload


def secret_key(data: bytes) -> bytes:
    with SecretKey.parse(data) as key:
        return bytes(key.encode())


def content_key(data: bytes) -> bytes:
    with ContentKey.parse(data) as key:
        return bytes(key.encode())


def announcement(data: bytes) -> bytes:
    cast = make_cast()
    options = {"gateway": cast.gateway_record, "pool": POOL, "now": NOW}
    return Announcement.parse(data, **options).encode(cast.gateway)


def announcement_payload(data: bytes) -> bytes:
    signed = record.sign_envelope(Envelope(Domain.SERVICE, data), make_cast().gateway)
    assert announcement(signed.encode()) == signed.encode()
    return data


@dataclass(frozen=True)
class Reader:
    """``read`` gives the bytes that what it has read is written as, or raises one of ``errors``."""

    read: Callable[[bytes], bytes]
    errors: tuple[type[EdgeError], ...] = (MalformedBundleError,)


SIGNED = (MalformedBundleError, SignatureError)
# The place of a reader is the first byte of its inputs: new ones come last.
READERS = (
    Reader(prelude),
    Reader(bundle),
    Reader(signature_block),
    Reader(recipients),
    Reader(manifest),
    Reader(grant),
    Reader(grant_payload),
    Reader(trust, SIGNED),
    Reader(trust_payload),
    Reader(public_record, SIGNED),
    Reader(record_payload, SIGNED),
    Reader(secret_key),
    Reader(content_key),
    Reader(announcement, (RemoteError, SignatureError)),
    Reader(announcement_payload, (RemoteError,)),
)


def check(data: bytes) -> str:
    """What became of an input: "read", or the reason it was refused for."""
    if not data:
        return "nothing"
    reader, body = READERS[data[0] % len(READERS)], data[1:]
    started, memory = time.process_time(), peak()
    result = _check(reader, body)
    if time.process_time() - started > SECONDS:
        raise CostError(f"{reader.read.__name__}: more than {SECONDS} s")
    if peak() - memory > KIBIBYTES:
        raise CostError(f"{reader.read.__name__}: more than {KIBIBYTES} KiB")
    return result


def _check(reader: Reader, body: bytes) -> str:
    try:
        written = reader.read(body)
    except reader.errors as error:
        assert error.reason in type(error).reasons, error.reason
        assert "expected" in str(error), str(error)
        return error.reason
    assert written == body, f"{reader.read.__name__}: written with another spelling"
    return "read"


def peak() -> int:
    """The most memory that this process has ever had, in KiB: what an input adds to shows.

    Where there is /proc: getrusage() goes by the parent's peak as well, from before the program.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // _UNIT


# ---- the seeds


@dataclass(frozen=True)
class Cast:
    """Those who sign in the readers above; the same in every run."""

    device: SecretKey
    gateway: SecretKey
    gateway_record: PublicRecord


@cache
def make_cast() -> Cast:
    device = SecretKey.generate("device", random=stream("device"))
    gateway = SecretKey.generate("gateway", random=stream("gateway"))
    return Cast(device, gateway, gateway.record("gateway"))


def full_manifest(found: Manifest) -> Manifest:
    """One that has every member."""
    tensor = found.contract.inputs[0]
    full = replace(
        tensor, colour="gray", mean=(-0.0,), std=(2.0,),
        shape_signature=(-1, *tensor.shape[1:]),
        labels=tuple(f"label {i}" for i in range(tensor.shape[-1])),
    )  # fmt: skip
    return replace(
        found, contract=Contract((full,), found.contract.outputs), not_before=1, expires=NOW,
        vendor_id="acme", class_id="camera", licence="Apache-2.0 OR MIT", min_revocation_seq=3,
        operators=(("ADD", 1), ("RELU", 1), ("RELU", 2)),
    )  # fmt: skip


def seeds() -> Iterator[tuple[Callable[[bytes], bytes], bytes]]:
    """Readers with something sound to read."""
    world, cast = make_world(), make_cast()
    granted = Grant.parse(world.grant_bytes)
    carrier = Bundle.build(MANIFEST, TABLE, PAYLOAD, grants={world.device.kid: world.grant_bytes})
    few = Bundle.build(MANIFEST, TABLE, PAYLOAD, grants={bytes([n] * 16): b"x" for n in range(3)})
    told = Announcement(cast.gateway.kid, POOL, 1_000_000, NOW + 60, (("door/person", "1.2"),))
    parsed = Manifest.parse(world.bundle.manifest_bytes)
    nobody = {name: Members((), scope=("door/*",)) for name in OPTIONAL_ROLES}
    full_trust = world.trust_file(roles=nobody, version=2, epoch=1, expires=NOW)
    alone = SecretKey.generate("signer", algorithms=[ED25519], random=stream("alone"))
    head = Prelude.SIZE + world.bundle.prelude.sig_len
    yield prelude, world.bundle_bytes[: Prelude.SIZE]
    yield bundle, world.bundle_bytes
    yield bundle, carrier.encode()
    yield bundle, few.encode()
    yield signature_block, world.bundle_bytes[Prelude.SIZE : head]
    # Small ones, as a byte that is hit by chance is one of few.
    yield signature_block, b"".join(bytes([3 + n, *[n] * 32, n, 0]) + b"x" * n for n in range(3))
    yield recipients, carrier.recipients
    yield recipients, few.recipients
    yield manifest, parsed.encode()
    yield manifest, full_manifest(parsed).encode()
    yield grant, world.grant_bytes
    yield grant_payload, granted.envelope.payload
    yield grant_payload, Grant.parse(world.grant(not_after=NOW)).envelope.payload
    yield trust, world.trust_bytes
    yield trust_payload, world.trust.envelope.payload
    yield trust, full_trust
    yield trust_payload, TrustRoot.parse(full_trust).envelope.payload
    yield public_record, world.device_record.encode()
    yield public_record, alone.record("alone").encode()
    yield record_payload, world.device_record.envelope.payload
    for key in (world.root, world.device, cast.gateway, alone):
        yield secret_key, bytes(key.encode())
    yield content_key, bytes(world.content_key.encode())
    sent = told.encode(cast.gateway)
    yield announcement, sent
    yield announcement_payload, canonical.encode(told._document())


def inputs() -> Iterator[tuple[str, bytes]]:
    """Names and bytes of all seeds, each with the byte that says who reads it."""
    places = {reader.read: place for place, reader in enumerate(READERS)}
    seen = Counter()
    for read, body in seeds():
        seen[read] += 1
        yield f"{read.__name__}_{seen[read]}", bytes([places[read]]) + body


def main(folder: str) -> None:
    for name, data in inputs():
        Path(folder, name).write_bytes(data)


if __name__ == "__main__":
    main(sys.argv[1])
