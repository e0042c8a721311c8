"""The short path: load a bundle, run it, close it; and everything that must stop it."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

import edgesdk
import networks
from edgesdk import encryption, plaintext, record
from edgesdk.bundle import Bundle, Manifest
from edgesdk.contract import Contract
from edgesdk.errors import (
    ConfigurationError,
    ContractError,
    DecryptionError,
    EdgeError,
    ExpiredError,
    InputError,
    KeyUnavailableError,
    LifecycleError,
    MalformedBundleError,
    MalformedModelError,
    SignatureError,
)
from edgesdk.grant import Grant
from edgesdk.interpreter import Interpreter
from edgesdk.keys import ContentKey
from edgesdk.publish import pack as publish
from edgesdk.publish.root import Members
from fixtures_device import EXAMPLES, LABELS
from fixtures_protect import NOW
from test_interpreter import in_child


@pytest.fixture
def model(digits):
    with edgesdk.load(digits) as loaded:
        yield loaded


DIGITS = load_digits()


def image(number=0):
    """A digit as the training had it: float32 [1, 8, 8, 1] in 0 ... 1."""
    return (DIGITS.images[number][np.newaxis, ..., np.newaxis] / 16).astype(np.float32)


# ---- running


def test_reads_real_digits(model):
    assert model.labels == LABELS
    assert model.version == "1.0"
    assert model.model_id == "test/digits"
    right = 0
    for number in range(100):
        scores = model.run(image(number))
        assert scores.shape == (1, 10)
        assert scores.dtype == np.int8
        right += int(np.argmax(scores)) == DIGITS.target[number]
    assert right > 75


def test_quantizes_floats_as_the_contract_says(model):
    plain = Interpreter(model_path=EXAMPLES / "digits" / "digits_device.tflite")
    plain.allocate_tensors()
    detail = plain.get_input_details()[0]
    scale, zero_point = detail["quantization"]
    steps = np.clip(np.rint(image() * np.float32(1 / np.float32(scale))) + zero_point, -128, 127)
    plain.set_tensor(detail["index"], steps.astype(np.int8))
    plain.invoke()
    expected = plain.get_tensor(plain.get_output_details()[0]["index"])
    assert np.array_equal(model.run(image()), expected)
    assert np.array_equal(model.run(steps.astype(np.int8)), expected)
    assert np.array_equal(model.run(image()[0]), expected)  # the batch of one may be left out
    real = model.dequantize(expected)
    assert real.dtype == np.float32
    assert abs(float(real.sum()) - 1) < 0.05


def test_takes_and_gives_arrays_by_name(two_headed):
    with edgesdk.load(two_headed) as model:
        left, right = (np.full((1, 6), n, np.int8) for n in (3, -5))
        outputs = model.run({"left": left, "right": right})
        assert sorted(outputs) == ["half", "sum"]
        assert outputs["half"].shape == (1, 3)
        assert sorted(model.dequantize(outputs)) == ["half", "sum"]
        assert model.labels is None
        for wrong in ({"left": left}, {"left": left, "right": right, "up": left}, left):
            with pytest.raises(InputError):
                model.run(wrong)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (np.zeros((1, 8, 8, 3), np.int8), "shape"),
        (np.zeros((2, 8, 8, 1), np.int8), "shape"),
        (np.zeros((1, 8, 8, 1), np.uint8), "dtype"),
        (np.zeros((1, 8, 8, 1), np.int32), "dtype"),
        ([[1, 2], [3, 4]], "dtype"),
        (np.full((1, 8, 8, 1), np.nan, np.float32), "argument"),
    ],
)
def test_refuses_frames_that_do_not_fit(model, frame, reason):
    with pytest.raises(InputError) as caught:
        model.run(frame)
    assert caught.value.reason == reason


def test_litert_s_face_shows_inputs_and_outputs_only(model):
    face = model.interpreter
    entry, out = face.get_input_details()[0]["index"], face.get_output_details()[0]["index"]
    face.set_tensor(entry, np.zeros((1, 8, 8, 1), np.int8))
    face.invoke()
    assert face.get_tensor(out).shape == (1, 10)
    assert np.array_equal(face.get_tensor(entry), np.zeros((1, 8, 8, 1), np.int8))
    for index in set(range(40)) - {entry, out}:
        with pytest.raises(InputError) as caught:
            face.get_tensor(index)
        assert caught.value.reason == "protected"
    assert model.interpreter is face


def test_many_threads_share_one_model(model):
    frames = [image(number) for number in range(16)]
    expected = [model.run(frame) for frame in frames]
    wrong = []

    def work():
        for _ in range(5):
            for frame, scores in zip(frames, expected, strict=True):
                if not np.array_equal(model.run(frame), scores):
                    wrong.append(frame)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_models_of_one_bundle_share_packed_weights(digits):
    with edgesdk.load(digits) as one, edgesdk.load(digits) as two:
        assert one._packed is two._packed
        expected = one.run(image())
        one.close()
        assert np.array_equal(two.run(image()), expected)
    with edgesdk.load(digits, isa="scalar") as other:
        assert np.array_equal(other.run(image()), expected)


def test_those_that_insist_on_locked_memory_share_it_too(digits):
    """The limit of locks may be too small for the same weights twice."""
    limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if os.geteuid() != 0 and 0 <= limit < 2**20:
        pytest.skip(f"this process may lock only {limit} bytes")
    with (
        edgesdk.load(digits, memory="require-locked") as one,
        edgesdk.load(digits, memory="require-locked") as two,
        edgesdk.load(digits) as three,
    ):
        assert one._packed is two._packed is three._packed


def test_a_share_is_for_those_who_could_open_it_alone(digits, world):
    data = digits.read_bytes()
    binding = Manifest.parse(Bundle.parse(data).manifest_bytes).binding
    wrapped = encryption.wrap(ContentKey.generate(), binding, world.device_record)
    issued = Grant.build(binding, world.device.kid, wrapped, serial=bytes(16), created=NOW)
    signed = record.sign_envelope(issued.envelope, world.issuer).encode()
    with edgesdk.load(digits):
        digits.with_suffix(".grant").write_bytes(signed)
        refused(digits, DecryptionError, "payload")


def test_a_share_is_for_those_who_trust_the_signer(digits, world, tmp_path):
    people = Members((world.stranger.record("another"),))
    other = tmp_path / "other.json"
    other.write_bytes(world.trust_file(roles={"release": people}))
    with edgesdk.load(digits):
        refused(digits, SignatureError, "unknown-signer", trust_file=other)
        late = tmp_path / "late.json"
        late.write_bytes(world.trust_file(expires=NOW))
        refused(digits, ExpiredError, "expired", trust_file=late, now=NOW)


def test_a_file_that_was_replaced_gives_the_new_model(provisioned):
    content = (EXAMPLES / "digits" / "digits_device.tflite").read_bytes()
    path = provisioned.release("same", content)
    with edgesdk.load(path) as old:
        net = networks.Network(3)
        provisioned.release("same", net.build(net.dense(net.input([1, 8]), 4)))
        with edgesdk.load(path) as new:
            assert new.run(np.zeros((1, 8), np.int8)).shape == (1, 4)
            assert old.run(image()).shape == (1, 10)


def test_bundles_that_differ_do_not_share(provisioned):
    content = (EXAMPLES / "digits" / "digits_device.tflite").read_bytes()
    first, second = (provisioned.release(name, content) for name in ("a", "b"))
    with edgesdk.load(first) as one, edgesdk.load(second) as two:
        assert one._packed is not two._packed


# ---- closing and forking


def test_closed_is_closed(digits):
    model = edgesdk.load(digits)
    face = model.interpreter
    model.run(image())
    model.close()
    model.close()
    for use in (lambda: model.run(image()), lambda: model.interpreter, face.invoke):
        with pytest.raises(LifecycleError) as caught:
            use()
        assert caught.value.reason == "closed"
    assert "closed" in repr(model)


def test_close_waits_for_runs_under_way(digits):
    model = edgesdk.load(digits)
    seen = []

    def work():
        try:
            while True:
                seen.append(model.run(image()).shape)
        except LifecycleError as error:
            seen.append(error.reason)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    while len(seen) < 10:
        pass
    model.close()
    for thread in threads:
        thread.join()
    assert seen.count("closed") == 3
    assert set(seen) == {"closed", (1, 10)}


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_is_told_to_load_again(digits):
    with edgesdk.load(digits) as model:
        expected = model.run(image())
        assert "load again in the child" in in_child(lambda: model.run(image()))
        assert "load again in the child" in in_child(model.close)

        def load_again():
            with edgesdk.load(digits) as mine:
                return np.array_equal(mine.run(image()), expected)

        assert in_child(load_again) == "True"
        # Also while another thread of the parent holds the model's lock.
        with model._changed:
            assert "load again in the child" in in_child(lambda: model.run(image()))
        assert np.array_equal(model.run(image()), expected)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_may_touch_and_drop_what_it_has_inherited(digits):
    """Its parent's secret memory is zeros there: no wrong answer may come of it, and no crash."""
    with edgesdk.load(digits) as model:
        model.run(image())
        face = model.interpreter
        given, output = face.input_indices[0], face.output_indices[0]
        for use in (
            face.get_input_details,
            face.get_output_details,
            lambda: face.set_tensor(given, np.zeros((1, 8, 8, 1), np.int8)),
            lambda: face.get_tensor(output),
            lambda: face.resize_tensor_input(given, (1, 8, 8, 1)),
            face.allocate_tensors,
            face.invoke,
            face.get_signature_list,
            face.get_signature_runner,
            face.operators,
            face.operator_details,
            face.memory,
        ):
            assert "load again in the child" in in_child(use)
        assert in_child(lambda: model._idle.clear() or face.close()) == "None"
        assert model.run(image()).shape == (1, 10)


