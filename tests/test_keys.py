import base64
import contextlib
import copy
import gc
import io
import logging
import os
import pickle
import re
import shlex
import stat
import struct
import sys
import traceback
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesdk import canonical, keys, primitives, record
from edgesdk.envelope import Domain, Envelope, Signature
from edgesdk.errors import (
    ConfigurationError,
    DecryptionError,
    InputError,
    KeyUnavailableError,
    LifecycleError,
    MalformedBundleError,
    SignatureError,
)
from edgesdk.keys import (
    ContentKey,
    PublicRecord,
    SecretKey,
    make_record,
    open_device_key,
    open_secret_key,
    open_signer,
)
from edgesdk.primitives import ED25519, ML_DSA_65, ML_KEM_768, X25519
from edgesdk.signer import ExecSigner
from fixtures_protect import stream

KINDS = ["device", "signer", "gateway"]
SECRET = bytes(range(64, 96))


def refused(error, reason, call, /, *args, **kwargs):
    with pytest.raises(error) as caught:
        call(*args, **kwargs)
    assert type(caught.value) is error
    assert caught.value.reason == reason
    return caught.value


def generate(kind, **options):
    return SecretKey.generate(kind, random=stream(kind), **options)


def container(
    kind=2, protection=0, entries=((3, bytes(32)),), *, kid=None, body_len=None, magic=None
):
    """A key file by the page, so that it is not our own writer that we compare with."""
    body = b"".join(struct.pack("<HH", number, len(data)) + data for number, data in entries)
    if kid is None:
        text = b"edgesdk/kid/v1\0" + struct.pack("<H", kind)
        for number, data in entries:
            try:
                public = primitives.public_of(primitives.Algorithm(number), data)
            except ValueError:
                public = b""
            text += struct.pack("<HH", number, len(public)) + public
        kid = primitives.hashlib.sha256(text).digest()[:16]
    head = struct.pack(
        "<8sHHI",
        magic or b"EDGEKEY\1",
        kind,
        protection,
        len(body) if body_len is None else body_len,
    )
    return head + kid + body


ONE = SecretKey.generate("signer", algorithms=[ED25519], random=bytes)


# ---- key files


@pytest.mark.parametrize("kind", KINDS)
def test_round_trip(kind):
    with generate(kind) as key:
        data = key.encode()
        with SecretKey.parse(data) as again:
            assert (again.kind, again.kid, again.name) == (kind, key.kid, key.name)
            assert again.public() == key.public()
            assert again.encode() == data


@pytest.mark.parametrize("algorithm", [ED25519, ML_DSA_65])
def test_signers_may_have_one_algorithm(algorithm):
    with generate("signer", algorithms=[algorithm]) as key:
        assert set(SecretKey.parse(key.encode()).keys()) == {algorithm}


@pytest.mark.parametrize(
    ("kind", "algorithms"),
    [
        ("signer", [X25519]),
        ("signer", [ED25519, X25519]),
        ("device", [ED25519]),
        ("gateway", [ML_DSA_65]),
    ],
)
def test_generating_other_algorithms(kind, algorithms):
    refused(InputError, "argument", generate, kind, algorithms=algorithms)


