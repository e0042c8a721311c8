import hashlib
import json
import struct
from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesdk import bundle as bundles
from edgesdk import canonical
from edgesdk.bundle import Bundle, Prelude, SignatureEntry, check_manifest
from edgesdk.envelope import Domain, Envelope
from edgesdk.errors import InputError, MalformedBundleError
from edgesdk.grant import Grant, wrap_info
from edgesdk.limits import BUNDLE, BundleLimits
from edgesdk.manifest import Binding, Manifest
from fixtures_protect import KID, NOW

LENGTHS = {"sig_len": 12, "manifest_len": 16, "table_len": 20, "recip_len": 24}


def refused(reason, call, /, *args, **kwargs):
    with pytest.raises(MalformedBundleError) as caught:
        call(*args, **kwargs)
    assert caught.value.reason == reason
    return str(caught.value)


def put(data, offset, form, value):
    altered = bytearray(data)
    struct.pack_into(form, altered, offset, value)
    return bytes(altered)


# ---- prelude and layout


def test_the_layout_is_the_one_of_the_page(world):
    data = world.bundle_bytes
    magic, suite, flags, sig, manifest, table, recip, payload = struct.unpack_from(
        "<8sHHIIIIQ", data
    )
    assert (magic, suite, flags) == (b"EDGEMB\x01\x0a", 1, 0)
    assert data[36:64] == bytes(28)
    assert len(data) == 64 + sig + manifest + table + recip + payload
    parts = Bundle.parse(data)
    assert parts.manifest_bytes == data[64 + sig : 64 + sig + manifest]
    assert parts.payload == data[-payload:]
    predicate = json.loads(parts.manifest_bytes)["predicate"]
    assert predicate["model_id"] == "door/person"
    assert predicate["licence"] == "Apache-2.0"
    assert "expires" not in predicate


def test_the_statement_is_the_one_of_the_page(world):
    parts = world.bundle
    data = world.bundle_bytes
    expected = b"EDGEST\x01\x0a" + data[:12] + bytes(4) + data[16:64]
    for part in (parts.manifest_bytes, parts.table, parts.recipients):
        expected += hashlib.sha256(part).digest()
    assert parts.statement == expected
    assert len(expected) == 168
    assert parts.message == b"DSSEv1 40 application/vnd.edgesdk.bundle-statement 168 " + expected


def test_round_trip(world):
    assert world.bundle.encode() == world.bundle_bytes


@given(
    st.binary(min_size=1, max_size=50),
    st.integers(1, 3),
    st.binary(min_size=73, max_size=200),
    st.dictionaries(
        st.binary(min_size=16, max_size=16), st.binary(min_size=1, max_size=9), max_size=3
    ),
    st.lists(
        st.tuples(st.integers(3, 255), st.binary(min_size=32, max_size=32), st.binary(max_size=40)),
        max_size=3,
    ),
)
def test_any_parts_round_trip(manifest, segments, payload, grants, signatures):
    bare = Bundle.build(manifest, bytes(32 * segments), payload, grants=grants)
    data = bare.with_signatures(SignatureEntry(k, v, a) for a, k, v in signatures)
    again = Bundle.parse(data)
    assert again.encode() == data
    assert (again.manifest_bytes, bytes(again.payload), again.grants()) == (
        manifest,
        payload,
        grants,
    )
    assert {s.keyid for s in again.signatures} == {keyid for _, keyid, _ in signatures}
    assert again.statement == bare.statement


def test_empty_and_short_files():
    for size in range(64):
        refused("prelude", Bundle.parse, b"EDGEMB\x01\n".ljust(size, b"\0")[:size])


@pytest.mark.parametrize(
    ("reason", "data"),
    [
        ("prelude", b"EDGEMC\x01\n"),
        ("prelude", b"\x18\x00\x00\x00TFL3"),
        ("prelude", b"PK\x03\x04\0\0\0\0"),
        ("prelude", b"EDGEMB\x01\r"),
        ("unsupported-suite", b"EDGEMB\x02\n"),
        ("unsupported-suite", b"EDGEMB\x00\n"),
    ],
)
def test_magic(world, reason, data):
    refused(reason, Bundle.parse, data + world.bundle_bytes[8:])


@pytest.mark.parametrize("suite", [0, 2, 256, 65535])
def test_suites(world, suite):
    refused("unsupported-suite", Bundle.parse, put(world.bundle_bytes, 8, "<H", suite))


