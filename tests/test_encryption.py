import ctypes
import hashlib
import hmac
import io
import os
import subprocess
import sys
import traceback
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesdk import bundle as bundles
from edgesdk import encryption, primitives, record, trust
from edgesdk.bundle import Binding, Bundle
from edgesdk.errors import DecryptionError, EdgeError, InputError, LifecycleError
from edgesdk.grant import Grant, wrap_info
from edgesdk.keys import ContentKey, SecretKey
from fixtures_protect import NOW, stream

CHUNK = 16_384
BINDING = Binding(b"\x11" * 32, "door/person", 3, 7)
KEY = bytes(range(32))
EDGES = [
    0,
    1,
    CHUNK - 1,
    CHUNK,
    CHUNK + 1,
    3 * CHUNK - 1,
    3 * CHUNK,
    63 * CHUNK,
    64 * CHUNK - 1,
    64 * CHUNK,
    64 * CHUNK + 1,
]


def refused(call, /, *args):
    with pytest.raises(EdgeError) as caught:
        call(*args)
    assert type(caught.value) is DecryptionError
    assert caught.value.reason == "payload"
    return str(caught.value)


def dirty(size):
    """Memory that shows whether it has been overwritten."""
    return memoryview(bytearray(b"\xa5" * size))


def plaintext(size):
    return hashlib.shake_256(b"%d" % size).digest(size)


def encrypt(data, *, key=KEY, binding=BINDING, salt=bytes(24)):
    return encryption.encrypt(key, context(binding), memoryview(data), salt)


def decrypt(payload, size, *, key=KEY, binding=BINDING):
    into = dirty(size)
    encryption.decrypt(key, context(binding), memoryview(payload), into)
    return bytes(into)


def context(binding=BINDING):
    return b"edgesdk/emb/v1\0" + binding.context("")[1:]


# ---- the cipher


@pytest.mark.parametrize("size", EDGES)
def test_it_is_cobblestone_256(size):
    """Both directions against the implementation of the cryptography library."""
    data = plaintext(size)
    payload = encrypt(data)
    assert len(payload) == bundles.sealed_bytes(size)
    decryptor = Cobblestone256Decryptor(KEY, context())
    assert decryptor.update(bytes(payload)) + decryptor.finalize() == data
    encryptor = Cobblestone256Encryptor(KEY, context())
    theirs = encryptor.update(data) + encryptor.finalize()
    assert decrypt(theirs, size) == data
    assert encrypt(data, salt=theirs[:24]) == theirs


@settings(max_examples=25)
@given(
    st.binary(max_size=40_000),
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=24, max_size=24),
)
def test_round_trip(data, key, salt):
    assert decrypt(encrypt(data, key=key, salt=salt), len(data), key=key) == data


@pytest.mark.parametrize("size", [0, 16, 31, 33, 64])
def test_content_keys_of_another_length(size):
    """HKDF would make a key of any."""
    for call in (
        lambda: encrypt(b"x", key=bytes(size)),
        lambda: decrypt(bytes(73), 1, key=bytes(size)),
    ):
        with pytest.raises(InputError) as caught:
            call()
        assert caught.value.reason == "argument"


def test_derivation_is_the_one_of_the_page():
    info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0" + bytes(24) + context()
    first = hmac.digest(KEY, info + b"\1", "sha512")
    second = hmac.digest(KEY, first + info + b"\2", "sha512")
    derived = (first + second)[:76]
    payload = encrypt(b"x")
    assert payload[:24] == bytes(24)
    assert payload[24:56] == derived[44:]
    assert primitives.aes_256_gcm_open(derived[:32], derived[32:44], payload[56:]) == b"x"


def test_nonces_of_counters_that_carry():
    base = int.from_bytes(b"\xff" * 12, "big")
    seen = {encryption._nonce(base, number) for number in (0, 1, 255, 256, 65_535, 65_536, 2**38)}
    assert len(seen) == 7
    assert encryption._nonce(base, 256) == b"\xff" * 10 + b"\xfe\xff"


@pytest.mark.parametrize(
    "place", [0, 23, 24, 55, 56, 56 + CHUNK, 56 + CHUNK + 15, 56 + CHUNK + 16, -17, -1]
)
@pytest.mark.parametrize("bit", [0, 7])
def test_flipped_bits(place, bit):
    payload = encrypt(plaintext(2 * CHUNK + 5))
    payload[place] ^= 1 << bit
    refused(decrypt, payload, 2 * CHUNK + 5)


def chunks(payload):
    body = payload[56:]
    return [body[i : i + CHUNK + 16] for i in range(0, len(body), CHUNK + 16)]