def test_bytes_are_those_of_the_page():
    key = SecretKey.parse(container(2, 0, [(3, bytes(32)), (4, SECRET)]))
    assert key.kind == "signer"
    assert key.encode() == container(2, 0, [(3, bytes(32)), (4, SECRET)])
    assert list(key.public()) == [ED25519, ML_DSA_65]
    assert re.fullmatch("[a-z2-7]{26}", key.name)
    assert base64.b32decode(key.name.upper() + "======") == key.kid


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"EDGEKEY\1",
        container()[:31],
        container()[:32],
        container()[:-1],
        container() + b"\0",
        container() + bytes(5000),
        container(magic=b"EDGEKEY\2"),
        container(magic=b"EDGEMB\1\n"),
        container(kind=0),
        container(kind=5),
        container(kind=4),
        container(protection=1),
        container(protection=0x100),
        container(body_len=35),
        container(body_len=0),
        container(body_len=2**32 - 1),
        container(kid=bytes(16)),
        container(entries=()),
        container(entries=[(3, bytes(31))]),
        container(entries=[(3, bytes(33))]),
        container(entries=[(0, bytes(32))]),
        container(entries=[(5, bytes(32))]),
        container(entries=[(3, bytes(32)), (3, bytes(32))]),
        container(entries=[(4, bytes(32)), (3, bytes(32))]),
        container(entries=[(2, bytes(32))]),
        container(entries=[(2, bytes(32)), (3, bytes(32))]),
        container(1, entries=[(3, bytes(32))]),
        container(1, entries=[(1, bytes(64)), (2, bytes(32))]),
        container(1, entries=[(1, bytes(64)), (2, bytes(32)), (3, bytes(32)), (4, bytes(32))]),
        container(3, entries=[(3, bytes(32)), (4, bytes(32))]),
        container(entries=[(3, bytes(32)), (3, bytes(32))], kid=ONE.kid),
        container(entries=[(3, bytes(32))], body_len=38, kid=ONE.kid) + b"\4\0",
        container(entries=[(3, bytes(32))], body_len=39, kid=ONE.kid) + b"\4\0\x20",
        container(entries=[(3, bytes(32))], body_len=40, kid=ONE.kid) + b"\4\0\x20\0",
        container(entries=[(3, bytes(32))], body_len=71, kid=ONE.kid) + b"\4\0\x20\0" + bytes(31),
    ],
)
def test_malformed_key_files(data):
    refused(MalformedBundleError, "key-file", SecretKey.parse, data)


# Of the rejection seed of ML-KEM, and of five bits of an X25519 secret, no public key depends.
REJECTION_SEED = range(32 + 4 + 32, 32 + 4 + 64)
X25519_START = 32 + 4 + 64 + 4


def is_idle(kind, place, bit):
    if kind == "signer":
        return False
    clamped = (place == X25519_START and bit < 3) or (place == X25519_START + 31 and bit > 5)
    return place in REJECTION_SEED or clamped


@pytest.mark.parametrize("kind", KINDS)
def test_every_flipped_bit_is_noticed_or_changes_nothing(kind):
    key = generate(kind)
    data = key.encode()
    sealed = None if kind == "signer" else key.record("x").seal(b"content", b"info")
    places = [(p, p % 8) for p in range(len(data))]
    if sealed:
        places += [(X25519_START + end, bit) for end in (0, 31) for bit in range(8)]
    for place, bit in places:
        altered = bytearray(data)
        altered[place] ^= 1 << bit
        if is_idle(kind, place, bit):
            with SecretKey.parse(altered) as same:
                assert same.unseal(sealed, b"info") == b"content"
        else:
            refused(MalformedBundleError, "key-file", SecretKey.parse, altered)


def test_every_truncation_is_noticed():
    data = generate("device").encode()
    for size in range(len(data)):
        refused(MalformedBundleError, "key-file", SecretKey.parse, data[:size])


@given(st.binary(max_size=200))
def test_junk_is_no_key(data):
    refused(MalformedBundleError, "key-file", SecretKey.parse, data)
    refused(MalformedBundleError, "key-file", ContentKey.parse, data)


def test_content_keys():
    with ContentKey.generate(random=stream("content")) as key:
        data = key.encode()
        with ContentKey.parse(data) as again:
            assert again.material == key.material
        assert len(data) == 32 + 4 + 32
        assert key.kid.hex() not in bytes(key.material).hex()
        for place in range(len(data)):
            altered = bytearray(data)
            altered[place] ^= 1 << place % 8
            refused(MalformedBundleError, "key-file", ContentKey.parse, altered)
        refused(MalformedBundleError, "key-file", SecretKey.parse, data)
    refused(MalformedBundleError, "key-file", ContentKey.parse, generate("signer").encode())
    refused(LifecycleError, "closed", key.encode)
    refused(InputError, "argument", ContentKey, memoryview(bytearray(31)))


