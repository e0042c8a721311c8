import io
import json
import struct
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesdk import contract, encryption, trust
from edgesdk.bundle import Bundle
from edgesdk.contract import Contract
from edgesdk.envelope import Domain, Envelope
from edgesdk.errors import (
    DecryptionError,
    InputError,
    KeyUnavailableError,
    MalformedBundleError,
    MalformedModelError,
    ModelError,
    SignatureError,
)
from edgesdk.grant import Grant
from edgesdk.interpreter import Interpreter
from edgesdk.keys import ContentKey, SecretKey
from edgesdk.primitives import ED25519
from edgesdk.publish import metadata
from edgesdk.publish.metadata import Additions
from edgesdk.publish.pack import Release, attach, grant, pack, sign
from edgesdk.publish.root import Members, make_trust, sign_trust
from fixtures_core import public_data
from fixtures_protect import MODEL_ID, NOW, StandIn, stream
from tflite_writer import Table, image_metadata, octets, relu_model, uint8, uint32, write

MODELS = "models/networks"


def refused(error, reason, call, /, *args, **kwargs):
    with pytest.raises(error) as caught:
        call(*args, **kwargs)
    assert type(caught.value) is error
    assert caught.value.reason == reason
    return str(caught.value)


def litert():
    module = pytest.importorskip(
        "ai_edge_litert.interpreter", reason="ai-edge-litert is not installed"
    )

    class Face(module.Interpreter):
        def operators(self):
            return sorted({(found["op_name"], 1) for found in self._get_ops_details()})

    return Face


@pytest.fixture(params=["stand-in", "core", "litert"])
def interpreter(request):
    if request.param == "stand-in":
        return StandIn
    return Interpreter if request.param == "core" else litert()


def packed(interpreter, model=None, **options):
    release = Release(MODEL_ID, "1.2", 7)
    options = {"generator": np.random.default_rng(5), "created": NOW} | options
    return pack(model or relu_model(), release, interpreter=interpreter, **options)


def opened(world, made, data=None):
    """Sign, grant, verify and decrypt it: model and golden vectors."""
    data = data or sign(made.bundle, world.release)
    into = world.open(data, world.grant(data, content_key=made.content_key))
    size = made.manifest.model_len
    return bytes(into[:size]), list(made.manifest.contract.vectors(into[size:]))


# ---- packing


def test_pack(interpreter, world):
    made = packed(interpreter)
    manifest = made.manifest
    assert manifest.operators == (("RELU", 1),)
    assert manifest.model_len == len(relu_model())
    assert (manifest.created, manifest.golden_count, manifest.expires) == (NOW, 2, None)
    (x,), (y,) = manifest.contract.inputs, manifest.contract.outputs
    assert (x.name, x.dtype, x.shape, x.scale, x.zero_point) == ("x", "int8", (1, 4), 0.5, -3)
    assert y.name == "y"
    assert Bundle.parse(made.bundle).signatures == ()
    model, vectors = opened(world, made)
    assert model == relu_model()
    assert len(vectors) == 2
    for inputs, outputs in vectors:
        assert np.array_equal(outputs[0], np.maximum(inputs[0], -3))


def test_packing_uses_the_core_unless_told_otherwise():
    made = pack(relu_model(), Release(MODEL_ID, "1.2", 7), created=NOW)
    assert made.manifest.operators == (("RELU", 1),)
    made.content_key.close()


def test_interpreters_agree_to_the_byte():
    made = [packed(each, random=stream("same")) for each in (StandIn, Interpreter)]
    assert made[0].bundle == made[1].bundle


def test_golden_inputs_span_their_type():
    model = relu_model(shape=(1, 4000))
    made = packed(Interpreter, model)
    size = made.manifest.model_len
    with made.content_key as key:
        payload = Bundle.parse(made.bundle).payload
        into = memoryview(bytearray(made.manifest.plaintext_len))
        encryption.decrypt(
            key.material, made.manifest.binding.context("edgesdk/emb/v1"), payload, into
        )
    for inputs, _ in made.manifest.contract.vectors(into[size:]):
        assert set(np.unique(inputs[0])) == set(range(-128, 128))