@pytest.mark.parametrize("offset", [10, 11, *range(36, 64)])
@pytest.mark.parametrize("value", [1, 128])
def test_flags_and_reserved_bytes(world, offset, value):
    refused("prelude", Bundle.parse, put(world.bundle_bytes, offset, "<B", value))


@pytest.mark.parametrize("name", LENGTHS)
@pytest.mark.parametrize("value", [0, 1, -1, "cap", "over", 2**31, 2**32 - 1])
def test_lengths(world, name, value):
    caps = {
        "sig_len": BUNDLE.signatures_bytes,
        "manifest_len": BUNDLE.manifest_bytes,
        "table_len": BUNDLE.table_bytes,
        "recip_len": BUNDLE.recipients_bytes,
    }
    true = getattr(world.bundle.prelude, name)
    value = {"cap": caps[name], "over": caps[name] + 1, -1: max(true - 1, 0)}.get(value, value)
    if value != true:
        refused("size", Bundle.parse, put(world.bundle_bytes, LENGTHS[name], "<I", value))


@pytest.mark.parametrize("value", [0, 1, 72, 2**30, 2**30 + 1, 2**32, 2**63, 2**64 - 1])
def test_payload_lengths(world, value):
    refused("size", Bundle.parse, put(world.bundle_bytes, 28, "<Q", value))


@pytest.mark.parametrize("value", [2**64 - 1, 2**63])
def test_sums_do_not_overflow(world, value):
    data = put(world.bundle_bytes, 28, "<Q", value)
    refused("size", Bundle.parse, data, limits=BundleLimits(payload_bytes=2**64))


def test_readers_may_have_a_smaller_cap(world):
    refused("size", Bundle.parse, world.bundle_bytes, limits=BundleLimits(payload_bytes=100))


@pytest.mark.parametrize("change", ["byte short", "byte more", "twice", "segment short", "bare"])
def test_sizes(world, change):
    data = world.bundle_bytes
    data = {
        "byte short": data[:-1],
        "byte more": data + b"\0",
        "twice": data + data,
        "segment short": data[:-100],
        "bare": data[:64],
    }[change]
    refused("size", Bundle.parse, data)


@pytest.mark.parametrize("size", [0, 31, 33, 48])
def test_tables_are_whole_digests(world, size):
    parts = world.bundle
    refused("size", Bundle.build, parts.manifest_bytes, bytes(size), parts.payload, grants={})


@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_junk_behind_a_prelude(world, junk):
    with pytest.raises(MalformedBundleError):
        Bundle.parse(world.bundle_bytes[:64] + junk)
    with pytest.raises(MalformedBundleError):
        Bundle.parse(junk)


def test_memory_that_others_can_change_is_copied(world):
    memory = bytearray(world.bundle_bytes)
    for view in (memoryview(memory), memoryview(memory).toreadonly()):
        parsed = Bundle.parse(view)
        before = bytes(parsed.payload)
        memory[-1] ^= 1
        assert parsed.payload == before
        assert parsed.payload.readonly
    same = world.bundle_bytes
    assert Bundle.parse(memoryview(same)).payload.obj is same
    assert Bundle.parse(same).payload.obj is same


# ---- signature block


def block(*found):
    return b"".join(struct.pack("<B32sH", a, k, len(s)) + s for a, k, s in found)


def with_block(world, data):
    bare = Bundle.parse(world.packed.bundle)
    prelude = replace(bare.prelude, sig_len=len(data)).encode()
    return prelude + data + world.packed.bundle[64:]


A, B = b"\xaa" * 32, b"\xbb" * 32


@pytest.mark.parametrize(
    "data",
    [
        block((1, A, bytes(63))),
        block((1, A, bytes(65))),
        block((1, A, b"")),
        block((2, A, bytes(64))),
        block((2, A, bytes(3308))),
        block((1, A, bytes(3309))),
        block((1, A, bytes(64)))[:-1],
        block((1, A, bytes(64)))[:34],
        block((1, A, bytes(64)), (1, A, bytes(64))),
        block((1, A, bytes(64)), (7, A, b"")),
        block((1, B, bytes(64)), (1, A, bytes(64))),
        block(*((9, bytes([i]) * 32, b"") for i in range(17))),
        block((9, A, b"x"))[:-1] + b"",
        struct.pack("<B32sH", 9, A, 65535),
        block((1, A, bytes(64))) + b"\0",
    ],
    ids=range(15),
)
def test_malformed_signature_blocks(world, data):
    refused("signatures", Bundle.parse, with_block(world, data))