# ---- on disk


@pytest.mark.parametrize("make", [lambda: generate("device"), ContentKey.generate])
def test_saved_keys_are_private_and_never_overwritten(make, tmp_path):
    path = tmp_path / "new.key"
    was = os.umask(0)
    try:
        with make() as key:
            key.save(path)
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert path.read_bytes() == key.encode()
            refused(KeyUnavailableError, "key-exists", make().save, path)
            assert path.read_bytes() == key.encode()
    finally:
        os.umask(was)


def test_content_keys_are_opened_as_private_files(tmp_path):
    path = tmp_path / "content.key"
    with ContentKey.generate() as key:
        key.save(path)
        with ContentKey.open(path) as again:
            assert again.material == key.material
    path.chmod(0o640)
    refused(KeyUnavailableError, "key-permissions", ContentKey.open, path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    for kind in KINDS:
        generate(kind).save(folder / f"{kind}.key")
    return folder


def test_uris(folder, monkeypatch):
    path = folder / "device.key"
    for uri in (path, str(path), f"file:{path}", f"file://{path}"):
        with open_device_key(uri) as key:
            assert key.kid == generate("device").kid
    monkeypatch.chdir(folder)
    for uri in ("device.key", "./device.key", "file:device.key", Path("device.key")):
        open_device_key(uri).close()
    with open_secret_key("gateway.key", kind="gateway") as key:
        assert key.kind == "gateway"
    assert set(open_signer("signer.key").keys()) == {ED25519, ML_DSA_65}


@pytest.mark.parametrize(
    "uri",
    [
        "pkcs11:token=x",
        "tpm:0x81000001",
        "http://x/key",
        "file:",
        "env:",
        "exec:",
        "file://host/x",
        "exec:'",
        "exec: ",
    ],
)
def test_uris_of_other_releases(uri):
    refused(ConfigurationError, "invalid", open_signer, uri)


def test_a_pin_in_a_uri_of_another_release_is_not_said():
    with pytest.raises(ConfigurationError) as caught:
        open_signer("pkcs11:token=x?pin-value=1234")
    assert "1234" not in f"{caught.value.message} {caught.value.hint}"


def test_a_path_may_look_like_a_uri(folder, monkeypatch):
    monkeypatch.chdir(folder)
    Path("tpm:x").symlink_to("nowhere")
    refused(MalformedBundleError, "not-a-regular-file", open_signer, Path("tpm:x"))
    refused(MalformedBundleError, "not-a-regular-file", open_signer, "file:tpm:x")
    Path("tpm:x").unlink()


def test_a_program_cannot_hold_a_device_key():
    refused(ConfigurationError, "invalid", open_device_key, "exec:true")


def test_keys_of_another_kind(folder):
    refused(KeyUnavailableError, "no-key", open_device_key, folder / "signer.key")
    refused(KeyUnavailableError, "no-key", open_device_key, folder / "gateway.key")
    refused(KeyUnavailableError, "no-key", open_signer, folder / "device.key")
    refused(KeyUnavailableError, "no-key", open_secret_key, folder / "device.key", kind="gateway")


def test_key_files_are_looked_at_before_they_are_read(folder, tmp_path):
    refused(KeyUnavailableError, "no-key", open_device_key, tmp_path / "absent")
    (tmp_path / "link").symlink_to(folder / "device.key")
    refused(MalformedBundleError, "not-a-regular-file", open_device_key, tmp_path / "link")
    path = tmp_path / "open.key"
    generate("device").save(path)
    path.chmod(0o604)
    refused(KeyUnavailableError, "key-permissions", open_device_key, path)
    path.chmod(0o600)
    path.write_bytes(bytes(5000))
    refused(MalformedBundleError, "too-large", open_device_key, path)
    path.write_bytes(bytes(100))
    refused(MalformedBundleError, "key-file", open_device_key, path)


def test_environment(monkeypatch, caplog):
    text = base64.b64encode(generate("device").encode()).decode()
    monkeypatch.setenv("DEVICE_KEY", text + "\n")
    with caplog.at_level(logging.WARNING, "edgesdk"), open_device_key("env:DEVICE_KEY") as key:
        assert key.kid == generate("device").kid
    (entry,) = caplog.records
    assert entry.reason == "key-permissions"
    assert text[40:80] not in caplog.text
    monkeypatch.setenv("DEVICE_KEY", "!" + text)
    refused(MalformedBundleError, "key-file", open_device_key, "env:DEVICE_KEY")
    monkeypatch.delenv("DEVICE_KEY")
    refused(KeyUnavailableError, "no-key", open_device_key, "env:DEVICE_KEY")


# ---- secrets stay secret


def shows_nothing(text, *secrets):
    for secret in map(bytes, secrets):
        for spelling in (secret.hex(), repr(secret)[2:-1], base64.b64encode(secret).decode()[:-4]):
            assert spelling not in text


@pytest.mark.parametrize("make", [lambda: generate("device"), ContentKey.generate])
def test_no_text_shows_a_secret(make):
    with make() as key:
        data = key.encode()
        text = f"{key} {key!r} {[key]} {key:}"
        text += " ".join(repr(getattr(key, name)) for name in ("_close",))
        shows_nothing(text, data[36:], data[36:68], data[-32:])
        for copier in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="expected something that may be copied"):
                copier(key)
        assert not hasattr(key, "__dict__")


