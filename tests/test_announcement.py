import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesdk.announcement import LIMITS, Announcement
from edgesdk.envelope import Domain, Envelope
from edgesdk.errors import EdgeError, RemoteError, SignatureError
from edgesdk.record import sign_envelope
from fixtures_cloud import refused

NOW = 1_700_000_000


def announce(parties, **changes):
    fields = {
        "gateway": parties.gateway.kid,
        "pool": "default",
        "max_bytes": 1_000_000,
        "until": NOW + 60,
        "models": (("door/person", "1.2"), ("door/person", "1.3")),
    }
    return Announcement(**(fields | changes))


def read(parties, data, *, now=NOW, pool="default"):
    return Announcement.parse(data, gateway=parties.gateway_record, pool=pool, now=now)


def test_an_announcement_survives_the_wire(parties):
    sent = announce(parties)
    assert read(parties, sent.encode(parties.gateway)) == sent


def test_it_is_the_document_of_the_page(parties):
    data = announce(parties, models=(("m", "1"),)).encode(parties.gateway)
    envelope = Envelope.parse(data, expect=Domain.SERVICE, limit=10_000, error=ValueError)
    assert envelope.payload == (
        b'{"format":1,"gateway":"%s","max_bytes":1000000,'
        b'"models":[{"model_id":"m","model_version":"1"}],"pool":"default","until":%d}'
        % (parties.gateway.kid.hex().encode(), NOW + 60)
    )


def test_another_signer_is_refused(parties):
    with refused(SignatureError, "unknown-signer"):
        read(parties, announce(parties).encode(parties.other))


def test_a_signature_that_does_not_verify_is_refused(parties):
    data = announce(parties).encode(parties.gateway)
    envelope = Envelope.parse(data, expect=Domain.SERVICE, limit=10_000, error=ValueError)
    other = dataclasses.replace(envelope, payload=envelope.payload.replace(b"1.3", b"1.4"))
    with refused(SignatureError, "signature"):
        read(parties, other.encode())


def test_the_gateway_signs_alone(parties):
    data = announce(parties).encode(parties.gateway)
    envelope = Envelope.parse(data, expect=Domain.SERVICE, limit=10_000, error=ValueError)
    both = sign_envelope(envelope, parties.other)
    with refused(SignatureError, "unknown-signer"):
        read(parties, both.encode())


def test_an_unsigned_one_is_refused(parties):
    data = announce(parties).encode(parties.gateway)
    envelope = Envelope.parse(data, expect=Domain.SERVICE, limit=10_000, error=ValueError)
    with refused(SignatureError, "unsigned"):
        read(parties, Envelope(Domain.SERVICE, envelope.payload).encode())


def test_a_signature_of_another_domain_is_refused(parties):
    with refused(RemoteError, "malformed"):
        read(parties, parties.gateway_record.encode())


@pytest.mark.parametrize(
    "changes",
    [
        {"gateway": bytes(16)},
        {"pool": "other"},
        {"until": NOW},
        {"models": (("m" * 129, "1"),)},
        {"models": (("m", "1"),) * (LIMITS.models + 1)},
        {"max_bytes": -1},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_is_not_for_here_and_now_is_refused(parties, changes):
    data = announce(parties, **changes).encode(parties.gateway)
    with refused(RemoteError, "malformed"):
        read(parties, data)


def test_members_are_exactly_those_of_the_page(parties):
    signed = sign_envelope(Envelope(Domain.SERVICE, b'{"format":1}'), parties.gateway)
    with refused(RemoteError, "malformed"):
        read(parties, signed.encode())


@settings(max_examples=60)
@given(at=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_a_flipped_byte_is_refused(parties, at, flip):
    data = bytearray(announce(parties).encode(parties.gateway))
    data[at % len(data)] ^= flip
    with pytest.raises(EdgeError) as caught:
        read(parties, bytes(data))
    assert caught.value.reason in {"malformed", "signature", "unsigned", "unknown-signer"}


@given(data=st.binary(max_size=200))
def test_random_bytes_are_refused(parties, data):
    with refused(RemoteError, "malformed"):
        read(parties, data)
