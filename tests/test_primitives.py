import hmac
import os
import traceback

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesdk import primitives
from edgesdk.errors import DecryptionError, InputError, MalformedBundleError, SignatureError
from edgesdk.primitives import ED25519, ML_DSA_65, ML_KEM_768, X25519, Algorithm

SIGNING = [ED25519, ML_DSA_65]
PRIME = 2**255 - 19


def little(number):
    return number.to_bytes(32, "little")


def seed(algorithm):
    return bytes(range(algorithm.sizes.secret))


def raises(error, reason, call, *args, **kwargs):
    with pytest.raises(error) as caught:
        call(*args, **kwargs)
    assert caught.value.reason == reason
    return caught.value


@pytest.mark.parametrize("algorithm", Algorithm)
def test_sizes(algorithm):
    public = primitives.public_of(algorithm, memoryview(bytearray(seed(algorithm))))
    assert len(public) == algorithm.sizes.public
    primitives.check_public(algorithm, public)
    assert algorithm.signs == (algorithm in SIGNING)


def test_labels():
    labels = [algorithm.label for algorithm in Algorithm]
    assert labels == ["ml-kem-768", "x25519", "ed25519", "ml-dsa-65"]


@pytest.mark.parametrize("algorithm", SIGNING)
class TestSignatures:
    def test_round_trip(self, algorithm):
        public = primitives.public_of(algorithm, seed(algorithm))
        signature = primitives.sign(algorithm, seed(algorithm), b"message", b"context")
        assert len(signature) == algorithm.sizes.signature
        primitives.verify(algorithm, public, signature, b"message", b"context")
        primitives.verify(
            algorithm, public, memoryview(signature), memoryview(b"message"), b"context"
        )

    @pytest.mark.parametrize(
        "change", ["first", "last", "short", "long", "empty", "message", "key"]
    )
    def test_altered(self, algorithm, change):
        public = primitives.public_of(algorithm, seed(algorithm))
        good = primitives.sign(algorithm, seed(algorithm), b"message", b"context")
        signature = {
            "first": bytes([good[0] ^ 1]) + good[1:],
            "last": good[:-1] + bytes([good[-1] ^ 1]),
            "short": good[:-1],
            "long": good + b"\0",
            "empty": b"",
        }.get(change, good)
        message = b"massage" if change == "message" else b"message"
        if change == "key":
            public = primitives.public_of(algorithm, bytes(32))
        raises(
            SignatureError,
            "signature",
            primitives.verify,
            *(algorithm, public, signature, message, b"context"),
        )

    def test_other_algorithm(self, algorithm):
        (other,) = set(SIGNING) - {algorithm}
        public = primitives.public_of(algorithm, seed(algorithm))
        signature = primitives.sign(other, seed(other), b"message", b"context")
        raises(
            SignatureError,
            "signature",
            primitives.verify,
            *(algorithm, public, signature, b"message", b"context"),
        )


def test_context_separates_ml_dsa():
    public = primitives.public_of(ML_DSA_65, seed(ML_DSA_65))
    signature = primitives.sign(ML_DSA_65, seed(ML_DSA_65), b"message", b"edgesdk-emb-v1")
    raises(
        SignatureError,
        "signature",
        primitives.verify,
        *(ML_DSA_65, public, signature, b"message", b"edgesdk-grant-v1"),
    )


@pytest.mark.parametrize("algorithm", [X25519, ML_KEM_768])
def test_receiving_keys_do_not_sign(algorithm):
    raises(InputError, "argument", primitives.sign, algorithm, seed(algorithm), b"", b"")
    public = primitives.public_of(algorithm, seed(algorithm))
    raises(InputError, "argument", primitives.verify, algorithm, public, b"", b"", b"")


def test_ed25519_malleability_is_refused():
    # s and s + L verify alike under a verifier that does not look at the range.
    order = 2**252 + 27742317777372353535851937790883648493
    public = primitives.public_of(ED25519, seed(ED25519))
    good = primitives.sign(ED25519, seed(ED25519), b"message", b"")
    scalar = int.from_bytes(good[32:], "little") + order
    forged = good[:32] + little(scalar)
    raises(
        SignatureError,
        "signature",
        primitives.verify,
        *(ED25519, public, forged, b"message", b""),
    )


