"""inspect, bench, doctor, demo."""

from __future__ import annotations

import re
import shutil
import sys
import types

import pytest

import networks
from edgesdk import interpreter
from edgesdk.cli import doctor_machine
from edgesdk.cli.root import edgesdk
from edgesdk.keys import SecretKey
from edgesdk.record import PublicRecord
from fixtures_cli import NAMES, PACK, ROOT
from test_cli import loaded_by

pytestmark = pytest.mark.filterwarnings("default:expected .* locked memory:RuntimeWarning")


# ---- inspect


def test_inspects_a_bundle_without_any_key(workshop):
    for path in workshop.folder.rglob("*.key"):
        path.unlink()
    document = workshop.json("inspect", "digits.emb")
    size = (workshop.folder / "digits.emb").stat().st_size
    assert (document["type"], document["file"], document["bytes"]) == ("bundle", "digits.emb", size)
    assert (document["model_id"], document["model_version"]) == ("demo/digits", "1.0")
    assert (document["sequence"], document["epoch"], document["golden"]) == (1, 0, 3)
    assert document["sizes"]["payload"] + document["sizes"]["manifest"] < size
    assert sum(v for k, v in document["sizes"].items() if k != "model") + 64 == size
    assert [each["algorithm"] for each in document["signatures"]] in (
        ["ed25519", "ml-dsa-65"],
        ["ml-dsa-65", "ed25519"],
    )
    assert {"name": "CONV_2D", "version": 3} in document["operators"]
    assert document["contract"]["outputs"][0]["labels"] == list(NAMES)
    assert document["recipients"] == []
    out = workshop("inspect", "digits.emb").out
    assert "a bundle (nothing here has been verified)" in out
    assert "by an unknown signer, key " in out
    assert "10 labels" in out


def test_inspect_names_the_signers_that_a_trust_file_knows(workshop):
    document = workshop.json("inspect", "digits.emb", "--trust", "trust.json")
    assert {each["name"] for each in document["signatures"]} == {"release"}
    assert (
        "ed25519 by release, key " in workshop("inspect", "digits.emb", "--trust", "trust.json").out
    )
    document = workshop.json("inspect", "digits.grant", "--trust", "trust.json")
    assert {each["name"] for each in document["signatures"]} == {"grant"}


def test_inspect_shows_what_a_bundle_is_restricted_to(workshop):
    workshop("pack", "digits.tflite", *PACK, "-o", "x.emb", "--vendor-id", "acme", "--class-id",
             "cam", "--licence", "MIT", "--not-before", "2027-01-01", "--expires", "2028-01-01",
             "--colour", "gray", "--mean", "0.5", "--std", "0.25")  # fmt: skip
    out = workshop("inspect", "x.emb").out
    for text in ("vendor      acme", "class       cam", "licence     MIT", "2027-01-01 00:00:00",
                 "2028-01-01 00:00:00", "gray", "(x - 0.5) / 0.25", "none yet"):  # fmt: skip
        assert text in out


def test_inspect_counts_the_recipients(workshop, monkeypatch):
    workshop("grant", "unsigned.emb", "camera-17.pub", "camera-18.pub", "--key", "grant.key",
             "--content-key", "digits.content.key", "--attach")  # fmt: skip
    assert len(workshop.json("inspect", "unsigned.emb")["recipients"]) == 2
    name = PublicRecord.parse((workshop.folder / "camera-17.pub").read_bytes()).name
    assert name in workshop("inspect", "unsigned.emb").out
    monkeypatch.setattr("edgesdk.cli.inspect_bundle._SHOWN_RECIPIENTS", 1)
    assert "and 1 more" in workshop("inspect", "unsigned.emb").out


def test_inspects_a_model(workshop):
    document = workshop.json("inspect", "digits.tflite")
    model = interpreter.Interpreter(str(workshop.folder / "digits.tflite"))
    model.allocate_tensors()
    assert document["type"] == "model"
    assert document["operators"] == [
        {name: each[name] for name in ("name", "version", "kernel", "macs")}
        for each in model.operator_details()
    ]
    assert document["macs"] == sum(each["macs"] for each in model.operator_details()) == 1776
    assert document["memory"]["packed_bytes"] == model.memory()["packed"]
    assert document["contract"]["inputs"][0] == {
        "name": "image",
        "dtype": "int8",
        "shape": [1, 8, 8, 1],
        "shape_signature": None,
        "scale": pytest.approx(1 / 255),
        "zero_point": -128,
        "colour": None,
        "mean": None,
        "std": None,
        "labels": None,
    }
    out = workshop("inspect", "digits.tflite").out
    assert re.search(r"DEPTHWISE_CONV_2D +v3 +dwconv, float32 rounding +576\n", out)
    assert "0.00392157 * (q + 128)" in out


