"""claim, pack --evidence, verify --policy, inspect, trust init --auditor."""

from __future__ import annotations

import stat

import pytest

from edgesdk.bundle import Bundle, Manifest
from edgesdk.claim import ClaimFile
from fixtures_cli import PACK

pytestmark = pytest.mark.filterwarnings("default:expected .* locked memory:RuntimeWarning")

CLAIM = ("claim", "digits.tflite", "claims.toml", "--model-id", "demo/digits")


def salt_of(path):
    return ClaimFile.parse(path.read_bytes()).salt


def test_claim_makes_a_file_for_the_publisher(workshop):
    document = workshop.json(*CLAIM, "--key", "auditor.key", "--expires", "30d", "-o", "new.claim")
    path = workshop.folder / "new.claim"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    made = ClaimFile.parse(path.read_bytes()).statement
    assert document["claim"] == "new.claim"
    assert document["digest"] == made.digest.hex()
    assert document["expires"] == made.expires
    assert made.expires - made.created in range(30 * 86_400 - 5, 30 * 86_400 + 5)
    assert document["claims"][0]["ppm"] == 934_000
    assert len(document["signatures"]) == 2


def test_several_auditors_sign_one_statement(workshop):
    workshop(*CLAIM, "--key", "auditor.key", "--key", "stranger.key", "-o", "both.claim")
    document = workshop.json("inspect", "both.claim", "--trust", "trust.json")
    names = [each["name"] for each in document["signatures"]]
    assert sorted(map(str, names)) == ["None", "None", "auditor", "auditor"]


@pytest.mark.usefixtures("workshop")
def test_claims_by_pipes(shell):
    ended = shell(
        "edgesdk claim - claims.toml --model-id demo/digits --key auditor.key < digits.tflite"
    )
    assert ClaimFile.parse(ended.stdout).statement.model_id == "demo/digits"


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["digits.tflite", "policy.toml", "--model-id", "a"], 6, "InputError[argument]: "),
        (["digits.tflite", "no.toml", "--model-id", "a"], 6, "ConfigurationError[missing]: no."),
        (["no.tflite", "claims.toml", "--model-id", "a"], 6, "ConfigurationError[missing]: no.tfl"),
        (["digits.tflite", "claims.toml", "--model-id", "A"], 6,
         "InputError[argument]: expected a model id like door/person, got 'A'"),
        (["digits.tflite", "claims.toml", "--model-id", "a", "--expires", "2020-01-01"], 6,
         "InputError[argument]: expected an expiry after"),
    ],
)  # fmt: skip
def test_claim_says_what_is_wrong(workshop, arguments, code, line):
    command = ("claim", *arguments, "--key", "auditor.key", "-o", "x.claim")
    workshop.refuses(*command, code=code, line=line)
    assert not (workshop.folder / "x.claim").exists()


def test_nothing_is_overwritten(workshop):
    workshop.refuses(*CLAIM, "--key", "auditor.key", code=6,
                     line="ConfigurationError[invalid]: digits.claim: ")  # fmt: skip


def test_pack_puts_the_evidence_in(workshop):
    bundle = Bundle.parse((workshop.folder / "audited.emb").read_bytes())
    (entry,) = Manifest.parse(bundle.manifest_bytes).evidence
    assert (
        entry.statement
        == ClaimFile.parse((workshop.folder / "digits.claim").read_bytes()).statement
    )
    document = workshop.json(
        "pack", "digits.tflite", *PACK, "--evidence", "digits.claim", "-o", "again.emb"
    )
    assert document["claims"] == 2


@pytest.mark.parametrize(
    ("file", "code", "line"),
    [
        ("no.claim", 6, "ConfigurationError[missing]: no.claim"),
        ("trust.json", 3, "MalformedBundleError[claim]: "),
        (
            "other.claim",
            6,
            "InputError[argument]: expected claims about demo/digits, got some",
        ),
        (
            "bytes.claim",
            6,
            "InputError[argument]: expected claims about these bytes of",
        ),
    ],
)
def test_pack_refuses_evidence_that_no_device_could_use(workshop, file, code, line):
    cloud = (workshop.folder / "digits.tflite").read_bytes() + b"x"
    (workshop.folder / "longer.tflite").write_bytes(cloud)
    for model, model_id, name in (
        ("digits.tflite", "demo/other", "other"),
        ("longer.tflite", "demo/digits", "bytes"),
    ):
        workshop("claim", model, "claims.toml", "--model-id", model_id, "--key", "auditor.key",
                 "-o", f"{name}.claim")  # fmt: skip
    workshop.refuses("pack", "digits.tflite", *PACK, "--evidence", file, "-o", "x.emb",
                     code=code, line=line)  # fmt: skip
    assert not (workshop.folder / "x.emb").exists()
    assert not (workshop.folder / "x.content.key").exists()


# ---- looking


def test_inspect_shows_claims(workshop):
    document = workshop.json("inspect", "audited.emb", "--trust", "trust.json")
    (statement,) = document["evidence"]
    assert [each["kind"] for each in statement["claims"]] == ["accuracy", "licence"]
    assert {each["name"] for each in statement["signatures"]} == {"auditor"}
    lines = workshop("inspect", "audited.emb", "--trust", "trust.json").out.splitlines()
    (line,) = [line for line in lines if line.startswith("accuracy 934,000 ppm")]
    assert line.split("  ")[1] == "auditor"
    assert "unknown signers" in workshop("inspect", "audited.emb").out
    assert workshop.json("inspect", "digits.emb")["evidence"] == []


