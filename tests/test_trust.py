import json
import logging
import pickle
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesdk import bundle as bundles
from edgesdk import canonical, record, state, trust
from edgesdk.bundle import Bundle, SignatureEntry
from edgesdk.envelope import Domain, Envelope, Signature
from edgesdk.errors import (
    DecryptionError,
    EdgeError,
    EvidenceError,
    ExpiredError,
    KeyUnavailableError,
    MalformedBundleError,
    RevokedError,
    RollbackError,
    ScopeError,
    SignatureError,
)
from edgesdk.evidence import Policy
from edgesdk.grant import Grant
from edgesdk.keys import SecretKey
from edgesdk.primitives import ED25519, ML_DSA_65, SIGNATURE_IDS, keyid
from edgesdk.publish.pack import attach
from edgesdk.publish.root import Members, sign_trust
from edgesdk.trust import Device, TrustRoot, VerifiedBundle, VerifiedGrant, find_grant, rotate
from fixtures_protect import NOW, entries, stream


def refused(error, reason, call, /, *args, **kwargs):
    with pytest.raises(EdgeError) as caught:
        call(*args, **kwargs)
    assert type(caught.value) is error
    assert caught.value.reason == reason
    return caught.value


def signer(name, **options):
    return SecretKey.generate("signer", random=stream(name), **options)


# ---- the main path


def test_a_good_bundle_is_verified(world):
    verified = world.verify()
    assert verified.manifest == world.packed.manifest
    assert verified.trust is world.trust
    assert verified.bundle.encode() == world.bundle_bytes
    granted = world.verify_grant()
    assert granted.grant.device == world.device.kid


def test_only_this_module_makes_proofs(world):
    verified, granted = world.verify(), world.verify_grant()
    for proof in (None, True, object(), verified, trust):
        with pytest.raises(TypeError):
            VerifiedBundle(verified.bundle, verified.manifest, verified.trust, proof)
        with pytest.raises(TypeError):
            VerifiedGrant(granted.grant, verified, proof)
    for change in ({"manifest": None}, {"bundle": None}):
        with pytest.raises((TypeError, ValueError)):
            replace(verified, **change)
    with pytest.raises((TypeError, ValueError)):
        replace(granted, verified=None)
    with pytest.raises(AttributeError):
        verified.manifest = None
    with pytest.raises((TypeError, pickle.PicklingError)):
        pickle.dumps(verified)


# ---- checks 2 and 3


def with_signatures(world, *found):
    bare = Bundle.parse(world.packed.bundle)
    return bare.with_signatures(found)


def good(world):
    """The release signer's two entries by their algorithm."""
    return {entry.algorithm: entry for entry in world.bundle.signatures}


def test_unsigned(world):
    refused(SignatureError, "unsigned", world.verify, world.packed.bundle)


def test_signed_by_a_stranger(world):
    data = world.signed(world.packed, signer=world.stranger)
    refused(SignatureError, "unknown-signer", world.verify, data)


@pytest.mark.parametrize("role", ["root", "issuer"])
def test_signed_by_another_role(world, role):
    data = world.signed(world.packed, signer=getattr(world, role))
    refused(SignatureError, "unknown-signer", world.verify, data)


def test_a_stranger_harms_nothing(world):
    data = Bundle.parse(world.bundle_bytes).with_signatures(
        [*entries(world.stranger, world.bundle.message), SignatureEntry(bytes(32), b"junk", 77)]
    )
    assert world.verify(data)


@pytest.mark.parametrize("algorithm", [1, 2])
def test_one_algorithm_of_two_is_not_enough(world, algorithm):
    data = with_signatures(world, good(world)[algorithm])
    refused(SignatureError, "threshold", world.verify, data)


@pytest.mark.parametrize("algorithm", [1, 2])
@pytest.mark.parametrize("place", [0, 31, 32, -1])
def test_one_bad_half(world, algorithm, place):
    both = good(world)
    value = bytearray(both[algorithm].value)
    value[place] ^= 1
    both[algorithm] = replace(both[algorithm], value=bytes(value))
    refused(SignatureError, "signature", world.verify, with_signatures(world, *both.values()))


def test_signatures_of_another_bundle(world):
    other = Bundle.parse(world.signed(world.pack(sequence=8)))
    data = with_signatures(world, *other.signatures)
    refused(SignatureError, "signature", world.verify, data)


@pytest.mark.parametrize("domain", [d for d in Domain if d is not Domain.BUNDLE])
def test_signatures_of_another_kind(world, domain):
    envelope = Envelope(domain, world.bundle.statement)
    found = entries(world.release, envelope.message, domain.context)
    refused(SignatureError, "signature", world.verify, with_signatures(world, *found))