def test_inspects_a_model_by_a_pipe(workshop):
    data = (workshop.folder / "digits.tflite").read_bytes()
    assert "a TensorFlow Lite model, 5,552 bytes" in workshop("inspect", "-", stdin=data).out


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("release.key", "signer"),
        ("gateway.key", "gateway"),
        ("home/device.key", "device"),
        ("digits.content.key", "content"),
    ],
)
def test_inspects_key_files_and_never_shows_a_secret(workshop, name, kind):
    document = workshop.json("inspect", name)
    assert (document["type"], document["kind"]) == ("key", kind)
    if kind == "content":
        assert document["algorithms"] == ["content-key"]
        assert document["device_name"] is None
    else:
        key = SecretKey.parse((workshop.folder / name).read_bytes())
        assert document["kid"] == key.kid.hex()
        assert document["device_name"] == key.name
        assert document["algorithms"] == [algorithm.label for algorithm in key.public()]
    owner = "bundle" if kind == "content" else kind
    assert f"the key of a {owner}, " in workshop("inspect", name).out


def test_inspects_records_grants_and_trust_files(workshop):
    document = workshop.json("inspect", "camera-17.pub")
    assert (document["type"], document["kind"], document["name"]) == (
        "record",
        "device",
        "camera-17",
    )
    document = workshop.json("inspect", "digits.grant")
    assert (document["type"], document["model_id"], document["not_after"]) == (
        "grant",
        "demo/digits",
        None,
    )
    document = workshop.json("inspect", "trust.json")
    assert (document["type"], document["version"]) == ("trust", 1)
    assert document["roles"]["grant"]["threshold"] == 1
    for name, text in (
        ("camera-17.pub", "a public record, signed by its own keys"),
        ("digits.grant", "a grant (nothing here has been verified)"),
        ("trust.json", "a trust file, signed by its own role root"),
    ):
        assert text in workshop("inspect", name).out


def test_inspect_follows_links_for_it_believes_nothing(workshop):
    (workshop.folder / "link.pub").symlink_to("release.pub")
    assert workshop.json("inspect", "link.pub")["type"] == "record"


@pytest.mark.parametrize(
    ("name", "code", "line"),
    [
        ("no.emb", 6, "ConfigurationError[missing]: no.emb: expected a file, got none"),
        ("home", 6, "InputError[argument]: home: expected a regular file, got"),
        ("digits.txt", 6, ("InputError[argument]: expected a bundle, model, key, record, grant, "
                          "claim or trust file, got something else")),
        ("other.json", 6, ("InputError[argument]: expected a bundle, model, key, record, grant, "
                          "claim or trust file, got another document")),
        ("broken.json", 6, "InputError[argument]: a document: expected JSON, got "),
        ("short.emb", 3, "MalformedBundleError[prelude]: a bundle: expected at least 64 bytes"),
        ("open.key", 3, "KeyUnavailableError[key-permissions]: open.key: "),
        ("broken.key", 3, "MalformedBundleError[key-file]: a key file: expected"),
        ("forged.pub", 3, "SignatureError[signature]: "),
        ("unsupported.tflite", 4, "UnsupportedOperatorError[unsupported-operator]: "),
    ],
)  # fmt: skip
def test_inspect_says_what_is_wrong(workshop, name, code, line):
    folder = workshop.folder
    (folder / "other.json").write_text('{"payloadType":"application/x"}')
    (folder / "broken.json").write_text('{"payloadType":}')
    (folder / "short.emb").write_bytes(b"EDGEMB\x01\n")
    (folder / "open.key").write_bytes((folder / "release.key").read_bytes())
    (folder / "open.key").chmod(0o640)
    (folder / "broken.key").write_bytes((folder / "release.key").read_bytes()[:50])
    (folder / "broken.key").chmod(0o600)
    forged = (folder / "camera-17.pub").read_text()
    (folder / "forged.pub").write_text(forged.replace('"sig":"', '"sig":"AAAA', 1)[: len(forged)])
    text = (folder / "camera-17.pub").read_bytes()
    end = text.index(b'=="}]') - 2
    (folder / "forged.pub").write_bytes(text[: end - 4] + b"AAAA" + text[end:])
    net = networks.Network(1)
    x = net.input([1, 4])
    (folder / "unsupported.tflite").write_bytes(
        net.build(net.unary("STABLEHLO_TANH", x, version=1))
    )
    workshop.refuses("inspect", name, code=code, line=line)