# ---- refusing


def refused(path, kind, reason, **options):
    with pytest.raises(kind) as caught:
        edgesdk.load(path, **options)
    assert caught.value.reason == reason


def test_refuses_one_flipped_bit_anywhere(digits):
    content = digits.read_bytes()
    random = np.random.default_rng(2)
    for at in [0, 9, 70, 3500, 4000, *random.integers(0, len(content), 40)]:
        changed = bytearray(content)
        changed[at] ^= 1 << int(random.integers(8))
        digits.write_bytes(changed)
        with pytest.raises((SignatureError, MalformedBundleError, DecryptionError)):
            edgesdk.load(digits)
    digits.write_bytes(content)
    edgesdk.load(digits).close()


def test_refuses_an_unknown_signer(provisioned, world):
    content = (EXAMPLES / "digits" / "digits_device.tflite").read_bytes()
    path = provisioned.release("foreign", content, signer=world.stranger)
    refused(path, SignatureError, "unknown-signer")


def test_refuses_a_bundle_for_another_device(provisioned, world):
    content = (EXAMPLES / "digits" / "digits_device.tflite").read_bytes()
    path = provisioned.release("elsewhere", content, device=world.other_device.record("other"))
    refused(path, KeyUnavailableError, "no-grant")


def test_refuses_a_plain_model(provisioned):
    path = provisioned.home / "plain.emb"
    path.write_bytes((EXAMPLES / "digits" / "digits_device.tflite").read_bytes())
    refused(path, MalformedBundleError, "prelude")


