"""Wycheproof (C2SP): each primitive that is called, through the functions that call it.

The vectors are data of others, and not part of the project (CONTRIBUTING.md). Without them the
tests skip, and say so. Each test counts what became of every vector, and the counts are fixed
here: a loop that runs over nothing, or over less than yesterday, fails.

``acceptable`` is what an implementation may do or leave: the tests say which we do.
"""

import hashlib
import hmac
import json
import zlib
from collections import Counter

import pytest

from edgesdk import bundle, encryption, primitives
from edgesdk.errors import DecryptionError, InputError, MalformedBundleError, SignatureError
from edgesdk.keys import ContentKey
from edgesdk.primitives import ED25519, ML_DSA_65, ML_KEM_768, X25519
from fixtures_core import public_data

# Files of primitives that edgesdk does not call, so that a new file is not overlooked.
NOT_CALLED = {
    "aes_kwp_test": "no key is wrapped by AES",
    "c2sp_chunked_encryption_aes_128_gcm_test": "suite 1 is Cobblestone-256",
    "ecdh_secp256r1_ecpoint_test": "no key lies in a token",
    "mldsa_44_verify_test": "suite 1 is ML-DSA-65",
    "mldsa_87_verify_test": "suite 1 is ML-DSA-65",
    "mlkem_1024_test": "suite 1 is ML-KEM-768",
}
CALLED = {
    "aes_gcm_test",
    "c2sp_chunked_encryption_aes_256_gcm_test",
    "ed25519_test",
    "hkdf_sha256_test",
    "hmac_sha256_test",
    "mldsa_65_verify_test",
    "mlkem_768_test",
    "x25519_test",
}


def wycheproof(name):
    """Pairs of group and test."""
    document = json.loads((public_data("vectors/wycheproof") / f"{name}.json").read_bytes())
    found = [(group, test) for group in document["testGroups"] for test in group["tests"]]
    assert len(found) == document["numberOfTests"]
    return found


def unhex(*texts):
    return [bytes.fromhex(text) for text in texts]


def refused(error, reason, call, /, *args, **options):
    with pytest.raises(error) as caught:
        call(*args, **options)
    assert caught.value.reason == reason
    return "refused"


def test_every_file_is_called_or_has_a_reason():
    found = {path.stem for path in public_data("vectors/wycheproof").glob("*.json")}
    assert found == CALLED | NOT_CALLED.keys()


# ---- the payload