def test_a_key_file_by_a_pipe_is_refused(workshop):
    data = (workshop.folder / "release.key").read_bytes()
    workshop.refuses("inspect", "-", stdin=data, code=6,
                     line="InputError[argument]: expected a key file by its name")  # fmt: skip


def test_inspecting_a_plain_model_needs_no_cryptography(workshop, environment):
    path = str(workshop.folder / "digits.tflite")
    assert "cryptography" not in loaded_by("inspect", path, environment=environment)
    assert "cryptography" not in loaded_by(
        "bench", path, "--seconds", "0.01", environment=environment
    )


# ---- bench


def test_bench_compares_kernels_and_threads(workshop):
    document = workshop.json("bench", "digits.tflite", "--seconds", "0.02", "--threads", "1,2")
    isas = interpreter.machine()["isa"]
    assert document["macs"] == 1776
    assert document["threads_available"] == interpreter.machine()["threads"]
    assert [(each["isa"], each["threads"]) for each in document["results"]] == [
        (isa, threads) for isa in isas for threads in (1, 2)
    ]
    for each in document["results"]:
        assert each["runs"] >= 10
        assert 0 < each["p10_seconds"] <= each["median_seconds"] <= each["p90_seconds"]
        assert each["gmac_per_second"] == pytest.approx(1776 / each["median_seconds"] / 1e9)


def test_bench_of_a_bundle(workshop):
    document = workshop.json("bench", "digits.emb", "--seconds", "0.01", "--isa", "scalar")
    assert [each["isa"] for each in document["results"]] == ["scalar"]


def test_bench_tells_people(workshop):
    lines = workshop("bench", "digits.tflite", "--seconds", "0.01").out.splitlines()
    assert lines[0] == "digits.tflite: 1,776 multiply-accumulates a run"
    header = ["isa", "threads", "p10", "ms", "median", "ms", "p90", "ms", "GMAC/s", "runs"]
    assert lines[2].split() == header


def test_bench_says_when_there_are_fewer_processors(workshop):
    out = workshop("bench", "digits.tflite", "--seconds", "0.01", "--threads", "1024").out
    assert "no more threads than that ran" in out


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["no.tflite"], 6, "ConfigurationError[missing]: no.tflite"),
        (["digits.tflite", "--threads", "1,0"], 6,
         "InputError[argument]: --threads: expected 1 to 1024, got '0'"),
        (["digits.tflite", "--isa", "mmx"], 4, "IsaError[isa]: "),
        (["unsigned.emb"], 3, "SignatureError[unsigned]: "),
    ],
)  # fmt: skip
def test_bench_says_what_is_wrong(workshop, arguments, code, line):
    workshop.refuses("bench", *arguments, "--seconds", "0.01", code=code, line=line)


# ---- doctor


def test_doctor_shows_the_machine(workshop):
    document = workshop.json("doctor")
    here = interpreter.machine()
    assert document["processor"]["isa"] == here["isa"]
    assert document["processor"]["isa_default"] == here["isa_default"]
    assert document["processor"]["threads"] == here["threads"]
    assert sum(map(len, document["kernels"].values())) == len(here["kernels"])
    assert document["memory"]["locks_bytes"] >= 0
    assert document["libraries"]["numpy"]
    assert document["extras"]["cli"]["click"]
    assert document["keys"]["providers"]["exec"] is True
    configuration = document["configuration"]
    assert configuration["exists"] is True
    assert configuration["trust_file"] == {"version": 1, "epoch": 0, "expires": None}
    record = PublicRecord.parse((workshop.folder / "camera-17.pub").read_bytes())
    assert configuration["device_key"] == {
        "device_name": record.name,
        "kid": record.kid.hex(),
    }
    assert configuration["gateway"]["name"] == "gateway"
    assert configuration["floors"] == {"epoch": 0, "time": 0, "revocation": 0, "models": {}}
    assert [p for p in document["problems"] if p["grade"] == "fault"] == []
    out = workshop("doctor").out
    for section in ("machine", "processor", "kernels", "memory", "clock", "libraries", "extras",
                    "keys", "configuration"):  # fmt: skip
        assert f"{section}\n  " in out
    assert f"of {record.name}" in out