@pytest.mark.parametrize("name", contract.DTYPES)
def test_golden_inputs_of_every_type(name):
    spec = contract.TensorSpec("x", np.dtype(name), (2, 3000))
    array = spec.random(np.random.default_rng(1))
    assert (array.dtype, array.shape) == (spec.dtype, spec.shape)
    assert len(np.unique(array)) >= (2 if name == "bool" else 256)
    if spec.dtype.kind in "iu":
        bounds = np.iinfo(spec.dtype)
        span = float(bounds.max) - float(bounds.min)
        assert float(array.max()) - float(array.min()) > 0.99 * span


def test_the_generator_makes_them(interpreter):
    same = [packed(interpreter, random=stream("a")).bundle for _ in range(2)]
    assert same[0] == same[1]
    other = packed(interpreter, random=stream("a"), generator=np.random.default_rng(6))
    assert other.bundle != same[0]
    assert packed(interpreter, generator=None).bundle


def test_golden_inputs_of_the_publisher(interpreter, world):
    values = np.array([[-128, 0, 5, 127]], np.int8)
    made = packed(interpreter, golden=[values, {"x": values[0]}, np.float32([[0, 1, 2, -100]])])
    assert made.manifest.golden_count == 3
    _, vectors = opened(world, made)
    assert [inputs[0].tolist() for inputs, _ in vectors] == [
        [[-128, 0, 5, 127]],
        [[-128, 0, 5, 127]],
        [[-3, -1, 1, -128]],
    ]
    assert vectors[0][1][0].tolist() == [[-3, 0, 5, 127]]
    refused(InputError, "shape", packed, interpreter, golden=[np.zeros(3, np.int8)])
    refused(InputError, "argument", packed, interpreter, golden=[])


class FloatStandIn(StandIn):
    def _detail(self, name, index):
        return super()._detail(name, index) | {"dtype": np.float32, "quantization": (0.0, 0)}

    def get_tensor(self, tensor_index):
        return np.maximum(super().get_tensor(tensor_index), np.float32(0))


@pytest.mark.parametrize("engine", ["stand-in", "litert"])
def test_float_models(world, engine):
    model = relu_model(dtype="float32")
    made = packed(FloatStandIn if engine == "stand-in" else litert(), model)
    assert made.manifest.contract.inputs[0].scale is None
    _, vectors = opened(world, made)
    for inputs, outputs in vectors:
        assert np.array_equal(outputs[0], np.maximum(inputs[0], 0))
        assert inputs[0].any()


@pytest.mark.parametrize(
    "model", [b"", b"\x18\x00\x00\x00TFL3", b"junk" * 100, relu_model()[:-100]]
)
def test_what_is_no_model(model):
    with pytest.raises(ModelError) as caught:
        packed(Interpreter, model or b"\0")
    assert caught.value.reason == "malformed-model"


@pytest.mark.parametrize(
    "change",
    [
        {"model_id": "Door"},
        {"model_id": "../door"},
        {"model_id": ""},
        {"model_version": "x" * 65},
        {"model_version": "a\nb"},
        {"sequence": 0},
        {"epoch": -1},
        {"licence": ""},
        {"vendor_id": "v" * 65},
        {"expires": -1},
        {"sequence": 2**53},
    ],
)
def test_releases_that_no_manifest_can_hold(world, change):
    refused(InputError, "argument", world.pack, **change)


def test_what_a_release_says_is_in_the_manifest(world):
    says = {
        "model_version": "2",
        "sequence": 9,
        "epoch": 4,
        "licence": "MIT",
        "not_before": 5,
        "expires": 6,
        "vendor_id": "acme",
        "class_id": "door",
        "min_revocation_seq": 3,
    }
    predicate = json.loads(Bundle.parse(world.pack(**says).bundle).manifest_bytes)["predicate"]
    assert {name: predicate[name] for name in says} == says


