import contextlib
import dataclasses
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesdk import primitives, protocol
from edgesdk.errors import (
    ConfigurationError,
    DeadlineExceededError,
    DecryptionError,
    EdgeError,
    RemoteError,
    SignatureError,
)
from edgesdk.protocol import Header, Kind
from fixtures_cloud import refused

NOW = 1_700_000_000_000
BODY = b"the body of a request"

headers = st.builds(
    Header,
    kind=st.sampled_from(Kind),
    gateway=st.binary(min_size=8, max_size=8),
    device=st.binary(min_size=16, max_size=16),
    request_id=st.binary(min_size=16, max_size=16),
    created_ms=st.integers(0, 2**64 - 1),
    ttl_ms=st.integers(1, 600_000),
    model_tag=st.binary(min_size=4, max_size=4),
)


def ask(parties, **changes):
    options = {
        "device": parties.device.kid,
        "gateway": parties.gateway.kid,
        "model_id": "door/person",
        "created_ms": NOW,
        "ttl_ms": 200,
    }
    return Header.ask(**(options | changes))


@pytest.fixture(scope="module")
def sealed(parties):
    return protocol.seal_request(
        BODY, header=ask(parties), device=parties.device, gateway=parties.gateway_record
    )


@pytest.fixture(scope="module")
def opened(parties, sealed):
    return open_request(parties, sealed[0])


def open_request(parties, message):
    request = protocol.parse_request(message)
    authentic = protocol.authenticate(request, parties.device_record)
    return protocol.unseal(authentic, parties.gateway)


# Topics


def test_topics_are_those_of_the_page(parties):
    name = parties.device.name
    assert protocol.request_topic(parties.device.kid, "cameras") == f"e/v1/{name}/req/cameras"
    assert protocol.answer_topic(parties.device.kid) == f"e/v1/{name}/rep"
    assert protocol.service_topic("cameras") == "e/v1/svc/cameras"
    assert protocol.request_filter("cameras") == "e/v1/+/req/cameras"
    assert protocol.worker_group("cameras") == "gw-cameras"


@pytest.mark.parametrize("pool", ["", "a/b", "+", "#", "A", "x" * 33, "a\n"])
def test_a_pool_has_a_plain_name(pool):
    with refused(ConfigurationError, "invalid"):
        protocol.check_pool(pool)


# Header


def test_the_header_has_the_bytes_of_the_page():
    header = Header(
        kind=Kind.ANSWER,
        gateway=b"gatewayg",
        device=b"d" * 16,
        request_id=b"r" * 16,
        created_ms=0x0102030405060708,
        ttl_ms=0x00010203,
        model_tag=b"tag!",
    )
    assert header.encode() == (
        b"EDCL\x01\x02\x00\x00"
        b"gatewayg"
        + b"d" * 16
        + b"r" * 16
        + b"\x08\x07\x06\x05\x04\x03\x02\x01"
        + b"\x03\x02\x01\x00"
        + b"tag!"
    )


@given(headers)
def test_a_header_survives_the_wire(header):
    assert len(header.encode()) == protocol.HEADER_BYTES
    assert Header.parse(header.encode() + b"rest", expect=header.kind) == header


@given(headers, st.integers(0, 7), st.integers(1, 255))
def test_a_header_has_one_magic_version_kind_and_no_flags(header, at, flip):
    message = bytearray(header.encode())
    message[at] ^= flip
    with refused(RemoteError, "malformed"):
        Header.parse(bytes(message), expect=header.kind)


@pytest.mark.parametrize("ttl", [0, 600_001, 2**32 - 1])
def test_time_to_live_has_bounds(parties, ttl):
    message = dataclasses.replace(ask(parties), ttl_ms=ttl).encode()
    with refused(RemoteError, "malformed"):
        Header.parse(message, expect=Kind.REQUEST)


@given(st.binary(max_size=63))
def test_a_short_header_is_malformed(message):
    for kind in Kind:
        with refused(RemoteError, "malformed"):
            Header.parse(message, expect=kind)


def test_the_model_tag_is_that_of_the_page(parties):
    assert ask(parties).model_tag == hashlib.sha256(b"door/person").digest()[:4]


def test_request_ids_do_not_repeat(parties):
    assert len({ask(parties).request_id for _ in range(100)}) == 100