@pytest.mark.parametrize("order", [[1, 0, 2, 3], [0, 0, 2, 3], [2, 1, 0, 3], [0, 1, 1, 3]])
def test_chunks_in_another_order(order):
    payload = encrypt(plaintext(3 * CHUNK + 5))
    parts = chunks(payload)
    refused(decrypt, payload[:56] + b"".join(parts[i] for i in order), 3 * CHUNK + 5)


@pytest.mark.parametrize("kept", [0, 1, 2, 3])
def test_chunks_that_are_missing(kept):
    payload = encrypt(plaintext(3 * CHUNK + 5))
    short = payload[:56] + b"".join(chunks(payload)[:kept])
    for size in (kept * CHUNK, max(kept * CHUNK - 1, 0), 3 * CHUNK + 5):
        refused(decrypt, short, size)


@pytest.mark.parametrize("more", [b"\0", bytes(15), bytes(16), bytes(CHUNK + 16)])
def test_bytes_behind_the_end(more):
    payload = encrypt(plaintext(CHUNK + 5)) + more
    for size in (CHUNK + 5, CHUNK + 5 + len(more), CHUNK + 6):
        refused(decrypt, payload, size)


@pytest.mark.parametrize("size", [0, 1, 24, 55, 56, 57, 71])
def test_truncated_heads(size):
    payload = encrypt(b"")
    assert len(payload) == 72
    refused(decrypt, payload[:size], 0)


@pytest.mark.parametrize(
    "change",
    [
        {"key": bytes(32)},
        {"binding": replace(BINDING, bundle_id=bytes(32))},
        {"binding": replace(BINDING, model_id="door/persons")},
        {"binding": replace(BINDING, epoch=2)},
        {"binding": replace(BINDING, sequence=8)},
    ],
)
def test_another_key_or_release(change):
    payload = encrypt(plaintext(100))
    with pytest.raises(DecryptionError):
        decrypt(payload, 100, **change)


def test_commitment_of_another_key_is_refused_before_any_chunk():
    """AES-GCM does not commit to its key, so the tags alone would not do."""
    ours, theirs = encrypt(plaintext(100)), encrypt(plaintext(100), key=bytes(32))
    into = dirty(100)
    refused(
        encryption.decrypt, KEY, context(), memoryview(ours[:24] + theirs[24:56] + ours[56:]), into
    )
    assert into == b"\xa5" * 100


# ---- open_: from a grant to the plaintext


def test_open(world):
    into = world.open(into=dirty(world.packed.manifest.plaintext_len))
    assert bytes(into[: len(world.model)]) == world.model
    assert (
        encryption.check_plaintext(world.verify(), world.verify_grant(), world.device, into) is None
    )


@pytest.mark.parametrize("size", [1, CHUNK - 100, CHUNK, 64 * CHUNK - 1, 64 * CHUNK, 2_500_000])
def test_open_models_of_any_size(world, size):
    model = world.model + plaintext(size)
    packed = world.pack(model)
    data = world.signed(packed)
    into = world.open(data, world.grant(data, content_key=packed.content_key))
    assert bytes(into[: len(model)]) == model
    assert len(into) == packed.manifest.plaintext_len


class Fault:
    """A world in which everything up to unwrapping is in order, and one thing after it is not."""

    def __init__(self, world, *, payload=None, wrapped=None, key=None):
        self.key = key or world.device
        packed = world.packed
        manifest = packed.manifest
        data = world.bundle_bytes
        if payload is not None:
            table = b"".join(
                hashlib.sha256(part).digest() for part in bundles.segments(memoryview(payload))
            )
            manifest = replace(manifest, table_digest=hashlib.sha256(table).digest())
            bare = Bundle.build(manifest.encode(), table, payload, grants={})
            data = world.resigned(manifest.encode(), bare)
        granted = Grant.parse(world.grant_bytes)
        if wrapped is not None:
            made = Grant.build(
                granted.binding, granted.device, wrapped, serial=bytes(16), created=1
            )
            granted = Grant.of(record.sign_envelope(made.envelope, world.issuer))
        self.verified = world.verify(data)
        self.granted = trust.verify_grant(granted, self.verified, kid=world.device.kid, now=NOW)
        self.size = manifest.plaintext_len

    def refused(self):
        into = dirty(self.size)
        text = refused(encryption.open_, self.verified, self.granted, self.key, into)
        assert not any(into)
        return text