def test_finds_grants_in_their_three_places(provisioned, world, tmp_path):
    content = (EXAMPLES / "digits" / "digits_device.tflite").read_bytes()
    path = provisioned.release("digits", content)
    beside = path.with_suffix(".grant")
    issued = beside.read_bytes()
    edgesdk.load(path).close()
    beside.unlink()
    refused(path, KeyUnavailableError, "no-grant")
    folder = provisioned.home / "grants"
    folder.mkdir()
    (folder / "anything.grant").write_bytes(issued)
    edgesdk.load(path).close()
    (folder / "anything.grant").unlink()
    # Others' grants, and files that are none, are passed over.
    (folder / "a-large.grant").write_bytes(bytes(100_000))
    (folder / "b-link.grant").symlink_to(tmp_path)
    (folder / "c-noise.grant").write_bytes(b"{}")
    (folder / "d-own.grant").write_bytes(issued)
    edgesdk.load(path).close()
    (folder / "d-own.grant").unlink()
    with pytest.raises(EdgeError):
        edgesdk.load(path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(issued)
    edgesdk.load(path, grant=elsewhere).close()
    packed = world.pack(content, model_id="test/inside")
    inside = publish.attach(
        packed.bundle, [world.grant(packed.bundle, content_key=packed.content_key)]
    )
    # The stand-in interpreter of that fixture has made other golden vectors: they are refused.
    path.write_bytes(publish.sign(inside, world.release))
    with pytest.raises(ContractError):
        edgesdk.load(path)


def test_refuses_a_missing_or_open_configuration(digits, provisioned):
    key = provisioned.home / "device.key"
    key.chmod(0o644)
    refused(digits, KeyUnavailableError, "key-permissions")
    key.chmod(0o600)
    trust = provisioned.home / "trust.json"
    trust.chmod(0o666)
    refused(digits, ConfigurationError, "permissions")
    trust.unlink()
    refused(digits, ConfigurationError, "missing")
    refused(digits.with_name("none.emb"), ConfigurationError, "missing")
    refused(digits, ConfigurationError, "invalid", memory="swap")


def test_arguments_stand_in_for_the_folder(digits, provisioned, world, tmp_path):
    trust = tmp_path / "trust.json"
    trust.write_bytes(world.trust_bytes)
    nowhere = tmp_path / "nowhere"
    edgesdk.load(digits, home=nowhere, trust_file=trust, device_key=world.device).close()
    uri = f"file:{provisioned.home / 'device.key'}"
    edgesdk.load(digits, home=nowhere, trust_file=trust, device_key=uri).close()
    assert world.device.kid  # an open key that was handed in stays open


def test_refuses_signed_bytes_that_are_not_a_sound_model(provisioned, monkeypatch):
    content = (EXAMPLES / "digits" / "digits_device.tflite").read_bytes()
    seal = publish._seal

    def sealed_with(change):
        def sealing(model, vectors, release, **options):
            model, vectors = change(bytearray(model), bytearray(vectors))
            return seal(bytes(model), bytes(vectors), release, **options)

        return sealing

    def broken_model(model, vectors):
        model[4:8] = b"XXXX"
        return model, vectors

    def wrong_answer(model, vectors):
        vectors[-1] ^= 1
        return model, vectors

    for change, kind, reason in (
        (broken_model, MalformedModelError, "malformed-model"),
        (wrong_answer, ContractError, "golden"),
    ):
        monkeypatch.setattr(publish, "_seal", sealed_with(change))
        path = provisioned.release(change.__name__.replace("_", "-"), content)
        refused(path, kind, reason)


def test_refuses_a_model_that_is_not_what_the_contract_says(provisioned, monkeypatch):
    content = (EXAMPLES / "digits" / "digits_device.tflite").read_bytes()
    other = networks.Network(1)
    other_content = other.build(other.dense(other.input([1, 64]), 10))
    seal = publish._seal
    monkeypatch.setattr(
        publish,
        "_seal",
        lambda _, vectors, release, **options: seal(other_content, vectors, release, **options),
    )
    refused(provisioned.release("swapped", content), ContractError, "contract")


# ---- plain models


def test_a_plain_model_needs_another_name():
    path = EXAMPLES / "digits" / "digits_device.tflite"
    model = edgesdk.load_unprotected(path, model_id="digits", version="0")
    assert model.run(image()).shape == (1, 10)
    assert model.labels is None
    face = model.interpreter
    assert face.get_tensor(1) is not None  # nothing is hidden
    other = Contract.of(Interpreter(model_content=networks.resnet_8()))
    with pytest.raises(ContractError):
        edgesdk.load_unprotected(path, contract=other)


# ---- memory, looked at from outside

CHILD = """
import sys
import edgesdk
model = edgesdk.load(sys.argv[1], now=int(sys.argv[2]))
print("loaded", flush=True)
sys.stdin.readline()
model.close()
print("closed", flush=True)
sys.stdin.readline()
"""


def copies_in(pid, needle):
    """How often bytes stand in the memory of another process."""
    found = 0
    process = Path("/proc") / str(pid)
    with (process / "maps").open() as maps, (process / "mem").open("rb", 0) as memory:
        for line in maps:
            span, mode = line.split()[:2]
            start, end = (int(n, 16) for n in span.split("-"))
            if "r" not in mode or "[v" in line:
                continue
            memory.seek(start)
            try:
                found += memory.read(end - start).count(needle)
            except OSError:
                continue
    return found


@pytest.fixture
def marked(provisioned):
    """A bundle whose model keeps 4,096 random bytes as they are: an operand of MUL."""
    net = networks.Network(8)
    marker = np.random.default_rng(99).integers(-128, 128, 4096).astype(np.int8)
    x = net.input([1, 4096], scale=0.02)
    y = net.mul(x, net.tensor([1, 4096], scale=0.03, data=marker))
    content = net.build(net.mean(y, (1,)))
    return provisioned.release("marked", content), marker.tobytes()[1000:1064]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_memory_holds_no_plaintext_but_what_runs_and_nothing_after_close(marked):
    path, needle = marked
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path), str(NOW)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ,
    )  # fmt: skip
    try:
        assert child.stdout.readline() == "loaded\n"
        assert copies_in(child.pid, needle) == 1  # the operand itself, in locked memory
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.stdout.readline() == "closed\n"
        assert copies_in(child.pid, needle) == 0
    finally:
        child.stdin.close()
        child.stdout.close()
        assert child.wait(30) == 0