def test_ml_dsa_signature_with_another_context(world):
    (_, ml_dsa) = entries(world.release, world.bundle.message, b"edgesdk-grant-v1")
    data = with_signatures(world, good(world)[1], ml_dsa)
    refused(SignatureError, "signature", world.verify, data)


def test_signature_of_the_statement_without_its_type(world):
    found = entries(world.release, world.bundle.statement)
    refused(SignatureError, "signature", world.verify, with_signatures(world, *found))


def test_algorithms_cannot_be_confused(world):
    both = good(world)
    swapped = [
        replace(both[1], keyid=both[2].keyid),
        replace(both[2], keyid=both[1].keyid),
    ]
    refused(SignatureError, "signature", world.verify, with_signatures(world, *swapped))
    for one in swapped:
        refused(SignatureError, "signature", world.verify, with_signatures(world, one))


def test_unknown_algorithms_are_skipped_even_under_a_known_key(world):
    both = good(world)
    relabelled = replace(both[1], algorithm=3)
    refused(SignatureError, "threshold", world.verify, with_signatures(world, relabelled, both[2]))
    refused(SignatureError, "unsigned", world.verify, with_signatures(world, relabelled))


def test_keys_in_the_file_do_not_exist(world):
    """A key id that is right for a key that the file brings along is still unknown."""
    public = world.stranger.keys()[ED25519]
    entry = SignatureEntry(keyid(ED25519, public), bytes(64), 1)
    refused(SignatureError, "unknown-signer", world.verify, with_signatures(world, entry))


def test_a_known_bad_signature_is_refused_even_where_others_suffice(world):
    second = signer("second")
    roles = {"release": Members((world.release.record("a"), second.record("b")))}
    root = TrustRoot.parse(world.trust_file(roles=roles))
    assert world.verify(trust=root)
    bad = [replace(e, value=bytes(len(e.value))) for e in entries(second, world.bundle.message)]
    data = world.bundle.with_signatures(bad)
    refused(SignatureError, "signature", world.verify, data, trust=root)


def test_thresholds_count_signers_not_signatures(world):
    second = signer("second")
    people = (world.release.record("a"), second.record("b"))
    root = TrustRoot.parse(world.trust_file(roles={"release": Members(people, threshold=2)}))
    refused(SignatureError, "threshold", world.verify, trust=root)
    theirs = entries(second, world.bundle.message)
    for half in theirs:
        data = world.bundle.with_signatures([half])
        refused(SignatureError, "threshold", world.verify, data, trust=root)
    assert world.verify(world.bundle.with_signatures(theirs), trust=root)


@pytest.mark.parametrize("algorithm", [ED25519, ML_DSA_65])
def test_the_root_chooses_the_suite(world, algorithm):
    one = {
        "root": Members((world.root.record("root"),)),
        "release": Members((world.release.record("release"),)),
        "grant": Members((world.issuer.record("issuer"),)),
    }
    root = TrustRoot.parse(world.trust_file(roles=one, suite=[algorithm]))
    assert root.suite == (algorithm,)
    number = SIGNATURE_IDS[algorithm]
    assert world.verify(with_signatures(world, good(world)[number]), trust=root)
    other = with_signatures(world, good(world)[3 - number])
    refused(SignatureError, "unknown-signer", world.verify, other, trust=root)


# ---- checks 4 and 5


def test_signatures_come_before_the_manifest(world):
    junk = world.resigned(b"[" * 1000, signer=world.stranger)
    refused(SignatureError, "unknown-signer", world.verify, junk)
    refused(MalformedBundleError, "manifest", world.verify, world.resigned(b"[" * 1000))


@pytest.mark.parametrize(
    "old",
    [b'"sequence":7', b'"format":1'],
)
def test_tricks_signed_by_an_honest_key(world, old):
    data = world.bundle.manifest_bytes.replace(old, old + b"," + old)
    refused(MalformedBundleError, "manifest", world.verify, world.resigned(data))


def test_manifest_of_another_bundle_under_a_good_signature(world):
    other = Bundle.parse(world.pack(sequence=8).bundle)
    data = world.resigned(other.manifest_bytes)
    refused(MalformedBundleError, "manifest-mismatch", world.verify, data)


def test_table_of_another_bundle_under_a_good_signature(world):
    other = Bundle.parse(world.pack(sequence=8).bundle)
    data = world.resigned(world.bundle.manifest_bytes, table=other.table)
    refused(MalformedBundleError, "manifest-mismatch", world.verify, data)


def test_core_that_is_too_old(world):
    data = world.remade(replace(world.packed.manifest, min_core=2))
    error = refused(ScopeError, "core", world.verify, data)
    assert "newer edgesdk" in error.hint