def test_well_formed_signature_blocks(world):
    for data in (
        b"",
        block((1, A, bytes(64)), (2, B, bytes(3309))),
        block((0, A, b""), (255, B, bytes(60_000))),
        block(*((9, bytes([i]) * 32, b"") for i in range(16))),
    ):
        assert Bundle.parse(with_block(world, data)).encode() == with_block(world, data)


def test_adding_signatures(world):
    bare = Bundle.parse(world.packed.bundle)
    old, other, new = (
        SignatureEntry(A, bytes(64), 1),
        SignatureEntry(B, bytes(3309), 2),
        SignatureEntry(A, b"\1" * 64, 1),
    )
    once = Bundle.parse(bare.with_signatures([other, old]))
    assert once.signatures == (old, other)
    assert Bundle.parse(once.with_signatures([new])).signatures == (new, other)
    many = [SignatureEntry(bytes([i]) * 32, b"", 9) for i in range(17)]
    assert len(Bundle.parse(bare.with_signatures(many[:16])).signatures) == 16
    with pytest.raises(InputError) as caught:
        bare.with_signatures(many)
    assert caught.value.reason == "argument"


# ---- recipients


def with_recipients(world, data):
    bare = Bundle.parse(world.packed.bundle)
    prelude = replace(bare.prelude, recip_len=len(data)).encode()
    parts = prelude + bare.manifest_bytes + bare.table + data + bytes(bare.payload)
    return Bundle.parse(parts)


def recipients(*found):
    return b"".join(struct.pack("<16sI", kid, len(grant)) + grant for kid, grant in found)


@pytest.mark.parametrize(
    "data",
    [
        b"\0",
        bytes(19),
        recipients((KID, b"")),
        recipients((KID, b"grant"))[:-1],
        recipients((KID, b"grant")) + b"\0",
        recipients((KID, b"a"), (KID, b"b")),
        recipients((b"\2" * 16, b"a"), (b"\1" * 16, b"b")),
        recipients((KID, bytes(16_385))),
        struct.pack("<16sI", KID, 2**32 - 1),
    ],
)
def test_malformed_recipients(world, data):
    refused("recipients", with_recipients(world, data).grants)


def test_recipients(world):
    assert world.bundle.grants() == {}
    found = {bytes(16): b"a", KID: bytes(16_384)}
    assert with_recipients(world, recipients(*sorted(found.items()))).grants() == found


@pytest.mark.timeout(20)
def test_as_many_recipients_as_fit(world):
    count = BUNDLE.recipients_bytes // 21
    data = b"".join(struct.pack(">QQ", 0, i) + b"\1\0\0\0x" for i in range(count))
    assert len(with_recipients(world, data).grants()) == count


# ---- manifest


@pytest.fixture(scope="module")
def document(world):
    return json.loads(world.bundle.manifest_bytes)


def changed(document, path, value):
    """The same document with one member changed, or without it."""
    copy = json.loads(json.dumps(document))
    *folders, last = path.split("/")
    place = copy
    for folder in folders:
        place = place[int(folder)] if isinstance(place, list) else place[folder]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return canonical.encode(copy)


def test_manifest_round_trip(world):
    manifest = Manifest.parse(world.bundle.manifest_bytes)
    assert manifest == world.packed.manifest
    assert manifest.encode() == world.bundle.manifest_bytes


@given(st.data())
def test_any_manifest_round_trips(world, data):
    manifest = replace(
        world.packed.manifest,
        binding=Binding(
            data.draw(st.binary(min_size=32, max_size=32)),
            data.draw(st.from_regex(r"\A[a-z0-9][a-z0-9._-]{0,9}(/[a-z0-9][a-z0-9._-]{0,9})?\Z")),
            data.draw(st.integers(0, 2**53 - 1)),
            data.draw(st.integers(1, 2**53 - 1)),
        ),
        model_version=data.draw(st.text("a1. \N{EURO SIGN}", max_size=64)),
        not_before=data.draw(st.none() | st.integers(0, 2**53 - 1)),
        expires=data.draw(st.none() | st.integers(0, 2**53 - 1)),
        vendor_id=data.draw(st.none() | st.text("ab", min_size=1, max_size=64)),
        class_id=data.draw(st.none() | st.text("ab", min_size=1, max_size=64)),
        licence=data.draw(st.none() | st.text("ab", min_size=1, max_size=64)),
        min_core=data.draw(st.integers(1, 100)),
        min_revocation_seq=data.draw(st.integers(0, 100)),
    )
    assert Manifest.parse(manifest.encode()) == manifest