def tracebacks(call, *args):
    """What a reporter prints that shows the variables of each frame."""
    try:
        call(*args)
    except BaseException as error:  # noqa: BLE001 - all of them
        out = io.StringIO()
        report = traceback.TracebackException.from_exception(error, capture_locals=True)
        report.stackline = None
        print(*report.format(), file=out)
        return out.getvalue()
    raise AssertionError("expected an error")


def test_no_traceback_shows_a_secret(folder, tmp_path, monkeypatch):
    key = generate("device")
    data = memoryview(key.encode())
    secrets = [data[36:100], data[104:136], data[140:172]]
    damaged = memoryview(bytearray(data))
    damaged[-1] ^= 1
    path = tmp_path / "damaged.key"
    path.write_bytes(damaged)
    path.chmod(0o600)
    exists = tmp_path / "exists.key"
    exists.touch()
    monkeypatch.setenv("JUNK", "?" + base64.b64encode(data).decode())
    texts = [
        tracebacks(SecretKey.parse, damaged),
        tracebacks(open_device_key, path),
        tracebacks(open_device_key, "env:JUNK"),
        tracebacks(
            open_secret_key,
            str(folder / "device.key"),
        ),
        tracebacks(lambda: open_secret_key(folder / "device.key", kind="signer")),
        tracebacks(key.save, exists),
        tracebacks(key.sign, "text", b""),
        tracebacks(key.sign_ed25519, None),
        tracebacks(key.unseal, b"short", b"info"),
        tracebacks(key.unseal, None, b"info"),
        tracebacks(key.record, "x" * 100),
    ]
    for text in texts:
        shows_nothing(text, *secrets, *(secret[:16] for secret in secrets))
        assert "Error" in text


def test_close_overwrites():
    key = generate("device")
    held = list(key._secrets.values())
    assert all(any(secret) for secret in held)
    key.close()
    assert not any(any(secret) for secret in held)
    key.close()
    for call in (
        lambda: key.sign(b"", b""),
        lambda: key.sign_ed25519(b""),
        lambda: key.unseal(b"", b""),
        key.encode,
    ):
        assert "closed" in refused(LifecycleError, "closed", call).reason
    assert key.name
    assert key.public()


def test_leaving_a_with_block_overwrites():
    with contextlib.suppress(ZeroDivisionError), generate("signer") as key:
        held = list(key._secrets.values())
        raise ZeroDivisionError
    assert not any(any(secret) for secret in held)