def test_an_answers_header_repeats_the_request(parties):
    header = ask(parties)
    answer = header.answer(now_ms=NOW + 50)
    assert (answer.kind, answer.created_ms, answer.ttl_ms) == (Kind.ANSWER, NOW + 50, 150)
    assert header.is_answered_by(answer)
    assert header.answer(now_ms=NOW + 1000).ttl_ms == 1
    assert not header.is_answered_by(header)
    for name, other in (
        ("gateway", b"another!"),
        ("device", b"a" * 16),
        ("request_id", b"a" * 16),
        ("model_tag", b"else"),
    ):
        assert not header.is_answered_by(dataclasses.replace(answer, **{name: other}))


@pytest.mark.parametrize("late", [0, 100, 199, -29_999, -30_000])
def test_a_request_in_its_window_passes(parties, late):
    ask(parties).check_window(now_ms=NOW + late)


@pytest.mark.parametrize("late", [200, 201, 30_000, 30_200])
def test_a_request_after_its_window_has_expired(parties, late):
    with refused(DeadlineExceededError, "expired"):
        ask(parties).check_window(now_ms=NOW + late)


@pytest.mark.parametrize("late", [-30_001, -(10**9), 30_201, 10**9])
def test_clocks_that_are_far_apart_are_told_so(parties, late):
    with refused(RemoteError, "clock"):
        ask(parties).check_window(now_ms=NOW + late)


# Requests and answers


def test_a_request_opens_at_its_gateway(opened, sealed):
    _, exchange = sealed
    assert opened.body == BODY
    assert opened.header == exchange.header
    assert opened.reply_key == exchange.reply_key


def test_a_request_has_the_shape_of_the_page(parties, sealed):
    message, exchange = sealed
    header = exchange.header.encode()
    assert message[:64] == header
    assert len(message) == 64 + primitives.HPKE_OVERHEAD + 32 + len(BODY) + 64
    label = b"edgesdk/cloud/request/v1\0"
    parties.device_record.verify_ed25519(
        message[-64:], label + hashlib.sha512(message[:-64]).digest()
    )
    plaintext = parties.gateway.unseal(message[64:-64], label + header)
    assert plaintext == exchange.reply_key + BODY


def test_an_answer_has_the_shape_of_the_page(parties, opened, sealed):
    salt = bytes(range(16))
    message = protocol.seal_answer(
        opened, b"yes", gateway=parties.gateway, now_ms=NOW + 50, salt=salt
    )
    header = opened.header.answer(now_ms=NOW + 50).encode()
    assert message[:80] == header + salt
    label = b"edgesdk/cloud/answer/v1\0"
    secret = primitives.hkdf_sha256(sealed[1].reply_key, salt=salt, info=label + header, length=44)
    body = primitives.aes_256_gcm_open(secret[:32], bytes(secret[32:]), message[80:-64])
    assert body == b"yes"
    parties.gateway_record.verify_ed25519(
        message[-64:], label + hashlib.sha512(message[:-64]).digest()
    )


@settings(max_examples=20)
@given(body=st.binary(max_size=2000))
def test_an_answer_opens_at_its_device(parties, opened, sealed, body):
    message = protocol.seal_answer(opened, body, gateway=parties.gateway, now_ms=NOW + 50)
    assert sealed[1].open_answer(message, parties.gateway_record) == body


def test_two_answers_to_one_request_share_no_bytes(parties, opened):
    first, second = (
        protocol.seal_answer(opened, b"x" * 100, gateway=parties.gateway, now_ms=NOW)
        for _ in range(2)
    )
    assert first[64:80] != second[64:80]
    assert first[80:180] != second[80:180]


@settings(max_examples=60)
@given(at=st.integers(0, 1400), flip=st.integers(1, 255))
def test_a_flipped_byte_of_a_request_is_refused(parties, sealed, at, flip):
    message = bytearray(sealed[0])
    message[at % len(message)] ^= flip
    with pytest.raises((SignatureError, RemoteError)) as caught:
        open_request(parties, bytes(message))
    assert caught.value.reason in {"malformed", "signature", "unknown-signer"}


@settings(max_examples=60)
@given(at=st.integers(0, 400), flip=st.integers(1, 255))
def test_a_flipped_byte_of_an_answer_is_refused(parties, opened, sealed, at, flip):
    message = bytearray(
        protocol.seal_answer(opened, b"y" * 40, gateway=parties.gateway, now_ms=NOW)
    )
    message[at % len(message)] ^= flip
    with pytest.raises((SignatureError, RemoteError)) as caught:
        sealed[1].open_answer(bytes(message), parties.gateway_record)
    assert caught.value.reason in {"malformed", "signature"}


