"""The form of claims, of statements and of claim files."""

import hmac
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesdk import canonical, encryption, primitives
from edgesdk.canonical import LARGEST_INTEGER, Fields
from edgesdk.claim import (
    FORMS,
    Claim,
    ClaimFile,
    Digest,
    Number,
    Statement,
    Text,
    Texts,
    Word,
)
from edgesdk.envelope import Domain, Envelope
from edgesdk.errors import InputError, MalformedBundleError
from edgesdk.limits import EVIDENCE
from edgesdk.manifest import Manifest
from edgesdk.publish.claim import make_claim, parse_claims
from fixtures_evidence import DATASET, OTHER_DATASET, accuracy, claim
from fixtures_protect import MODEL_ID, NOW

DIGEST = bytes(range(32))
TEXTS = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=20)


def members(member):
    """Values that a member takes, its bounds among them."""
    if isinstance(member, Number):
        ends = st.sampled_from([member.least, member.most])
        return ends | st.integers(member.least, member.most)
    return {
        Text: TEXTS,
        Digest: st.binary(min_size=32, max_size=32).map(bytes.hex),
        Word: st.sampled_from(getattr(member, "choices", ("",))),
        Texts: st.lists(TEXTS, min_size=1, max_size=4, unique=True).map(sorted),
    }[type(member)]


def claims_of(kind):
    found = {name: members(member) for name, member in FORMS[kind].members.items()}
    return st.fixed_dictionaries(found).map(lambda values: claim(kind, **values))


CLAIMS = st.one_of(*map(claims_of, [k for k in FORMS if not k.startswith("dp_")]))


def build(*claims, **options):
    return Statement.build(MODEL_ID, DIGEST, claims, **{"created": NOW} | options)


def refused(reason, call, /, *args, error=MalformedBundleError, **options):
    with pytest.raises(error) as caught:
        call(*args, **options)
    assert type(caught.value) is error
    assert caught.value.reason == reason
    return caught.value.message


def changed(path, value):
    """A statement's payload with one member changed, or without it."""
    document = json.loads(build(accuracy()).envelope.payload)
    *way, last = path.split("/")
    place = document
    for step in way:
        place = place[int(step) if isinstance(place, list) else step]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return Envelope(Domain.CLAIM, canonical.encode(document))


def test_every_kind_of_the_issue_is_there():
    assert set(FORMS) == {
        *("accuracy", "f1", "auroc", "fairness_gap", "dp_epsilon", "dp_delta"),
        *("robust_accuracy", "int8_drop", "latency", "licence", "owner", "dataset_hash"),
        *("training_code_hash", "base_model", "prohibited_uses"),
    }


def test_every_kind_says_which_member_is_bounded_and_how():
    for form in FORMS.values():
        number = isinstance(form.members[form.value], Number)
        assert number == (form.bound in {"min", "max"})
        assert next(iter(form.members)) == form.value


@given(st.lists(CLAIMS, min_size=1, max_size=6), st.integers(0, LARGEST_INTEGER) | st.none())
def test_what_is_built_is_what_is_read(claims, expires):
    made = build(*claims, expires=expires)
    assert made.claims == tuple(claims)
    assert (made.model_id, made.digest, made.created) == (MODEL_ID, DIGEST, NOW)
    assert made.expires == expires
    assert Statement.of(made.envelope) == made


@given(CLAIMS, st.data())
def test_no_number_is_out_of_its_bounds_and_none_is_something_else(made, data):
    form = FORMS[made.kind]
    numbers = sorted(name for name, m in form.members.items() if isinstance(m, Number))
    for name in numbers:
        member = form.members[name]
        outside = [True, "1", [1], {}]
        outside += [member.least - 1] if member.least > -LARGEST_INTEGER else []
        outside += [member.most + 1] if member.most < LARGEST_INTEGER else []
        value = data.draw(st.sampled_from(outside))
        document = {**made.to_json(), name: value}
        with pytest.raises(InputError):
            Claim.read(Fields(document, "claim", lambda t: InputError("argument", t)))