def room_for(payload):
    """Memory for the longest plaintext that this many bytes could hold."""
    room = max(len(payload) - bundle.PAYLOAD_HEAD_BYTES, 0)
    size = room - -(-room // bundle.SEALED_CHUNK_BYTES) * primitives.TAG_BYTES
    return memoryview(bytearray(max(size, 0)))


def chunked(test):
    # The ciphertexts are compressed: some of them are megabytes of zeros.
    payload = zlib.decompress(bytes.fromhex(test["ct"]))
    key, context = unhex(test["key"], test["ctx"])
    into = room_for(payload)
    arguments = (key, context, memoryview(payload), into)
    if len(key) != 32:
        refused(InputError, "argument", ContentKey, memoryview(bytearray(key)))
        return refused(InputError, "argument", encryption.decrypt, *arguments)
    if test["result"] == "invalid":
        return refused(DecryptionError, "payload", encryption.decrypt, *arguments)
    encryption.decrypt(*arguments)
    assert len(into) == test["msgLength"]
    assert hashlib.sha512(into).hexdigest() == test["msgSha512"]
    assert encryption.encrypt(key, context, into, payload[: bundle.SALT_BYTES]) == payload
    return "opened"


def test_chunked_encryption():
    found = wycheproof("c2sp_chunked_encryption_aes_256_gcm_test")
    seen = Counter((test["result"], chunked(test)) for _, test in found)
    assert seen == {("valid", "opened"): 10, ("invalid", "refused"): 25}
    flags = {flag for _, test in found for flag in test["flags"]}
    assert {"ChunkReordering", "CounterRollover", "ModifiedCiphertext", "Truncation"} <= flags


def aes_gcm(test):
    key, nonce, message, text, tag = unhex(*(test[n] for n in ("key", "iv", "msg", "ct", "tag")))
    if len(key) != 32:
        refused(InputError, "argument", primitives.aes_256_gcm_open, key, nonce, text + tag)
        refused(InputError, "argument", primitives.aes_256_gcm_seal, key, nonce, message)
        return refused(InputError, "argument", primitives.Aes256Gcm, key)
    into = memoryview(bytearray(len(text)))
    cipher = primitives.Aes256Gcm(key)
    if test["result"] == "invalid" or test["aad"] or not 8 <= len(nonce) <= 128:
        # There is no associated data here; of nonces the library takes 64 to 1,024 bits.
        refused(DecryptionError, "payload", primitives.aes_256_gcm_open, key, nonce, text + tag)
        return refused(DecryptionError, "payload", cipher.decrypt_into, nonce, text + tag, into)
    assert primitives.aes_256_gcm_open(key, nonce, text + tag) == message
    assert primitives.aes_256_gcm_seal(key, nonce, message) == text + tag
    cipher.decrypt_into(nonce, text + tag, into)
    assert into == message
    sealed = memoryview(bytearray(len(text) + len(tag)))
    cipher.encrypt_into(nonce, message, sealed)
    assert sealed == text + tag
    return "opened"


def test_aes_gcm():
    seen = Counter((test["result"], aes_gcm(test)) for _, test in wycheproof("aes_gcm_test"))
    # Valid and refused: keys of 128 and 192 bits, associated data, nonces of less than 64 bits or
    # more than 1,024.
    assert seen == {("valid", "opened"): 49, ("valid", "refused"): 180, ("invalid", "refused"): 87}


# ---- signatures


def signature(algorithm, public, test):
    value, message, context = unhex(test["sig"], test["msg"], test.get("ctx", ""))
    arguments = (algorithm, public, value, message, context)
    if test["result"] == "invalid":
        return refused(SignatureError, "signature", primitives.verify, *arguments)
    primitives.check_public(algorithm, public)
    primitives.verify(*arguments)
    return "verified"


def test_ed25519():
    seen = Counter(
        (test["result"], signature(ED25519, bytes.fromhex(group["publicKey"]["pk"]), test))
        for group, test in wycheproof("ed25519_test")
    )
    assert seen == {("valid", "verified"): 88, ("invalid", "refused"): 63}


def test_ml_dsa_65():
    found = wycheproof("mldsa_65_verify_test")
    seen = Counter(
        (test["result"], signature(ML_DSA_65, bytes.fromhex(group["publicKey"]), test))
        for group, test in found
    )
    assert seen == {("valid", "verified"): 79, ("invalid", "refused"): 131}
    for group, test in found:
        if "IncorrectPublicKeyLength" in test["flags"]:
            public = bytes.fromhex(group["publicKey"])
            refused(MalformedBundleError, "weak-key", primitives.check_public, ML_DSA_65, public)


# ---- HPKE: ML-KEM-768 and X25519 under MLKEM768-X25519, HKDF-SHA256, AES-256-GCM

KEM_SEED = bytes(range(64))
X25519_SECRET = bytes(range(32))
INFO = b"edgesdk/wrap/v1\0"
CONTENT = b"content key"


def extract(salt, key):
    return hmac.digest(salt or bytes(32), key, "sha256")


def expand(key, info, length):
    made, block = b"", b""
    for number in range(1, -(-length // 32) + 1):
        block = hmac.digest(key, block + info + bytes([number]), "sha256")
        made += block
    return made[:length]


def sealed_with(kem_secret, kem_text, x_secret, x_text, x_public):
    """What a sender seals who has drawn these secrets: X-Wing and RFC 9180, section 5.1.

    By the pages alone, so that it is not the library's own sender that we compare with.
    """
    label = rb"\.//^" + b"\\"
    shared = hashlib.sha3_256(kem_secret + x_secret + x_text + x_public + label).digest()
    suite = b"HPKE-v1HPKE" + b"\x64\x7a" + b"\x00\x01" + b"\x00\x02"
    context = (
        b"\0" + extract(b"", suite + b"psk_id_hash") + extract(b"", suite + b"info_hash" + INFO)
    )
    secret = extract(shared, suite + b"secret")
    key, nonce = (
        expand(secret, size.to_bytes(2, "big") + suite + name + context, size)
        for name, size in ((b"key", 32), (b"base_nonce", 12))
    )
    return kem_text + x_text + primitives.aes_256_gcm_seal(key, nonce, CONTENT)


def x25519(public, secret):
    """RFC 7748, section 5: Montgomery's ladder, for senders of our own."""
    prime = 2**255 - 19
    scalar = int.from_bytes(secret, "little") & ((1 << 254) - 8) | 1 << 254
    u = int.from_bytes(public, "little") & ((1 << 255) - 1)
    a, b, c, d = 1, 0, u, 1
    for place in reversed(range(255)):
        bit = scalar >> place & 1
        if bit:
            a, b, c, d = c, d, a, b
        plus, minus = (a + b) % prime, (a - b) % prime
        left, right = minus * (c + d) % prime, plus * (c - d) % prime
        c, d = pow(left + right, 2, prime), u * pow(left - right, 2, prime) % prime
        square, other = plus * plus, minus * minus
        a, b = (
            square * other % prime,
            (square - other) * (square + 121665 * (square - other)) % prime,
        )
        if bit:
            a, b, c, d = c, d, a, b
    return (a * pow(b, -1, prime) % prime).to_bytes(32, "little")


def ml_kem(test):
    seed, text = unhex(test["seed"], test["c"])
    if len(seed) != ML_KEM_768.sizes.secret:
        return "no key"  # a key file says how long a seed is: test_keys
    public = primitives.public_of(ML_KEM_768, seed)
    assert public == bytes.fromhex(test["ek"])
    primitives.check_public(ML_KEM_768, public)
    ours = primitives.public_of(X25519, X25519_SECRET)
    theirs = primitives.public_of(X25519, bytes(32))
    secret = x25519(ours, bytes(32))
    key = bytes.fromhex(test["K"]) or bytes(32)
    sealed = sealed_with(key, text, secret, theirs, ours)
    if test["result"] == "invalid":
        arguments = (seed, X25519_SECRET, sealed, INFO)
        return refused(DecryptionError, "payload", primitives.hpke_open, *arguments)
    # What is rejected is so in silence: a key of its own, that opens what was sealed with it.
    assert primitives.hpke_open(seed, X25519_SECRET, sealed, INFO) == CONTENT
    return "opened"


def test_ml_kem_768():
    seen = Counter((test["result"], ml_kem(test)) for _, test in wycheproof("mlkem_768_test"))
    assert seen == {
        ("valid", "opened"): 153,
        ("invalid", "refused"): 20,
        ("invalid", "no key"): 20,
    }


def x25519_agreement(test, kem_text, kem_secret):
    """A sender's point, into what HPKE opens."""
    theirs, secret, shared = unhex(test["public"], test["private"], test["shared"])
    sealed = sealed_with(kem_secret, kem_text, shared, theirs, primitives.public_of(X25519, secret))
    if not any(shared):
        arguments = (KEM_SEED, secret, sealed, INFO)
        return refused(DecryptionError, "payload", primitives.hpke_open, *arguments)
    assert primitives.hpke_open(KEM_SEED, secret, sealed, INFO) == CONTENT
    return "opened"


def x25519_key(test):
    """The same point as somebody's key."""
    public = bytes.fromhex(test["public"])
    if set(test["flags"]) & {"ZeroSharedSecret", "LowOrderPublic", "NonCanonicalPublic"}:
        return refused(MalformedBundleError, "weak-key", primitives.check_public, X25519, public)
    primitives.check_public(X25519, public)
    return "accepted"


def test_x25519():
    # A text that nobody made is rejected in silence: its secret is SHAKE-256(z, text), FIPS 203.
    text = bytes(1088)
    secret = hashlib.shake_256(KEM_SEED[32:] + text).digest(32)
    seen = Counter(
        (test["result"], x25519_agreement(test, text, secret), x25519_key(test))
        for _, test in wycheproof("x25519_test")
    )
    # Of what is acceptable: a secret of zeros opens nothing, points on the twist are agreed with,
    # and so is a second spelling, which only changes what its sender has sealed. As anybody's key
    # neither small order nor a second spelling is taken.
    assert seen == {
        ("valid", "opened", "accepted"): 264,
        ("acceptable", "opened", "accepted"): 210,
        ("acceptable", "opened", "refused"): 13,
        ("acceptable", "refused", "refused"): 31,
    }


# ---- derivation


def hkdf(test):
    key, salt, info, expected = unhex(*(test[n] for n in ("ikm", "salt", "info", "okm")))
    options = {"salt": salt, "info": info, "length": test["size"]}
    if test["result"] == "invalid":
        with pytest.raises(ValueError, match="8160"):
            primitives.hkdf_sha256(key, **options)
        return "refused"
    assert primitives.hkdf_sha256(key, **options) == expected
    return "derived"


def test_hkdf_sha256():
    seen = Counter((test["result"], hkdf(test)) for _, test in wycheproof("hkdf_sha256_test"))
    assert seen == {("valid", "derived"): 83, ("invalid", "refused"): 3}


def test_hmac_sha256():
    seen = Counter()
    for group, test in wycheproof("hmac_sha256_test"):
        key, message, tag = unhex(test["key"], test["msg"], test["tag"])
        made = primitives.hmac_sha256(key, message)[: group["tagSize"] // 8]
        seen[test["result"], primitives.compare(made, tag)] += 1
    assert seen == {("valid", True): 66, ("invalid", False): 108}
