"""Published test vectors: Wycheproof (C2SP) and CCTV, from a folder beside the checkout.

They are data of others, and not part of the project: see CONTRIBUTING.md. Without them the tests
skip, and say so.
"""

import hashlib
import json
import zlib

import pytest

from edgesdk import bundle, encryption, primitives
from edgesdk.errors import DecryptionError, MalformedBundleError, SignatureError
from edgesdk.primitives import ED25519, ML_DSA_65, X25519
from fixtures_core import public_data


def load(name):
    path = public_data(f"vectors/{name}")
    return json.loads(path.read_bytes())


def wycheproof(name):
    """Pairs of group and test."""
    document = load(f"wycheproof/{name}.json")
    found = [(group, test) for group in document["testGroups"] for test in group["tests"]]
    assert len(found) == document["numberOfTests"]
    return found


def unhex(*texts):
    return [bytes.fromhex(text) for text in texts]


def test_chunked_encryption():
    found = wycheproof("c2sp_chunked_encryption_aes_256_gcm_test")
    for _, test in found:
        if "ct" not in test:
            continue
        # The ciphertexts are compressed: some of them are megabytes of zeros.
        payload = zlib.decompress(bytes.fromhex(test["ct"]))
        key, context = unhex(test["key"], test["ctx"])
        room = max(len(payload) - bundle.PAYLOAD_HEAD_BYTES, 0)
        size = room - -(-room // bundle.SEALED_CHUNK_BYTES) * primitives.TAG_BYTES
        into = memoryview(bytearray(max(size, 0)))
        if test["result"] == "valid":
            encryption.decrypt(key, context, memoryview(payload), into)
            assert len(into) == test["msgLength"]
            assert hashlib.sha512(into).hexdigest() == test["msgSha512"]
            again = encryption.encrypt(key, context, into, payload[: bundle.SALT_BYTES])
            assert again == payload
        elif len(key) == 32:
            with pytest.raises(DecryptionError) as caught:
                encryption.decrypt(key, context, memoryview(payload), into)
            assert caught.value.reason == "payload", test["tcId"]
    flags = {flag for _, test in found for flag in test["flags"]}
    assert {"ChunkReordering", "CounterRollover", "ModifiedCiphertext", "Truncation"} <= flags


def test_aes_gcm():
    seen = 0
    for group, test in wycheproof("aes_gcm_test"):
        fits = (group["keySize"], group["ivSize"], group["tagSize"]) == (256, 96, 128)
        if not fits or test["aad"]:
            continue  # suite 1 has AES-256-GCM with 96-bit nonces and without associated data
        key, nonce, message, text, tag = unhex(
            *(test[n] for n in ("key", "iv", "msg", "ct", "tag"))
        )
        into = memoryview(bytearray(len(text)))
        if test["result"] == "valid":
            assert primitives.aes_256_gcm_seal(key, nonce, message) == text + tag
            assert primitives.aes_256_gcm_open(key, nonce, text + tag) == message
            primitives.Aes256Gcm(key).decrypt_into(nonce, text + tag, into)
            assert into == message
        else:
            with pytest.raises(DecryptionError):
                primitives.aes_256_gcm_open(key, nonce, text + tag)
            with pytest.raises(DecryptionError):
                primitives.Aes256Gcm(key).decrypt_into(nonce, text + tag, into)
        seen += 1
    assert seen > 40


def check_signature(algorithm, public, test, *, context=b""):
    signature, message = unhex(test["sig"], test["msg"])
    if test["result"] == "valid":
        primitives.check_public(algorithm, public)
        primitives.verify(algorithm, public, signature, message, context)
        return
    with pytest.raises(SignatureError) as caught:
        primitives.verify(algorithm, public, signature, message, context)
    assert caught.value.reason == "signature", test["tcId"]


def test_ed25519():
    for group, test in wycheproof("ed25519_test"):
        check_signature(ED25519, bytes.fromhex(group["publicKey"]["pk"]), test)


def test_ml_dsa_65():
    seen = 0
    for group, test in wycheproof("mldsa_65_verify_test"):
        context = bytes.fromhex(test.get("ctx", ""))
        check_signature(ML_DSA_65, bytes.fromhex(group["publicKey"]), test, context=context)
        seen += test["result"] == "valid"
    assert seen > 10


def test_ed25519_edge_cases():
    """CCTV: keys of small order are refused; what else verifies has one meaning only."""
    weak = set()
    for test in load("cctv/ed25519vectors.json"):
        flags = set(test["flags"] or ())
        public, signature = unhex(test["key"], test["sig"])
        message = test["msg"].encode()
        if flags & {"low_order_A", "non_canonical_A"}:
            weak.add(public)
            with pytest.raises(MalformedBundleError) as caught:
                primitives.check_public(ED25519, public)
            assert caught.value.reason == "weak-key"
            continue
        primitives.check_public(ED25519, public)
        if flags & {"low_order_residue", "non_canonical_R"}:
            with pytest.raises(SignatureError):
                primitives.verify(ED25519, public, signature, message, b"")
        else:
            primitives.verify(ED25519, public, signature, message, b"")
    assert len(weak) == 14


def test_x25519_keys():
    refused = 0
    for _, test in wycheproof("x25519_test"):
        flags = set(test["flags"])
        public = bytes.fromhex(test["public"])
        if flags & {"ZeroSharedSecret", "LowOrderPublic", "NonCanonicalPublic"}:
            with pytest.raises(MalformedBundleError) as caught:
                primitives.check_public(X25519, public)
            assert caught.value.reason == "weak-key"
            refused += 1
        else:
            primitives.check_public(X25519, public)
    assert refused > 10


def test_hkdf_sha256():
    for _, test in wycheproof("hkdf_sha256_test"):
        key, salt, info, expected = unhex(*(test[n] for n in ("ikm", "salt", "info", "okm")))
        if test["result"] == "valid":
            derived = primitives.hkdf_sha256(key, salt=salt, info=info, length=test["size"])
            assert derived == expected


def test_hmac_sha256():
    for group, test in wycheproof("hmac_sha256_test"):
        key, message, tag = unhex(test["key"], test["msg"], test["tag"])
        made = primitives.hmac_sha256(key, message)[: group["tagSize"] // 8]
        assert primitives.compare(made, tag) == (test["result"] == "valid")