@pytest.mark.parametrize("member", ["vendor_id", "class_id"])
def test_devices_of_another_kind(world, member):
    data = world.remade(replace(world.packed.manifest, **{member: "acme"}))
    assert world.verify(data, device=Device(**{member: "acme"}))
    other = {"vendor_id": "class_id", "class_id": "vendor_id"}[member]
    for device in (Device(), Device(**{member: "ACME"}), Device(**{other: "acme"})):
        refused(ScopeError, "device", world.verify, data, device=device)
    assert world.verify(device=Device("acme", "camera"))


@pytest.mark.parametrize(
    ("scope", "inside"),
    [
        (("*",), True),
        (("door/*",), True),
        (("door/person",), True),
        (("lock", "door/p*"), True),
        (("door/person*",), True),
        (("door",), False),
        (("door/",), False),
        (("door/perso",), False),
        (("door/person/left",), False),
        (("gate/*",), False),
        ((), False),
    ],
)
def test_scope_of_the_release_role(world, scope, inside):
    if "door/" in scope:  # neither a model id nor a prefix with its star
        refused(
            MalformedBundleError,
            "trust-file",
            world.trust_file,
            roles={"release": Members((world.release.record("r"),), scope=scope)},
        )
        return
    roles = {"release": Members((world.release.record("r"),), scope=scope)}
    root = TrustRoot.parse(world.trust_file(roles=roles))
    if inside:
        assert world.verify(trust=root)
    else:
        refused(ScopeError, "model", world.verify, trust=root)


# ---- checks 6 and 7


@pytest.mark.parametrize("epoch", [0, 2, 2**53 - 1])
def test_other_epochs(world, epoch):
    data = world.signed(world.pack(epoch=epoch))
    root = TrustRoot.parse(world.trust_file(epoch=1))
    refused(RollbackError, "epoch", world.verify, data, trust=root)
    assert world.verify(world.signed(world.pack(epoch=1)), trust=root)


def test_validity(world):
    data = world.signed(world.pack(not_before=NOW, expires=NOW + 10))
    refused(ExpiredError, "not-yet-valid", world.verify, data, now=NOW - 1)
    refused(ExpiredError, "not-yet-valid", world.verify, data, now=0)
    assert world.verify(data, now=NOW)
    assert world.verify(data, now=NOW + 9)
    refused(ExpiredError, "expired", world.verify, data, now=NOW + 10)
    refused(ExpiredError, "expired", world.verify, data, now=2**60)


def test_no_expiry_unless_asked_for(world):
    for now in (0, NOW, 2**60):
        assert world.verify(now=now)


def test_expired_trust_file(world):
    root = TrustRoot.parse(world.trust_file(expires=NOW))
    assert world.verify(trust=root, now=NOW - 1)
    refused(ExpiredError, "expired", world.verify, trust=root, now=NOW)


class Floors(state.NoFloors):
    """Floors that a test has set."""

    def __init__(self, *, clock=0, error=None):
        self.clock, self.error, self.asked = clock, error, []

    def time(self, clock):
        return max(clock, self.clock)

    def check(self, manifest):
        self.asked.append(manifest.binding.sequence)
        if self.error:
            raise self.error


@pytest.mark.parametrize(
    "error",
    [
        RollbackError("sequence", "x"),
        RevokedError("revoked", "x"),
        RollbackError("revocation", "x"),
    ],
)
def test_floors_are_asked(world, error):
    floors = Floors()
    world.verify(floors=floors)
    assert floors.asked == [7]
    refused(type(error), error.reason, world.verify, floors=Floors(error=error))


def test_floors_may_know_that_it_is_later(world):
    data = world.signed(world.pack(expires=NOW + 10))
    assert world.verify(data, now=NOW, floors=Floors(clock=NOW))
    refused(ExpiredError, "expired", world.verify, data, now=NOW, floors=Floors(clock=NOW + 10))
    granted = Grant.parse(world.grant(not_after=NOW + 5))
    verified = world.verify()
    kid = world.device.kid
    refused(
        ExpiredError,
        "expired",
        trust.verify_grant,
        *(granted, verified),
        kid=kid,
        now=NOW,
        floors=Floors(clock=NOW + 6),
    )


def test_a_device_without_floors_remembers_nothing(world):
    older = world.signed(world.pack(sequence=1, min_revocation_seq=99))
    floors = state.NoFloors()
    floors.commit(world.verify(floors=floors).manifest)
    assert world.verify(older, floors=floors)
    assert floors.time(5) == 5


class Demanding(Policy):
    def check(self, manifest, trust, *, now):
        assert (trust.epoch, now) == (0, NOW)
        raise EvidenceError("claim-missing", f"expected a claim of {manifest.model_id}, got none")


def test_the_policy_is_asked_last(world):
    refused(EvidenceError, "claim-missing", world.verify, policy=Demanding())
    expired = world.signed(world.pack(expires=1))
    refused(ExpiredError, "expired", world.verify, expired, policy=Demanding())
    floors = Floors(error=RevokedError("revoked", "x"))
    refused(RevokedError, "revoked", world.verify, floors=floors, policy=Demanding())