KEEPER = """
import sys
import edgesdk
from edgesdk.errors import ContractError
try:
    edgesdk.load(sys.argv[1], now=int(sys.argv[2]))
except ContractError as error:
    kept = error
print(kept.reason, flush=True)
sys.stdin.readline()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_an_app_that_keeps_the_error_does_not_keep_the_weights(marked, world):
    """A session keeps it, as the cause of its answers, for as long as it lives."""
    path, needle = marked
    parsed = Bundle.parse(path.read_bytes())
    manifest = Manifest.parse(parsed.manifest_bytes)
    other = replace(manifest, operators=(("ADD", 1), *manifest.operators))
    path.write_bytes(world.resigned(other.encode(), parsed))
    child = subprocess.Popen(
        [sys.executable, "-c", KEEPER, str(path), str(NOW)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ,
    )  # fmt: skip
    try:
        assert child.stdout.readline() == "contract\n"
        assert copies_in(child.pid, needle) == 0
    finally:
        child.stdin.close()
        child.stdout.close()
        assert child.wait(30) == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
@pytest.mark.parametrize("kind", [KeyboardInterrupt, MemoryError])
def test_an_interrupt_anywhere_leaves_no_plaintext(digits, monkeypatch, kind):
    """At each call that checking makes, while the error and its frames are still there."""
    places = []
    real, checking = plaintext.LockedMemory, plaintext._check_model
    calls = at = 0

    def locked(size, **options):
        memory = real(size, **options)
        with memoryview(memory) as view:
            places.append((np.frombuffer(view, np.uint8).ctypes.data, size))
        return memory

    def interrupt(frame, event, _):
        nonlocal calls
        calls += event in {"call", "c_call"} and "/edgesdk/" in frame.f_code.co_filename
        if calls == at:
            sys.setprofile(None)
            raise kind

    def check(*arguments):
        sys.setprofile(interrupt)
        try:
            checking(*arguments)
        finally:
            sys.setprofile(None)

    monkeypatch.setattr(plaintext, "LockedMemory", locked)
    monkeypatch.setattr(plaintext, "_check_model", check)
    while True:
        calls, at = 0, at + 1
        try:
            edgesdk.load(digits).close()
        except kind:
            assert not any(own_memory(*places[-1]))
        else:
            break
    assert at > 100


def own_memory(start, size):
    """Bytes of this process, or none where there is nothing any more."""
    descriptor = os.open("/proc/self/mem", os.O_RDONLY)
    try:
        return os.pread(descriptor, size, start)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_secret_memory_is_locked_not_dumped_and_wiped_on_fork():
    from edgesdk.interpreter import LockedMemory

    memory = LockedMemory(64 * 1024)
    if memory.locked < len(memory):
        pytest.skip(f"this process may lock only {memory.locked} bytes")
    with memoryview(memory) as view:
        address = np.frombuffer(view, np.uint8).__array_interface__["data"][0]
    flags = []
    with Path("/proc/self/smaps").open() as maps:
        inside = False
        for line in maps:
            head = line.split()[0]
            if "-" in head and not head.endswith(":"):
                start, end = (int(n, 16) for n in head.split("-"))
                inside = start <= address < end
            elif inside and head == "VmFlags:":
                flags = line.split()[1:]
    assert {"lo", "dd", "wf"} <= set(flags)
    memory.close()


UNPRIVILEGED = """
import os, resource, sys, warnings
import edgesdk
from edgesdk.errors import ResourceError
resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
if os.geteuid() == 0:
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    # CAP_IPC_LOCK lets root lock anything: give all capabilities up, and stay the files' owner.
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    assert libc.capset(header, data) == 0, ctypes.get_errno()
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(2):
        edgesdk.load(sys.argv[1], now=int(sys.argv[2])).close()