@given(CLAIMS, st.data())
def test_no_member_may_be_absent_and_none_may_be_added(made, data):
    document = made.to_json()
    del document[data.draw(st.sampled_from(sorted(document)))]
    for wrong in (document, {**made.to_json(), "assurance": "third_party"}):
        with pytest.raises(InputError):
            Claim.read(Fields(wrong, "claim", lambda t: InputError("argument", t)))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("_type", "https://in-toto.io/Statement/v0.1"),
        ("predicateType", "urn:edgesdk:bundle:v1"),
        ("predicateType", "urn:edgesdk:claim:v2"),
        ("extra", 1),
        ("subject", []),
        ("subject/0/name", ...),
        ("subject/0/name", ""),
        ("subject/0/name", "d" * 129),
        ("subject/0/digest", {"sha256": "00" * 32}),
        ("subject/0/digest/sha256", "00" * 32),
        ("predicate/format", 2),
        ("predicate/created", ...),
        ("predicate/created", -1),
        ("predicate/expires", -1),
        ("predicate/assurance", "third_party"),
        ("predicate/claims", []),
        ("predicate/claims", {}),
        ("predicate/claims", [accuracy().to_json()] * (EVIDENCE.claims + 1)),
        ("predicate/claims/0/kind", "precision"),
        ("predicate/claims/0/kind", "Accuracy"),
        ("predicate/claims/0/kind", 1),
        ("predicate/claims/0/ppm", -1),
        ("predicate/claims/0/ppm", 1_000_001),
        ("predicate/claims/0/ppm", True),
        ("predicate/claims/0/ppm", "934000"),
        ("predicate/claims/0/percent", 93),
        ("predicate/claims/0/samples", 0),
        ("predicate/claims/0/samples", ...),
        ("predicate/claims/0/dataset", "AB" * 32),
        ("predicate/claims/0/dataset", "ab" * 31),
        ("predicate/claims/0/assurance", "reproduced"),
    ],
)
def test_malformed_statements(path, value):
    refused("claim", Statement.of, changed(path, value))


@pytest.mark.parametrize(
    "number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"934000.0", b"9.34e5", b"0934000",
               b"9" * 5000]
)  # fmt: skip
def test_numbers_that_json_libraries_take(number):
    payload = build(accuracy()).envelope.payload.replace(b"934000", number)
    refused("claim", Statement.of, Envelope(Domain.CLAIM, payload))


def test_a_statement_has_one_spelling_and_a_size():
    payload = build(accuracy()).envelope.payload
    refused("claim", Statement.of, Envelope(Domain.CLAIM, payload.replace(b":", b": ", 1)))
    refused("claim", Statement.of, Envelope(Domain.CLAIM, payload + b" " * 20_000))


def test_privacy_parameters_come_in_pairs():
    epsilon = claim("dp_epsilon", ppm=8_000_000, dataset=DATASET)
    delta = claim("dp_delta", per_trillion=10_000_000, dataset=DATASET)
    elsewhere = claim("dp_delta", per_trillion=1, dataset=OTHER_DATASET)
    assert build(epsilon, delta).claims == (epsilon, delta)
    for wrong in ([epsilon], [delta], [epsilon, elsewhere], [epsilon, delta, epsilon, delta]):
        refused("argument", build, *wrong, error=InputError)


def test_lists_of_uses_are_in_order():
    for uses in ([], ["b", "a"], ["a", "a"], [""], ["a" * 257], ["a\nb"]):
        refused("argument", claim, "prohibited_uses", uses=uses, error=InputError)


def test_claims_in_words():
    assert str(accuracy()) == f"accuracy 934,000 ppm (dataset {DATASET[:16]}..., samples 360)"
    assert str(claim("prohibited_uses", uses=["biometrics", "policing"])) == (
        "prohibited_uses biometrics, policing"
    )
    assert str(claim("licence", spdx="Apache-2.0")) == "licence Apache-2.0"


# ---- claim files


def test_a_claim_file_keeps_salt_and_statement(audit):
    made = audit.claim()
    assert ClaimFile.parse(made.encode()) == made
    assert len({audit.claim().statement.digest for _ in range(3)}) == 3  # a salt for each


def test_malformed_claim_files(audit):
    document = json.loads(audit.claim().encode())
    for wrong in (
        document | {"format": 2},
        document | {"salt": "00" * 31},
        document | {"extra": 1},
        {name: value for name, value in document.items() if name != "salt"},
        document["statement"],
    ):
        refused("claim", ClaimFile.parse, canonical.encode(wrong))
    refused("claim", ClaimFile.parse, b" " * (EVIDENCE.claim_file_bytes + 1))
    refused("claim", ClaimFile.parse, audit.world.grant_bytes)


@given(st.binary(max_size=200))
def test_any_bytes_as_a_claim_file(data):
    refused("claim", ClaimFile.parse, data)


def test_the_subject_tells_nothing_without_its_salt(audit):
    """Who has a model, and sees a claim in a manifest, cannot tell whether the two belong."""
    made = audit.claim()
    model, digest = audit.world.model, made.statement.digest
    assert encryption.subject_digest(made.salt, MODEL_ID, model) == digest
    assert encryption.subject_digest(bytes(32), MODEL_ID, model) != digest
    assert encryption.subject_digest(made.salt, "door/other", model) != digest
    bundle = audit.bundle(made)
    for secret in (made.salt, made.salt.hex().encode()):
        assert secret not in bundle