def test_packing_twice_gives_keys_and_names_of_its_own(world):
    one, two = world.pack(), world.pack()
    assert one.content_key.kid != two.content_key.kid
    assert one.manifest.binding != two.manifest.binding


# ---- additions to the contract


def test_additions_of_the_publisher(interpreter):
    labels = ("a", "b", "c", "d")
    given = {
        "x": Additions(colour="bgr", mean=(1.0,), std=(2.0,)),
        "y": Additions(labels=labels),
    }
    found = packed(interpreter, additions=given).manifest.contract
    assert (found.inputs[0].colour, found.inputs[0].mean) == ("bgr", (1.0,))
    assert found.outputs[0].labels == labels


@pytest.mark.parametrize(
    ("reason", "given"),
    [
        ("tensor", {"z": Additions()}),
        ("argument", {"y": Additions(labels=("a",))}),
        ("argument", {"y": Additions(labels=("a", "b", "c", "d" * 300))}),
        ("argument", {"x": Additions(colour="yuv")}),
        ("argument", {"x": Additions(mean=(1.0, 2.0), std=(1.0, 2.0))}),
        ("argument", {"x": Additions(mean=(1.0,), std=(0.0,))}),
        ("argument", {"x": Additions(mean=(float("nan"),), std=(1.0,))}),
    ],
)
def test_additions_that_no_contract_can_hold(reason, given):
    refused(InputError, reason, packed, StandIn, additions=given)


LABELS = {"labels.txt": b"a\nb c\t d\nc\nd\n\n"}


def test_metadata_go_into_the_contract(interpreter, world):
    model = relu_model(metadata=image_metadata(), files=LABELS)
    made = packed(interpreter, model)
    (x,), (y,) = made.manifest.contract.inputs, made.manifest.contract.outputs
    assert (x.colour, x.mean, x.std, x.labels) == ("rgb", (127.5,), (127.5,), None)
    assert (y.colour, y.labels) == (None, ("a", "b c d", "c", "d"))
    assert opened(world, made)[0] == model


def test_the_publisher_comes_before_the_metadata():
    model = relu_model(metadata=image_metadata(), files=LABELS)
    given = {"x": Additions(colour="gray"), "y": Additions(labels=("1", "2", "3", "4"))}
    found = packed(StandIn, model, additions=given).manifest.contract
    assert found.inputs[0].colour == "gray"
    assert found.inputs[0].mean == (127.5,)
    assert found.outputs[0].labels == ("1", "2", "3", "4")


def test_labels_for_another_number_of_entries_are_left_out(caplog):
    model = relu_model(metadata=image_metadata(), files={"labels.txt": b"a\nb\n"})
    assert packed(StandIn, model).manifest.contract.outputs[0].labels is None
    assert "2 labels for 4 entries" in caplog.text


# ---- metadata


def test_models_without_metadata():
    assert metadata.read(relu_model()) == ([], [])
    assert metadata.read(relu_model(metadata=write(Table(), b"M001"))) == ([], [])


def test_other_entries_are_passed_over():
    version = Table({0: "min_runtime_version", 1: uint32(0)})
    metadata_entry = Table({0: "TFLITE_METADATA", 1: uint32(1)})
    buffers = [Table({0: octets(b"1.5.0")}), Table({0: octets(image_metadata(labels=None))})]
    for found in ([version], [version, metadata_entry]):
        model = write(Table({4: buffers, 6: found}), b"TFL3")
        assert len(metadata.read(model)[0]) == len(found) - 1


def test_metadata_in_parts():
    for colour, name in ((0, None), (1, "rgb"), (2, "gray"), (9, None)):
        model = relu_model(metadata=image_metadata(colour=colour, labels=None))
        ((x,), (y,)) = metadata.read(model)
        assert (x.colour, y.labels) == (name, None)
    channels = image_metadata(mean=(1, 2, 3), std=(4, 5, 6), labels=None)
    assert metadata.read(relu_model(metadata=channels))[0][0].mean == (1.0, 2.0, 3.0)


