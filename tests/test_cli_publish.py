"""pack, sign, grant."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from itertools import chain

import numpy as np
import pytest

import networks
from edgesdk import primitives
from edgesdk.bundle import Bundle, Manifest
from edgesdk.cli import options
from edgesdk.grant import Grant
from edgesdk.keys import ContentKey
from edgesdk.limits import PublisherLimits
from edgesdk.record import LONGEST_LABEL, PublicRecord
from fixtures_cli import NAMES, PACK, frames

pytestmark = pytest.mark.filterwarnings("default:expected .* locked memory:RuntimeWarning")


def manifest(path):
    return Manifest.parse(Bundle.parse(path.read_bytes()).manifest_bytes)


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


# ---- pack


def test_pack_makes_a_bundle_and_its_content_key(workshop):
    document = workshop.json("pack", "digits.tflite", *PACK, "-o", "new.emb")
    made = manifest(workshop.folder / "new.emb")
    key = workshop.folder / "new.content.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    with ContentKey.open(key) as content_key:
        from edgesdk.encryption import check_content_key

        payload = Bundle.parse((workshop.folder / "new.emb").read_bytes()).payload
        check_content_key(content_key, made.binding, payload)
    assert document == {
        "bundle": "new.emb",
        "bytes": (workshop.folder / "new.emb").stat().st_size,
        "content_key": "new.content.key",
        "bundle_id": made.binding.bundle_id.hex(),
        "model_id": "demo/digits",
        "model_version": "1.0",
        "sequence": 1,
        "epoch": 0,
        "created": made.created,
        "expires": None,
        "golden": 2,
        "claims": 0,
    }


def test_pack_writes_beside_the_model(workshop):
    (workshop.folder / "models").mkdir()
    shutil.copy(workshop.folder / "digits.tflite", workshop.folder / "models" / "d.tflite")
    workshop("pack", "models/d.tflite", *PACK)
    names = sorted(path.name for path in (workshop.folder / "models").iterdir())
    assert names == ["d.content.key", "d.emb", "d.tflite"]


def test_pack_takes_models_by_links(workshop):
    (workshop.folder / "latest.tflite").symlink_to("digits.tflite")
    assert workshop.json("pack", "latest.tflite", *PACK)["bundle"] == "latest.emb"


def test_pack_puts_everything_that_is_said_into_the_manifest(workshop):
    workshop(
        "pack", "digits.tflite", "--model-id", "door/person", "--model-version", "2.1 beta",
        "--sequence", "9007199254740991", "--epoch", "4", "--licence", "Apache-2.0",
        "--not-before", "2026-01-01", "--expires", "2030-01-31", "--vendor-id", "acme",
        "--class-id", "cam-2", "--label-file", "output_0=digits.txt", "--colour", "gray",
        "--mean", "image=0.5", "--std", "0.25", "-o", "new.emb",
    )  # fmt: skip
    made = manifest(workshop.folder / "new.emb")
    assert (made.model_id, made.model_version) == ("door/person", "2.1 beta")
    assert (made.binding.sequence, made.binding.epoch) == (2**53 - 1, 4)
    assert (made.not_before, made.expires) == (1_767_225_600, 1_896_048_000)
    assert (made.vendor_id, made.class_id, made.licence) == ("acme", "cam-2", "Apache-2.0")
    image, output = made.contract.inputs[0], made.contract.outputs[0]
    assert (image.colour, image.mean, image.std) == ("gray", (0.5,), (0.25,))
    assert output.labels == NAMES


@pytest.mark.parametrize(
    ("array", "count"),
    [
        (frames(1), 1),
        (frames(1)[0], 1),
        (frames(4), 4),
        (frames(4)[:, np.newaxis], 4),
        (np.zeros((2, 8, 8, 1), np.int8), 2),
    ],
)
def test_pack_makes_golden_vectors_of_frames(workshop, array, count):
    np.save(workshop.folder / "g.npy", array)
    document = workshop.json("pack", "digits.tflite", *PACK, "-o", "g.emb", "--golden", "g.npy")
    assert document["golden"] == count


def test_pack_takes_several_files_of_golden_frames(workshop):
    np.savez(workshop.folder / "named.npz", image=frames(2))
    np.savez(workshop.folder / "unnamed.npz", frames(1))
    document = workshop.json(
        "pack", "digits.tflite", *PACK, "-o", "g.emb", "--golden", "named.npz",
        "--golden", "unnamed.npz", "--golden", "digits.npy",
    )  # fmt: skip
    assert document["golden"] == 2 + 1 + 3


def test_pack_takes_frames_of_several_inputs_by_name(workshop, two_inputs):
    (workshop.folder / "two.tflite").write_bytes(two_inputs)
    np.savez(
        workshop.folder / "two.npz", left=np.ones((3, 1, 6), "f4"), right=np.zeros((3, 6), "f4")
    )
    document = workshop.json("pack", "two.tflite", *PACK, "--golden", "two.npz")
    assert document["golden"] == 3
    np.savez(
        workshop.folder / "odd.npz", left=np.ones((3, 1, 6), "f4"), right=np.zeros((1, 6), "f4")
    )
    workshop.refuses(
        "pack", "two.tflite", *PACK, "-o", "x.emb", "--golden", "odd.npz", code=6,
        line="InputError[shape]: odd.npz: expected as many frames of each input, got [1, 3]",
    )  # fmt: skip


@pytest.fixture(scope="session")
def two_inputs():
    net = networks.Network(6)
    left, right = net.input([1, 6], name="left"), net.input([1, 6], name="right")
    both = net.add(left, right)
    return net.build(both, signature=({"left": left, "right": right}, {"sum": both}))


def test_pack_reads_and_writes_pipes(workshop):
    ended = workshop(
        "pack", "-", *PACK, "--content-key", "piped.key",
        stdin=(workshop.folder / "digits.tflite").read_bytes(),
    )  # fmt: skip
    Bundle.parse(ended.stdout)
    assert "standard output" in ended.err
    assert "piped.key" in ended.err


def test_pack_never_overwrites(workshop):
    before = digest(workshop.folder / "digits.content.key"), digest(workshop.folder / "digits.emb")
    workshop.refuses("pack", "digits.tflite", *PACK, code=6,
                     line="ConfigurationError[invalid]: digits.emb: expected no file")  # fmt: skip
    ended = workshop.refuses(
        "pack", "digits.tflite", *PACK, "-o", "x.emb", "--content-key", "digits.content.key",
        code=3, line="KeyUnavailableError[key-exists]: digits.content.key: ",
    )  # fmt: skip
    assert ended.hint == "hint: each packing has a key of its own: choose another -o"
    assert not (workshop.folder / "x.emb").exists()
    assert before == (
        digest(workshop.folder / "digits.content.key"),
        digest(workshop.folder / "digits.emb"),
    )


def test_pack_leaves_no_key_of_a_bundle_that_could_not_be_written(workshop):
    workshop.refuses(
        "pack", "digits.tflite", *PACK, "-o", "no/x.emb", "--content-key", "x.key", code=6,
        line="ConfigurationError[missing]: no/x.emb: expected to write it",
    )  # fmt: skip
    assert not (workshop.folder / "x.key").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["no.tflite", *PACK], 6, "ConfigurationError[missing]: no.tflite: expected a file"),
        (["digits.txt", *PACK], 4, "MalformedModelError[malformed-model]: "),
        (["home", *PACK], 6, "InputError[argument]: home: expected a regular file, got"),
        (["-", *PACK, "-o", "-", "--json", "--content-key", "k"], 2,
         "UsageError[usage]: expected --json or `-o -`, got both"),
        (["-", *PACK], 6, ("InputError[argument]: expected --content-key FILE for a bundle on "
         "standard output, got none")),
        (["digits.tflite", *PACK[2:], "--model-id", "Door"], 6,
         "InputError[argument]: manifest.predicate.model_id: expected a string like"),
        (["digits.tflite", *PACK, "--licence", ""], 6,
         "InputError[argument]: manifest.predicate.licence: expected 1 to 256 characters, got 0"),
        (["digits.tflite", *PACK, "--golden", "no.npy"], 6, "ConfigurationError[missing]: no.npy"),
        (["digits.tflite", *PACK, "--golden", "digits.txt"], 6,
         "InputError[argument]: digits.txt: expected an .npy or .npz file, got: "),
        (["digits.tflite", *PACK, "--golden", "shape.npy"], 6,
         "InputError[shape]: image: expected shape [1, 8, 8, 1], or several of it, got [7, 8]"),
        (["digits.tflite", *PACK, "--golden", "double.npy"], 6,
         "InputError[dtype]: image: expected int8, got uint8"),
        (["digits.tflite", *PACK, "--golden", "names.npz"], 6,
         "InputError[tensor]: expected the inputs image, got photo, picture"),
        (["digits.tflite", *PACK, "--golden", "object.npy"], 6,
         "InputError[argument]: object.npy: expected an .npy or .npz file, got: Object arrays"),
        (["digits.tflite", *PACK, "--golden", "nan.npy"], 6,
         "InputError[argument]: image: expected numbers, got NaN"),
        (["digits.tflite", *PACK, "--label-file", "no.txt"], 6,
         "ConfigurationError[missing]: no.txt"),
        (["digits.tflite", *PACK, "--label-file", "image=digits.txt"], 6,
         ("InputError[argument]: --label-file: expected NAME one of output_0, got "
         "'image=digits.txt'")),
        (["digits.tflite", *PACK, "--label-file", "few.txt"], 6,
         "InputError[argument]: output_0: expected 10 labels, got 2"),
        (["digits.tflite", *PACK, "--label-file", "latin.txt"], 6,
         "InputError[argument]: latin.txt: expected labels in UTF-8, got others"),
        (["digits.tflite", *PACK, "--colour", "sepia"], 6,
         "InputError[argument]: --colour: expected one of rgb, bgr, gray, got 'sepia'"),
        (["digits.tflite", *PACK, "--not-before", "2030-01-02", "--expires", "2030-01-02"], 6,
         "InputError[argument]: expected an expiry after 1893542400, got 1893542400"),
        (["digits.tflite", *PACK, "--mean", "1"], 6,
         "InputError[argument]: expected --mean and --std together, got one of them"),
        (["digits.tflite", *PACK, "--mean", "1,x", "--std", "1"], 6,
         "InputError[argument]: --mean: expected numbers with commas, got '1,x'"),
        (["digits.tflite", *PACK, "--mean", "1e300", "--std", "1"], 6,
         "InputError[argument]: --mean: expected numbers with commas, got '1e300'"),
        (["digits.tflite", *PACK, "--mean", "1", "--std", "0"], 6,
         "InputError[argument]: manifest.predicate.contract.inputs.std_f32: expected at least"),
    ],
)  # fmt: skip
def test_pack_says_what_is_wrong(workshop, arguments, code, line):
    folder = workshop.folder
    np.save(folder / "shape.npy", np.zeros((7, 8), "f4"))
    np.save(folder / "double.npy", np.zeros((1, 8, 8, 1), "u1"))
    np.save(folder / "nan.npy", np.full((1, 8, 8, 1), np.nan, "f4"))
    np.save(folder / "object.npy", np.array([{}, []], object))
    np.savez(folder / "names.npz", photo=frames(1), picture=frames(1))
    (folder / "few.txt").write_text("one\ntwo\n\n")
    (folder / "latin.txt").write_bytes("zéro\n".encode("latin-1") * 10)
    before = {path.name for path in folder.iterdir()}
    arguments = [*arguments, *([] if "-" in arguments else ["-o", "out.emb"])]
    workshop.refuses("pack", *arguments, code=code, line=line)
    assert {path.name for path in folder.iterdir()} == before


def test_pack_refuses_a_bomb(workshop, monkeypatch):
    monkeypatch.setattr("edgesdk.cli.tensors.PUBLISHER", PublisherLimits(array_bytes=1000))
    np.savez_compressed(workshop.folder / "bomb.npz", image=np.zeros((100, 8, 8, 1), np.int8))
    workshop.refuses(
        "pack", "digits.tflite", *PACK, "-o", "x.emb", "--golden", "bomb.npz", code=6,
        line="InputError[argument]: bomb.npz: expected at most 1000 bytes of arrays, got 6528",
    )  # fmt: skip


@pytest.mark.parametrize("damage", [lambda d: d[:100], lambda d: d[:200] + b"xxxx" + d[204:]])
def test_pack_refuses_damaged_arrays(workshop, damage):
    np.savez_compressed(workshop.folder / "whole.npz", image=frames(1))
    data = (workshop.folder / "whole.npz").read_bytes()
    (workshop.folder / "damaged.npz").write_bytes(damage(data))
    arguments = (*PACK, "-o", "x.emb", "--golden", "damaged.npz")
    line = "InputError[argument]: damaged.npz: expected an .npy"
    workshop.refuses("pack", "digits.tflite", *arguments, code=6, line=line)


def test_pack_reads_the_metadata_of_the_model(workshop, monkeypatch):
    from edgesdk.publish.metadata import Additions

    # Files with metadata are test_pack.py's.
    monkeypatch.setattr(
        "edgesdk.publish.metadata.read",
        lambda _: ([Additions(colour="gray")], [Additions(labels=NAMES)]),
    )
    workshop("pack", "digits.tflite", *PACK, "-o", "x.emb")
    contract = manifest(workshop.folder / "x.emb").contract
    assert (contract.inputs[0].colour, contract.outputs[0].labels) == ("gray", NAMES)


# ---- sign


def keyids(workshop, name):
    keys = PublicRecord.parse((workshop.folder / f"{name}.pub").read_bytes()).keys
    return sorted(primitives.keyid(a, public).hex() for a, public in keys.items())


def test_sign_signs_in_place(workshop):
    document = workshop.json("sign", "unsigned.emb", "--key", "release.key")
    assert document == {
        "bundle": "unsigned.emb",
        "bytes": (workshop.folder / "unsigned.emb").stat().st_size,
        "signed": [["ed25519", "ml-dsa-65"]],
        "signatures": keyids(workshop, "release"),
    }
    workshop("verify", "unsigned.emb")


def test_sign_adds_to_the_signatures_that_are_there(workshop):
    workshop("sign", "digits.emb", "--key", "stranger.key", "--key", "file:root.key")
    signatures = Bundle.parse((workshop.folder / "digits.emb").read_bytes()).signatures
    expected = [keyids(workshop, name) for name in ("release", "stranger", "root")]
    assert [each.keyid.hex() for each in signatures] == sorted(chain(*expected))
    workshop("verify", "digits.emb")


def test_sign_elsewhere_leaves_the_first_alone(workshop):
    before = digest(workshop.folder / "unsigned.emb")
    workshop("sign", "unsigned.emb", "--key", "release.key", "-o", "signed.emb")
    assert digest(workshop.folder / "unsigned.emb") == before
    workshop("verify", "signed.emb")


def test_sign_reads_and_writes_pipes(workshop):
    data = (workshop.folder / "unsigned.emb").read_bytes()
    ended = workshop("sign", "-", "--key", "release.key", stdin=data)
    assert len(Bundle.parse(ended.stdout).signatures) == 2
    assert workshop("verify", "-", stdin=ended.stdout).code == 0
    workshop("sign", "-", "--key", "release.key", "-o", "out.emb", stdin=data)
    assert (workshop.folder / "out.emb").exists()


def test_sign_by_an_external_program(workshop, external):
    assert workshop.json("sign", "unsigned.emb", "--key", external)["signatures"] == keyids(
        workshop, "release"
    )
    workshop("verify", "unsigned.emb")


def test_what_a_program_is_told_is_not_said(workshop, external):
    for command in (["sign", "unsigned.emb", "--key"], ["record"]):
        ended = workshop(*command, f"{external} --pin 7531")
        assert "7531" not in ended.out + ended.err
    line = "ConfigurationError[invalid]: expected a command"
    workshop.refuses("record", "exec: ", "-o", "x.pub", code=6, line=line)


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["no.emb", "--key", "release.key"], 6, "ConfigurationError[missing]: no.emb"),
        (["link.emb", "--key", "release.key"], 3,
         ("MalformedBundleError[not-a-regular-file]: link.emb: expected a regular file, got a "
         "symbolic link")),
        (["digits.tflite", "--key", "release.key"], 3, "MalformedBundleError[prelude]: "),
        (["flipped.emb", "--key", "release.key"], 3, "DecryptionError[payload]: "),
        (["digits.emb", "--key", "no.key"], 3, "KeyUnavailableError[no-key]: no.key"),
        (["digits.emb", "--key", "exec:false"], 3, "KeyUnavailableError[provider]: "),
        (["digits.emb", "--key", "exec:"], 6, "ConfigurationError[invalid]: "),
        (["digits.emb", "--key", "gateway.key"], 3, ("KeyUnavailableError[no-key]: expected the "
         "key of a signer, got one of a gateway")),
        (["digits.emb", "--key", "release.pub"], 3, "KeyUnavailableError[key-permissions]"),
        (["digits.emb", "--key", "release.key", "-o", "no/x.emb"], 6,
         "ConfigurationError[missing]: no/x.emb"),
    ],
)  # fmt: skip
def test_sign_says_what_is_wrong(workshop, arguments, code, line):
    data = bytearray((workshop.folder / "digits.emb").read_bytes())
    data[-1] ^= 1
    (workshop.folder / "flipped.emb").write_bytes(data)
    (workshop.folder / "link.emb").symlink_to("digits.emb")
    before = {p.name: digest(p) for p in workshop.folder.glob("*.emb")}
    workshop.refuses("sign", *arguments, code=code, line=line)
    assert {p.name: digest(p) for p in workshop.folder.glob("*.emb")} == before


# ---- grant


def device(workshop, number=17):
    return PublicRecord.parse((workshop.folder / f"camera-{number}.pub").read_bytes())


def test_grant_for_one_device_lies_beside_the_bundle(workshop):
    (workshop.folder / "digits.grant").unlink()
    document = workshop.json(
        "grant", "digits.emb", "camera-17.pub", "--key", "grant.key", "--not-after", "2030-01-31"
    )
    made = Grant.parse((workshop.folder / "digits.grant").read_bytes())
    public = device(workshop)
    assert (made.device, made.not_after) == (public.kid, 1_896_048_000)
    assert document == {
        "bundle": "digits.emb",
        "not_after": 1_896_048_000,
        "grants": [
            {
                "device": public.name,
                "kid": public.kid.hex(),
                "name": "camera-17",
                "path": "digits.grant",
            }
        ],
    }


def test_grant_for_several_devices_fills_a_folder(workshop):
    out = workshop(
        "grant", "digits.emb", "camera-17.pub", "camera-18.pub", "--key", "grant.key"
    ).out
    assert "2 devices" in out
    folder = workshop.folder / "digits.grants"
    for number in (17, 18):
        public = device(workshop, number)
        made = Grant.parse((folder / f"{public.name}.grant").read_bytes())
        assert made.device == public.kid
    # Again: grants are easily made again.
    workshop("grant", "digits.emb", "camera-17.pub", "camera-18.pub", "--key", "grant.key")
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("kind", ["lines", "folder", "both"])
def test_grant_for_a_fleet(workshop, kind):
    records = workshop.folder / "records"
    records.mkdir()
    shutil.copy(workshop.folder / "camera-18.pub", records)
    lines = [(workshop.folder / "camera-17.pub").read_text(), ""]
    if kind == "lines":
        lines.append((records / "camera-18.pub").read_text())
    (workshop.folder / "fleet.jsonl").write_text("\n".join(lines) + "\r\n")
    chosen = {"lines": ["fleet.jsonl"], "folder": ["records"], "both": ["fleet.jsonl", "records"]}
    arguments = [word for path in chosen[kind] for word in ("--devices", path)]
    extra = ["camera-17.pub"] if kind == "folder" else []
    document = workshop.json("grant", "digits.emb", *extra, *arguments, "--key", "grant.key",
                             "-o", "out")  # fmt: skip
    names = sorted(each["name"] for each in document["grants"])
    assert names == ["camera-17", "camera-18"]
    assert {path.name for path in (workshop.folder / "out").iterdir()} == {
        f"{device(workshop, n).name}.grant" for n in (17, 18)
    }


def test_a_grant_of_a_fleet_opens_the_bundle(workshop):
    workshop("grant", "digits.emb", "camera-17.pub", "camera-18.pub", "--key", "grant.key")
    public = device(workshop, 18)
    (workshop.folder / "digits.grant").unlink()
    shutil.copy(workshop.folder / "trust.json", workshop.folder / "home-18")
    shutil.copy(
        workshop.folder / "digits.grants" / f"{public.name}.grant",
        workshop.folder / "home-18" / "grants" / "digits.grant",
    )
    workshop("verify", "digits.emb", "--deep", "--home", "home-18")


def test_grants_can_travel_in_the_bundle(workshop):
    (workshop.folder / "digits.grant").unlink()
    document = workshop.json(
        "grant", "unsigned.emb", "camera-17.pub", "camera-18.pub", "--key", "grant.key",
        "--content-key", "digits.content.key", "--attach", "-o", "full.emb",
    )  # fmt: skip
    assert {each["path"] for each in document["grants"]} == {"full.emb"}
    workshop("sign", "full.emb", "--key", "release.key")
    workshop("verify", "full.emb", "--deep")
    inside = Bundle.parse((workshop.folder / "full.emb").read_bytes()).grants()
    assert set(inside) == {device(workshop, n).kid for n in (17, 18)}


def test_grant_reads_and_writes_pipes(workshop):
    data = (workshop.folder / "digits.emb").read_bytes()
    options = ("--key", "grant.key", "--content-key", "digits.content.key")
    ended = workshop("grant", "-", "camera-17.pub", *options, stdin=data)
    assert Grant.parse(ended.stdout).device == device(workshop).kid
    unsigned = (workshop.folder / "unsigned.emb").read_bytes()
    ended = workshop("grant", "-", "camera-17.pub", *options, "--attach", stdin=unsigned)
    assert list(Bundle.parse(ended.stdout).grants()) == [device(workshop).kid]
    assert "Sign the bundle next" in ended.err


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["digits.emb", "--key", "grant.key"], 2,
         "UsageError[usage]: expected a RECORD or --devices with some, got no device"),
        (["digits.emb", "--devices", "empty", "--key", "grant.key"], 2,
         "UsageError[usage]: expected a RECORD or --devices with some, got no device"),
        (["digits.emb", "camera-17.pub", "--key", "grant.key", "-o", "digits.grant"], 6,
         "ConfigurationError[invalid]: digits.grant: expected no file of that name"),
        (["digits.emb", "gateway.pub", "--key", "grant.key"], 6, ("InputError[argument]: "
         "gateway.pub: expected the record of a device, got one of a gateway")),
        (["digits.emb", "digits.txt", "--key", "grant.key"], 3,
         "MalformedBundleError[record]: digits.txt: a public record: expected JSON"),
        (["digits.emb", "no.pub", "--key", "grant.key"], 6, "ConfigurationError[missing]: no.pub"),
        (["digits.emb", "camera-17.pub", "camera-17.pub", "--key", "grant.key"], 6,
         "InputError[argument]: camera-17.pub: expected each device once, got "),
        (["digits.emb", "--devices", "bad.jsonl", "--key", "grant.key"], 3,
         "MalformedBundleError[record]: bad.jsonl, line 3: a public record: "),
        (["digits.emb", "camera-17.pub", "--key", "grant.key", "--content-key", "other.key"], 3,
         "KeyUnavailableError[no-key]: expected the content key of demo/digits, got another"),
        (["digits.emb", "camera-17.pub", "--key", "grant.key", "--content-key", "no.key"], 3,
         "KeyUnavailableError[no-key]: no.key: expected a key file, got none"),
        (["digits.emb", "camera-17.pub", "--key", "grant.key", "--content-key", "grant.key"], 3,
         "MalformedBundleError[key-file]: a key file: expected"),
        (["unsigned.emb", "camera-17.pub", "--key", "grant.key"], 3,
         "KeyUnavailableError[no-key]: unsigned.content.key: expected a key file, got none"),
        (["digits.emb", "camera-17.pub", "--key", "grant.key", "--attach"], 6,
         "InputError[argument]: expected a bundle that nobody has signed yet, got a signed one"),
        (["digits.emb", "camera-17.pub", "camera-18.pub", "--key", "grant.key", "-o", "-"], 2,
         "UsageError[usage]: expected a folder for several grants, got standard output"),
        (["digits.emb", "camera-17.pub", "camera-18.pub", "--key", "grant.key", "-o", "g.pub"], 6,
         "ConfigurationError[invalid]: g.pub: expected a folder, got: File exists"),
        (["-", "camera-17.pub", "--key", "grant.key"], 2,
         "UsageError[usage]: expected --content-key FILE for a bundle on standard input, got none"),
        (["digits.tflite", "camera-17.pub", "--key", "grant.key", "--content-key",
          "digits.content.key"], 3, "MalformedBundleError[prelude]: "),
        (["digits.emb", "camera-17.pub", "--key", "camera.key"], 3,
         "KeyUnavailableError[no-key]: camera.key: expected a key file"),
    ],
)  # fmt: skip
def test_grant_says_what_is_wrong(workshop, arguments, code, line):
    folder = workshop.folder
    (folder / "empty").mkdir()
    (folder / "g.pub").touch()
    good = (folder / "camera-17.pub").read_text()
    (folder / "bad.jsonl").write_text(f"{good}\n\n{good[:-40]}\n")
    with ContentKey.generate() as other:
        other.save(folder / "other.key")
    if "digits.grant" not in arguments:
        (folder / "digits.grant").unlink()
    before = {path: digest(path) for path in folder.rglob("*") if path.is_file()}
    workshop.refuses("grant", *arguments, code=code, line=line)
    assert {path: digest(path) for path in folder.rglob("*") if path.is_file()} == before


def test_a_name_is_as_long_as_a_record_holds():
    assert options.LONGEST_LABEL == LONGEST_LABEL


def test_new_files_follow_the_umask(workshop):
    before = os.umask(0o077)
    try:
        workshop(
            "grant", "digits.emb", "camera-17.pub", "--key", "grant.key", "-o", "private.grant"
        )
    finally:
        os.umask(before)
    assert stat.S_IMODE((workshop.folder / "private.grant").stat().st_mode) == 0o600
