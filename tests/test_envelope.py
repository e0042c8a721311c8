import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesdk import canonical, envelope
from edgesdk.envelope import Domain, Envelope, Signature, pae
from edgesdk.errors import MalformedBundleError

SIGNATURES = st.builds(Signature, st.binary(min_size=32, max_size=32), st.binary(max_size=80))
ENVELOPES = st.builds(
    lambda domain, payload, found: Envelope(domain, payload).with_signatures(found),
    st.sampled_from(Domain),
    st.binary(max_size=60),
    st.lists(SIGNATURES, max_size=4),
)
LIMIT = 16_384


def error(text):
    return MalformedBundleError("grant", text)


def parse(data, expect=Domain.GRANT, limit=LIMIT):
    return Envelope.parse(data, expect=expect, limit=limit, error=error)


def refused(data, **options):
    with pytest.raises(MalformedBundleError) as caught:
        parse(data, **options)
    assert caught.value.reason == "grant"


def document(**changes):
    value = {
        "payload": "cGF5bG9hZA==",
        "payloadType": Domain.GRANT.payload_type,
        "signatures": [{"keyid": "00" * 32, "sig": "AAAA"}],
    }
    value.update(changes)
    return canonical.encode({name: member for name, member in value.items() if member != ...})


def test_pae_is_the_one_of_dsse():
    expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert pae("http://example.com/HelloWorld", b"hello world") == expected


def test_pae_keeps_type_and_body_apart():
    assert pae("a", b"b c") != pae("a 1 b", b"c")
    assert pae("a ", b"b") != pae("a", b" b")
    assert pae("", b"") == b"DSSEv1 0  0 "


def test_every_kind_has_a_type_and_a_context_of_its_own():
    assert len({domain.payload_type for domain in Domain}) == len(Domain)
    assert len({domain.context for domain in Domain}) == len(Domain)


def test_the_page_has_the_table_of_types_and_contexts():
    page = (Path(__file__).parents[1] / "docs" / "bundle-format.md").read_text(encoding="utf-8")
    for domain in Domain:
        assert f"| `{domain.payload_type}` | `{domain.context.decode()}` |" in page


@given(ENVELOPES)
def test_round_trip(made):
    parsed = parse(made.encode(), expect=made.domain)
    assert parsed == made
    assert parsed.encode() == made.encode()
    assert json.loads(made.encode())["payloadType"] == made.payload_type


@given(ENVELOPES, st.data())
def test_flipped_byte_is_refused_or_another_envelope(made, data):
    encoded = bytearray(made.encode())
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        parsed = parse(bytes(encoded), expect=made.domain)
    except MalformedBundleError:
        return
    assert parsed != made
    assert parsed.encode() == bytes(encoded)


@given(ENVELOPES, st.data())
def test_truncated(made, data):
    encoded = made.encode()
    refused(encoded[: data.draw(st.integers(0, len(encoded) - 1))], expect=made.domain)


def test_other_kinds_are_refused():
    data = Envelope(Domain.ROOT, b"").encode()
    for domain in set(Domain) - {Domain.ROOT}:
        refused(data, expect=domain)
    assert parse(data, expect=Domain.ROOT).payload == b""


def test_the_size_is_looked_at_first():
    refused(document(), limit=len(document()) - 1)
    assert parse(document(), limit=len(document()))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        document(payload=...),
        document(payloadType=...),
        document(signatures=...),
        document(extra=1),
        document(payload="cGF5bG9hZA"),
        document(payload="cGF5bG9hZB=="),
        document(payload=1),
        document(payloadType="application/vnd.edgesdk.Grant+json"),
        document(payloadType=1),
        document(signatures={}),
        document(signatures=[[]]),
        document(signatures=[{"keyid": "00" * 32}]),
        document(signatures=[{"sig": "AAAA"}]),
        document(signatures=[{"keyid": "00" * 31, "sig": "AAAA"}]),
        document(signatures=[{"keyid": "AA" * 32, "sig": "AAAA"}]),
        document(signatures=[{"keyid": "00" * 32, "sig": "AAAA", "cert": "x"}]),
        document(signatures=[{"keyid": "00" * 32, "sig": "AAA"}]),
        document(signatures=[{"keyid": "00" * 32, "sig": "AAAA"}] * 2),
        document(signatures=[{"keyid": x * 64, "sig": "AAAA"} for x in "10"]),
        document(signatures=[{"keyid": f"{i:064x}", "sig": "AAAA"} for i in range(17)]),
        document() + b"\n",
        b" " + document(),
    ],
)
def test_malformed(data):
    refused(data)


def test_sixteen_signatures_are_allowed():
    found = [{"keyid": f"{i:064x}", "sig": "AAAA"} for i in range(16)]
    assert len(parse(document(signatures=found)).signatures) == 16


def test_merging_replaces_by_key_and_sorts():
    one, two = Signature(b"\1" * 32, b"old"), Signature(b"\2" * 32, b"b")
    newer = Signature(b"\1" * 32, b"new")
    assert envelope.merge([two, one], [newer]) == (newer, two)