def test_every_fault_is_the_same_error_and_wipes_the_buffer(world):
    payload = bytes(world.bundle.payload)
    binding = world.packed.manifest.binding
    device = world.device_record
    info = wrap_info(binding, device.kid)
    wrapped = Grant.parse(world.grant_bytes).wrapped

    def flipped(data, place):
        altered = bytearray(data)
        altered[place] ^= 1
        return bytes(altered)

    faults = [
        Fault(world, payload=flipped(payload, 0)),  # salt
        Fault(world, payload=flipped(payload, 24)),  # commitment
        Fault(world, payload=flipped(payload, 56)),  # first byte of the first chunk
        Fault(world, payload=flipped(payload, -17)),  # last byte of the last chunk
        Fault(world, payload=flipped(payload, -1)),  # its tag
        Fault(world, wrapped=flipped(wrapped, 0)),  # ML-KEM's part
        Fault(world, wrapped=flipped(wrapped, 1100)),  # X25519's part
        Fault(world, wrapped=flipped(wrapped, -1)),  # HPKE's tag
        Fault(world, wrapped=wrapped[:1088] + bytes(32) + wrapped[1120:]),  # a point of small order
        Fault(world, wrapped=bytes(1168)),
        Fault(world, wrapped=device.seal(bytes(32), info)),  # another content key
        Fault(world, wrapped=device.seal(world.content_key.material, info + b"?")),
        Fault(
            world, wrapped=device.seal(world.content_key.material, wrap_info(binding, bytes(16)))
        ),
        Fault(world, key=world.other_device),
    ]
    assert len({fault.refused() for fault in faults}) == 1


def test_damage_in_the_last_chunk_leaves_nothing_of_the_first(world):
    model = world.model + plaintext(40 * CHUNK)
    packed = world.pack(model)
    payload = bytearray(Bundle.parse(packed.bundle).payload)
    payload[-1] ^= 1
    into = dirty(packed.manifest.plaintext_len)
    content_key, bound = packed.content_key.material, context(packed.manifest.binding)
    refused(encryption.decrypt, content_key, bound, memoryview(payload), into)
    # This is why open_ wipes: the chunks before are plaintext by now, and authentic ones at that.
    assert bytes(into[:CHUNK]) == model[:CHUNK]


def test_damaged_segments_are_found_before_anything_is_decrypted(world, monkeypatch):
    data = bytearray(world.bundle_bytes)
    data[-1] ^= 1
    verified = world.verify(bytes(data))
    granted = world.verify_grant()
    # As if a caller had got a grant verified for this bundle without check 8.
    forged = trust.VerifiedGrant(granted.grant, verified, trust._PROOF)
    monkeypatch.setattr(primitives, "Aes256Gcm", None)
    monkeypatch.setattr(encryption, "_unwrap", None)
    into = dirty(verified.manifest.plaintext_len)
    refused(encryption.open_, verified, forged, world.device, into)
    assert not any(into)


def test_interrupts_leave_zeros(world, monkeypatch):
    verified = world.verify()
    granted = world.verify_grant(verified=verified)
    decrypt_into = primitives.Aes256Gcm.decrypt_into

    def interrupted(self, *args):
        decrypt_into(self, *args)
        raise KeyboardInterrupt

    monkeypatch.setattr(primitives.Aes256Gcm, "decrypt_into", interrupted)
    into = dirty(verified.manifest.plaintext_len)
    with pytest.raises(KeyboardInterrupt):
        encryption.open_(verified, granted, world.device, into)
    assert not any(into)


def test_no_view_outlives_an_error(world):
    """A caller must be able to give its memory back while the error is still in flight."""
    payload = bytearray(world.bundle.payload)
    payload[-1] ^= 1
    for fault in (Fault(world, payload=bytes(payload)), Fault(world, wrapped=bytes(1168))):
        memory = bytearray(fault.size)
        with memoryview(memory) as into, pytest.raises(DecryptionError) as caught:
            encryption.open_(fault.verified, fault.granted, fault.key, into)
        memory.clear()  # BufferError if something still looks into it
        assert caught.value.__traceback__ is not None


def test_no_view_outlives_success(world):
    verified = world.verify()
    granted = world.verify_grant(verified=verified)
    memory = bytearray(verified.manifest.plaintext_len)
    with memoryview(memory) as into:
        encryption.open_(verified, granted, world.device, into)
        encryption.check_plaintext(verified, granted, world.device, into)
    memory.clear()


def test_closed_keys(world):
    key = SecretKey.parse(world.device.encode())
    key.close()
    into = dirty(world.packed.manifest.plaintext_len)
    verified = world.verify()
    granted = world.verify_grant(verified=verified)
    with pytest.raises(LifecycleError) as caught:
        encryption.open_(verified, granted, key, into)
    assert caught.value.reason == "closed"
    assert not any(into)