def test_forgotten_keys_are_overwritten():
    key, content = generate("signer"), ContentKey.generate()
    held = [*key._secrets.values(), content.material]
    del key, content
    gc.collect()
    assert not any(any(secret) for secret in held)


def test_reading_a_file_leaves_no_copy_behind(folder, monkeypatch):
    seen = []
    read_private = keys.files.read_private

    def read(*args, **kwargs):
        seen.append(read_private(*args, **kwargs))
        return seen[-1]

    monkeypatch.setattr(keys.files, "read_private", read)
    open_device_key(folder / "device.key").close()
    refused(KeyUnavailableError, "no-key", open_device_key, folder / "signer.key")
    assert len(seen) == 2
    assert not any(any(data) for data in seen)


def test_refused_keys_are_overwritten(folder, monkeypatch):
    seen = []
    private = keys._private
    monkeypatch.setattr(keys, "_private", lambda data: seen.append(private(data)) or seen[-1])
    refused(KeyUnavailableError, "no-key", open_device_key, folder / "signer.key")
    assert len(seen) == 2
    for key in (generate("device"), ContentKey.generate()):
        data = key.encode()
        data[16] ^= 1  # the kid
        refused(MalformedBundleError, "key-file", type(key).parse, data)
        key.close()
    assert len(seen) == 2 + 2 * 3 + 2 * 1
    assert not any(any(secret) for secret in seen)


def test_saving_leaves_no_copy_behind(tmp_path, monkeypatch):
    seen = []
    encode = SecretKey.encode
    monkeypatch.setattr(SecretKey, "encode", lambda self: seen.append(encode(self)) or seen[-1])
    generate("device").save(tmp_path / "new.key")
    refused(KeyUnavailableError, "key-exists", generate("device").save, tmp_path / "new.key")
    assert len(seen) == 2
    assert not any(any(data) for data in seen)


# ---- signing and sealing


def test_signing():
    key = generate("signer")
    made = key.sign(b"message", b"context")
    assert set(made) == {ED25519, ML_DSA_65}
    for algorithm, signature in made.items():
        primitives.verify(algorithm, key.keys()[algorithm], signature, b"message", b"context")
    assert set(generate("device").sign(b"", b"")) == {ED25519}
    refused(InputError, "argument", generate("signer", algorithms=[ML_DSA_65]).sign_ed25519, b"")
    refused(InputError, "argument", key.unseal, b"", b"")


def test_sealing_to_a_record():
    device = generate("device")
    sealed = device.record("x").seal(b"content", b"info")
    assert device.unseal(sealed, b"info") == b"content"
    refused(DecryptionError, "payload", device.unseal, sealed, b"other")
    refused(DecryptionError, "payload", generate("gateway").unseal, sealed, b"info")
    refused(InputError, "argument", generate("signer").record("x").seal, b"", b"")


def test_records_verify():
    device = generate("device")
    found = device.record("x")
    found.verify_ed25519(device.sign_ed25519(b"message"), b"message")
    refused(
        SignatureError,
        "signature",
        found.verify_ed25519,
        device.sign_ed25519(b"message"),
        b"massage",
    )
    without = generate("signer", algorithms=[ML_DSA_65]).record("x")
    refused(InputError, "argument", without.verify_ed25519, bytes(64), b"")


# ---- public records


@pytest.mark.parametrize("kind", KINDS)
def test_record_round_trip(kind):
    key = generate(kind)
    made = key.record("camera-17 \N{GREEK SMALL LETTER ALPHA}")
    again = PublicRecord.parse(made.encode())
    assert again == made
    assert (again.kind, again.kid, again.name) == (kind, key.kid, key.name)
    assert again.keys == key.public()
    assert again.encode() == made.encode()


@pytest.mark.parametrize("label", ["", "x" * 65, "a\nb", "\x1b[31m", "\ud800"])
def test_labels(label):
    with pytest.raises((MalformedBundleError, InputError)):
        generate("device").record(label)


