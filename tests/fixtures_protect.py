"""A small world: people with keys, a trust file, a signed bundle, and a device with its grant.

Session-scoped and never changed: a test that needs something else makes it from these.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import pytest

import tflite_writer
from edgesdk import encryption
from edgesdk.bundle import Bundle, SignatureEntry
from edgesdk.envelope import Domain
from edgesdk.keys import ContentKey, PublicRecord, SecretKey
from edgesdk.primitives import SIGNATURE_IDS, keyid
from edgesdk.publish.pack import Packed, Release, grant, pack, sign
from edgesdk.publish.root import Members, make_trust
from edgesdk.trust import Device, TrustRoot, find_grant, verify, verify_grant

NOW = 1_800_000_000
MODEL_ID = "door/person"
KID = bytes(range(16))


class StandIn:
    """LiteRT's face over the one model of these tests; the same bits as the real ones."""

    def __init__(self, *, model_content):
        self._size = 4 if b"TFL3" in model_content[:8] else 0
        self._input = np.zeros((1, self._size), np.int8)

    def allocate_tensors(self):
        pass

    def _detail(self, name, index):
        return {
            "name": name,
            "index": index,
            "shape": np.array([1, self._size], np.int32),
            "shape_signature": np.array([1, self._size], np.int32),
            "dtype": np.int8,
            "quantization": (0.5, -3),
        }

    def get_input_details(self):
        return [self._detail("x", 0)]

    def get_output_details(self):
        return [self._detail("y", 1)]

    def get_signature_list(self):
        return {}

    def get_signature_runner(self, signature_key):
        raise ValueError(signature_key)

    def set_tensor(self, tensor_index, value):
        assert tensor_index == 0
        self._input = np.array(value)

    def invoke(self):
        pass

    def get_tensor(self, tensor_index):
        assert tensor_index == 1
        return np.maximum(self._input, self._input.dtype.type(-3))

    def operators(self):
        return [("RELU", 1)]


@dataclass(frozen=True)
class World:
    """Everything that one device needs, and everybody who made it."""

    root: SecretKey
    release: SecretKey
    issuer: SecretKey
    stranger: SecretKey
    device: SecretKey
    other_device: SecretKey
    device_record: PublicRecord
    trust_bytes: bytes
    trust: TrustRoot
    model: bytes
    packed: Packed
    bundle_bytes: bytes
    grant_bytes: bytes

    @property
    def bundle(self):
        return Bundle.parse(self.bundle_bytes)

    @property
    def content_key(self) -> ContentKey:
        return self.packed.content_key

    def verify(self, data=None, *, trust=None, now=NOW, device=None, **options):
        bundle = Bundle.parse(self.bundle_bytes if data is None else data)
        return verify(bundle, trust or self.trust, now=now, device=device or Device(), **options)

    def verify_grant(self, data=None, verified=None, *, kid=None, now=NOW):
        verified = verified or self.verify()
        kid = kid or self.device.kid
        found = find_grant(verified, [data or self.grant_bytes], kid=kid)
        return verify_grant(found, verified, kid=kid, now=now)

    def open(self, data=None, grant_bytes=None, *, key=None, into=None):
        """From bytes to plaintext, the whole way."""
        verified = self.verify(data)
        granted = self.verify_grant(grant_bytes, verified)
        size = verified.manifest.plaintext_len
        into = memoryview(bytearray(size)) if into is None else into
        encryption.open_(verified, granted, key or self.device, into)
        return into

    def pack(self, model=None, *, sequence=7, **release):
        return pack(
            model or self.model,
            Release(
                **{"model_id": MODEL_ID, "model_version": "1.2", "sequence": sequence} | release
            ),
            created=NOW,
            interpreter=StandIn,
            generator=np.random.default_rng(1),
        )

    def signed(self, packed, *, signer=None):
        return sign(packed.bundle, signer or self.release)

    def grant(self, bundle=None, *, content_key=None, device=None, issuer=None, **options):
        return grant(
            self.bundle_bytes if bundle is None else bundle,
            content_key or self.content_key,
            device or self.device_record,
            issuer or self.issuer,
            created=NOW,
            **options,
        )

    def trust_file(self, *, signers=None, roles=None, **options):
        people = {
            "root": Members((self.root.record("root"),)),
            "release": Members((self.release.record("release"),)),
            "grant": Members((self.issuer.record("issuer"),)),
        }
        return make_trust(people | (roles or {}), signers or [self.root], created=NOW, **options)

    def resigned(self, manifest_bytes, bundle=None, *, table=None, recipients=None, signer=None):
        """A bundle with another manifest, signed as it is: what a careless signer would make."""
        bundle = bundle or self.bundle
        table = bundle.table if table is None else table
        recipients = bundle.recipients if recipients is None else recipients
        prelude = replace(
            bundle.prelude,
            sig_len=0,
            manifest_len=len(manifest_bytes),
            table_len=len(table),
            recip_len=len(recipients),
        )
        bare = Bundle(prelude, (), manifest_bytes, table, recipients, bundle.payload)
        return bare.with_signatures(entries(signer or self.release, bare.message))

    def remade(self, manifest):
        """The same for a manifest."""
        return self.resigned(manifest.encode())


def entries(signer, message, context=Domain.BUNDLE.context):
    """Entries of a signature block."""
    public = signer.keys()
    return [
        SignatureEntry(keyid(a, public[a]), value, SIGNATURE_IDS[a])
        for a, value in signer.sign(message, context).items()
    ]


def stream(seed):
    """Bytes that look random and are the same in each run."""
    counter = 0

    def take(count):
        nonlocal counter
        counter += 1
        return hashlib.shake_256(f"{seed}/{counter}".encode()).digest(count)

    return take


def make_world():
    """Also for programs that are no tests."""
    people = {
        name: SecretKey.generate("signer", random=stream(name))
        for name in ("root", "release", "issuer", "stranger")
    }
    device = SecretKey.generate("device", random=stream("device"))
    record = device.record("camera-17")
    model = tflite_writer.relu_model()
    packed = pack(
        model,
        Release(MODEL_ID, "1.2", 7, licence="Apache-2.0"),
        created=NOW,
        interpreter=StandIn,
        generator=np.random.default_rng(1),
    )
    bundle = sign(packed.bundle, people["release"])
    trust_bytes = make_trust(
        {
            "root": Members((people["root"].record("root"),)),
            "release": Members((people["release"].record("release"),)),
            "grant": Members((people["issuer"].record("issuer"),)),
        },
        [people["root"]],
        created=NOW,
    )
    return World(
        **people,
        device=device,
        other_device=SecretKey.generate("device", random=stream("other")),
        device_record=record,
        trust_bytes=trust_bytes,
        trust=TrustRoot.parse(trust_bytes),
        model=model,
        packed=packed,
        bundle_bytes=bundle,
        grant_bytes=grant(bundle, packed.content_key, record, people["issuer"], created=NOW),
    )


@pytest.fixture(scope="session")
def world():
    return make_world()