def test_the_grant_must_be_this_bundles(world):
    with pytest.raises(InputError) as caught:
        encryption.open_(
            world.verify(),
            world.verify_grant(),
            world.device,
            dirty(world.packed.manifest.plaintext_len),
        )
    assert caught.value.reason == "argument"


def test_other_memory(world):
    verified = world.verify()
    granted = world.verify_grant(verified=verified)
    size = verified.manifest.plaintext_len
    for into in (
        dirty(size - 1),
        dirty(size + 1),
        dirty(0),
        memoryview(bytes(size)),
        dirty(size).toreadonly(),
        dirty(2 * size)[::2],
    ):
        before = bytes(into)
        with pytest.raises(InputError) as caught:
            encryption.open_(verified, granted, world.device, into)
        assert caught.value.reason == "argument"
        assert bytes(into) == before


def test_memory_of_any_kind(world):
    verified = world.verify()
    granted = world.verify_grant(verified=verified)
    size = verified.manifest.plaintext_len
    for memory in (
        (ctypes.c_char * size)(),
        (ctypes.c_uint8 * size)(),
    ):
        encryption.open_(verified, granted, world.device, memoryview(memory))
        assert bytes(memory)[: len(world.model)] == world.model


def test_keys_are_wiped(world, monkeypatch):
    seen = []

    def note(owner, name):
        call = getattr(owner, name)

        def noted(*args, **kwargs):
            seen.append(call(*args, **kwargs))
            return seen[-1]

        monkeypatch.setattr(owner, name, noted)

    verified = world.verify()
    granted = world.verify_grant(verified=verified)
    into = dirty(verified.manifest.plaintext_len)
    broken = Fault(world, payload=bytes(len(world.bundle.payload)))
    note(primitives, "hpke_open")
    note(primitives, "expand_sha512")
    encryption.open_(verified, granted, world.device, into)
    assert len(seen) == 2
    encryption.check_plaintext(verified, granted, world.device, into)
    assert len(seen) == 4
    broken.refused()
    assert len(seen) == 6
    sealed = encryption.seal(b"text", world.content_key, BINDING)
    assert len(seen) == 8
    encryption.check_content_key(world.content_key, BINDING, sealed.payload)
    refused(encryption.check_content_key, world.content_key, BINDING, bytes(100))
    assert len(seen) == 10
    assert all(isinstance(buffer, bytearray) and not any(buffer) for buffer in seen)


def shown(call, /, *args):
    """What a reporter prints that shows the variables of each frame."""
    out = io.StringIO()
    try:
        call(*args)
    except EdgeError as error:
        frames = error.__traceback__.tb_next
        report = traceback.TracebackException(type(error), error, frames, capture_locals=True)
        print(*report.format(), file=out)
    return out.getvalue()


def test_no_traceback_shows_the_content_key_or_the_model(world):
    payload = bytearray(world.bundle.payload)
    payload[-1] ^= 1
    fault = Fault(world, payload=bytes(payload))
    text = shown(encryption.open_, fault.verified, fault.granted, fault.key, dirty(fault.size))
    assert "DecryptionError" in text
    content_key = bytes(world.content_key.material)
    for secret in (content_key, content_key[:8], world.model[100:120]):
        assert secret.hex() not in text
        assert repr(secret)[2:-1] not in text