def test_the_order_of_checks(world):
    """A bundle with every fault; mending the first shows the next."""
    manifest = replace(
        world.packed.manifest, min_core=2, vendor_id="acme", expires=1, payload_len=1
    )
    manifest = replace(manifest, binding=replace(manifest.binding, epoch=5, model_id="gate"))
    scope = {"release": Members((world.release.record("r"),), scope=("gate",))}
    narrow = TrustRoot.parse(
        world.trust_file(
            roles={"release": Members((world.release.record("r"),), scope=("door/*",))}
        )
    )
    expired = TrustRoot.parse(world.trust_file(roles=scope, expires=1))
    fresh = TrustRoot.parse(world.trust_file(roles=scope))
    acme = Device("acme")
    floors = Floors(error=RevokedError("revoked", "x"))
    steps = [
        (SignatureError, "unsigned", {}, {"packed": True}),
        (SignatureError, "unknown-signer", {}, {"signer": world.stranger}),
        (MalformedBundleError, "manifest", {}, {"junk": True}),
        (MalformedBundleError, "manifest-mismatch", {}, {}),
        (ScopeError, "core", {"payload_len": world.packed.manifest.payload_len}, {}),
        (ScopeError, "device", {"min_core": 1}, {}),
        (ScopeError, "model", {}, {"device": acme}),
        (ExpiredError, "expired", {}, {"device": acme, "trust": expired}),
        (RollbackError, "epoch", {}, {"device": acme, "trust": fresh}),
        (
            ExpiredError,
            "expired",
            {"binding": replace(manifest.binding, epoch=0)},
            {"device": acme, "trust": fresh},
        ),
        (RevokedError, "revoked", {"expires": None}, {"device": acme, "trust": fresh}),
        (
            EvidenceError,
            "claim-missing",
            {},
            {"device": acme, "trust": fresh, "floors": state.NO_FLOORS},
        ),
    ]
    for error, reason, changes, asked in steps:
        manifest = replace(manifest, **changes)
        options = {"trust": narrow, "floors": floors, "policy": Demanding()} | asked
        text = b"{" if options.pop("junk", False) else manifest.encode()
        data = world.resigned(text, signer=options.pop("signer", world.release))
        if options.pop("packed", False):
            data = world.packed.bundle
        # Whatever the payload is like, checks 2 to 7 read no byte of it.
        refused(error, reason, world.verify, data[:-1] + b"?", **options)


# ---- check 8


@pytest.mark.parametrize("place", [0, 23, 24, 55, 56, 100, -1])
def test_damaged_payloads(world, place):
    data = bytearray(world.bundle_bytes)
    start = len(data) - len(world.bundle.payload)
    data[start + place if place >= 0 else place] ^= 1
    verified = world.verify(bytes(data))
    for _ in range(2):  # a refusal is not remembered as a pass
        refused(DecryptionError, "payload", verified.check_payload)
    refused(
        DecryptionError, "payload", find_grant, verified, [world.grant_bytes], kid=world.device.kid
    )
    granted = Grant.parse(world.grant_bytes)
    refused(DecryptionError, "payload", trust.verify_grant, granted, verified, kid=b"", now=NOW)


def test_the_payload_is_hashed_once(world, monkeypatch):
    verified = world.verify()
    calls = []
    check = bundles.check_segments
    monkeypatch.setattr(trust, "check_segments", lambda bundle: calls.append(1) or check(bundle))
    for _ in range(3):
        verified.check_payload()
    world.verify_grant(verified=verified)
    assert calls == [1]


def test_each_segment_is_looked_at(world):
    packed = world.pack(world.model + bytes(2_200_000))
    data = world.signed(packed)
    assert world.verify(data).check_payload() is None
    start = len(data) - packed.manifest.payload_len
    segment = bundles.SEGMENT_BYTES
    assert len(Bundle.parse(data).table) == 3 * 32
    for place in (0, 55, 56, 55 + segment, 56 + segment, 55 + 2 * segment, 56 + 2 * segment, -1):
        altered = bytearray(data)
        altered[start + place if place >= 0 else place] ^= 0x80
        refused(DecryptionError, "payload", world.verify(bytes(altered)).check_payload)
    swapped = bytearray(data)
    one = slice(start + 56, start + 56 + segment)
    two = slice(start + 56 + segment, start + 56 + 2 * segment)
    swapped[one], swapped[two] = swapped[two], swapped[one]
    refused(DecryptionError, "payload", world.verify(bytes(swapped)).check_payload)


# ---- check 9: grants


def verify_grant(world, data, verified=None, *, kid=None, now=NOW):
    """Without looking for it first, which would pass over what names something else."""
    return trust.verify_grant(
        Grant.parse(data), verified or world.verify(), kid=kid or world.device.kid, now=now
    )