def test_inspect_never_shows_the_salt(workshop):
    salt = salt_of(workshop.folder / "digits.claim")
    document = workshop.json("inspect", "digits.claim")
    assert (document["type"], document["model_id"]) == ("claim", "demo/digits")
    told = workshop("inspect", "digits.claim").out
    assert "nothing here has been verified" in told
    for said in workshop.seen:
        assert salt.hex().encode() not in said


# ---- demanding


def rule(workshop, *changes, name="other.toml"):
    text = (workshop.folder / "policy.toml").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (workshop.folder / name).write_text(text)
    return name


def test_verify_tells_that_demands_are_met(workshop):
    document = workshop.json("verify", "audited.emb", "--policy", "policy.toml", "--deep")
    assert [each["met"] for each in document["evidence"]] == [True, True]
    (told,) = [each for each in document["checks"] if each["check"] == 7]
    assert (told["ok"], told["detail"]) == (True, "2 demands met")
    (told,) = [each for each in document["checks"] if each["check"] == 10]
    assert told["detail"].startswith("the claims are about these bytes; ")
    lines = workshop("verify", "audited.emb", "--policy", "policy.toml").out.splitlines()
    assert [line for line in lines if line.startswith("verdict")] == ["verdict  accepted"] * 2
    assert workshop.json("verify", "audited.emb")["evidence"] == []


@pytest.mark.parametrize(
    ("changes", "reason", "told"),
    [
        ([("900_000", "934_001")], "claim-weak", "expected at least 934,001 ppm, got 934,000 ppm"),
        ([("ab" * 32, "cd" * 32)], "claim-subject", "expected dataset cdcd"),
        ([("300", "361")], "claim-weak", "expected samples at least 361, got 360"),
        ([('["auditor"]', '["lab"]')], "claim-signer", "expected a claim by lab, got one by aud"),
        ([('"licence"', '"owner"'), ("spdx", "name")], "claim-missing",
         "expected a claim of owner, got none"),
        ([('["Apache-2.0", "MIT"]', '["apache-2.0"]')], "claim-weak",
         "expected one of apache-2.0, got Apache-2.0"),
    ],
)  # fmt: skip
def test_verify_explains_a_refusal(workshop, changes, reason, told):
    name = rule(workshop, *changes)
    ended = workshop.refuses("verify", "audited.emb", "--policy", name, code=3,
                             line=f"EvidenceError[{reason}]: ")  # fmt: skip
    assert f"FAILED  7  evidence        EvidenceError[{reason}]" in ended.out
    assert f"[{reason}]: {told}" in ended.out.replace(f"{reason}]: accuracy: ", f"{reason}]: ")
    document = workshop.json("verify", "audited.emb", "--policy", name, code=3)
    assert not document["verified"]
    assert [each["reason"] for each in document["evidence"] if not each["met"]] == [reason]
    assert document["checks"][-1]["check"] == 7
    # The demand is the policy's alone: the bundle is as good as before.
    assert workshop.json("verify", "audited.emb", "--deep")["verified"]


def test_verify_asks_at_another_time(workshop):
    workshop.refuses("verify", "audited.emb", "--policy", "policy.toml", "--now", "2040-01-01",
                     code=3, line="EvidenceError[claim-expired]: ")  # fmt: skip


def test_the_policy_of_the_folder_holds_unless_another_is_named(workshop):
    rule(workshop, ("900_000", "940_000"), name="home/policy.toml")
    line = "EvidenceError[claim-weak]: accuracy: expected at least 940,000 ppm"
    workshop.refuses("verify", "audited.emb", code=3, line=line)
    workshop.refuses("run", "audited.emb", "--random", code=3, line=line)
    workshop("verify", "audited.emb", "--policy", "policy.toml")
    (workshop.folder / "home" / "policy.toml").chmod(0o666)
    workshop.refuses("verify", "audited.emb", code=6, line="ConfigurationError[permissions]: ")


def test_a_policy_with_a_mistake(workshop):
    name = rule(workshop, ("min_ppm", "minimum"))
    workshop.refuses("verify", "audited.emb", "--policy", name, code=6,
                     line="ConfigurationError[invalid]: a policy: policy.require: ")  # fmt: skip


# ---- trust


def test_auditors_are_optional(workshop):
    roles = ("--root", "root.pub", "--release", "release.pub", "--grant", "grant.pub")
    document = workshop.json("trust", "init", *roles, "--key", "root.key", "-o", "none.json")
    assert set(document["roles"]) == {"root", "release", "grant"}
    workshop.refuses("verify", "audited.emb", "--policy", "policy.toml", "--trust", "none.json",
                     code=3, line="EvidenceError[claim-signer]: ")  # fmt: skip
    document = workshop.json(
        "trust", "init", *roles, "--auditor", "auditor.pub", "--auditor", "stranger.pub",
        "--threshold", "auditor=2", "--scope", "auditor=demo/*", "--key", "root.key",
        "-o", "two.json",
    )  # fmt: skip
    auditor = document["roles"]["auditor"]
    assert (auditor["threshold"], auditor["scope"]) == (2, ["demo/*"])
    workshop.refuses("verify", "audited.emb", "--policy", "policy.toml", "--trust", "two.json",
                     code=3, line="EvidenceError[claim-signer]: ")  # fmt: skip