SCAN = """
import ctypes, gc, mmap, pathlib, re, sys
from edgesdk import encryption, trust
from edgesdk.bundle import Bundle
from edgesdk.keys import open_device_key
from edgesdk.primitives import wipe

folder = pathlib.Path(sys.argv[1])
# The search reads into one buffer of its own, which it leaves out.
buffer = mmap.mmap(-1, 1 << 20)
own = ctypes.addressof(ctypes.c_char.from_buffer(buffer))


def count():
    gc.collect()
    masked = (folder / "masked").read_bytes()
    pattern = bytearray(24)
    found = []
    for start in range(0, len(masked), 24):
        for place in range(24):
            pattern[place] = masked[start + place] ^ 0x5A
        found.append(search(pattern))
    wipe(pattern)
    return found


def search(pattern):
    found = 0
    mine = ctypes.addressof(ctypes.c_char.from_buffer(pattern))
    for at, size in pieces(len(buffer) - len(pattern) + 1):
        place = buffer.find(pattern, 0, size)
        while place >= 0:
            found += at + place != mine
            place = buffer.find(pattern, place + 1, size)
    return found


def pieces(step):
    for line in open("/proc/self/maps"):
        match = re.match(r"([0-9a-f]+)-([0-9a-f]+) r\\S+ \\S+ \\S+ \\S+\\s*(.*)", line)
        if not match or match[3].startswith("[v"):
            continue
        start, end = int(match[1], 16), int(match[2], 16)
        for at in range(start, end, step):
            size = min(len(buffer), end - at)
            if own < at + size and at < own + len(buffer):
                continue
            with open("/proc/self/mem", "rb", 0) as file, memoryview(buffer)[:size] as view:
                file.seek(at)
                size = file.readinto(view)
            yield at, size


verified = trust.verify(
    Bundle.parse((folder / "bundle").read_bytes()),
    trust.TrustRoot.parse((folder / "trust").read_bytes()),
    now=1,
    device=trust.Device(),
)
with open_device_key(folder / "key") as key:
    grant = trust.find_grant(verified, [(folder / "grant").read_bytes()], kid=key.kid)
    granted = trust.verify_grant(grant, verified, kid=key.kid, now=1)
    into = memoryview(bytearray(verified.manifest.plaintext_len))
    encryption.open_(verified, granted, key, into)
    print(*count())
wipe(into)
print(*count())
"""


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs /proc/self/mem (Linux)")
def test_no_secret_is_left_in_the_process(world, tmp_path):
    """Look through all memory of a process: first with the key open, then with it closed."""
    packed = world.pack(world.model + plaintext(5000))
    data = world.signed(packed)
    salt = bytes(Bundle.parse(data).payload[:24])
    bound = context(packed.manifest.binding)
    derived = encryption._derive(packed.content_key.material, bound, salt)
    seeds = [bytes(secret) for secret in world.device._secrets.values()]
    content_key = bytes(packed.content_key.material)
    secrets = [*seeds, plaintext(5000), bytes(derived), content_key]
    masked = b"".join(bytes(byte ^ 0x5A for byte in secret[:24]) for secret in secrets)
    (tmp_path / "masked").write_bytes(masked)
    (tmp_path / "bundle").write_bytes(data)
    (tmp_path / "trust").write_bytes(world.trust_bytes)
    (tmp_path / "grant").write_bytes(world.grant(data, content_key=packed.content_key))
    world.device.save(tmp_path / "key")
    run = subprocess.run(
        [sys.executable, "-c", SCAN, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    during, after = (list(map(int, line.split())) for line in run.stdout.splitlines())
    assert during == [1, 1, 1, 1, 0, 0]  # three seeds and the model; the keys of both are gone
    assert after == [0, 0, 0, 0, 0, 0]


# ---- what publishers make


def test_seal():
    with ContentKey.generate(random=stream("key")) as key:
        data = plaintext(70 * CHUNK)
        sealed = encryption.seal(data, key, BINDING, random=stream("salt"))
        assert sealed.payload[:24] == stream("salt")(24)
        assert decrypt(sealed.payload, len(data), key=key.material) == data
        parts = list(bundles.segments(memoryview(sealed.payload)))
        assert sealed.table == b"".join(hashlib.sha256(part).digest() for part in parts)
        assert encryption.check_content_key(key, BINDING, sealed.payload) is None
        with ContentKey.generate() as other:
            refused(encryption.check_content_key, other, BINDING, sealed.payload)
        refused(encryption.check_content_key, key, replace(BINDING, sequence=9), sealed.payload)


def test_plaintext_mac_is_the_one_of_the_page():
    info = b"edgesdk/plaintext-mac/v1\0" + BINDING.context("")[1:]
    key = hmac.digest(KEY, info + b"\1", "sha512")[:32]
    assert encryption.plaintext_mac(KEY, BINDING, b"text") == hmac.digest(key, b"text", "sha256")


def test_plaintext_that_was_altered_afterwards(world):
    verified = world.verify()
    granted = world.verify_grant(verified=verified)
    into = world.open()
    into[5] ^= 1
    refused(encryption.check_plaintext, verified, granted, world.device, into)


def test_two_packings_share_nothing(world):
    one, two = world.pack(), world.pack()
    assert one.content_key.material != two.content_key.material
    assert one.manifest.binding.bundle_id != two.manifest.binding.bundle_id
    assert Bundle.parse(one.bundle).payload[:24] != Bundle.parse(two.bundle).payload[:24]
    assert one.manifest.plaintext_mac != two.manifest.plaintext_mac


def test_a_bundle_shows_nothing_of_its_plaintext(world):
    data = world.bundle_bytes + world.grant_bytes
    for start in range(0, len(world.model) - 16, 8):
        piece = world.model[start : start + 16]
        if piece.count(0) < 8:
            assert piece not in data
    assert bytes(world.content_key.material) not in data