@pytest.mark.parametrize("who", ["release", "root", "stranger"])
def test_grants_by_another_role(world, who):
    data = world.grant(issuer=getattr(world, who))
    refused(SignatureError, "unknown-signer", verify_grant, world, data)


def test_grants_without_or_with_bad_signatures(world):
    bare = Grant.parse(world.grant_bytes).envelope
    unsigned = replace(bare, signatures=()).encode()
    refused(SignatureError, "unsigned", verify_grant, world, unsigned)
    for kept in bare.signatures:
        half = replace(bare, signatures=(kept,)).encode()
        refused(SignatureError, "threshold", verify_grant, world, half)
        bad = bare.with_signatures([Signature(kept.keyid, bytes(len(kept.value)))]).encode()
        refused(SignatureError, "signature", verify_grant, world, bad)


def test_grants_signed_as_something_else(world):
    bare = Grant.parse(world.grant_bytes).envelope
    for domain in set(Domain) - {Domain.GRANT}:
        other = record.sign_envelope(Envelope(domain, bare.payload), world.issuer)
        moved = replace(bare, signatures=other.signatures).encode()
        refused(SignatureError, "signature", verify_grant, world, moved)


def test_grants_for_another_bundle_release_or_device(world):
    following = world.pack(sequence=8)
    other = world.grant(world.signed(following), content_key=following.content_key)
    refused(ScopeError, "bundle", verify_grant, world, other)
    again = world.pack()
    other = world.grant(world.signed(again), content_key=again.content_key)
    refused(ScopeError, "bundle", verify_grant, world, other)
    other = world.grant(device=world.other_device.record("x"))
    refused(ScopeError, "device", verify_grant, world, other)
    refused(
        ScopeError, "device", verify_grant, world, world.grant_bytes, kid=world.other_device.kid
    )


@pytest.mark.parametrize(
    "change", [{"bundle_id": bytes(32)}, {"model_id": "door/other"}, {"epoch": 1}, {"sequence": 8}]
)
def test_each_part_of_the_binding_counts(world, change):
    granted = Grant.parse(world.grant_bytes)
    binding = replace(granted.binding, **change)
    made = Grant.build(binding, granted.device, granted.wrapped, serial=granted.serial, created=NOW)
    data = record.sign_envelope(made.envelope, world.issuer).encode()
    refused(ScopeError, "bundle", verify_grant, world, data)


def test_scope_of_the_grant_role(world):
    roles = {"grant": Members((world.issuer.record("i"),), scope=("gate/*",))}
    verified = world.verify(trust=TrustRoot.parse(world.trust_file(roles=roles)))
    refused(ScopeError, "model", verify_grant, world, world.grant_bytes, verified)


def test_grants_end(world):
    data = world.grant(not_after=NOW)
    assert verify_grant(world, data, now=NOW)
    refused(ExpiredError, "expired", verify_grant, world, data, now=NOW + 1)
    assert verify_grant(world, world.grant_bytes, now=2**60)


def test_several_issuers(world):
    second = signer("second issuer")
    people = (world.issuer.record("a"), second.record("b"))
    root = TrustRoot.parse(world.trust_file(roles={"grant": Members(people, threshold=2)}))
    verified = world.verify(trust=root)
    refused(SignatureError, "threshold", verify_grant, world, world.grant_bytes, verified)
    both = record.sign_envelope(Grant.parse(world.grant_bytes).envelope, second).encode()
    assert verify_grant(world, both, verified)


def test_grants_are_looked_for_in_order(world):
    inside = attach(world.packed.bundle, [world.grant(world.packed.bundle)])
    data = world.signed(replace(world.packed, bundle=inside))
    verified = world.verify(data)
    kid = world.device.kid
    found = find_grant(verified, iter([]), kid=kid)
    assert found.encode() == Bundle.parse(inside).grants()[kid]

    def never():
        raise AssertionError("the grant inside comes first")
        yield

    assert find_grant(verified, never(), kid=kid) == found
    assert verify_grant(world, found.encode(), verified)


def test_grants_for_something_else_are_passed_over(world):
    other = world.pack(sequence=8)
    elsewhere = world.grant(other.bundle, content_key=other.content_key)
    stranger = world.grant(device=world.other_device.record("x"))
    verified = world.verify()
    kid = world.device.kid
    chosen = find_grant(verified, [elsewhere, stranger, b"junk", world.grant_bytes], kid=kid)
    assert chosen.encode() == world.grant_bytes
    refused(KeyUnavailableError, "no-grant", find_grant, verified, [], kid=kid)
    refused(KeyUnavailableError, "no-grant", find_grant, verified, [elsewhere, stranger], kid=kid)
    refused(MalformedBundleError, "grant", find_grant, verified, [elsewhere, b"junk"], kid=kid)
    refused(
        KeyUnavailableError, "no-grant", find_grant, verified, [world.grant_bytes], kid=bytes(16)
    )