print(len(caught), caught[0].category.__name__, "locked memory" in str(caught[0].message))
try:
    edgesdk.load(sys.argv[1], now=int(sys.argv[2]), memory="require-locked")
except ResourceError as error:
    print(error.reason)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs RLIMIT_MEMLOCK and capset")
def test_without_the_right_to_lock_it_warns_once_or_refuses(digits):
    done = subprocess.run(
        [sys.executable, "-c", UNPRIVILEGED, str(digits), str(NOW)],
        capture_output=True, text=True, check=False, env=os.environ,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.split() == ["1", "RuntimeWarning", "True", "lock"]


def test_require_locked_works_where_memory_may_be_locked(digits):
    limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if os.geteuid() != 0 and 0 <= limit < 2**20:
        pytest.skip(f"this process may lock only {limit} bytes")
    with edgesdk.load(digits, memory="require-locked") as model:
        usage = model.interpreter.memory()
        assert usage["locked"] == usage["mapped"] >= usage["packed"] > 0


def test_errors_never_show_the_model(digits):
    try:
        with edgesdk.load(digits) as model:
            model.run(np.zeros(3, np.int8))
    except EdgeError as error:
        assert len(str(error)) < 300
    with edgesdk.load(digits) as model:
        assert len(repr(model)) < 100
