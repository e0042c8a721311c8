"""Ed25519 public keys that prove nothing are refused wherever one is read.

There are 14 of them. Eight points of edwards25519 have an order that divides the cofactor 8, and
they make a group of their own, so that they are the multiples of one point of order 8. A point is
written as y, 255 bits, and the sign of x; where y + p still fits into 255 bits, or x is 0 and has
no sign, there is a second spelling, and libraries read it. The list is made here from the curve, by
adding points (RFC 8032, section 5.1.4), while the check itself looks at roots of polynomials; and
CCTV's published list must be the same.
"""

import base64
import json
import shlex
from collections import Counter

import pytest

from edgesdk import canonical, primitives, record
from edgesdk.envelope import Domain, Envelope, Signature
from edgesdk.errors import KeyUnavailableError, MalformedBundleError, SignatureError
from edgesdk.keys import PublicRecord, open_signer
from edgesdk.primitives import ED25519
from edgesdk.root import TrustRoot, read_envelope, rotate
from fixtures_core import public_data

PRIME = 2**255 - 19
D = -121665 * pow(121666, -1, PRIME) % PRIME
ORDER = 2**252 + 27742317777372353535851937790883648493
NEUTRAL = (0, 1)
# A signature with R the neutral point and s = 0: by the key 0 of anybody.
NOTHING = b"\1" + bytes(63)
# It verifies for one message in eight at worst: all trials fail once in 10^29 times.
TRIALS = 500


def add(left, right):
    """The sum of two points, affine."""
    (x1, y1), (x2, y2) = left, right
    product = D * x1 * x2 * y1 * y2
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, PRIME)
    y = (y1 * y2 + x1 * x2) * pow(1 - product, -1, PRIME)
    return x % PRIME, y % PRIME


def multiply(scalar, point):
    total = NEUTRAL
    for bit in f"{scalar:b}":
        total = add(total, total)
        if bit == "1":
            total = add(total, point)
    return total