def edwards_of_order_eight():
    """Roots of d y^4 + 2 y^2 - 1, by the quadratic formula."""
    d = -121665 * pow(121666, -1, PRIME) % PRIME

    def root(square):
        found = pow(square, (PRIME + 3) // 8, PRIME)
        if found * found % PRIME != square % PRIME:
            found = found * pow(2, (PRIME - 1) // 4, PRIME) % PRIME
        return found if found * found % PRIME == square % PRIME else None

    discriminant = root((1 + d) % PRIME)
    for sign in (1, -1):
        ordinate = root((sign * discriminant - 1) * pow(d, -1, PRIME) % PRIME)
        if ordinate is not None:
            yield from (ordinate, PRIME - ordinate)


SMALL_ORDER = [0, 1, PRIME - 1, PRIME, PRIME + 1, *edwards_of_order_eight()]


def test_there_are_fourteen_encodings_of_small_order():
    assert len({y + (sign << 255) for y in SMALL_ORDER for sign in (0, 1)}) == 14


@pytest.mark.parametrize("ordinate", SMALL_ORDER)
@pytest.mark.parametrize("sign", [0, 1])
def test_ed25519_keys_of_small_order(ordinate, sign):
    public = little(ordinate + (sign << 255))
    raises(MalformedBundleError, "weak-key", primitives.check_public, ED25519, public)


@pytest.mark.parametrize("excess", range(19))
def test_ed25519_keys_with_a_second_encoding(excess):
    for sign in (0, 1):
        public = little(PRIME + excess + (sign << 255))
        raises(MalformedBundleError, "weak-key", primitives.check_public, ED25519, public)


def test_ed25519_keys_that_are_no_points():
    # y = 2 gives an x^2 that is no square.
    raises(MalformedBundleError, "weak-key", primitives.check_public, ED25519, little(2))


@given(st.binary(min_size=32, max_size=32))
@settings(max_examples=30)
def test_every_generated_ed25519_key_passes(secret):
    primitives.check_public(ED25519, primitives.public_of(ED25519, secret))


@pytest.mark.parametrize(
    "abscissa",
    [
        0,
        1,
        PRIME - 1,
        PRIME,
        PRIME + 1,
        2**255 - 1,
        2**255,
        2**255 + 9,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
    ],
)
def test_x25519_keys_of_small_order_or_with_a_second_encoding(abscissa):
    raises(MalformedBundleError, "weak-key", primitives.check_public, X25519, little(abscissa))


def test_ml_kem_keys_beyond_the_modulus():
    public = bytearray(primitives.public_of(ML_KEM_768, seed(ML_KEM_768)))
    public[:3] = b"\xff\xff\xff"
    raises(MalformedBundleError, "weak-key", primitives.check_public, ML_KEM_768, bytes(public))


@pytest.mark.parametrize("algorithm", Algorithm)
def test_keys_of_another_length(algorithm):
    public = primitives.public_of(algorithm, seed(algorithm))
    for other in (b"", public[:-1], public + b"\0"):
        raises(MalformedBundleError, "weak-key", primitives.check_public, algorithm, other)


class TestHpke:
    public = tuple(primitives.public_of(a, seed(a)) for a in (ML_KEM_768, X25519))
    secret = (seed(ML_KEM_768), seed(X25519))

    def test_round_trip(self):
        sealed = primitives.hpke_seal(*self.public, memoryview(b"key"), b"info")
        assert len(sealed) == 3 + primitives.HPKE_OVERHEAD
        opened = primitives.hpke_open(*self.secret, sealed, b"info")
        assert isinstance(opened, bytearray)
        assert opened == b"key"

    @pytest.mark.parametrize("place", [0, 500, 1087, 1088, 1119, 1120, 1122, 1123, -1])
    def test_flipped_bit(self, place):
        sealed = bytearray(primitives.hpke_seal(*self.public, b"key", b"info"))
        sealed[place] ^= 1
        raises(DecryptionError, "payload", primitives.hpke_open, *self.secret, sealed, b"info")

    @pytest.mark.parametrize("size", [0, 1, 1087, 1119, 1120, 1135, 1138])
    def test_truncated(self, size):
        sealed = primitives.hpke_seal(*self.public, b"key", b"info")[:size]
        raises(DecryptionError, "payload", primitives.hpke_open, *self.secret, sealed, b"info")

    def test_other_info_or_key(self):
        sealed = primitives.hpke_seal(*self.public, b"key", b"info")
        raises(DecryptionError, "payload", primitives.hpke_open, *self.secret, sealed, b"inf0")
        raises(
            DecryptionError,
            "payload",
            primitives.hpke_open,
            *(self.secret[0], bytes(32), sealed, b"info"),
        )
        raises(
            DecryptionError,
            "payload",
            primitives.hpke_open,
            *(bytes(64), self.secret[1], sealed, b"info"),
        )

    def test_zero_point_in_the_encapsulation(self):
        sealed = bytearray(primitives.hpke_seal(*self.public, b"key", b"info"))
        sealed[1088:1120] = bytes(32)
        raises(DecryptionError, "payload", primitives.hpke_open, *self.secret, sealed, b"info")

    def test_sealing_to_a_point_of_small_order(self):
        raises(
            MalformedBundleError,
            "weak-key",
            primitives.hpke_seal,
            *(self.public[0], bytes(32), b"key", b"info"),
        )


def test_gcm_into_and_out_of_buffers():
    cipher = primitives.Aes256Gcm(bytearray(32))
    sealed = memoryview(bytearray(5 + primitives.TAG_BYTES))
    cipher.encrypt_into(bytes(12), b"plain", sealed)
    opened = memoryview(bytearray(5))
    cipher.decrypt_into(bytes(12), sealed, opened)
    assert opened == b"plain"
    assert primitives.aes_256_gcm_open(bytes(32), bytes(12), sealed) == b"plain"
    assert primitives.aes_256_gcm_seal(bytes(32), bytes(12), b"plain") == sealed
    sealed[0] ^= 1
    raises(DecryptionError, "payload", cipher.decrypt_into, bytes(12), sealed, opened)
    raises(DecryptionError, "payload", primitives.aes_256_gcm_open, bytes(32), bytes(12), sealed)
    raises(DecryptionError, "payload", cipher.decrypt_into, bytes(12), b"short", opened)
    raises(DecryptionError, "payload", primitives.aes_256_gcm_open, bytes(32), bytes(12), b"")


@pytest.mark.parametrize("size", [0, 16, 24, 31, 33])
def test_gcm_with_another_key_is_another_cipher(size):
    key = bytes(size)
    raises(InputError, "argument", primitives.Aes256Gcm, key)
    raises(InputError, "argument", primitives.aes_256_gcm_seal, key, bytes(12), b"plain")
    raises(InputError, "argument", primitives.aes_256_gcm_open, key, bytes(12), bytes(21))


def test_hkdf_of_rfc_5869():
    derived = primitives.hkdf_sha256(
        b"\x0b" * 22,
        salt=bytes(range(13)),
        info=bytes(range(0xF0, 0xFA)),
        length=42,
    )
    assert derived.hex() == (
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    )


def test_expand_is_hmac_feedback():
    first = hmac.digest(bytes(32), b"info\x01", "sha512")
    second = hmac.digest(bytes(32), first + b"info\x02", "sha512")
    derived = primitives.expand_sha512(bytes(32), info=b"info", length=76)
    assert derived == (first + second)[:76]


@pytest.mark.parametrize("size", [0, 1, 31, 65_535, 65_536, 65_537, 200_000])
def test_wipe(size):
    buffer = bytearray(os.urandom(size))
    primitives.wipe(memoryview(buffer))
    assert buffer == bytes(size)
    other = bytearray(b"\xff" * size)
    primitives.wipe(other)
    assert not any(other)


def test_compare():
    assert primitives.compare(b"abc", memoryview(b"abc"))
    assert not primitives.compare(b"abc", b"abd")
    assert not primitives.compare(b"abc", b"ab")


def test_errors_do_not_chain_to_the_library():
    error = raises(
        DecryptionError, "payload", primitives.aes_256_gcm_open, bytes(32), bytes(12), bytes(20)
    )
    assert "cryptography" not in "".join(traceback.format_exception(error)).replace(__file__, "")
