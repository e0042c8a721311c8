"""Auditors, what they sign, and bundles that carry it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from edgesdk.canonical import Fields
from edgesdk.claim import Claim
from edgesdk.errors import InputError
from edgesdk.evidence import Policy
from edgesdk.keys import SecretKey
from edgesdk.publish.claim import make_claim
from edgesdk.publish.pack import Release, pack
from edgesdk.publish.root import Members
from edgesdk.trust import TrustRoot
from fixtures_protect import MODEL_ID, NOW, StandIn, World, stream

DATASET, OTHER_DATASET = "ab" * 32, "cd" * 32
DAY = 86_400


def claim(kind, **members):
    return Claim.read(
        Fields({"kind": kind, **members}, "claim", lambda t: InputError("argument", t))
    )


def accuracy(ppm=934_000, **members):
    return claim("accuracy", **{"ppm": ppm, "dataset": DATASET, "samples": 360} | members)


def policy(text):
    return Policy.parse(f"format = 1\n{text}".encode())


@dataclass(frozen=True)
class Audit:
    """A world with auditors in its trust file."""

    world: World
    lab: SecretKey
    other: SecretKey
    trust: TrustRoot

    def claim(self, *claims, signers=None, model=None, model_id=MODEL_ID, created=NOW, **options):
        return make_claim(
            model or self.world.model,
            model_id,
            claims or [accuracy()],
            signers or [self.lab],
            created=created,
            **options,
        )

    def pack(self, *files, model=None, **release):
        return pack(
            model or self.world.model,
            Release(**{"model_id": MODEL_ID, "model_version": "1.2", "sequence": 7} | release),
            created=NOW,
            interpreter=StandIn,
            generator=np.random.default_rng(1),
            evidence=files,
        )

    def bundle(self, *files, **release):
        return self.world.signed(self.pack(*files, **release))

    def verify(self, data, demands, **options):
        trust = options.pop("trust", self.trust)
        found = policy(demands) if isinstance(demands, str) else demands
        return self.world.verify(data, trust=trust, policy=found, **options)

    def trusting(self, **roles):
        """A trust file with other auditors than usual."""
        return TrustRoot.parse(self.world.trust_file(roles=roles))


@pytest.fixture(scope="session")
def audit(world):
    lab = SecretKey.generate("signer", random=stream("lab"))
    other = SecretKey.generate("signer", random=stream("other lab"))
    auditors = Members((lab.record("lab"), other.record("other lab")))
    trust = TrustRoot.parse(world.trust_file(roles={"auditor": auditors}))
    return Audit(world, lab, other, trust)


def forged(file, place=40):
    """A claim's file with one bit of a signature turned."""
    envelope = file.statement.envelope
    first, *rest = envelope.signatures
    value = bytearray(first.value)
    value[place] ^= 1
    signatures = (replace(first, value=bytes(value)), *rest)
    envelope = replace(envelope, signatures=signatures)
    return replace(file, statement=replace(file.statement, envelope=envelope))