P = "predicate/"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *(
            (P + name, ...)
            for name in (
                *("format", "bundle_id", "model_id", "model_version", "epoch", "sequence"),
                *("min_core", "min_revocation_seq", "created", "suite", "payload_len"),
                *("plaintext_len", "plaintext_mac", "model_len", "operators", "contract"),
                *("golden", "evidence"),
            )
        ),
        *((name, ...) for name in ("_type", "predicateType", "predicate", "subject")),
        ("_type", "https://in-toto.io/Statement/v0.1"),
        ("predicateType", "urn:edgesdk:bundle:v2"),
        ("extra", 1),
        ("subject", []),
        ("subject/0/name", "door/other"),
        ("subject/0/extra", 1),
        ("subject/0/digest", {}),
        ("subject/0/digest/sha256", "00" * 32),
        ("subject/0/digest/edgesdk-table-sha256", "00"),
        (P + "extra", 1),
        (P + "critical", True),
        (P + "format", 2),
        (P + "format", True),
        (P + "format", "1"),
        (P + "suite", 2),
        (P + "bundle_id", "00" * 31),
        (P + "bundle_id", "AA" * 32),
        (P + "bundle_id", 1),
        (P + "model_id", ""),
        (P + "model_id", "../door"),
        (P + "model_id", "door/../person"),
        (P + "model_id", "/door"),
        (P + "model_id", "door/"),
        (P + "model_id", "door//person"),
        (P + "model_id", ".door"),
        (P + "model_id", "Door"),
        (P + "model_id", "door person"),
        (P + "model_id", "do\N{CYRILLIC SMALL LETTER O}r"),
        (P + "model_id", "caf\u00e9"),
        (P + "model_id", "cafe\u0301"),
        (P + "model_id", "door\u0000"),
        (P + "model_id", "door\n"),
        (P + "model_id", "d" * 129),
        (P + "model_id", "d" * 300),
        (P + "model_version", 1),
        (P + "model_version", "1" * 65),
        (P + "model_version", "1\n2"),
        (P + "epoch", -1),
        (P + "epoch", True),
        (P + "epoch", "0"),
        (P + "sequence", 0),
        (P + "sequence", -1),
        (P + "min_core", 0),
        (P + "min_revocation_seq", -1),
        (P + "created", -1),
        (P + "not_before", -1),
        (P + "expires", "2030-01-01"),
        (P + "vendor_id", ""),
        (P + "vendor_id", "v" * 65),
        (P + "class_id", 1),
        (P + "licence", ""),
        (P + "payload_len", -1),
        (P + "plaintext_mac", "00"),
        (P + "model_len", 0),
        (P + "operators", {}),
        (P + "operators", [["RELU"]]),
        (P + "operators", [["RELU", 1, 2]]),
        (P + "operators", [["RELU", 0]]),
        (P + "operators", [["RELU", True]]),
        (P + "operators", [["", 1]]),
        (P + "operators", [[1, "RELU"]]),
        (P + "operators", [["RELU", 1], ["RELU", 1]]),
        (P + "operators", [["RELU", 1], ["ADD", 1]]),
        (P + "operators", [["RELU", 2], ["RELU", 1]]),
        (P + "operators", [["A", 1 + i] for i in range(1025)]),
        (P + "golden", {}),
        (P + "golden", {"count": 0}),
        (P + "golden", {"count": 1025}),
        (P + "golden", {"count": 1, "seed": 1}),
        (P + "golden", 1),
        (P + "evidence", [{}]),
        (P + "evidence", {}),
        (P + "contract", []),
        (P + "contract/inputs/0/shape", [1, "4"]),
        (P + "contract/inputs/0/scale_f32", "7fc00000"),
    ],
)
def test_malformed_manifests(document, path, value):
    refused("manifest", Manifest.parse, changed(document, path, value))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"sequence":7', b'"sequence":7,"sequence":8'),
        (b'"sequence":7', b'"sequence":7.0'),
        (b'"sequence":7', b'"sequence":7e0'),
        (b'"sequence":7', b'"sequence":07'),
        (b'"sequence":7', b'"sequence": 7'),
        (b'"sequence":7', b'"sequence":NaN'),
        (b'"sequence":7', b'"sequence":Infinity'),
        (b'"sequence":7', b'"sequence":1e999'),
        (b'"sequence":7', b'"sequence":9007199254740993'),
        (b'"sequence":7', b'"sequence":' + b"9" * 5000),
        (b'"sequence":7', b'"sequence":null'),
        (b'"format":1', b'"format":true'),
        (b'"model_version":"1.2"', b'"model_version":"\\u0031.2"'),
        (b'"model_version":"1.2"', b'"model_version":"\\ud800"'),
        (b'"model_version":"1.2"', b'"model_version":"\xff"'),
        (b'{"_type"', b'\xef\xbb\xbf{"_type"'),
        (b'"evidence":[]', b'"evidence":' + b"[" * 100_000 + b"]" * 100_000),
    ],
)
def test_json_tricks_after_signing(world, old, new):
    data = world.bundle.manifest_bytes
    assert data.count(old) == 1
    refused("manifest", Manifest.parse, data.replace(old, new))


