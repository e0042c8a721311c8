"""verify, and run on the device."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

import networks
from edgesdk import Interpreter, floors
from edgesdk.bundle import Bundle, Manifest
from edgesdk.files import Home
from edgesdk.keys import SecretKey
from edgesdk.state import Marks
from fixtures_cli import NAMES, PACK, frames
from fixtures_protect import entries

pytestmark = pytest.mark.filterwarnings("default:expected .* locked memory:RuntimeWarning")


def results(document):
    """(number, name, ok) of each check."""
    return [(each["check"], each["name"], each["ok"]) for each in document["checks"]]


SHALLOW = [
    (0, "file"),
    (1, "prelude"),
    (None, "trust file"),
    (2, "signatures"),
    (3, "threshold"),
    (4, "manifest"),
    (5, "scope"),
    (6, "freshness"),
    (7, "evidence"),
    (8, "payload"),
]
DEEP = [
    (9, "grant"),
    (9, "decryption"),
    (None, "plaintext_mac"),
    (10, "model"),
    (11, "golden vectors"),
]


def passed(*checks):
    return [(number, name, True) for number, name in checks]


# ---- verify


def test_verify_makes_the_checks_that_need_no_key(workshop):
    (workshop.folder / "home" / "device.key").unlink()
    document = workshop.json("verify", "digits.emb")
    assert results(document) == passed(*SHALLOW)
    assert (document["verified"], document["deep"], document["bundle"]) == (
        True,
        False,
        "digits.emb",
    )


def test_verify_tells_people_what_it_has_found(workshop):
    lines = workshop("verify", "digits.emb").out.splitlines()
    told = {line[11:25].strip(): line[27:] for line in lines[:10]}
    assert [line[:6].strip() for line in lines[:10]] == ["ok"] * 10
    assert told["signatures"] == "2 of 2 by keys of the role release"
    assert told["threshold"] == "release, by ed25519 and ml-dsa-65; 1 needed"
    assert told["manifest"].startswith("demo/digits 1.0, sequence 1, packed 20")
    assert told["scope"] == "for any device; release may sign for demo/digits"
    assert told["payload"] == "1 encrypted segment as signed"
    assert lines[-1] == "Verified. Checks 9 to 11 need a device's key: --deep."


def test_verify_deep_goes_to_the_end(workshop):
    document = workshop.json("verify", "digits.emb", "--deep")
    assert results(document) == passed(*SHALLOW, *DEEP)
    assert document["verified"]
    assert workshop("verify", "digits.emb", "--deep").out.endswith("\nVerified.\n")


def test_verify_deep_with_everything_named(workshop):
    for name, target in (("trust.json", "t"), ("digits.grant", "g")):
        shutil.move(workshop.folder / name, workshop.folder / target)
    shutil.move(workshop.folder / "home" / "device.key", workshop.folder / "d.key")
    shutil.rmtree(workshop.folder / "home")
    workshop(
        "verify", "digits.emb", "--deep", "--trust", "t", "--grant", "g", "--device-key",
        "file:d.key",
    )  # fmt: skip


def test_verify_reads_a_pipe(workshop):
    data = (workshop.folder / "digits.emb").read_bytes()
    assert json.loads(workshop("verify", "-", "--json", stdin=data).out)["verified"]


def repacked(workshop, *options, sign="release.key", name="other.emb"):
    workshop("pack", "digits.tflite", *PACK, *options, "-o", name)
    workshop("sign", name, "--key", sign)
    return name


def edited(workshop, change, name="edited.emb"):
    data = bytearray((workshop.folder / "digits.emb").read_bytes())
    change(data)
    (workshop.folder / name).write_bytes(data)
    return name


def flip(offset):
    def change(data):
        data[offset] ^= 1

    return change


SIGNATURES = 64
MANIFEST = SIGNATURES + 3443


@pytest.mark.parametrize(
    ("make", "last", "code", "line"),
    [
        (lambda _: "no.emb", None, 6, "ConfigurationError[missing]: no.emb: expected a file"),
        (lambda _: "home", 0, 3, "MalformedBundleError[not-a-regular-file]: home: "),
        (lambda w: edited(w, flip(0)), 1, 3, "MalformedBundleError[prelude]: a bundle: "),
        (lambda w: edited(w, flip(6)), 1, 3, "MalformedBundleError[unsupported-suite]: "),
        (lambda w: edited(w, lambda d: d.append(0)), 1, 3, "MalformedBundleError[size]: "),
        (lambda w: edited(w, flip(SIGNATURES + 33)), 2, 3, "MalformedBundleError[signatures]: "),
        (lambda _: "unsigned.emb", 2, 3, "SignatureError[unsigned]: expected signatures of role"),
        (lambda w: repacked(w, sign="stranger.key"), 2, 3, "SignatureError[unknown-signer]: "),
        (lambda w: edited(w, flip(SIGNATURES + 40)), 3, 3, "SignatureError[signature]: "),
        (lambda w: edited(w, flip(MANIFEST + 200)), 3, 3, "SignatureError[signature]: "),
        (lambda w: repacked(w, "--vendor-id", "acme"), 5, 3,
         "ScopeError[device]: made for devices of vendor acme, got none"),
        (lambda w: repacked(w, "--epoch", "1"), 6, 3, "RollbackError[epoch]: expected epoch 0"),
        (lambda w: repacked(w, "--expires", "2020-01-01"), 6, 3, "ExpiredError[expired]: "),
        (lambda w: repacked(w, "--not-before", "9d"), 6, 3, "ExpiredError[not-yet-valid]: "),
        (lambda w: edited(w, flip(-1)), 8, 3, "DecryptionError[payload]: "),
    ],
)  # fmt: skip
def test_verify_ends_with_the_check_that_fails(workshop, make, last, code, line):
    name = make(workshop)
    workshop.refuses("verify", name, code=code, line=line)
    document = workshop.json("verify", name, code=code)
    assert not document["verified"]
    numbers = [number for number, _ in SHALLOW]
    before = [] if last is None else SHALLOW[: numbers.index(last)]
    if "[signatures]" in line:
        before = [each for each in before if each[0] is not None]  # the form comes first
    expected = passed(*before)
    failed = [] if last is None else [(last, dict(SHALLOW)[last], False)]
    assert results(document) == expected + failed
    if last is not None:
        shown = workshop("verify", name, code=code).out.splitlines()[-1]
        assert shown.startswith(f"FAILED {last:>2}  ")
        assert line.split(":")[0] in shown


def test_verify_fails_at_the_trust_file(workshop):
    for name, arguments, code, line in (
        ("missing", ["--trust", "no.json"], 6, "ConfigurationError[missing]: no.json"),
        ("a record", ["--trust", "root.pub"], 3, "MalformedBundleError[trust-file]: "),
    ):
        del name
        workshop.refuses("verify", "digits.emb", *arguments, code=code, line=line)
        document = workshop.json("verify", "digits.emb", *arguments, code=code)
        assert results(document)[-1] == (None, "trust file", False)


def test_verify_asks_the_floors_and_leaves_them(workshop):
    kept = floors.find(Home(workshop.folder / "home"))
    workshop("verify", "digits.emb", "--deep")
    assert kept.marks() == Marks()
    workshop("run", "digits.emb", "--random")
    assert kept.marks().models["demo/digits"].sequence == 1
    other = repacked(workshop)
    line = "RollbackError[sequence]: expected the bundle of demo/digits that was accepted"
    for options in ((), ("--deep",)):
        workshop.refuses("verify", other, *options, code=3, line=line)
        document = workshop.json("verify", other, *options, code=3)
        assert results(document)[-1] == (6, "freshness", False)
    workshop.refuses("run", other, "--random", code=3, line=line)
    workshop("verify", "digits.emb", "--deep")


def test_verify_at_another_time(workshop):
    name = repacked(workshop, "--expires", "2030-01-01", "--not-before", "2029-01-01")
    for moment, reason in (("2028-12-31", "not-yet-valid"), ("2030-01-01", "expired")):
        line = f"ExpiredError[{reason}]: "
        workshop.refuses("verify", name, "--now", moment, code=3, line=line)
    workshop("verify", name, "--now", "2029-12-31")


def test_verify_as_another_device(workshop):
    name = repacked(workshop, "--vendor-id", "acme", "--class-id", "cam")
    workshop("verify", name, "--vendor-id", "acme", "--class-id", "cam")
    workshop.refuses("verify", name, "--vendor-id", "acme", code=3, line="ScopeError[device]: ")


def test_verify_with_another_scope(workshop):
    workshop("trust", "init", "--root", "root.pub", "--release", "release.pub", "--grant",
             "grant.pub", "--key", "root.key", "--scope", "release=door/*", "-o", "t")  # fmt: skip
    workshop.refuses("verify", "digits.emb", "--trust", "t", code=3, line="ScopeError[model]: ")


def test_verify_with_a_threshold_that_is_not_met(workshop):
    workshop("trust", "init", "--root", "root.pub", "--release", "release.pub", "--release",
             "stranger.pub", "--grant", "grant.pub", "--key", "root.key",
             "--threshold", "release=2", "-o", "t")  # fmt: skip
    arguments = ("verify", "digits.emb", "--trust", "t")
    workshop.refuses(*arguments, code=3, line="SignatureError[threshold]: expected 2 signers")
    workshop("sign", "digits.emb", "--key", "stranger.key")
    assert "release, stranger, by ed25519 and ml-dsa-65; 2 needed" in workshop(*arguments).out


def test_a_grant_lies_beside_a_bundle_of_any_name(workshop):
    """`grant` writes it where a device looks for it."""
    shutil.copy("digits.emb", "digits-1.0")
    shutil.copy("digits.content.key", "digits-1.0.content.key")
    workshop("grant", "digits-1.0", "camera-17.pub", "--key", "grant.key")
    assert (workshop.folder / "digits-1.0.grant").exists()
    workshop("verify", "digits-1.0", "--deep")
    workshop("run", "digits-1.0", "--random")


def test_verify_passes_over_grants_as_a_device_does(workshop):
    folder = workshop.folder / "home" / "grants"
    shutil.move("digits.grant", folder / "z.grant")
    (folder / "a.grant").write_bytes(bytes(100_000))
    (folder / "b.grant").symlink_to("z.grant")
    ended = workshop("verify", "digits.emb", "--deep")
    assert ended.err.count("warning: passed over") == 2 * 2  # once more when it is loaded
    assert "a.grant" in ended.err


@pytest.mark.parametrize("option", ["--trust", "--home", "--device-key", "--grant"])
def test_an_empty_path_is_no_default(workshop, option):
    """As of a variable of the shell that is not set: another file must not stand in for it."""
    shutil.copytree(workshop.folder / "home", workshop.folder, dirs_exist_ok=True)
    for command in (["verify", "digits.emb", "--deep"], ["run", "digits.emb", "--random"]):
        ended = workshop.json(*command, option, "", code=3 if option == "--device-key" else 6)
        assert ended["error"]["reason"] in {"missing", "no-key"}


def test_verify_names_only_who_counts(workshop):
    """What anybody may add to a bundle must not make somebody a signer of it."""
    workshop("trust", "init", "--root", "root.pub", "--release", "release.pub", "--release",
             "stranger.pub", "--grant", "grant.pub", "--key", "root.key", "-o", "t")  # fmt: skip
    path = workshop.folder / "digits.emb"
    bundle = Bundle.parse(path.read_bytes())
    stranger = SecretKey.parse((workshop.folder / "stranger.key").read_bytes())
    half, other_half = entries(stranger, bundle.message)
    for added in ([half], [replace(half, algorithm=9)], [replace(other_half, algorithm=9)]):
        path.write_bytes(bundle.with_signatures(added))
        told = workshop("verify", "digits.emb", "--trust", "t").out
        assert "  release, by ed25519 and ml-dsa-65; 1 needed" in told
        known = 3 if added == [half] else 2
        assert f"{known} of 3 by keys of the role release" in told


def resigned(workshop, change, name="changed.emb"):
    """A bundle with another manifest, signed as it is: what a careless signer would make."""
    bundle = Bundle.parse((workshop.folder / "digits.emb").read_bytes())
    data = change(bundle.manifest_bytes)
    prelude = replace(bundle.prelude, sig_len=0, manifest_len=len(data))
    bare = Bundle(prelude, (), data, bundle.table, bundle.recipients, bundle.payload)
    key = SecretKey.parse((workshop.folder / "release.key").read_bytes())
    (workshop.folder / name).write_bytes(bare.with_signatures(entries(key, bare.message)))
    return name


@pytest.mark.parametrize(
    ("change", "last", "line"),
    [
        (lambda m: m + b" ", 4, "MalformedBundleError[manifest]: "),
        (lambda m: m.replace(b'"model_len":5552', b'"model_len":5551'), 5,
         "MalformedBundleError[manifest-mismatch]: "),
        (lambda m: m.replace(b'"min_core":1', b'"min_core":9'), 5, "ScopeError[core]: "),
    ],
)  # fmt: skip
def test_verify_finds_what_a_careless_signer_let_pass(workshop, change, last, line):
    name = resigned(workshop, change)
    workshop.refuses("verify", name, code=3, line=line)
    assert results(workshop.json("verify", name, code=3))[-1] == (last, dict(SHALLOW)[last], False)


def test_verify_deep_finds_another_plaintext(workshop):
    def change(manifest):
        mac = Manifest.parse(manifest).plaintext_mac.hex()
        return manifest.replace(mac.encode(), bytes(reversed(mac.encode())))

    name = resigned(workshop, change)
    workshop.refuses("verify", name, "--deep", "--grant", "digits.grant", code=3,
                     line="DecryptionError[payload]: ")  # fmt: skip
    document = workshop.json("verify", name, "--deep", "--grant", "digits.grant", code=3)
    assert results(document)[-1] == (9, "decryption", False)


def test_verify_deep_finds_another_contract(workshop):
    name = resigned(workshop, lambda m: m.replace(b'["SOFTMAX",2]', b'["SOFTMAX",1]'))
    workshop.refuses("verify", name, "--deep", "--grant", "digits.grant", code=4,
                     line="ContractError[contract]: expected the operators")  # fmt: skip
    document = workshop.json("verify", name, "--deep", "--grant", "digits.grant", code=4)
    assert results(document)[-1] == (11, "golden vectors", False)


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["--device-key", "no.key"], 3, "KeyUnavailableError[no-key]: no.key"),
        (["--device-key", "release.key"], 3, ("KeyUnavailableError[no-key]: expected the key of a "
                                             "device, got one of a signer")),
        (["--device-key", "exec:true"], 6, "ConfigurationError[invalid]: "),
        (["--home", "home-18", "--trust", "trust.json"], 3,
         "KeyUnavailableError[no-grant]: expected a grant of demo/digits for"),
        (["--grant", "root.pub"], 3, "MalformedBundleError[grant]: "),
        (["--grant", "stranger.grant"], 3, ("SignatureError[unknown-signer]: expected a signer of "
                                           "role grant")),
        (["--grant", "ended.grant"], 3, "ExpiredError[expired]: expected a grant for time"),
        (["--grant", "no.grant"], 6, "ConfigurationError[missing]: no.grant"),
    ],
)  # fmt: skip
def test_verify_deep_says_why_it_does_not_open(workshop, arguments, code, line):
    workshop("grant", "digits.emb", "camera-17.pub", "--key", "stranger.key", "-o",
             "stranger.grant")  # fmt: skip
    workshop("grant", "digits.emb", "camera-17.pub", "--key", "grant.key", "--not-after",
             "2020-01-01", "-o", "ended.grant")  # fmt: skip
    workshop.refuses("verify", "digits.emb", "--deep", *arguments, code=code, line=line)
    document = workshop.json("verify", "digits.emb", "--deep", *arguments, code=code)
    assert results(document)[-1] == (9, "grant", False)


def test_only_what_needs_the_core_fails_without_it(workshop, without_core):
    without_core("verify", "digits.emb")
    without_core("inspect", "digits.emb")
    without_core("sign", "unsigned.emb", "--key", "release.key")
    for arguments in (
        ["verify", "digits.emb", "--deep"],
        ["run", "digits.emb", "--random"],
        ["bench", "digits.tflite"],
        ["pack", "digits.tflite", *PACK, "-o", "x.emb"],
        ["inspect", "digits.tflite"],
    ):
        ended = without_core(*arguments, code=4)
        assert ended.error.startswith("error: IsaError[core-missing]: expected the compiled core")
    assert not (workshop.folder / "x.emb").exists()


@pytest.mark.parametrize(
    ("arguments", "gone", "code", "hint"),
    [
        (["verify", "digits.emb"], "trust.json", 6, "it belongs into the configuration folder"),
        (["run", "digits.emb", "--random"], "trust.json", 6, "it belongs into the configuration"),
        (["bench", "digits.emb"], "trust.json", 6, "it belongs into the configuration folder"),
        (["verify", "digits.emb", "--deep"], "device.key", 3, "`edgesdk device init` makes it"),
        (["run", "digits.emb", "--random"], "device.key", 3, "`edgesdk device init` makes it"),
        (["run", "digits.emb", "--random", "--cloud", "mqtt://x"], "gateway.pub", 6,
         "it belongs into the configuration folder"),
    ],
)  # fmt: skip
def test_what_is_missing_in_the_configuration_folder_comes_with_a_hint(
    workshop, arguments, gone, code, hint
):
    (workshop.folder / "home" / gone).unlink()
    assert workshop(*arguments, code=code).hint.startswith(f"hint: {hint}")
    assert "hint" not in workshop("verify", "digits.emb", "--trust", "no.json", code=6).err


# ---- run


def test_run_reads_digits(workshop):
    document = workshop.json("run", "digits.emb", "digits.npy")
    assert document["model"] == "digits.emb"
    model = Interpreter(str(workshop.folder / "digits.tflite"))
    model.allocate_tensors()
    for frame, result in zip(frames(3), document["results"], strict=True):
        (output,) = result.pop("outputs")
        assert result.pop("seconds") > 0
        assert result == {
            "origin": "device",
            "model_id": "demo/digits",
            "model_version": "1.0",
            "cause": None,
            "cloud_error": None,
        }
        model.set_tensor(0, np.clip(np.rint(frame * np.float32(255)) - 128, -128, 127)
                         .astype(np.int8)[np.newaxis])  # fmt: skip
        model.invoke()
        raw = model.get_tensor(model.output_indices[0])
        assert output["raw"] == raw.tolist()
        assert output["real"] == ((raw.astype(int) + 128) / 256).tolist()
        best = int(raw.argmax())
        assert output["top"][0] == {
            "index": best,
            "label": NAMES[best],
            "score": (int(raw.max()) + 128) / 256,
        }
        assert (output["name"], output["dtype"], output["shape"]) == ("output_0", "int8", [1, 10])


def test_run_shows_the_best_labels(workshop):
    np.save(workshop.folder / "one.npy", frames(1)[0])
    lines = workshop("run", "digits.emb", "one.npy").out.splitlines()
    assert lines[0] == "output_0  int8 [1, 10]"
    assert len(lines) == 1 + 5 + 1
    assert all(line.split()[0] in NAMES for line in lines[1:6])
    assert lines[-1].startswith("by  this device, demo/digits 1.0, in ")


def test_run_shows_a_line_for_each_of_several_frames(workshop):
    lines = workshop("run", "digits.emb", "digits.npy").out.splitlines()
    assert lines[0].split() == ["frame", "output_0", "by", "ms"]
    assert [line.split()[0] for line in lines[1:]] == ["0", "1", "2"]
    assert all("device" in line for line in lines[1:])


def test_run_takes_a_plain_model_and_random_numbers(workshop):
    first = workshop.json("run", "digits.tflite", "--random", "--seed", "5")["results"][0]
    again = workshop.json("run", "digits.tflite", "--random", "--seed", "5", "--threads", "2",
                          "--isa", "scalar")["results"][0]  # fmt: skip
    other = workshop.json("run", "digits.tflite", "--random", "--seed", "6")["results"][0]
    assert first["outputs"] == again["outputs"]
    assert first["outputs"] != other["outputs"]
    assert first["model_id"] is None
    out = workshop("run", "digits.tflite", "--random").out
    assert "\n  [" in out  # no labels
    assert "\nby  this device, in " in out


def test_run_reads_and_writes_pipes(workshop):
    buffer = io.BytesIO()
    np.save(buffer, frames(3))
    ended = workshop("run", "digits.emb", "-", "-o", "-", stdin=buffer.getvalue())
    with np.load(io.BytesIO(ended.stdout)) as archive:
        assert archive["output_0"].shape == (3, 1, 10)
        assert archive["output_0"].dtype == np.int8
    assert "frame" in ended.err
    document = workshop.json("run", "digits.emb", "digits.npy", "-o", "out.npz")
    assert document["output"] == "out.npz"
    with np.load(workshop.folder / "out.npz") as archive:
        raw = [result["outputs"][0]["raw"] for result in document["results"]]
        assert archive["output_0"].tolist() == raw


@pytest.fixture(scope="session")
def odd_model():
    """Two inputs; an image, a scalar-like and a float output, one of them called `file`."""
    net = networks.Network(6)
    left = net.input([1, 4, 4, 2], name="left")
    right = net.input([1, 4, 4, 2], name="right")
    both = net.add(left, right)
    mean = net.mean(both, (1, 2, 3))
    real = net.dequantize(both)
    signature = ({"left": left, "right": right}, {"file": both, "mean": mean, "real": real})
    return net.build(both, mean, real, signature=signature)


def test_run_shows_outputs_of_any_kind(workshop, odd_model):
    (workshop.folder / "odd.tflite").write_bytes(odd_model)
    np.savez(workshop.folder / "odd.npz", left=np.ones((1, 4, 4, 2), np.int8),
             right=np.zeros((4, 4, 2), np.float32))  # fmt: skip
    ended = workshop("run", "odd.tflite", "odd.npz", "-o", "out.npz")
    assert "file  int8 [1, 4, 4, 2]" in ended.out
    assert "min, mean, max" in ended.out
    assert "values" in ended.out
    with np.load(workshop.folder / "out.npz") as archive:
        assert sorted(archive) == ["file", "mean", "real"]
    document = workshop.json("run", "odd.tflite", "odd.npz")
    outputs = {each["name"]: each for each in document["results"][0]["outputs"]}
    assert outputs["file"]["top"] is None
    assert outputs["real"]["raw"] == outputs["real"]["real"]


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["no.emb", "--random"], 6, "ConfigurationError[missing]: no.emb: expected a file"),
        (["no.tflite", "--random"], 6, "ConfigurationError[missing]: no.tflite"),
        (["unsigned.emb", "--random"], 3, "SignatureError[unsigned]: "),
        (["digits.txt", "--random"], 3, "MalformedBundleError[prelude]: "),
        (["bad.tflite", "--random"], 4, "MalformedModelError[malformed-model]: "),
        (["digits.tflite", "no.npy"], 6, "ConfigurationError[missing]: no.npy"),
        (["digits.tflite", "digits.txt"], 6, "InputError[argument]: digits.txt: expected an .npy"),
        (["digits.tflite", "shape.npy"], 6, "InputError[shape]: image: expected shape [1, 8, 8"),
        (["digits.tflite", "bytes.npy"], 6, "InputError[dtype]: image: expected int8, got uint8"),
        (["digits.tflite", "--random", "--isa", "sse9"], 4, "IsaError[isa]: "),
        (["digits.emb", "--random", "--grant", "no.grant"], 6, "ConfigurationError[missing]: no"),
        (["digits.emb", "--random", "--home", "no"], 6, "ConfigurationError[missing]: no/trust"),
        (["digits.tflite", "--random", "-o", "digits.npy"], 6,
         "ConfigurationError[invalid]: digits.npy: expected no file of that name"),
        (["digits.emb", "--random", "--cloud", "http://x"], 6, ("ConfigurationError[invalid]: "
                                                               "expected mqtt://host")),
        (["digits.tflite", "--random", "--cloud", "mqtt://127.0.0.1:1"], 2,
         "UsageError[usage]: expected --cloud-model for a plain model, which has no id, got none"),
    ],
)  # fmt: skip
def test_run_says_what_is_wrong(workshop, arguments, code, line):
    (workshop.folder / "bad.tflite").write_bytes(b"\x20\0\0\0TFL3" + bytes(64))
    np.save(workshop.folder / "shape.npy", np.zeros((7, 8), np.float32))
    np.save(workshop.folder / "bytes.npy", np.zeros((1, 8, 8, 1), np.uint8))
    workshop.refuses("run", *arguments, code=code, line=line)


def test_run_in_a_cloud_that_is_not_there(workshop):
    arguments = ("run", "digits.emb", "--random", "--cloud", "mqtt://127.0.0.1:1")
    workshop.refuses(*arguments, "--mode", "only_in_cloud", "--deadline", "5", code=5,
                     line="NotConnectedError[not-connected]: ")  # fmt: skip
    result = workshop.json(*arguments, "--threshold", "2", "--deadline", "5")["results"][0]
    assert result["origin"] == "device"
    assert result["cause"]["reason"] == "low-confidence"
    assert result["cloud_error"]["class"] == "NotConnectedError"
    out = workshop(*arguments, "--threshold", "2", "--deadline", "5").out
    assert "asked the cloud  expected a confidence of at least 2, got 0." in out
    assert "no answer of it  NotConnectedError[not-connected]: " in out


def test_run_wants_the_gateway_in_the_configuration_folder(workshop):
    (workshop.folder / "home" / "gateway.pub").unlink()
    workshop.refuses("run", "digits.emb", "--random", "--cloud", "mqtt://127.0.0.1:1", code=6,
                     line="ConfigurationError[missing]: ")  # fmt: skip