def test_the_labels_without_a_locale_are_taken():
    found = [
        Table({0: "de.txt", 2: uint8(2), 3: "de"}),
        Table({0: "vocabulary.txt", 2: uint8(5)}),
        Table({0: "labels.txt", 2: uint8(2)}),
    ]
    subgraph = Table({2: [Table()], 3: [Table({6: found})]})
    data = write(Table({3: [subgraph]}), b"M001")
    model = relu_model(metadata=data, files=LABELS | {"de.txt": b"x"})
    assert metadata.read(model)[1][0].labels == ("a", "b c d", "c", "d")


@pytest.mark.parametrize(
    "model",
    [
        relu_model().replace(b"TFL3", b"TFL2"),
        relu_model(metadata=b"junk"),
        relu_model(metadata=image_metadata(labels=None).replace(b"M001", b"M002")),
        relu_model(metadata=image_metadata()),
        relu_model(metadata=write(Table({3: [Table({2: [Table()] * 65})]}), b"M001")),
        relu_model(metadata=image_metadata(), files={"other.txt": b"a"}),
        relu_model(metadata=image_metadata(), files=LABELS)[:-10],
        relu_model(metadata=image_metadata(), files={"labels.txt": b"\xff\n"}),
        relu_model(metadata=image_metadata(), files={"labels.txt": bytes(1_048_577)}),
        write(Table({4: [Table()], 6: [Table({0: "TFLITE_METADATA", 1: uint32(7)})]}), b"TFL3"),
        write(Table({4: [], 6: [Table({0: "TFLITE_METADATA"})]}), b"TFL3"),
        b"",
        b"\x08\0\0\0TFL3",
        b"\xff\xff\xff\xffTFL3",
    ],
    ids=range(14),
)
def test_metadata_that_contradict_themselves(model):
    refused(MalformedModelError, "malformed-model", metadata.read, model)


@pytest.mark.timeout(60)
@settings(max_examples=400)
@given(st.data())
def test_damaged_metadata_end_in_one_kind_of_error(data):
    model = bytearray(relu_model(metadata=image_metadata(), files=LABELS))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(model) - 5))
        if data.draw(st.booleans()):
            model[place] = data.draw(st.integers(0, 255))
        else:
            struct.pack_into("<I", model, place, data.draw(st.integers(0, 2**32 - 1)))
    try:
        metadata.read(bytes(model))
    except MalformedModelError as error:
        assert error.reason == "malformed-model"


@settings(max_examples=100)
@given(st.integers(0, 2000))
def test_truncated_metadata(size):
    model = relu_model(metadata=image_metadata(), files=LABELS)
    if size < len(model):
        refused(MalformedModelError, "malformed-model", metadata.read, model[:size])


