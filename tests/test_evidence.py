"""Policies, and check 7: the attacks on it, each with its reason."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import edgesdk
import networks
from edgesdk import encryption
from edgesdk.bundle import Bundle
from edgesdk.claim import FORMS, Evidence, Statement
from edgesdk.envelope import Domain, Envelope
from edgesdk.errors import (
    ConfigurationError,
    DecryptionError,
    EvidenceError,
    InputError,
    MalformedBundleError,
)
from edgesdk.evidence import EMPTY_POLICY, Policy
from edgesdk.keys import ContentKey
from edgesdk.limits import EVIDENCE
from edgesdk.manifest import Manifest
from edgesdk.publish import pack as publish
from edgesdk.publish.root import Members
from edgesdk.record import sign_envelope
from fixtures_evidence import DATASET, DAY, OTHER_DATASET, accuracy, claim, forged, policy
from fixtures_protect import NOW

pytestmark = pytest.mark.filterwarnings("default:expected .* locked memory:RuntimeWarning")


def refused(reason, call, /, *args, error=EvidenceError, **options):
    with pytest.raises(error) as caught:
        call(*args, **options)
    assert type(caught.value) is error
    assert caught.value.reason == reason
    return caught.value.message


def demand(kind="accuracy", bound="min_ppm = 900_000", **members):
    lines = [f"{name} = {text(value)}" for name, value in members.items()]
    return "\n".join(["[[require]]", f'claim = "{kind}"', bound, *lines])


def text(value):
    return f'"{value}"' if isinstance(value, str) else str(value)


# ---- what is met


def test_what_is_demanded_and_there(audit):
    made = audit.claim()
    verified = audit.verify(audit.bundle(made), demand(dataset=DATASET, min_samples=360))
    assert [entry.statement for entry in verified.relied] == [made.statement]


def test_a_value_exactly_at_the_bound_is_met(audit):
    bundle = audit.bundle(audit.claim(accuracy(900_000)))
    audit.verify(bundle, demand())
    refused("claim-weak", audit.verify, bundle, demand(bound="min_ppm = 900_001"))
    drop = audit.bundle(
        audit.claim(claim("int8_drop", ppm=-500, metric="f1", dataset=DATASET, samples=9))
    )
    audit.verify(drop, demand("int8_drop", "max_ppm = -500"))
    refused("claim-weak", audit.verify, drop, demand("int8_drop", "max_ppm = -501"))


def test_no_policy_demands_nothing(audit):
    for files in ((), (audit.claim(),), (forged(audit.claim()),)):
        bundle = audit.bundle(*files)
        assert audit.verify(bundle, EMPTY_POLICY).relied == ()
        assert audit.world.verify(bundle).relied == ()


def test_demands_are_for_the_models_that_they_name(audit):
    bare = audit.bundle()
    audit.verify(bare, demand(models=["gate/*", "door"]))
    for models in (["door/*"], ["gate", "door/person"], ["*"]):
        refused("claim-missing", audit.verify, bare, demand(models=models))


def test_only_what_was_relied_on_is_kept(audit):
    files = audit.claim(), audit.claim(claim("owner", name="ACME"), signers=[audit.other])
    verified = audit.verify(audit.bundle(*files), demand("owner", 'name = ["ACME"]'))
    assert [entry.statement for entry in verified.relied] == [files[1].statement]


def test_publishers_may_speak_for_themselves_where_the_policy_says_so(audit):
    own = audit.bundle(audit.claim(claim("owner", name="ACME"), signers=[audit.world.release]))
    audit.verify(own, demand("owner", 'name = ["ACME"]', role="release"))
    refused("claim-signer", audit.verify, own, demand("owner", 'name = ["ACME"]'))


# ---- each kind

GOOD = {
    "accuracy": ({"ppm": 934_000}, "min_ppm = 900_000", {"ppm": 899_999}),
    "f1": ({"ppm": 934_000}, "min_ppm = 900_000", {"ppm": 0}),
    "auroc": ({"ppm": 934_000}, "min_ppm = 900_000", {"ppm": 1}),
    "fairness_gap": ({"ppm": 50_000}, "max_ppm = 50_000", {"ppm": 50_001}),
    "dp_epsilon": ({"ppm": 8_000_000}, "max_ppm = 8_000_000", {"ppm": 8_000_001}),
    "dp_delta": ({"per_trillion": 10}, "max_per_trillion = 10", {"per_trillion": 11}),
    "robust_accuracy": ({"ppm": 700_000}, "min_ppm = 600_000", {"ppm": 500_000}),
    "int8_drop": ({"ppm": 2_000}, "max_ppm = 5_000", {"ppm": 5_001}),
    "latency": ({"microseconds": 800}, "max_microseconds = 1000", {"microseconds": 1001}),
    "licence": ({"spdx": "Apache-2.0"}, 'spdx = ["MIT", "Apache-2.0"]', {"spdx": "apache-2.0"}),
    "owner": ({"name": "ACME"}, 'name = ["ACME"]', {"name": "ACME "}),
    "dataset_hash": ({"sha256": DATASET}, f'sha256 = ["{DATASET}"]', {"sha256": OTHER_DATASET}),
    "training_code_hash": (
        {"sha256": DATASET}, f'sha256 = ["{DATASET}"]', {"sha256": OTHER_DATASET}
    ),
    "base_model": ({"name": "mobilenet"}, 'name = ["mobilenet"]', {"name": "mobilenets"}),
    "prohibited_uses": ({"uses": ["a", "b"]}, 'uses = ["b"]', {"uses": ["a", "bb"]}),
}  # fmt: skip
OTHERS = {
    "dataset": DATASET,
    "samples": 100,
    "measure": "equal_opportunity",
    "attack": "pgd-40",
    "radius_ppm": 31_373,
    "metric": "accuracy",
    "board": "cortex-a53 1.2 GHz",
    "percentile": 95,
}


def of_kind(kind, values):
    """A claim; one on privacy with the other half."""
    rest = {name: value for name, value in OTHERS.items() if name in FORMS[kind].members}
    made = [claim(kind, **{**rest, **values})]
    if kind == "dp_epsilon":
        made.append(claim("dp_delta", per_trillion=1, dataset=DATASET))
    if kind == "dp_delta":
        made.append(claim("dp_epsilon", ppm=1, dataset=DATASET))
    return made


def test_every_kind_is_tried():
    assert set(GOOD) == set(FORMS)


@pytest.mark.parametrize("kind", sorted(FORMS))
def test_a_kind_by_its_bound(audit, kind):
    good, bound, bad = GOOD[kind]
    audit.verify(audit.bundle(audit.claim(*of_kind(kind, good))), demand(kind, bound))
    weak = audit.bundle(audit.claim(*of_kind(kind, bad)))
    refused("claim-weak", audit.verify, weak, demand(kind, bound))
    refused("claim-missing", audit.verify, audit.bundle(), demand(kind, bound))


@pytest.mark.parametrize("kind", sorted(FORMS))
def test_a_kind_by_its_other_members(audit, kind):
    good, bound, _ = GOOD[kind]
    bundle = audit.bundle(audit.claim(*of_kind(kind, good)))
    for name in FORMS[kind].members:
        value = OTHERS.get(name)
        if isinstance(value, int):
            for asked in (f"min_{name}", f"max_{name}"):
                audit.verify(bundle, demand(kind, bound, **{asked: value}))
            for asked, other in ((f"min_{name}", value + 1), (f"max_{name}", value - 1)):
                refused("claim-weak", audit.verify, bundle, demand(kind, bound, **{asked: other}))
        elif value is not None:
            audit.verify(bundle, demand(kind, bound, **{name: value}))
            other = {"dataset": OTHER_DATASET, "measure": "equalized_odds", "metric": "f1"}
            asked = {name: other.get(name, f"{value}x")}
            refused("claim-subject", audit.verify, bundle, demand(kind, bound, **asked))


# ---- the attacks


def replayed(audit, domain):
    """The statement, signed by the auditor as another kind of file."""
    file = audit.claim()
    wrong = sign_envelope(Envelope(domain, file.statement.envelope.payload), audit.lab)
    return with_envelope(file, replace(wrong, domain=Domain.CLAIM))


def with_envelope(file, envelope):
    return replace(file, statement=replace(file.statement, envelope=envelope))


def halved(audit, half):
    file = audit.claim()
    found = (file.statement.envelope.signatures[half],)
    return with_envelope(file, replace(file.statement.envelope, signatures=found))


def bare(audit):
    file = audit.claim()
    return with_envelope(file, replace(file.statement.envelope, signatures=()))


def emptied(audit):
    """Signatures of no bytes, under the auditor's key ids."""
    file = audit.claim()
    envelope = file.statement.envelope
    empty = tuple(replace(each, value=b"") for each in envelope.signatures)
    return with_envelope(file, replace(envelope, signatures=empty))