@pytest.fixture(scope="module")
def device_record():
    return generate("device").record("camera")


def enveloped(value, signer):
    payload = value if isinstance(value, bytes) else canonical.encode(value)
    return record.sign_envelope(Envelope(Domain.RECORD, payload), signer).encode()


def changed(made, **changes):
    value = canonical.parse(made.envelope.payload, error=AssertionError)
    value.update(changes)
    return {name: member for name, member in value.items() if member is not ...}


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2},
        {"format": True},
        {"format": ...},
        {"kind": "signer"},
        {"kind": "gateway"},
        {"kind": "root"},
        {"kid": "00" * 16},
        {"kid": "00" * 15},
        {"name": 1},
        {"name": ...},
        {"extra": 1},
        {"keys": {}},
        {"keys": {"ed25519": "AA=="}},
        {"keys": ...},
    ],
)
def test_malformed_records(changes, device_record):
    data = enveloped(changed(device_record, **changes), generate("device"))
    refused(MalformedBundleError, "record", PublicRecord.parse, data)


@pytest.mark.parametrize(
    ("kind", "chosen"),
    [
        ("device", [ED25519]),
        ("gateway", [ML_KEM_768, ED25519]),
        ("signer", [X25519, ED25519]),
        ("signer", [ML_KEM_768, X25519, ED25519]),
    ],
)
def test_records_with_other_keys_than_their_kind_has(kind, chosen, device_record):
    some = {algorithm: device_record.keys[algorithm] for algorithm in chosen}
    kid = record.make_kid(record.KINDS[kind], some.items())
    public = record.public_keys_to_json(some)
    value = changed(device_record, kind=kind, keys=public, kid=kid.hex())
    data = enveloped(value, generate("device"))
    refused(MalformedBundleError, "record", PublicRecord.parse, data)


def test_records_with_unknown_or_weak_keys(device_record):
    public = record.public_keys_to_json(device_record.keys)
    for reason, change in (
        ("record", {"rsa": "AA=="}),
        ("weak-key", {"ed25519": canonical.to_base64(bytes(32))}),
        ("weak-key", {"x25519": canonical.to_base64(bytes(32))}),
        ("weak-key", {"ml-kem-768": canonical.to_base64(b"\xff" * 1184)}),
    ):
        data = enveloped(changed(device_record, keys=public | change), generate("device"))
        refused(MalformedBundleError, reason, PublicRecord.parse, data)


def test_records_prove_possession(device_record):
    bare = device_record.envelope
    unsigned = replace(bare, signatures=())
    refused(SignatureError, "unsigned", PublicRecord.parse, unsigned.encode())
    foreign = record.sign_envelope(unsigned, generate("gateway"))
    refused(SignatureError, "unknown-signer", PublicRecord.parse, foreign.encode())
    both = record.sign_envelope(bare, generate("gateway"))
    refused(SignatureError, "unknown-signer", PublicRecord.parse, both.encode())
    signer = generate("signer").record("x").envelope
    for kept in signer.signatures:
        one = replace(signer, signatures=(kept,))
        refused(SignatureError, "threshold", PublicRecord.parse, one.encode())
    (signature,) = bare.signatures
    forged = replace(bare, signatures=(Signature(signature.keyid, bytes(64)),))
    refused(SignatureError, "signature", PublicRecord.parse, forged.encode())


def test_a_signature_of_another_kind_of_file_proves_nothing(device_record):
    device = generate("device")
    other = record.sign_envelope(Envelope(Domain.GRANT, device_record.envelope.payload), device)
    moved = replace(device_record.envelope, signatures=other.signatures)
    refused(SignatureError, "signature", PublicRecord.parse, moved.encode())