def expand(key, info):
    """HKDF-Expand with SHA-512 (RFC 5869), the first 32 bytes."""
    return hmac.digest(key, info + b"\x01", "sha512")[:32]


def test_subject_and_salt_are_those_of_the_page(audit):
    """docs/bundle-format.md, section 1.9, from the library's primitives alone."""
    made = audit.claim()
    packed = audit.pack(made)
    key = expand(made.salt, b"edgesdk/claim-subject/v1\x00" + MODEL_ID.encode())
    digest = hmac.digest(key, audit.world.model, "sha256")
    assert digest == made.statement.digest
    binding = packed.manifest.binding
    context = b"".join(
        (
            b"edgesdk/claim-salt/v1\x00",
            binding.bundle_id,
            len(MODEL_ID).to_bytes(2, "little") + MODEL_ID.encode(),
            binding.epoch.to_bytes(8, "little") + binding.sequence.to_bytes(8, "little"),
        )
    )
    (entry,) = packed.manifest.evidence
    salt_key = expand(bytes(packed.content_key.material), context + digest)
    assert primitives.aes_256_gcm_open(salt_key, bytes(12), entry.sealed_salt) == made.salt


@pytest.mark.parametrize("model_id", ["", "Door", "../door", "d" * 129])
def test_claims_about_what_no_manifest_can_name(audit, model_id):
    signers = [audit.lab]
    refused(
        "argument", make_claim, b"", model_id, [accuracy()], signers, created=NOW, error=InputError
    )


def test_a_claim_does_not_end_before_it_begins(audit):
    refused("argument", audit.claim, expires=NOW, error=InputError)


# ---- as somebody writes them down

WRITTEN = b"""
format = 1
[[claim]]
kind = "accuracy"
ppm = 934_000
dataset = "%b"
samples = 360
""" % DATASET.encode()


def test_claims_are_written_in_toml():
    assert parse_claims(WRITTEN) == (accuracy(),)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"934_000", b"0.934"),
        (b"934_000", b"nan"),
        (b"934_000", b"inf"),
        (b"934_000", b"true"),
        (b"934_000", b"2027-01-01"),
        (b"934_000", b"9" * 5000),
        (b"934_000", b"9007199254740992"),
        (b"934_000", b"[" * 5000 + b"]" * 5000),
        (b"934_000", b"[[[[[[[[[1]]]]]]]]]"),
        (b"ppm", b"percent"),
        (b"format = 1", b"format = 2"),
        (b"format = 1", b""),
        (b"[[claim]]", b"[claim]"),
        (b"accuracy", b"accuracy\xff"),
        (b"samples = 360", b"samples = 360\nsamples = 361"),
        (b"samples = 360", b"samples = 360\n# " + b"x" * 65_536),
    ],
)
def test_what_is_written_wrongly(old, new):
    refused("argument", parse_claims, WRITTEN.replace(old, new), error=InputError)


# ---- in a manifest


def test_a_manifest_carries_statements(audit):
    made = audit.claim(), audit.claim(claim("licence", spdx="MIT"), signers=[audit.other])
    manifest = audit.pack(*made).manifest
    assert [entry.statement for entry in manifest.evidence] == [file.statement for file in made]
    assert Manifest.parse(manifest.encode()) == manifest
    assert audit.pack().manifest.evidence == ()


def test_manifests_with_malformed_evidence(audit):
    (entry,) = audit.pack(audit.claim()).manifest.evidence
    manifest = audit.world.packed.manifest
    for evidence in ([entry] * 2, [replace(entry, sealed_salt=bytes(47))]):
        refused("argument", replace(manifest, evidence=tuple(evidence)).encode, error=InputError)
    many = [audit.claim() for _ in range(EVIDENCE.statements + 1)]
    refused("argument", audit.pack, *many, error=InputError)
    whole = json.loads(replace(manifest, evidence=(entry,)).encode())
    member = whole["predicate"]["evidence"][0]
    for wrong, reason in (
        ({"statement": member["statement"]}, "manifest"),
        (member | {"extra": 1}, "manifest"),
        (member | {"statement": {**member["statement"], "payload": "e30="}}, "claim"),
        (
            member | {"statement": {**member["statement"], "payloadType": "application/json"}},
            "manifest",
        ),
    ):
        whole["predicate"]["evidence"] = [wrong]
        refused(reason, Manifest.parse, canonical.encode(whole))