def borrowed(audit):
    """Signatures under one statement, moved to a better one."""
    poor, better = audit.claim(accuracy(500_000)), audit.claim(accuracy(999_000))
    envelope = better.statement.envelope
    signatures = poor.statement.envelope.signatures
    return with_envelope(better, replace(envelope, signatures=signatures))


ATTACKS = {
    "no claim at all": (lambda _: [], {}, "claim-missing"),
    "a claim of another kind": (
        lambda a: [a.claim(claim("owner", name="ACME"))], {}, "claim-missing"),
    "by nobody": (lambda a: [bare(a)], {}, "claim-signer"),
    "by a stranger": (lambda a: [a.claim(signers=[a.world.stranger])], {}, "claim-signer"),
    "by the publisher": (lambda a: [a.claim(signers=[a.world.release])], {}, "claim-signer"),
    "by root": (lambda a: [a.claim(signers=[a.world.root])], {}, "claim-signer"),
    "by another auditor": (
        lambda a: [a.claim(signers=[a.other])], {"by": ["lab"]}, "claim-signer"),
    "by an auditor where the publisher is liable": (
        lambda a: [a.claim()], {"role": "release"}, "claim-signer"),
    "by a role that the trust file lacks": (
        lambda a: [a.claim()], {"role": "time"}, "claim-signer"),
    "by ed25519 alone": (lambda a: [halved(a, 0)], {}, "claim-signer"),
    "by ml-dsa-65 alone": (lambda a: [halved(a, 1)], {}, "claim-signer"),
    "a forged signature": (lambda a: [forged(a.claim())], {}, "claim-signature"),
    "a forged one beside a good one": (
        lambda a: [a.claim(), forged(a.claim())], {}, "claim-signature"),
    "signatures of no bytes": (lambda a: [emptied(a)], {}, "claim-signature"),
    "a signature under another statement": (lambda a: [borrowed(a)], {}, "claim-signature"),
    "signed as a grant": (lambda a: [replayed(a, Domain.GRANT)], {}, "claim-signature"),
    "signed as a bundle": (lambda a: [replayed(a, Domain.BUNDLE)], {}, "claim-signature"),
    "on another data set": (
        lambda a: [a.claim(accuracy(dataset=OTHER_DATASET))], {}, "claim-subject"),
    "on too few samples": (lambda a: [a.claim(accuracy(samples=1))], {}, "claim-weak"),
    "too low": (lambda a: [a.claim(accuracy(899_999))], {}, "claim-weak"),
    "zero": (lambda a: [a.claim(accuracy(0))], {}, "claim-weak"),
    "two that contradict each other": (
        lambda a: [a.claim(accuracy(950_000)), a.claim(accuracy(850_000), signers=[a.other])],
        {}, "claim-weak"),
    "two in one statement": (
        lambda a: [a.claim(accuracy(950_000), accuracy(850_000))], {}, "claim-weak"),
    "its time is over": (
        lambda a: [a.claim(created=NOW - 9, expires=NOW)], {}, "claim-expired"),
    "too old": (
        lambda a: [a.claim(created=NOW - 30 * DAY - 1)], {"max_age_days": 30}, "claim-expired"),
    "from the future": (
        lambda a: [a.claim(created=NOW + 301)], {"max_age_days": 30}, "claim-expired"),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks(audit, name):
    make, members, reason = ATTACKS[name]
    bundle = audit.bundle(*make(audit))
    asked = demand(**{"dataset": DATASET, "min_samples": 300} | members)
    refused(reason, audit.verify, bundle, asked)
    # Nothing else has changed: for whom it is no matter, the same bytes are good.
    assert audit.verify(bundle, EMPTY_POLICY).bundle.encode() == bundle


def test_a_demand_that_is_met_does_not_hide_one_that_is_not(audit):
    bundle = audit.bundle(audit.claim())
    two = [demand(), demand("licence", 'spdx = ["MIT"]')]
    for order in (two, two[::-1]):
        refused("claim-missing", audit.verify, bundle, "\n".join(order))


def test_claims_at_the_borders_of_their_time(audit):
    month = demand(max_age_days=30)
    audit.verify(audit.bundle(audit.claim(created=NOW - 30 * DAY)), month)
    audit.verify(audit.bundle(audit.claim(created=NOW + 300)), month)
    audit.verify(audit.bundle(audit.claim(created=NOW - 9, expires=NOW + 1)), month)


def test_claims_that_do_not_count_spoil_nothing(audit):
    """Old ones, others' and those on other data: a publisher need not remove them."""
    files = [
        audit.claim(accuracy(1), created=NOW - 90 * DAY),
        audit.claim(accuracy(2), signers=[audit.world.stranger]),
        audit.claim(accuracy(3, dataset=OTHER_DATASET)),
        audit.claim(accuracy(4, samples=1)),
        audit.claim(),
    ]
    asked = demand(dataset=DATASET, min_samples=300, max_age_days=30)
    verified = audit.verify(audit.bundle(*files), asked)
    assert [entry.statement for entry in verified.relied] == [files[-1].statement]
    (verdict,) = policy(asked).judge(verified.manifest, audit.trust, now=NOW)
    assert verdict.reason is None
    assert [finding.reason for finding in verdict.findings] == [
        *("claim-expired", "claim-signer", "claim-subject", "claim-weak", None)
    ]


def test_the_refusal_is_that_of_the_claim_that_came_furthest(audit):
    stages = [
        audit.claim(signers=[audit.world.stranger]),
        audit.claim(accuracy(dataset=OTHER_DATASET)),
        audit.claim(created=NOW - 90 * DAY),
        audit.claim(accuracy(samples=1)),
    ]
    reasons = ["claim-signer", "claim-subject", "claim-expired", "claim-weak"]
    asked = demand(dataset=DATASET, min_samples=300, max_age_days=30)
    for number, reason in enumerate(reasons, 1):
        refused(reason, audit.verify, audit.bundle(*stages[:number]), asked)
        refused(reason, audit.verify, audit.bundle(*stages[number - 1 :: -1]), asked)


def test_auditors_who_must_agree(audit):
    both = Members((audit.lab.record("lab"), audit.other.record("other lab")), threshold=2)
    trust = audit.trusting(auditor=both)
    one, two = audit.claim(), audit.claim(signers=[audit.lab, audit.other])
    refused("claim-signer", audit.verify, audit.bundle(one), demand(), trust=trust)
    audit.verify(audit.bundle(two), demand(by=["lab"]), trust=trust)
    twice = [audit.claim(), audit.claim(signers=[audit.other])]
    refused("claim-signer", audit.verify, audit.bundle(*twice), demand(), trust=trust)


def test_auditors_have_a_scope(audit):
    gates = Members((audit.lab.record("lab"),), scope=("gate/*",))
    trust = audit.trusting(auditor=gates)
    message = refused(
        "claim-signer", audit.verify, audit.bundle(audit.claim()), demand(), trust=trust
    )
    assert "scope of role auditor" in message


def test_without_auditors_there_is_no_audit(audit):
    bundle = audit.bundle(audit.claim())
    refused("claim-signer", audit.world.verify, bundle, policy=policy(demand()))


def test_a_claim_about_another_model_id(audit):
    """As a careless publisher would sign it: packing refuses to."""
    other = audit.claim(model_id="door/other")
    refused("argument", audit.pack, other, error=InputError)
    (entry,) = audit.pack(other, model_id="door/other").manifest.evidence
    data = audit.world.remade(replace(audit.world.packed.manifest, evidence=(entry,)))
    refused("claim-subject", audit.verify, data, demand())


def test_a_claim_about_other_bytes_is_not_packed(audit):
    model = audit.world.model
    other = audit.claim(model=model[:-1] + bytes([model[-1] ^ 1]))
    refused("argument", audit.pack, other, error=InputError)
    made = audit.claim()
    refused("argument", audit.pack, replace(made, salt=bytes(32)), error=InputError)


def test_evidence_cannot_be_taken_out_or_put_in(audit):
    """The manifest is signed: with the claims, and without."""
    with_claim, without = audit.bundle(audit.claim()), audit.bundle()
    one, two = Bundle.parse(with_claim), Bundle.parse(without)
    for kept, lent in ((one, two), (two, one)):
        prelude = replace(kept.prelude, manifest_len=len(lent.manifest_bytes))
        mixed = replace(kept, prelude=prelude, manifest_bytes=lent.manifest_bytes)
        with pytest.raises(Exception, match="signature") as caught:
            audit.verify(mixed.encode(), demand())
        assert caught.value.reason == "signature"


@given(st.data())
def test_no_bit_of_a_statement_can_be_turned(audit, data):
    """As a publisher could, who signs the manifest around it: each bit, or some other document."""
    file = audit.claim(random=bytes)
    envelope = file.statement.envelope
    payload = bytearray(envelope.payload)
    place = data.draw(st.integers(0, 8 * len(payload) - 1))
    payload[place // 8] ^= 1 << place % 8
    try:
        statement = Statement.of(replace(envelope, payload=bytes(payload)))
    except MalformedBundleError as error:
        assert error.reason == "claim"
        return
    (entry,) = audit.pack(file).manifest.evidence
    evidence = (replace(entry, statement=statement),)
    manifest = replace(audit.world.packed.manifest, evidence=evidence)
    (verdict,) = policy(demand()).judge(manifest, audit.trust, now=NOW)
    kinds = {each.kind for each in statement.claims}
    assert verdict.reason == ("claim-signature" if "accuracy" in kinds else "claim-missing")


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_what_is_accepted_is_never_below_the_bound(audit, value, bound):
    (entry,) = audit.pack(audit.claim(accuracy(value), random=bytes)).manifest.evidence
    manifest = replace(audit.world.packed.manifest, evidence=(entry,))
    (verdict,) = policy(demand(bound=f"min_ppm = {bound}")).judge(manifest, audit.trust, now=NOW)
    assert (verdict.reason is None) == (value >= bound)


# ---- policies


@pytest.mark.parametrize(
    "text",
    [
        "",
        "require = []",
        "require = 1",
        "[require]\nclaim = 'accuracy'\nmin_ppm = 1",
        "extra = 1\n" + demand(),
        demand("precision"),
        demand(bound=""),
        demand(bound="max_ppm = 900_000"),
        demand("fairness_gap", "min_ppm = 1"),
        demand("dp_delta", "max_ppm = 1"),
        demand(bound="min_ppm = -1"),
        demand(bound="min_ppm = 1_000_001"),
        demand(bound="min_ppm = 0.9"),
        demand(bound="min_ppm = nan"),
        demand(bound="min_ppm = inf"),
        demand(bound="min_ppm = true"),
        demand(bound='min_ppm = "900000"'),
        demand(bound="min_ppm = 9" + "0" * 5000),
        demand(bound="min_percent = 90"),
        demand(bound="minimum = 900_000"),
        demand(missing="accept"),
        demand(board="x"),
        demand(dataset="AB" * 32),
        demand(dataset=[DATASET]),
        demand(min_samples=0),
        demand(role="auditors"),
        demand(role=["auditor"]),
        demand(by=[]),
        demand(by="lab"),
        demand(by=["x" * 65]),
        demand(models=[]),
        demand(models=["Door"]),
        demand(models=["door/*/x"]),
        demand(max_age_days=0),
        demand(max_age_days=36_501),
        demand("licence", "spdx = []"),
        demand("licence", 'spdx = "MIT"'),
        demand("licence", "spdx = [1]"),
        demand("licence", f'spdx = ["{"x" * 257}"]'),
        demand("licence", f"spdx = {['x'] * (EVIDENCE.entries + 1)}"),
        demand("dataset_hash", 'sha256 = ["ab"]'),
        "\n".join([demand()] * (EVIDENCE.demands + 1)),
        demand() + "\n# " + "x" * EVIDENCE.toml_bytes,
        "[[require",
        "\0",
    ],
)
def test_policies_that_are_refused(text):
    refused("invalid", policy, text, error=ConfigurationError)


def test_a_policy_says_its_version():
    for head in ("", "format = 2\n", "format = true\n", 'format = "1"\n'):
        refused("invalid", Policy.parse, (head + demand()).encode(), error=ConfigurationError)
    refused("invalid", Policy.parse, b"\xff", error=ConfigurationError)


@given(st.binary(max_size=80) | st.text(max_size=80).map(str.encode))
def test_any_bytes_as_a_policy(data):
    refused("invalid", Policy.parse, data, error=ConfigurationError)


def test_a_policy_is_a_file_that_others_cannot_change(tmp_path):
    path = tmp_path / "policy.toml"
    refused("missing", Policy.read, path, error=ConfigurationError)
    path.write_text("format = 1\n" + demand())
    path.chmod(0o644)
    assert Policy.read(path) == policy(demand())
    path.chmod(0o666)
    refused("permissions", Policy.read, path, error=ConfigurationError)
    path.chmod(0o644)
    path.write_bytes(b"#" * (EVIDENCE.toml_bytes + 1))
    refused("too-large", Policy.read, path, error=MalformedBundleError)


def test_demands_in_words():
    (found,) = policy(demand(dataset=DATASET, min_samples=300, by=["lab"], max_age_days=30)).demands
    assert str(found) == (
        f"accuracy at least 900,000 ppm, dataset {DATASET[:16]}..., samples at least 300, by lab, "
        "at most 30 days old"
    )


# ---- on a device: the plaintext shows what a claim is about


def dense(seed):
    net = networks.Network(seed)
    return net.build(net.dense(net.input([1, 6]), 3))


@pytest.fixture
def device(audit, provisioned):
    """A device that trusts the auditors; its function packs a model with claims about one."""
    home = provisioned.home
    roles = {"auditor": Members((audit.lab.record("lab"),))}
    (home / "trust.json").write_bytes(audit.world.trust_file(roles=roles))

    def release(*, about=None, policy=None):
        model = dense(1)
        file = audit.claim(model=about or model, model_id="test/net")
        if policy is not None:
            (home / "policy.toml").write_text(f"format = 1\n{policy}")
        return provisioned.release("net", model, evidence=[file])

    return release


def carried_over(audit, path, about):
    """What a publisher could do who may release models: the audit of one beside another."""
    bundle = Bundle.parse(path.read_bytes())
    manifest = Manifest.parse(bundle.manifest_bytes)
    with ContentKey.open(path.with_suffix(".content.key")) as key:
        file = audit.claim(model=about, model_id="test/net")
        digest = file.statement.digest
        sealed = encryption.seal_salt(key, manifest.binding, digest, file.salt)
    wrong = replace(manifest, evidence=(Evidence(file.statement, sealed),))
    return audit.world.resigned(wrong.encode(), bundle)


def test_a_device_loads_what_its_policy_accepts(device, provisioned):
    path = device(policy=demand())
    with edgesdk.load(path, now=NOW) as found:
        assert found.model_id == "test/net"
    own = policy(demand(dataset=DATASET))
    with edgesdk.load(path, now=NOW, policy=own):
        pass
    (provisioned.home / "other.toml").write_text(f"format = 1\n{demand(dataset=OTHER_DATASET)}")
    other = provisioned.home / "other.toml"
    for where in (other, str(other)):
        refused("claim-subject", edgesdk.load, path, now=NOW, policy=where)
    refused(
        "missing", edgesdk.load, path, policy=provisioned.home / "no.toml", error=ConfigurationError
    )


def test_the_folders_policy_is_no_choice_of_the_app(device, provisioned):
    path = device(policy=demand(bound="min_ppm = 990_000"))
    refused("claim-weak", edgesdk.load, path, now=NOW)
    (provisioned.home / "policy.toml").unlink()
    (provisioned.home / "policy.toml").symlink_to("nowhere")
    refused("not-a-regular-file", edgesdk.load, path, now=NOW, error=MalformedBundleError)


def test_an_audit_of_one_model_is_worth_nothing_beside_another(audit, device, monkeypatch):
    kept = []
    real = publish.ContentKey.generate
    monkeypatch.setattr(
        publish.ContentKey, "generate", lambda **o: kept.append(real(**o)) or kept[-1]
    )
    path = device()
    kept[0].save(path.with_suffix(".content.key"))
    good = path.read_bytes()
    path.write_bytes(carried_over(audit, path, dense(1)))
    with edgesdk.load(path, now=NOW, policy=policy(demand())):
        pass
    path.write_bytes(carried_over(audit, path, dense(2)))
    # Loaded without a policy, and kept open: its weights are no proof of what they are.
    with edgesdk.load(path, now=NOW):
        refused("claim-subject", edgesdk.load, path, now=NOW, policy=policy(demand()))
    path.write_bytes(good)
    with edgesdk.load(path, now=NOW, policy=policy(demand())):
        pass


def test_a_salt_that_does_not_open(audit, device):
    path = device()
    bundle = Bundle.parse(path.read_bytes())
    manifest = Manifest.parse(bundle.manifest_bytes)
    (entry,) = manifest.evidence
    wrong = replace(manifest, evidence=(replace(entry, sealed_salt=bytes(48)),))
    path.write_bytes(audit.world.resigned(wrong.encode(), bundle))
    with edgesdk.load(path, now=NOW):
        refused(
            "payload", edgesdk.load, path, now=NOW, policy=policy(demand()), error=DecryptionError
        )