def test_oversized_manifests(document):
    labels = ["x" * 200] * 1200
    outputs = [document["predicate"]["contract"]["outputs"][0] | {"labels": labels}]
    large = changed(document, P + "contract/outputs", outputs)
    assert Manifest.parse(large).contract.outputs[0].labels == tuple(labels)
    larger = changed(document, P + "contract/outputs", [outputs[0] | {"labels": labels * 2}])
    assert len(large) < BUNDLE.manifest_bytes < len(larger)
    assert "262144 bytes" in refused("manifest", Manifest.parse, larger)


@settings(max_examples=300)
@given(st.data())
def test_flipped_bits_of_a_manifest_are_refused_or_show(world, data):
    altered = bytearray(world.bundle.manifest_bytes)
    altered[data.draw(st.integers(0, len(altered) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        manifest = Manifest.parse(bytes(altered))
    except MalformedBundleError:
        return
    assert manifest != world.packed.manifest
    assert manifest.encode() == bytes(altered)


@pytest.mark.parametrize(
    "change",
    [
        {"model_version": "\ud800"},
        {"model_version": "x" * 65},
        {"licence": "a\nb"},
        {"created": -1},
        {"golden_count": 0},
    ],
)
def test_what_cannot_be_read_is_not_written(world, change):
    with pytest.raises(InputError) as caught:
        replace(world.packed.manifest, **change).encode()
    assert caught.value.reason == "argument"


@pytest.mark.parametrize(
    "change",
    [
        {"payload_len": 1000},
        {"plaintext_len": 1},
        {"plaintext_len": 0},
        {"model_len": 1},
        {"golden_count": 1},
        {"golden_count": 3},
        {"table_digest": bytes(32)},
    ],
)
def test_manifest_against_prelude_and_table(world, change):
    check_manifest(world.bundle, world.packed.manifest)
    altered = replace(world.packed.manifest, **change)
    refused("manifest-mismatch", check_manifest, world.bundle, altered)


def test_table_with_another_number_of_digests(world):
    table = world.bundle.table + bytes(32)
    longer = replace(world.bundle, table=table)
    manifest = replace(world.packed.manifest, table_digest=hashlib.sha256(table).digest())
    refused("manifest-mismatch", check_manifest, longer, manifest)


def test_golden_vectors_of_absurd_size(world):
    (spec,) = world.packed.manifest.contract.inputs
    giant = replace(spec, shape=(2**31 - 1,) * 8)
    contract = replace(world.packed.manifest.contract, inputs=(giant,))
    manifest = replace(world.packed.manifest, contract=contract)
    refused("manifest-mismatch", check_manifest, world.bundle, manifest)


@pytest.mark.parametrize(
    ("plaintext", "chunks", "segments"),
    [
        (0, 1, 1),
        (1, 1, 1),
        (16_383, 1, 1),
        (16_384, 2, 1),
        (16_385, 2, 1),
        (63 * 16_384 - 1, 63, 1),
        (64 * 16_384 - 1, 64, 1),
        (64 * 16_384, 65, 2),
        (64 * 16_384 + 1, 65, 2),
        (2**30, 65_537, 1025),
    ],
)
def test_geometry_of_a_payload(plaintext, chunks, segments):
    assert bundles.chunk_count(plaintext) == chunks
    assert bundles.segment_count(plaintext) == segments
    assert bundles.sealed_bytes(plaintext) == 56 + plaintext + 16 * chunks
    if plaintext < 2**21:
        payload = memoryview(bytes(bundles.sealed_bytes(plaintext)))
        cut = list(bundles.segments(payload))
        assert len(cut) == segments
        assert sum(map(len, cut)) == len(payload)
        assert segments == 1 or len(cut[0]) == 56 + 1_049_600


def test_bindings_do_not_run_into_each_other():
    def make(**changes):
        parts = {"bundle_id": bytes(32), "model_id": "a", "epoch": 0, "sequence": 1} | changes
        return Binding(**parts).context("edgesdk/emb/v1")

    expected = b"edgesdk/emb/v1\0" + bytes(32) + b"\1\0a" + bytes(8) + b"\1" + bytes(7)
    assert make() == expected
    assert wrap_info(Binding(bytes(32), "a", 0, 1), KID)[:-16] == expected.replace(b"emb", b"wrap")
    variants = [
        make(),
        make(bundle_id=b"\1" * 32),
        make(model_id="aa"),
        make(epoch=1),
        make(sequence=2),
    ]
    assert len(set(variants)) == len(variants)


# ---- grants


@pytest.fixture(scope="module")
def issued(world):
    return Grant.parse(world.grant_bytes)


def test_grant_round_trip(world, issued):
    assert issued.encode() == world.grant_bytes
    assert issued.binding == world.packed.manifest.binding
    assert issued.device == world.device.kid
    assert issued.not_after is None
    assert len(world.grant_bytes) < BUNDLE.grant_bytes


def enveloped(payload, domain=Domain.GRANT):
    data = payload if isinstance(payload, bytes) else canonical.encode(payload)
    return Envelope(domain, data).encode()


@pytest.mark.parametrize(
    ("member", "value"),
    [
        *(
            (name, ...)
            for name in (
                *("format", "bundle_id", "model_id", "epoch", "sequence"),
                *("device", "kem", "wrapped", "serial", "created"),
            )
        ),
        ("format", 2),
        ("format", True),
        ("kem", "x25519"),
        ("kem", "mlkem768-p256"),
        ("device", "00" * 15),
        ("device", "AA" * 16),
        ("wrapped", ""),
        ("wrapped", canonical.to_base64(bytes(1167))),
        ("wrapped", canonical.to_base64(bytes(1169))),
        ("serial", "00" * 17),
        ("created", -1),
        ("not_after", -1),
        ("not_after", "never"),
        ("model_id", "../x"),
        ("sequence", 0),
        ("max_loads", 3),
    ],
)
def test_malformed_grants(issued, member, value):
    payload = json.loads(issued.envelope.payload)
    payload[member] = value
    if value is ...:
        del payload[member]
    refused("grant", Grant.parse, enveloped(payload))


def test_grants_in_another_wrapping(world, issued):
    payload = issued.envelope.payload
    for domain in set(Domain) - {Domain.GRANT}:
        refused("grant", Grant.parse, enveloped(payload, domain))
    for data in (b"", payload, world.trust_bytes, world.bundle_bytes, b" " * 16_385):
        refused("grant", Grant.parse, data)
    refused("grant", Grant.parse, enveloped(payload[:-1]))
    refused("grant", Grant.parse, enveloped(b" " + payload))


def test_grants_that_cannot_be_read_are_not_built(world):
    binding = world.packed.manifest.binding
    good = {"serial": bytes(16), "created": NOW}
    for device, wrapped, more in (
        (bytes(15), bytes(1168), good),
        (KID, bytes(1167), good),
        (KID, bytes(1168), good | {"serial": b""}),
        (KID, bytes(1168), good | {"created": -1}),
        (KID, bytes(1168), good | {"not_after": -1}),
    ):
        with pytest.raises(InputError) as caught:
            Grant.build(binding, device, wrapped, **more)
        assert caught.value.reason == "argument"


def test_no_part_of_a_bundle_is_forgotten_by_the_statement(world):
    parts = world.bundle
    seen = {parts.statement}
    for field in fields(Bundle):
        if field.name in {"signatures", "payload"}:
            continue
        value = getattr(parts, field.name)
        if field.name == "prelude":
            for length in fields(Prelude):
                other = replace(value, **{length.name: getattr(value, length.name) + 32})
                seen.add(replace(parts, prelude=other).statement)
        else:
            seen.add(replace(parts, **{field.name: value + b"\0"}).statement)
    # Only sig_len may change, so that signatures can be added.
    assert len(seen) == 1 + 3 + 4