@settings(max_examples=60)
@given(data=st.data())
def test_truncated_messages_are_refused(parties, opened, sealed, data):
    request = sealed[0][: data.draw(st.integers(0, len(sealed[0]) - 1))]
    with pytest.raises((SignatureError, RemoteError)):
        open_request(parties, request)
    answer = protocol.seal_answer(opened, b"y" * 40, gateway=parties.gateway, now_ms=NOW)
    answer = answer[: data.draw(st.integers(0, len(answer) - 1))]
    with pytest.raises((SignatureError, RemoteError)):
        sealed[1].open_answer(answer, parties.gateway_record)


@settings(max_examples=200)
@given(message=st.binary(max_size=300))
def test_random_messages_are_refused(parties, sealed, message):
    for start in (b"", b"EDCL\x01\x01\0\0", b"EDCL\x01\x02\0\0"):
        with contextlib.suppress(EdgeError):
            open_request(parties, start + message)
            pytest.fail("opened")
        with contextlib.suppress(EdgeError):
            sealed[1].open_answer(start + message, parties.gateway_record)
            pytest.fail("opened")


def test_a_message_above_the_limit_is_malformed(parties, sealed):
    excess = bytes(protocol.LIMITS.message_bytes)
    with refused(RemoteError, "malformed"):
        protocol.parse_request(sealed[0][:64] + excess)
    header = sealed[1].header.answer(now_ms=NOW).encode()
    with refused(RemoteError, "malformed"):
        sealed[1].open_answer(header + excess, parties.gateway_record)


def test_a_request_by_another_device_is_refused(parties):
    header = ask(parties)
    forged, _ = protocol.seal_request(
        BODY, header=header, device=parties.other, gateway=parties.gateway_record
    )
    with refused(SignatureError, "signature"):
        open_request(parties, forged)
    with refused(SignatureError, "unknown-signer"):
        protocol.authenticate(protocol.parse_request(forged), parties.other_record)


def test_a_request_opens_at_no_other_gateway(parties, sealed):
    authentic = protocol.authenticate(protocol.parse_request(sealed[0]), parties.device_record)
    with refused(DecryptionError, "payload"):
        protocol.unseal(authentic, parties.other)


def test_an_answer_by_another_gateway_is_refused(parties, opened, sealed):
    forged = protocol.seal_answer(opened, b"no", gateway=parties.other, now_ms=NOW)
    with refused(SignatureError, "signature"):
        sealed[1].open_answer(forged, parties.gateway_record)


def test_an_answer_to_another_request_is_refused(parties, sealed):
    other, _ = protocol.seal_request(
        BODY, header=ask(parties), device=parties.device, gateway=parties.gateway_record
    )
    answer = protocol.seal_answer(
        open_request(parties, other), b"no", gateway=parties.gateway, now_ms=NOW
    )
    with refused(RemoteError, "malformed"):
        sealed[1].open_answer(answer, parties.gateway_record)


def test_an_answer_under_another_key_does_not_open(parties, opened, sealed):
    message = protocol.seal_answer(opened, b"no", gateway=parties.gateway, now_ms=NOW)
    other = dataclasses.replace(sealed[1], reply_key=bytes(32))
    with refused(DecryptionError, "payload"):
        other.open_answer(message, parties.gateway_record)


def test_a_request_is_no_answer(parties, sealed):
    with refused(RemoteError, "malformed"):
        sealed[1].open_answer(sealed[0], parties.gateway_record)


@pytest.mark.parametrize("stage", [protocol.AuthenticRequest, protocol.OpenRequest])
def test_proofs_cannot_be_made_elsewhere(sealed, stage):
    fields = (
        {"message": b""} if stage is protocol.AuthenticRequest else {"reply_key": b"", "body": b""}
    )
    with pytest.raises(TypeError):
        stage(header=sealed[1].header, proof=object(), **fields)


def test_secrets_are_in_no_repr(opened, sealed):
    for shown in (repr(opened), repr(sealed[1])):
        assert repr(opened.reply_key) not in shown
        assert repr(BODY) not in shown