def test_the_first_grant_that_fits_counts_even_if_it_is_bad(world):
    forged = world.grant(issuer=world.stranger)
    kid = world.device.kid
    found = find_grant(world.verify(), [forged, world.grant_bytes], kid=kid)
    refused(SignatureError, "unknown-signer", verify_grant, world, found.encode())


def test_malformed_recipients_are_seen_after_the_signature(world):
    data = world.resigned(world.bundle.manifest_bytes, recipients=b"junk")
    verified = world.verify(data)
    refused(MalformedBundleError, "recipients", find_grant, verified, [], kid=world.device.kid)
    swapped = data.replace(b"junk", b"kunj")
    refused(SignatureError, "signature", world.verify, swapped)


# ---- the trust file


def test_trust_file(world):
    root = world.trust
    assert root.suite == (ED25519, ML_DSA_65)
    assert root.version == 1
    assert root.expires is None
    assert {signer.name for signer in root.signers.values()} == {"root", "release", "issuer"}
    assert root.roles["release"].signers == (world.release.kid,)
    assert TrustRoot.parse(root.envelope.encode()) == root


def payload(world, **changes):
    value = json.loads(world.trust.envelope.payload) | changes
    return {name: member for name, member in value.items() if member is not ...}


def rewritten(world, value):
    data = value if isinstance(value, bytes) else canonical.encode(value)
    return record.sign_envelope(Envelope(Domain.ROOT, data), world.root).encode()


def role(world, **changes):
    one = {"scope": ["*"], "signers": [world.release.kid.hex()], "threshold": 1} | changes
    return {name: member for name, member in one.items() if member is not ...}


def roles(world, **changes):
    found = json.loads(world.trust.envelope.payload)["roles"] | changes
    return {name: member for name, member in found.items() if member is not ...}


@pytest.mark.parametrize(
    "change",
    [
        {"format": ...},
        {"version": ...},
        {"epoch": ...},
        {"created": ...},
        {"suite": ...},
        {"signers": ...},
        {"roles": ...},
        {"format": 2},
        {"version": 0},
        {"epoch": -1},
        {"expires": "never"},
        {"extra": 1},
        {"suite": []},
        {"suite": "ed25519"},
        {"suite": ["rsa"]},
        {"suite": ["ed25519", "rsa"]},
        {"suite": ["ml-dsa-65", "ed25519"]},
        {"suite": ["ed25519", "ed25519"]},
        {"suite": ["ed25519"]},
        {"suite": [1, 2]},
        {"signers": {}},
        {"signers": []},
        {"roles": []},
        lambda w: {"roles": roles(w, root=...)},
        lambda w: {"roles": roles(w, release=...)},
        lambda w: {"roles": roles(w, grant=...)},
        lambda w: {"roles": roles(w, admin=role(w))},
        lambda w: {"roles": roles(w, release=role(w, threshold=0))},
        lambda w: {"roles": roles(w, release=role(w, threshold=2))},
        lambda w: {"roles": roles(w, release=role(w, threshold=True))},
        lambda w: {"roles": roles(w, release=role(w, threshold=...))},
        lambda w: {"roles": roles(w, release=role(w, scope=...))},
        lambda w: {"roles": roles(w, release=role(w, scope=["Door"]))},
        lambda w: {"roles": roles(w, release=role(w, scope=["do*or"]))},
        lambda w: {"roles": roles(w, release=role(w, scope=["**"]))},
        lambda w: {"roles": roles(w, release=role(w, scope=[""]))},
        lambda w: {"roles": roles(w, release=role(w, scope=["*"] * 65))},
        lambda w: {"roles": roles(w, release=role(w, signers=[]))},
        lambda w: {"roles": roles(w, release=role(w, signers=["00" * 16]))},
        lambda w: {"roles": roles(w, release=role(w, signers=[w.release.kid.hex()] * 2))},
        lambda w: {"roles": roles(w, release=role(w, signers=["ZZ" * 16]))},
        lambda w: {"roles": roles(w, release=role(w, extra=1))},
        lambda w: {"roles": roles(w, revoke=role(w, signers=[], threshold=0))},
        lambda w: {
            "roles": roles(
                w,
                release=role(
                    w, signers=sorted([w.release.kid.hex(), w.root.kid.hex()], reverse=True)
                ),
            )
        },
    ],
)
def test_malformed_trust_files(world, change):
    data = rewritten(world, payload(world, **(change(world) if callable(change) else change)))
    refused(MalformedBundleError, "trust-file", TrustRoot.parse, data)