@settings(max_examples=200)
@given(st.data())
def test_every_flipped_bit_of_a_record_is_noticed(device_record, data):
    altered = bytearray(device_record.encode())
    altered[data.draw(st.integers(0, len(altered) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises((MalformedBundleError, SignatureError)):
        PublicRecord.parse(bytes(altered))


def test_oversized_records():
    refused(MalformedBundleError, "record", PublicRecord.parse, b" " * 16_385)


# ---- external signers


PYTHON = shlex.quote(sys.executable)


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """The program of docs/keys.md, with seeds of its own."""
    folder = tmp_path_factory.mktemp("signer")
    page = (Path(__file__).parent.parent / "docs" / "keys.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (folder / "signer.py").write_text(program, encoding="utf-8")
    (folder / "seeds.bin").write_bytes(bytes(range(64)))
    return f"exec:{PYTHON} " + shlex.join([str(folder / "signer.py"), str(folder / "seeds.bin")])


def test_the_example_signs(example):
    signer = open_signer(example)
    seeds = {ED25519: bytes(range(32)), ML_DSA_65: bytes(range(32, 64))}
    assert signer.keys() == {a: primitives.public_of(a, s) for a, s in seeds.items()}
    made = signer.sign(b"\x00binary\xff" * 50_000, b"context")
    for algorithm, signature in made.items():
        primitives.verify(
            algorithm, signer.keys()[algorithm], signature, b"\x00binary\xff" * 50_000, b"context"
        )
    assert make_record(signer, "card").kind == "signer"


def answering(tmp_path, answer, *, before="", after=""):
    """A program that says the same to whatever it is asked."""
    path = tmp_path / "answer.py"
    path.write_text(
        f"import sys\n{before}\nsys.stdin.read()\nsys.stdout.buffer.write({answer!r})\n{after}\n",
        encoding="utf-8",
    )
    return ExecSigner(f"{PYTHON} {shlex.quote(str(path))}", timeout=20)


def key_answer(**changes):
    public = {a.label: canonical.to_base64(p) for a, p in generate("signer").keys().items()}
    return canonical.encode({"keys": public | changes} if None not in changes else {})


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\n",
        b"junk",
        b"[]",
        b"{}",
        b'{"keys":{}}',
        b'{"keys":{"rsa":"AA=="}}',
        b'{"keys":{"ed25519":"AA=="}}',
        b'{"keys":[]}',
        b'{"keys":{"ed25519":null}}',
        b"\xff",
        b"[" * 10_000,
        key_answer() + key_answer(),
        key_answer()[:-1],
        key_answer(ed25519=canonical.to_base64(bytes(32))),
        canonical.encode(
            {"keys": {"x25519": canonical.to_base64(generate("device").public()[X25519])}}
        ),
        canonical.encode({"keys": {}, "extra": 1}),
        b" " * 16_385,
        b"x" * 10_000_000,
    ],
    ids=range(19),
)
def test_unusable_public_keys(answer, tmp_path):
    refused(KeyUnavailableError, "provider", answering(tmp_path, answer).keys)


def test_answers_need_not_be_canonical(tmp_path):
    assert answering(tmp_path, b" " + key_answer() + b"\n").keys() == generate("signer").keys()


@pytest.mark.parametrize(
    "answer",
    [
        b'{"signature":""}',
        canonical.encode({"signature": canonical.to_base64(bytes(64))}),
        canonical.encode({"signature": canonical.to_base64(bytes(63))}),
        canonical.encode({"signature": canonical.to_base64(bytes(64)), "extra": 1}),
        b'{"keys":{}}',
    ],
)
def test_unusable_signatures(answer, tmp_path):
    signer = answering(tmp_path, answer)
    signer._keys = dict(generate("signer").keys())
    refused(KeyUnavailableError, "provider", signer.sign, b"message", b"")


def test_answers_say_nothing_else(tmp_path):
    key = generate("signer", algorithms=[ED25519])
    public = record.public_keys_to_json(key.keys())
    extra = answering(tmp_path, canonical.encode({"keys": public, "extra": 1}))
    refused(KeyUnavailableError, "provider", extra.keys)
    made = {"signature": canonical.to_base64(key.sign_ed25519(b"message"))}
    for answer in (made, made | {"extra": 1}):
        signer = answering(tmp_path, canonical.encode(answer))
        signer._keys = dict(key.keys())
        if answer is made:
            assert signer.sign(b"message", b"")
        else:
            refused(KeyUnavailableError, "provider", signer.sign, b"message", b"")


def test_signature_by_another_key(example):
    signer = open_signer(example)
    signer._keys = dict(generate("signer").keys())
    refused(KeyUnavailableError, "provider", signer.sign, b"message", b"")


@pytest.mark.parametrize("status", [1, 3, 255])
def test_exit_status_counts_even_after_a_good_answer(status, tmp_path):
    signer = answering(tmp_path, key_answer(), after=f"sys.exit({status})")
    error = refused(KeyUnavailableError, "provider", signer.keys)
    assert f"got {status}" in str(error)


def test_program_that_does_not_listen(tmp_path):
    path = tmp_path / "deaf.py"
    path.write_text("import sys\nsys.stdin.close()\nprint('{}')\n", encoding="utf-8")
    signer = ExecSigner(f"{PYTHON} {path}")
    signer._keys = dict(generate("signer").keys())
    refused(KeyUnavailableError, "provider", signer.sign, bytes(1_000_000), b"")


@pytest.mark.parametrize(
    "command",
    ["sleep 30", "sh -c 'exec >&-; sleep 30'", "sh -c 'sleep 30 & echo {}'"],
)
@pytest.mark.timeout(20)
def test_program_that_takes_too_long(command):
    refused(KeyUnavailableError, "provider", ExecSigner(command, timeout=0.3).keys)


@pytest.mark.timeout(20)
def test_program_that_neither_listens_nor_ends():
    signer = ExecSigner("sleep 30", timeout=0.3)
    signer._keys = dict(generate("signer").keys())
    refused(KeyUnavailableError, "provider", signer.sign, bytes(1_000_000), b"")


@pytest.mark.timeout(20)
def test_program_that_never_stops_talking():
    refused(KeyUnavailableError, "provider", ExecSigner("yes", timeout=300).keys)


@pytest.mark.parametrize("command", ["/nowhere/to/be/found", "/", "no-such-program-anywhere"])
def test_program_that_does_not_start(command):
    refused(KeyUnavailableError, "provider", ExecSigner(command).keys)


def test_there_is_no_shell(tmp_path):
    marker = tmp_path / "marker"
    signer = ExecSigner(f"true ; touch {marker} $(touch {marker}) `touch {marker}` > {marker}")
    refused(KeyUnavailableError, "provider", signer.keys)
    assert not marker.exists()


def test_the_secret_of_a_signer_is_not_among_the_questions(example, tmp_path):
    log = tmp_path / "log"
    tee = tmp_path / "tee.py"
    tee.write_text(
        "import subprocess, sys\nquestion = sys.stdin.read()\n"
        f"open({str(log)!r}, 'a').write(question)\n"
        "sys.stdout.write(subprocess.run(sys.argv[1:], input=question, text=True,"
        " capture_output=True, check=True).stdout)\n",
        encoding="utf-8",
    )
    signer = open_signer(f"exec:{PYTHON} {tee} {example.removeprefix('exec:')}")
    signer.sign(b"message", b"context")
    lines = log.read_text().splitlines()
    assert lines == [
        '{"command":"public"}',
        '{"algorithm":"ed25519","context":"Y29udGV4dA==","message":"bWVzc2FnZQ=="}',
        '{"algorithm":"ml-dsa-65","context":"Y29udGV4dA==","message":"bWVzc2FnZQ=="}',
    ]


def test_kids_of_receivers_name_all_their_keys():
    first, second = generate("device"), generate("gateway")
    assert first.kid != second.kid
    mixed = dict(first.public()) | {ML_KEM_768: second.public()[ML_KEM_768]}
    assert record.make_kid(1, mixed.items()) != first.kid