def abscissa(y):
    """One x of the curve's points with this y, if there is any."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, PRIME) % PRIME
    root = pow(square, (PRIME + 3) // 8, PRIME)
    if root * root % PRIME != square:
        root = root * pow(2, (PRIME - 1) // 4, PRIME) % PRIME
    return root if root * root % PRIME == square else None


def points_of_small_order():
    """The eight, as multiples of the first point of order 8 that is found."""
    for y in range(2, PRIME):
        x = abscissa(y)
        if x is None:
            continue
        # What is left of a point when its part of large order is gone.
        small = multiply(ORDER, (x, y))
        if multiply(4, small) != NEUTRAL:
            return [multiply(i, small) for i in range(8)]
    raise AssertionError


def spellings(point):
    """All 32 bytes that a reader, who takes y modulo p and any sign of 0, takes for it."""
    x, y = point
    for ordinate in (y, y + PRIME):
        if ordinate < 2**255:
            for sign in {x % 2} if x else {0, 1}:
                yield (ordinate | sign << 255).to_bytes(32, "little")


WEAK = sorted(key for point in points_of_small_order() for key in spellings(point))
weak_keys = pytest.mark.parametrize("public", WEAK, ids=bytes.hex)


def refused(error, reason, call, /, *args):
    with pytest.raises(error) as caught:
        call(*args)
    assert type(caught.value) is error
    assert caught.value.reason == reason
    return caught.value


def test_there_are_fourteen():
    assert len(set(WEAK)) == len(WEAK) == 14


@weak_keys
def test_each_is_refused(public):
    error = refused(MalformedBundleError, "weak-key", primitives.check_public, ED25519, public)
    assert "expected" in str(error)
    assert public.hex() not in str(error)


def record_of(public, label):
    keys = {ED25519: public}
    payload = {
        "format": 1,
        "keys": record.public_keys_to_json(keys),
        "kid": record.kid_of_signer(keys).hex(),
        "kind": "signer",
        "name": label,
    }
    return Envelope(Domain.RECORD, canonical.encode(payload))


def trust_of(public, created):
    """A trust file in which a key has all roles, and no other signer is."""
    keys = {ED25519: public}
    kid = record.kid_of_signer(keys).hex()
    payload = {
        "created": created,
        "epoch": 0,
        "format": 1,
        "roles": {
            name: {"scope": ["*"], "signers": [kid], "threshold": 1}
            for name in ("grant", "release", "root")
        },
        "signers": {kid: {"keys": record.public_keys_to_json(keys), "name": "nobody"}},
        "suite": ["ed25519"],
        "version": 1,
    }
    return Envelope(Domain.ROOT, canonical.encode(payload))


def forged(public, envelopes):
    """The first envelope that a signature without any secret verifies for."""
    for envelope in envelopes:
        try:
            primitives.verify(ED25519, public, NOTHING, envelope.message, b"")
        except SignatureError:
            continue
        keyid = primitives.keyid(ED25519, public)
        return envelope.with_signatures([Signature(keyid, NOTHING)]).encode()
    raise AssertionError


@weak_keys
def test_a_record_that_needed_no_secret(public):
    """Its signature verifies, so that nothing but the check of keys stops it."""
    data = forged(public, (record_of(public, f"camera-{n}") for n in range(TRIALS)))
    refused(MalformedBundleError, "weak-key", PublicRecord.parse, data)


@weak_keys
def test_a_trust_file_that_needed_no_secret(public, world):
    data = forged(public, (trust_of(public, created) for created in range(TRIALS)))
    refused(MalformedBundleError, "weak-key", TrustRoot.parse, data)
    refused(MalformedBundleError, "weak-key", read_envelope, data)
    # As a following version it comes no further than the signatures of the version before.
    refused(SignatureError, "unknown-signer", rotate, world.trust, data)


def test_the_same_documents_with_a_key_of_somebody():
    """What refuses the others is their key, and nothing else in them."""
    secret = bytes(range(32))
    public = primitives.public_of(ED25519, secret)
    for envelope, parse in (
        (record_of(public, "camera-1"), PublicRecord.parse),
        (trust_of(public, 1), TrustRoot.parse),
    ):
        value = primitives.sign(ED25519, secret, envelope.message, b"")
        signature = Signature(primitives.keyid(ED25519, public), value)
        parse(envelope.with_signatures([signature]).encode())


@weak_keys
def test_a_following_version_with_a_weak_key(public, world):
    """By those who may sign it, who have been deceived."""
    payload = json.loads(world.trust.envelope.payload)
    payload["version"] += 1
    entry = payload["signers"][world.release.kid.hex()]
    entry["keys"]["ed25519"] = base64.b64encode(public).decode()
    envelope = Envelope(Domain.ROOT, canonical.encode(payload))
    data = record.sign_envelope(envelope, world.root).encode()
    refused(MalformedBundleError, "weak-key", rotate, world.trust, data)


def test_a_program_that_signs_with_one():
    for public in WEAK:
        answer = json.dumps({"keys": {"ed25519": base64.b64encode(public).decode()}})
        program = shlex.join(["printf", "%s", answer])
        error = refused(KeyUnavailableError, "provider", open_signer(f"exec:{program}").keys)
        assert "small order" in str(error) or "canonical" in str(error)


def test_the_list_is_the_one_of_cctv():
    """C2SP/CCTV, ed25519: keys of small order are refused; what else verifies has one meaning."""
    found = json.loads((public_data("vectors/cctv") / "ed25519vectors.json").read_bytes())
    weak = set()
    seen = Counter()
    for test in found:
        flags = set(test["flags"] or ())
        public, value = bytes.fromhex(test["key"]), bytes.fromhex(test["sig"])
        arguments = (ED25519, public, value, test["msg"].encode(), b"")
        if flags & {"low_order_A", "non_canonical_A"}:
            weak.add(public)
            refused(MalformedBundleError, "weak-key", primitives.check_public, ED25519, public)
            seen["key refused"] += 1
            continue
        primitives.check_public(ED25519, public)
        if flags & {"low_order_residue", "non_canonical_R"}:
            refused(SignatureError, "signature", primitives.verify, *arguments)
            seen["refused"] += 1
        else:
            primitives.verify(*arguments)
            seen["verified"] += 1
    assert sorted(weak) == WEAK
    assert seen == {"key refused": 526, "refused": 302, "verified": 86}
    assert len(found) == 914