def test_optional_roles_may_be_empty(world):
    idle = role(world, signers=[])
    data = rewritten(
        world, payload(world, roles=roles(world, revoke=idle, time=idle, auditor=idle))
    )
    assert TrustRoot.parse(data).roles["revoke"].signers == ()


def one_signer(world, **changes):
    found = json.loads(world.trust.envelope.payload)["signers"]
    found[world.release.kid.hex()] |= changes
    return payload(world, signers=found)


@pytest.mark.parametrize(
    ("reason", "keys"),
    [
        ("trust-file", {"ed25519": None}),
        ("trust-file", {"ed25519": "AA=="}),
        ("trust-file", {"rsa": "AA=="}),
        ("trust-file", {"x25519": canonical.to_base64(b"\x09" + bytes(31))}),
        ("weak-key", {"ed25519": canonical.to_base64(bytes(32))}),
        ("weak-key", {"ed25519": canonical.to_base64(b"\1" + bytes(31))}),
        ("weak-key", {"ed25519": canonical.to_base64(b"\xff" * 32)}),
        ("trust-file", {"ml-dsa-65": canonical.to_base64(bytes(1952))}),
    ],
)
def test_malformed_signers(world, reason, keys):
    value = one_signer(world)
    mine = value["signers"][world.release.kid.hex()]["keys"]
    mine.update({name: text for name, text in keys.items() if text is not None})
    for name, text in keys.items():
        if text is None:
            del mine[name]
    refused(MalformedBundleError, reason, TrustRoot.parse, rewritten(world, value))


@pytest.mark.parametrize(
    "change", [{"name": ""}, {"name": "x" * 65}, {"name": "a\nb"}, {"name": 1}, {"extra": 1}]
)
def test_members_of_signers(world, change):
    data = rewritten(world, one_signer(world, **change))
    refused(MalformedBundleError, "trust-file", TrustRoot.parse, data)


def test_a_key_may_not_serve_two_signers(world):
    """Else one person could meet a threshold of two."""
    shared = world.release.keys()[ED25519]
    own = signer("other half").keys()[ML_DSA_65]
    twin = {ED25519: shared, ML_DSA_65: own}
    found = json.loads(world.trust.envelope.payload)["signers"]
    found[record.kid_of_signer(twin).hex()] = {
        "name": "twin",
        "keys": record.public_keys_to_json(twin),
    }
    data = rewritten(world, payload(world, signers=found))
    refused(MalformedBundleError, "trust-file", TrustRoot.parse, data)


def test_trust_files_are_signed_by_their_own_root(world):
    bare = world.trust.envelope
    unsigned = replace(bare, signatures=()).encode()
    refused(SignatureError, "unsigned", TrustRoot.parse, unsigned)
    for other in (world.release, world.stranger):
        data = sign_trust(unsigned, other)
        refused(SignatureError, "unknown-signer", TrustRoot.parse, data)
    for kept in bare.signatures:
        half = replace(bare, signatures=(kept,)).encode()
        refused(SignatureError, "threshold", TrustRoot.parse, half)
    altered = canonical.encode(payload(world, epoch=9))
    moved = replace(bare, payload=altered).encode()
    refused(SignatureError, "signature", TrustRoot.parse, moved)