def test_doctor_of_a_machine_that_is_no_device(cli):
    document = cli.json("doctor")
    assert document["configuration"] == {"folder": str(cli.folder / "home"), "exists": False}
    assert "`edgesdk device init` makes it" in cli("doctor").out


@pytest.mark.parametrize("mode", [0o000, 0o400, 0o600])
def test_doctor_may_not_look_into_the_folder(workshop, powerless, mode):
    """As an ordinary user may not into that of a device's service."""
    home = workshop.folder / "home"
    home.chmod(mode)
    try:
        ended = powerless("doctor", "--json", code=6)
    finally:
        home.chmod(0o700)
    assert ended.error.startswith(f"error: {FAULTS}")
    assert "may look into" in problem(ended.document, "configuration")["message"]
    assert ended.document["libraries"]["numpy"]


def problem(document, about):
    found = [each for each in document["problems"] if each["about"] == about]
    assert found, document["problems"]
    return found[0]


FAULTS = "ConfigurationError[invalid]: expected a machine without faults, got 1 fault"


@pytest.mark.parametrize(
    ("about", "text", "spoil"),
    [
        ("device key", "KeyUnavailableError[key-permissions]",
         lambda home: (home / "device.key").chmod(0o644)),
        ("device key", "MalformedBundleError[key-file]",
         lambda home: (home / "device.key").write_bytes(b"x")),
        ("trust file", "ConfigurationError[permissions]",
         lambda home: (home / "trust.json").chmod(0o666)),
        ("trust file", "MalformedBundleError[trust-file]",
         lambda home: (home / "trust.json").write_text("{}")),
        ("gateway", "expected the record of a gateway, got one of a signer",
         lambda home: (home / "gateway.pub").write_bytes(
             (home.parent / "release.pub").read_bytes())),
        ("floors", "StateError[state]: expected the floors of this device",
         lambda home: shutil.rmtree(home / "state")),
        ("configuration", "expected a folder that only its owner may write, got mode 0777",
         lambda home: home.chmod(0o777)),
    ],
)  # fmt: skip
def test_doctor_finds_what_is_wrong_with_the_configuration(workshop, about, text, spoil):
    spoil(workshop.folder / "home")
    ended = workshop.refuses("doctor", code=6, line=FAULTS)
    assert f"fault  {about}: " in ended.out
    document = workshop.json("doctor", code=6)
    assert problem(document, about)["grade"] == "fault"
    assert text in problem(document, about)["message"]


def test_doctor_finds_a_trust_file_that_has_expired(workshop, monkeypatch):
    workshop("trust", "init", "--root", "root.pub", "--release", "release.pub", "--grant",
             "grant.pub", "--key", "root.key", "--expires", "2020-01-01", "-o", "t")  # fmt: skip
    (workshop.folder / "home" / "trust.json").write_bytes((workshop.folder / "t").read_bytes())
    document = workshop.json("doctor", code=6)
    assert "got one until 2020-01-01" in problem(document, "trust file")["message"]
    del monkeypatch


def test_doctor_finds_a_clock_that_is_wrong(workshop, monkeypatch):
    monkeypatch.setattr("time.time", lambda: 86_400.0)
    ended = workshop("doctor", code=6)
    assert "fault  clock: expected a time after 2026-01-01" in ended.out
    assert "warning  clock: the trust file was made" in ended.out