def test_archives_that_blow_up():
    """A megabyte of labels at most is unpacked, whatever the archive says of itself."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("labels.txt", b"\n" * 200_000_000)
    model = relu_model(metadata=image_metadata()) + out.getvalue()
    assert len(model) < 300_000
    refused(MalformedModelError, "malformed-model", metadata.read, model)


REAL = {
    "google-coral+test_data__mobilenet_v1_0.25_128_quant.tflite": (
        "rgb",
        (127.5,),
        1001,
        "background",
    ),
    "tensorflow+tflite-support__mobilenet_v1_0.25_224_quant.tflite": (
        "rgb",
        (127.5,),
        1001,
        "background",
    ),
    "tensorflow+tflite-support__automl_labeler_model.tflite": ("rgb", (0.0,), 5, "daisy"),
    "tensorflow+tflite-support__dilated_conv.tflite": ("rgb", (0.0,), None, None),
    "tensorflow+tflite-support__regex_one_embedding_with_metadata.tflite": (None, None, None, None),
    "tum-ei-eda+mlonmcu-models__text_class.tflite": (None, None, 10_001, None),
}


@pytest.mark.parametrize("name", REAL)
def test_metadata_of_real_models(name):
    path = public_data(f"{MODELS}/{name}")
    colour, mean, count, first = REAL[name]
    inputs, outputs = metadata.read(path.read_bytes())
    assert (inputs[0].colour, inputs[0].mean) == (colour, mean)
    labels = outputs[0].labels
    assert (labels and len(labels)) == count
    assert first is None or labels[0] == first


def test_metadata_of_every_real_model():
    files = sorted(public_data(MODELS).glob("*.tflite"))
    found = [metadata.read(path.read_bytes()) for path in files]
    assert sum(bool(inputs) for inputs, _ in found) >= 10


def test_a_real_network(world):
    data = public_data("models/perf/mbv2_100_224_int8.tflite").read_bytes()
    made = packed(Interpreter, data)
    assert made.manifest.contract.outputs[0].labels[1] == "tench, Tinca tinca"
    model, vectors = opened(world, made)
    assert model == data
    again = Interpreter(model_content=model)
    again.allocate_tensors()
    made.manifest.contract.check_model(Contract.of(again))
    for inputs, outputs in vectors:
        again.set_tensor(again.get_input_details()[0]["index"], inputs[0])
        again.invoke()
        came = again.get_tensor(again.get_output_details()[0]["index"])
        assert np.array_equal(came, outputs[0])


# ---- signing


def test_signatures_add_up(world):
    once = sign(world.packed.bundle, world.release)
    twice = sign(once, world.stranger)
    assert len(Bundle.parse(twice).signatures) == 4
    assert world.verify(twice)
    again = Bundle.parse(sign(once, world.release))
    # ML-DSA signs with fresh randomness; there is still one signature for each key.
    assert [s.keyid for s in again.signatures] == [s.keyid for s in Bundle.parse(once).signatures]


def test_signing_does_not_touch_the_rest(world):
    before, after = Bundle.parse(world.packed.bundle), Bundle.parse(world.bundle_bytes)
    assert before.statement == after.statement
    assert before.payload == after.payload


def test_nobody_signs_what_no_device_would_take(world):
    data = bytearray(world.packed.bundle)
    data[-1] ^= 1
    refused(DecryptionError, "payload", sign, bytes(data), world.release)
    refused(MalformedBundleError, "size", sign, world.packed.bundle + b"\0", world.release)
    bare = Bundle.parse(world.packed.bundle)
    junk = Bundle.build(b"{}", bare.table, bare.payload, grants={}).encode()
    refused(MalformedBundleError, "manifest", sign, junk, world.release)
    mismatch = replace(world.packed.manifest, model_len=1).encode()
    data = Bundle.build(mismatch, bare.table, bare.payload, grants={}).encode()
    refused(MalformedBundleError, "manifest-mismatch", sign, data, world.release)


def test_nobody_signs_or_grants_what_does_not_fit_together(world):
    bare = Bundle.parse(world.packed.bundle)
    parts = bare.manifest_bytes, bare.table
    data = replace(bare.prelude, recip_len=4).encode() + b"".join(parts) + b"junk"
    refused(MalformedBundleError, "recipients", sign, data + bytes(bare.payload), world.release)
    mismatch = replace(world.packed.manifest, model_len=1).encode()
    data = Bundle.build(mismatch, bare.table, bare.payload, grants={}).encode()
    refused(MalformedBundleError, "manifest-mismatch", world.grant, data)


class Careless:
    """A signer whose hardware fails."""

    def __init__(self, signer):
        self.signer = signer

    def keys(self):
        return self.signer.keys()

    def sign(self, message, context):
        return self.signer.sign(message + b"?", context)


def test_bad_signatures_do_not_get_into_a_bundle(world):
    signer = Careless(world.release)
    refused(SignatureError, "signature", sign, world.packed.bundle, signer)


# ---- granting


def test_grant(world):
    data = world.grant(not_after=NOW + 5, random=stream("serial"))
    issued = Grant.parse(data)
    assert (issued.device, issued.created, issued.not_after) == (world.device.kid, NOW, NOW + 5)
    assert issued.serial == stream("serial")(16)
    assert issued.binding == world.packed.manifest.binding


def test_grants_for_a_gateway(world):
    with SecretKey.generate("gateway") as gateway:
        assert Grant.parse(world.grant(device=gateway.record("g"))).device == gateway.kid


def test_grants_need_the_bundles_own_key(world):
    with ContentKey.generate() as other:
        refused(KeyUnavailableError, "no-key", world.grant, content_key=other)
    following = world.pack()
    refused(KeyUnavailableError, "no-key", world.grant, content_key=following.content_key)
    refused(
        KeyUnavailableError,
        "no-key",
        grant,
        *(world.bundle_bytes, following.content_key, world.device_record, world.issuer),
        created=NOW,
    )


def test_signers_open_nothing(world):
    refused(InputError, "argument", world.grant, device=world.release.record("r"))


def test_content_keys_survive_on_disk(world, tmp_path):
    made = world.pack()
    made.content_key.save(tmp_path / "content.key")
    made.content_key.close()
    data = world.signed(made)
    with ContentKey.open(tmp_path / "content.key") as key:
        into = world.open(data, world.grant(data, content_key=key))
    assert bytes(into[: len(world.model)]) == world.model


def test_grants_travel_inside(world):
    made = world.pack()
    inside = attach(
        made.bundle,
        [
            world.grant(made.bundle, content_key=made.content_key, device=device.record("d"))
            for device in (world.device, world.other_device)
        ],
    )
    data = sign(inside, world.release)
    verified = world.verify(data)
    for device in (world.device, world.other_device):
        found = trust.find_grant(verified, [], kid=device.kid)
        granted = trust.verify_grant(found, verified, kid=device.kid, now=NOW)
        into = memoryview(bytearray(made.manifest.plaintext_len))
        encryption.open_(verified, granted, device, into)
        assert bytes(into[: len(world.model)]) == world.model


def test_grants_are_attached_before_signing(world):
    refused(InputError, "argument", attach, world.bundle_bytes, [world.grant_bytes])
    other = world.pack()
    refused(InputError, "argument", attach, other.bundle, [world.grant_bytes])
    refused(MalformedBundleError, "grant", attach, other.bundle, [b"junk"])


# ---- the trust file


def test_our_trust_file_demands_both_algorithms(world):
    payload = json.loads(world.trust.envelope.payload)
    assert payload["suite"] == ["ed25519", "ml-dsa-65"]
    assert payload["version"] == 1
    assert "expires" not in payload


def test_trust_files_need_their_own_root(world):
    people = {
        name: Members((getattr(world, who).record(who),))
        for name, who in (("root", "root"), ("release", "release"), ("grant", "issuer"))
    }
    refused(SignatureError, "unsigned", make_trust, people, [], created=NOW)
    refused(SignatureError, "unknown-signer", make_trust, people, [world.release], created=NOW)
    del people["grant"]
    refused(MalformedBundleError, "trust-file", make_trust, people, [world.root], created=NOW)


def test_trust_files_are_of_signers_with_the_whole_suite(world):
    with SecretKey.generate("signer", algorithms=[ED25519]) as half:
        for record in (half.record("half"), world.device.record("device")):
            refused(InputError, "argument", world.trust_file, roles={"release": Members((record,))})


def test_root_signers_in_different_places(world):
    second = SecretKey.generate("signer", random=stream("second root"))
    people = (world.root.record("a"), second.record("b"))
    roles = {"root": Members(people, threshold=2)}
    refused(SignatureError, "threshold", world.trust_file, roles=roles)
    both = world.trust_file(roles=roles, signers=[world.root, second])
    assert trust.TrustRoot.parse(both).roles["root"].threshold == 2
    assert trust.TrustRoot.parse(sign_trust(both, world.root))
    refused(MalformedBundleError, "trust-file", sign_trust, b"{}", world.root)
    junk = Envelope(Domain.ROOT, b'{"format":1}').encode()
    refused(MalformedBundleError, "trust-file", sign_trust, junk, world.root)