@settings(max_examples=150)
@given(st.data())
def test_every_flipped_bit_of_a_trust_file_is_noticed(world, data):
    altered = bytearray(world.trust_bytes)
    altered[data.draw(st.integers(0, len(altered) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises((MalformedBundleError, SignatureError)):
        TrustRoot.parse(bytes(altered))


def test_other_files_are_no_trust_files(world):
    for data in (b"", b"{}", world.grant_bytes, world.bundle_bytes, b" " * 262_145):
        refused(MalformedBundleError, "trust-file", TrustRoot.parse, data)


@pytest.mark.timeout(60)
def test_trust_file_full_of_signers(world):
    """As many Ed25519 signers as fit: each key is looked at, and it still takes a moment only."""
    people = tuple(
        signer(f"crowd {number}", algorithms=[ED25519]).record(f"{number}") for number in range(300)
    )
    crowd = {name: Members(people[:8]) for name in ("root", "grant")} | {"release": Members(people)}
    issuer = signer("crowd 0", algorithms=[ED25519])
    data = world.trust_file(signers=[issuer], roles=crowd, suite=[ED25519])
    assert len(TrustRoot.parse(data).signers) == 300


# ---- rotation


def next_version(world, **options):
    options = {"version": 2, "signers": [world.root]} | options
    return world.trust_file(**options)


def test_rotation(world):
    assert rotate(world.trust, next_version(world, epoch=3)).epoch == 3


def test_rotation_to_a_new_root(world):
    fresh = signer("fresh root")
    change = {"root": Members((fresh.record("fresh"),))}
    by_both = next_version(world, signers=[world.root, fresh], roles=change)
    following = rotate(world.trust, by_both)
    assert following.roles["root"].signers == (fresh.kid,)
    by_new_alone = next_version(world, signers=[fresh], roles=change)
    refused(SignatureError, "unknown-signer", rotate, world.trust, by_new_alone)
    refused(SignatureError, "unknown-signer", next_version, world, roles=change)
    third = world.trust_file(version=3, signers=[world.root], roles=None)
    refused(SignatureError, "unknown-signer", rotate, following, third)


def test_rotation_asks_those_who_are_believed_first(world):
    """What strangers sign is not read, whatever is in it."""
    nonsense = Envelope(Domain.ROOT, b"nonsense")
    for signer_of_it, kind, reason in (
        (world.stranger, SignatureError, "unknown-signer"),
        (world.root, MalformedBundleError, "trust-file"),
    ):
        data = record.sign_envelope(nonsense, signer_of_it).encode()
        refused(kind, reason, rotate, world.trust, data)


@pytest.mark.parametrize("version", [1, 3, 2**53 - 1])
def test_rotation_skips_no_version(world, version):
    refused(RollbackError, "version", rotate, world.trust, next_version(world, version=version))


def test_rotation_does_not_lower_the_epoch(world):
    current = TrustRoot.parse(world.trust_file(epoch=5))
    refused(RollbackError, "epoch", rotate, current, next_version(world, epoch=4))
    assert rotate(current, next_version(world, epoch=5))


def test_an_expired_trust_file_leads_to_the_next(world):
    current = TrustRoot.parse(world.trust_file(expires=1))
    assert rotate(current, next_version(world)).expires is None


def test_half_of_the_old_root_is_not_enough(world):
    data = Envelope.parse(
        next_version(world), expect=Domain.ROOT, limit=10**6, error=AssertionError
    )
    for kept in data.signatures:
        half = replace(data, signatures=(kept,)).encode()
        refused(SignatureError, "threshold", rotate, world.trust, half)


def test_removed_keys_are_worth_nothing(world):
    second = signer("successor")
    change = {"release": Members((second.record("b"),))}
    following = rotate(world.trust, next_version(world, roles=change))
    refused(SignatureError, "unknown-signer", world.verify, trust=following)


# ---- whole bundles, as an attacker would alter them


def test_every_bit_of_the_first_four_kilobytes(world):
    """Flipped one by one; each is refused, and never by an error of Python's own."""
    data = world.bundle_bytes
    reasons = set()
    for place in range(min(4096, len(data))):
        # One bit of each byte of the signatures, which all fail alike; all bits of the rest.
        inside = 64 + 40 < place < 64 + world.bundle.prelude.sig_len - 40
        for bit in (place % 8,) if inside else range(8):
            altered = bytearray(data)
            altered[place] ^= 1 << bit
            with pytest.raises(EdgeError) as caught:
                world.verify_grant(verified=world.verify(bytes(altered)))
            reasons.add((type(caught.value).__name__, caught.value.reason))
    assert ("SignatureError", "signature") in reasons
    assert ("MalformedBundleError", "prelude") in reasons
    assert all(name in {"SignatureError", "MalformedBundleError"} for name, _ in reasons)


@settings(max_examples=300)
@given(st.data())
def test_any_bits_anywhere(world, data):
    altered = bytearray(world.bundle_bytes)
    for _ in range(data.draw(st.integers(1, 3))):
        altered[data.draw(st.integers(0, len(altered) - 1))] ^= data.draw(st.integers(1, 255))
    if altered == world.bundle_bytes:
        return
    with pytest.raises(EdgeError):
        world.verify(bytes(altered)).check_payload()


def test_parts_of_two_good_bundles_do_not_mix(world):
    mine = world.bundle
    other = Bundle.parse(world.signed(world.pack(sequence=8)))
    fields = ("signatures", "manifest_bytes", "table", "recipients", "payload", "prelude")
    for chosen in range(1, 2 ** len(fields) - 1):
        parts = {
            name: getattr(other if chosen >> i & 1 else mine, name) for i, name in enumerate(fields)
        }
        data = Bundle(**parts).encode()
        if data in {world.bundle_bytes, other.encode()}:
            continue
        with pytest.raises(EdgeError):
            world.verify(data).check_payload()


def test_refusals_are_logged_with_their_reason(world, caplog):
    with caplog.at_level(logging.WARNING, "edgesdk"):
        refused(SignatureError, "unsigned", world.verify, world.packed.bundle)
        refused(
            SignatureError, "unknown-signer", verify_grant, world, world.grant(issuer=world.release)
        )
        refused(KeyUnavailableError, "no-grant", find_grant, world.verify(), [], kid=bytes(16))
    assert [entry.reason for entry in caplog.records] == ["unsigned", "unknown-signer", "no-grant"]
    assert all(entry.name == "edgesdk.trust" for entry in caplog.records)