def test_doctor_looks_at_the_floors(workshop):
    assert "epoch 0, time never, no model" in workshop("doctor").out
    workshop("run", "digits.emb", "--random")
    assert "demo/digits from sequence 1" in workshop("doctor").out
    (workshop.folder / "home" / "state" / "floors.a").write_bytes(b"rotten")
    document = workshop.json("doctor")
    assert document["configuration"]["floors"]["models"] == {"demo/digits": 1}
    found = problem(document, "floors")
    assert found["grade"] == "warning"
    assert "floors.a: expected a copy of the floors, got 6 bytes; the other" in found["message"]
    shutil.rmtree(workshop.folder / "home" / "state")
    (workshop.folder / "home" / "floors.required").unlink()
    assert workshop.json("doctor")["configuration"]["floors"] is None
    assert "floors         none: older releases load as well" in workshop("doctor").out


def test_doctor_looks_at_grants(workshop):
    grants = workshop.folder / "home" / "grants"
    (grants / "good.grant").write_bytes((workshop.folder / "digits.grant").read_bytes())
    (grants / "bad.grant").write_bytes(b"{")
    document = workshop.json("doctor")
    assert document["configuration"]["grants"] == ["demo/digits (sequence 1)"]
    assert "bad.grant: MalformedBundleError[grant]" in problem(document, "grants")["message"]


def test_doctor_says_that_the_core_is_missing(workshop, without_core):
    ended = without_core("doctor", code=6)
    assert "missing: models run in the cloud only" in ended.out
    assert "fault  core: IsaError[core-missing]: " in ended.out
    assert ended.error.startswith(f"error: {FAULTS}")
    del workshop


def test_doctor_warns_of_locks_swap_and_scalar_kernels(cli, monkeypatch):
    class Unlocked:
        def __init__(self, size):
            del size
            self.locked = 0

        def close(self):
            pass

    here = {**interpreter.machine(), "isa": ["scalar"], "isa_default": "scalar"}
    monkeypatch.setattr("edgesdk.interpreter.LockedMemory", Unlocked)
    monkeypatch.setattr("edgesdk.interpreter.machine", lambda: here)
    monkeypatch.setattr(doctor_machine, "_swap", lambda: True)
    document = cli.json("doctor")
    assert "only 0 bytes can be locked" in problem(document, "memory")["message"]
    assert "LimitMEMLOCK" in problem(document, "memory")["hint"]
    assert "models are slow" in problem(document, "kernels")["message"]
    monkeypatch.setattr(doctor_machine, "_swap", lambda: False)
    assert [each["about"] for each in cli.json("doctor")["problems"]] == ["kernels"]


def test_doctor_looks_at_libraries(cli, monkeypatch):
    versions = {"numpy": "2.4.6", "tflite-runtime": "2.14.0", "paho-mqtt": None}
    real = doctor_machine._version
    monkeypatch.setattr(doctor_machine, "_version", lambda name: versions.get(name, real("numpy")))
    document = cli.json("doctor", code=6)
    assert problem(document, "libraries")["message"] == "expected paho-mqtt, got none"
    assert problem(document, "extras")["hint"] == 'pip install "numpy<2"'


def test_doctor_knows_the_extras_of_the_project():
    tomllib = pytest.importorskip("tomllib")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    for extra, names in doctor_machine.EXTRAS.items():
        required = [re.match(r"[A-Za-z0-9-]+", each)[0] for each in extras[extra]]
        own = [each for each in required if each not in {"edgesdk", "numpy"}]
        assert list(names) == own, extra
    assert set(doctor_machine.EXTRAS) == set(extras) - {"fuzz", "lint", "test"}


# ---- demo


def test_demo_calls_the_demo(cli, monkeypatch):
    called = []

    def run(report, *, console):
        called.append(report)
        console.print("digits")
        return 0

    monkeypatch.setitem(sys.modules, "edgesdk.demo", types.SimpleNamespace(run=run))
    ended = cli("demo", "--report", "reports/demo")
    assert ended.out == "digits\n"
    assert (cli.folder / "reports" / "demo").is_dir()
    ended = cli("demo", "--report", "reports/demo", "--json")
    assert ended.document == {"report": "reports/demo", "status": 0}
    assert ended.err == "digits\n"
    assert [str(path) for path in called] == ["reports/demo"] * 2


def test_demo_passes_its_status_on(cli, monkeypatch):
    demo = types.SimpleNamespace(run=lambda *_, **__: 1)
    monkeypatch.setitem(sys.modules, "edgesdk.demo", demo)
    assert cli("demo", "--json", code=1).document == {"report": "edgesdk-demo", "status": 1}
    assert edgesdk.name == "edgesdk"
