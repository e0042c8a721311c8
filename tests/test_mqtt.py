import dataclasses
import datetime as dt
import ipaddress
import logging
import socket
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from brokers import BROKERS, BrokerOptions, Scripted, running
from edgesdk.errors import (
    DeadlineExceededError,
    NotConnectedError,
    RemoteError,
    TransportError,
)
from edgesdk.link import Broker, LinkLimits, Publication, Subscription, Tls
from edgesdk.transport import Transport
from fixtures_cloud import EAGER, PATIENCE, address, eager, refused


class Peer:
    """A transport, and what its callbacks were told."""

    def __init__(self, url, *filters, limits, **options):
        self.messages, self.lost, self.fates, self.links = [], [], [], []
        self.told = threading.Condition()
        self.transport = Transport(
            Broker.parse(url),
            client_id=options.pop("client_id", f"peer-{id(self)}"),
            subscriptions=[Subscription(each) for each in filters],
            on_message=self._keep(self.messages),
            on_ready=self._keep(self.links),
            on_lost=self._keep(self.lost),
            limits=limits,
            **options,
        )

    def _keep(self, into):
        def keep(value):
            with self.told:
                into.append(value)
                self.told.notify_all()

        return keep

    def until(self, condition):
        with self.told:
            assert self.told.wait_for(condition, PATIENCE)

    def start(self):
        self.transport.start()
        return self.transport.wait_ready(PATIENCE)

    def send(self, payload, topic="t", seconds=PATIENCE, **options):
        self.transport.publish(
            Publication(
                topic, payload, time.monotonic() + seconds, self._keep(self.fates), **options
            )
        )

    def payloads(self):
        return [message.payload for message in self.messages]

    def reasons(self):
        return [None if fate is None else fate.reason for fate in self.fates]


@pytest.fixture
def peer():
    """``peer(broker, filter, ...)``; all are closed at the end."""
    made = []

    def make(broker, *filters, **options):
        url = broker if isinstance(broker, str) else address(broker)
        options.setdefault("limits", eager(broker))
        made.append(Peer(url, *filters, **options))
        return made[-1]

    yield make
    for each in made:
        each.transport.close()


def test_messages_go_and_come(broker, peer):
    one, two = peer(broker, "t", "u"), peer(broker)
    one.start()
    two.start()
    two.send(b"first", correlation=b"id", reply_topic="r")
    two.send(b"second", "u")
    one.until(lambda: len(one.messages) == 2)
    assert [(m.topic, m.payload) for m in one.messages] == [("t", b"first"), ("u", b"second")]
    two.until(lambda: len(two.fates) == 2)
    assert two.fates == [None, None]


def test_the_newest_version_of_the_broker_is_spoken(broker, peer):
    link = peer(broker).start()
    assert link.mqtt5 is broker.mqtt5


def test_small_packets_are_not_held_back(broker, peer):
    assert peer(broker).start().nodelay


@pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="this system has no TCP_QUICKACK")
def test_a_broker_that_holds_small_packets_back_need_not_wait(broker, peer, monkeypatch):
    """What was read is acknowledged at once, each time: the kernel forgets that it was asked to."""
    asked = []

    class Recording(socket.socket):
        def setsockopt(self, *option):
            asked.append(option[:2])
            super().setsockopt(*option)

    monkeypatch.setattr(socket, "socket", Recording)
    one = peer(broker, "t")
    one.start()
    before = len(asked)
    one.send(b"x")
    one.until(lambda: one.messages and one.fates)
    # The message and its acknowledgement may come in one read.
    assert (socket.IPPROTO_TCP, socket.TCP_QUICKACK) in asked[before:]


def test_a_large_message_passes(broker, peer):
    one = peer(broker, "t")
    one.start()
    payload = bytes(range(256)) * 4096
    one.send(payload)
    one.until(lambda: one.messages)
    assert one.payloads() == [payload]


def test_nobody_waits_for_a_broker_that_is_not_there(peer):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        one = peer(f"mqtt://127.0.0.1:{taken.getsockname()[1]}")
        with refused(NotConnectedError, "not-connected"):
            one.start()
        with refused(NotConnectedError, "not-connected"):
            one.send(b"x")
    assert one.fates == []


def test_a_name_that_is_none_is_an_error_and_no_end(peer):
    one = peer("mqtt://" + "x" * 70)
    with refused(NotConnectedError, "not-connected"):
        one.start()
    assert one.transport._thread.is_alive()


def test_the_loss_of_the_broker_is_noticed_and_mended(broker, peer):
    one = peer(broker, "t")
    one.start()
    broker.kill()
    one.until(lambda: one.lost)
    assert one.lost[0].reason == "not-connected"
    assert one.transport.link is None
    with refused(NotConnectedError, "not-connected"):
        one.send(b"x")
    broker.start()
    one.until(lambda: len(one.links) == 2)
    one.send(b"y")
    one.until(lambda: one.messages)
    assert one.payloads() == [b"y"]


def test_nothing_stale_survives_a_reconnect(broker, peer):
    """What was under way when the broker died is failed, and never delivered."""
    one, two = peer(broker, "t"), peer(broker)
    one.start()
    two.start()
    broker.freeze()
    for _ in range(5):
        two.send(b"stale")
    broker.kill()
    two.until(lambda: len(two.fates) == 5 and two.lost)
    assert set(two.reasons()) == {"not-connected"}
    for _ in range(5):
        with refused(NotConnectedError, "not-connected"):
            two.send(b"staler")
    broker.start()
    one.until(lambda: len(one.links) == 2)
    two.until(lambda: len(two.links) == 2)
    two.send(b"fresh")
    one.until(lambda: one.messages)
    assert one.payloads() == [b"fresh"]


def test_every_message_has_one_fate(broker, peer):
    one = peer(broker, "t")
    one.start()
    sent = 0
    for round_ in range(3):
        for number in range(10):
            one.send(b"%d" % number)
            sent += 1
        broker.kill()
        broker.start()
        one.until(lambda count=round_: len(one.links) == count + 2)
    one.until(lambda: len(one.fates) == sent)
    one.send(b"last")
    one.until(lambda: len(one.fates) == sent + 1)
    assert one.fates[-1] is None
    assert {fate.reason for fate in one.fates if fate} <= {"not-connected"}


def test_a_frozen_broker_does_not_hold_up_close(broker, peer):
    one = peer(broker, limits=LinkLimits(unacknowledged=2))
    one.start()
    broker.freeze()
    for _ in range(4):
        one.send(bytes(100_000))
    one.transport.close()
    broker.thaw()
    assert one.reasons() == ["not-connected"] * 4
    with refused(NotConnectedError, "not-connected"):
        one.send(b"x")


def test_a_broker_that_does_not_greet_is_given_up(broker, peer):
    broker.freeze()
    one = peer(broker, limits=LinkLimits(connect_seconds=0.2, silence_seconds=0.1))
    with refused(NotConnectedError, "not-connected"):
        one.start()
    broker.thaw()


def test_a_link_is_waited_for_through_attempts_that_fail(broker, peer):
    broker.kill()
    one = peer(broker)
    with refused(NotConnectedError, "not-connected"):
        one.start()
    with refused(NotConnectedError, "not-connected"):
        one.transport.wait_linked(0.05)
    coming = threading.Thread(target=broker.start)
    coming.start()
    assert one.transport.wait_linked(PATIENCE) == one.transport.link
    coming.join()


def test_closing_ends_waiting_for_a_broker_that_is_silent(scripted, peer):
    """Its first attempt is not over, and the kernel would wait for it on its own."""
    broker = scripted(lambda *_: b"")
    silent = LinkLimits(silence_seconds=1000.0, connect_seconds=1000.0, close_seconds=0.0)
    one = peer(f"mqtts://127.0.0.1:{broker.port}", limits=silent)
    errors = []

    def wait(how):
        with pytest.raises(NotConnectedError) as caught:
            how(1000.0)
        errors.append(caught.value.reason)

    one.transport.start()
    threads = [
        threading.Thread(target=wait, args=(how,))
        for how in (one.transport.wait_ready, one.transport.wait_linked)
    ]
    for thread in threads:
        thread.start()
    one.transport.close()
    for thread in threads:
        thread.join(PATIENCE)
    assert errors == ["not-connected"] * 2


def test_no_thread_is_no_connection(peer, monkeypatch):
    def fail(_self):
        raise RuntimeError("can't start new thread")

    one = peer("mqtt://127.0.0.1:1")
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fail)
        with refused(NotConnectedError, "not-connected"):
            one.transport.start()
    one.transport.start()
    with refused(NotConnectedError, "not-connected"):
        one.transport.wait_ready(PATIENCE)


def test_closing_before_starting_is_closing(peer):
    one = peer("mqtt://127.0.0.1:1")
    one.transport.close()
    one.transport.start()
    with refused(NotConnectedError, "not-connected"):
        one.transport.wait_ready(PATIENCE)


def test_a_password_in_the_clear_is_warned_of(peer, caplog):
    for url, warned in (
        ("mqtt://me:s3cret@127.0.0.1:1", True),
        ("mqtt://127.0.0.1:1", False),
        ("mqtts://me:s3cret@127.0.0.1:1", False),
    ):
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="edgesdk"):
            peer(url)
        assert ("in the clear" in caplog.text) is warned
        assert "s3cret" not in caplog.text


def test_a_callback_that_fails_ends_nothing(broker, peer):
    one = peer(broker, "t")
    keep, failed = one._keep(one.messages), []

    def fail_once(message):
        if not failed:
            failed.append(message)
            raise RuntimeError("a slip")
        keep(message)

    object.__setattr__(one.transport._settings, "on_message", fail_once)
    one.start()
    one.send(b"first")
    one.send(b"second")
    one.until(lambda: one.messages)
    assert one.payloads() == [b"second"]
    assert one.lost == []


def test_a_message_that_waited_too_long_is_not_sent(mosquitto, peer):
    one, two = peer(mosquitto, "t"), peer(mosquitto, limits=LinkLimits(unacknowledged=1))
    one.start()
    two.start()
    mosquitto.freeze()
    two.send(b"in the kernel")
    two.send(b"late", seconds=0.001)
    assert threading.Event().wait(0.01) is False
    mosquitto.thaw()
    two.until(lambda: len(two.fates) == 2)
    assert [type(fate) for fate in two.fates] == [type(None), DeadlineExceededError]
    two.send(b"later")
    one.until(lambda: len(one.messages) == 2)
    assert one.payloads() == [b"in the kernel", b"later"]


# Who may speak


@pytest.mark.parametrize("name", sorted(BROKERS))
@pytest.mark.parametrize("user", ["me:wrong@", "nobody:s3cret@", ""])
def test_bad_credentials_are_refused_without_a_storm(name, user, tmp_path, peer):
    drawn = []

    def uniform(low, high):
        drawn.append((low, high))
        return high

    with running(name, tmp_path, BrokerOptions(users={"me": "s3cret"})) as broker:
        one = peer(f"mqtt://{user}127.0.0.1:{broker.port}", uniform=uniform, limits=LinkLimits())
        with refused(NotConnectedError, "refused"):
            one.start()
        with refused(NotConnectedError, "refused"):
            one.send(b"x")
        one.transport.close()
    # The next attempt would have come after half a minute at least.
    assert drawn == [(30.0, 60.0)]


@pytest.mark.parametrize("name", sorted(BROKERS))
def test_good_credentials_are_taken(name, tmp_path, peer):
    with running(name, tmp_path, BrokerOptions(users={"me": "s3cret"})) as broker:
        # amqtt takes its time over a password.
        limits = LinkLimits(silence_seconds=1.0)
        peer(f"mqtt://me:s3cret@127.0.0.1:{broker.port}", limits=limits).start()


def test_two_clients_with_one_id_do_not_fight(mosquitto, peer):
    """Each throws the other out, but a connection that did not last does not shorten the wait.

    (amqtt lets both stay.)
    """
    limits = LinkLimits(backoff_first_seconds=1.0, backoff_cap_seconds=1e6)
    drawn = {"a": [], "b": []}

    def pause(name):
        def uniform(_low, high):
            drawn[name].append(high)
            return 0.0

        return uniform

    pair = [
        peer(mosquitto, client_id="same", limits=limits, uniform=pause(name)) for name in ("a", "b")
    ]
    for each in pair:
        each.transport.start()
    for each in pair:
        each.until(lambda each=each: len(each.links) >= 4)
    for each in pair:
        each.transport.close()
    for waits in drawn.values():
        assert len(waits) >= 3
        assert waits == sorted(waits)
        assert waits[-1] >= 2 ** (len(waits) - 1)


def test_nobody_listening_is_said_at_once(mqtt5_broker, peer):
    one = peer(mqtt5_broker)
    one.start()
    one.send(b"x", "nobody/listens")
    one.until(lambda: one.fates)
    assert type(one.fates[0]) is NotConnectedError
    assert one.reasons() == ["no-worker"]


def test_what_cannot_be_said_in_mqtt_is_settled(mosquitto, peer):
    """A fault of this program must not leave a caller waiting for its deadline."""
    one = peer(mosquitto, "t")
    one.start()
    one.send(b"x", correlation=bytes(70_000))
    one.until(lambda: one.fates)
    assert one.reasons() == ["not-connected"]
    one.until(lambda: len(one.links) == 2)
    one.send(b"y", seconds=1e12)
    one.until(lambda: one.messages)
    assert one.payloads() == [b"y"]


def test_what_the_broker_forbids_is_refused(tmp_path, peer):
    options = BrokerOptions(acl="topic read #\n")
    with running("mosquitto", tmp_path, options) as broker:
        one = peer(broker)
        one.start()
        one.send(b"x")
        one.until(lambda: one.fates)
        assert one.reasons() == ["refused"]
        assert one.lost == []


def test_the_largest_packet_of_the_broker_is_kept_to(tmp_path, peer):
    with running("mosquitto", tmp_path, BrokerOptions(max_packet_bytes=2000)) as broker:
        one = peer(broker, "t")
        assert one.start().packet_bytes == 2000
        with refused(RemoteError, "too-large"):
            one.send(bytes(2000))
        payload = bytes(1900)
        one.send(payload)
        one.until(lambda: one.messages)
        assert one.payloads() == [payload]
        assert one.lost == []


def test_the_receive_maximum_of_the_broker_is_read(tmp_path, peer):
    with running("mosquitto", tmp_path, BrokerOptions(receive_maximum=3)) as broker:
        one = peer(broker, "t")
        assert one.start().unacknowledged == 3
        for number in range(20):
            one.send(b"%d" % number)
        one.until(lambda: len(one.messages) == 20)
        assert one.payloads() == [b"%d" % number for number in range(20)]


# TLS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """An authority, a broker's certificate for 127.0.0.1 by it, and another authority."""
    folder = tmp_path_factory.mktemp("tls")
    now = dt.datetime.now(dt.timezone.utc)

    def issue(name, signer=None):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer, issuing_key = signer or (subject, key)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=signer is None, path_length=None), True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
                False,
            )
            .sign(issuing_key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM), key, subject

    authority, authority_key, name = issue("authority")
    stranger, _, _ = issue("stranger")
    certificate, key, _ = issue("broker", (name, authority_key))
    (folder / "broker.pem").write_bytes(certificate)
    (folder / "broker.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    (folder / "authority.pem").write_bytes(authority)
    options = BrokerOptions(certificate=folder / "broker.pem", key=folder / "broker.key")
    return options, authority, stranger


@pytest.mark.parametrize("name", sorted(BROKERS))
def test_tls_to_a_broker_that_proves_its_name(name, tmp_path, certificates, peer):
    options, authority, _ = certificates
    with running(name, tmp_path, options) as broker:
        one = peer(f"mqtts://127.0.0.1:{broker.port}", "t", tls=Tls(ca=authority))
        assert one.start().nodelay
        payload = bytes(300_000)
        one.send(payload)
        one.until(lambda: one.messages)
        assert one.payloads() == [payload]


@pytest.mark.parametrize("name", sorted(BROKERS))
def test_tls_to_a_broker_of_another_authority_is_refused(name, tmp_path, certificates, peer):
    options, _, stranger = certificates
    with running(name, tmp_path, options) as broker:
        one = peer(f"mqtts://127.0.0.1:{broker.port}", tls=Tls(ca=stranger))
        with refused(NotConnectedError, "refused"):
            one.start()


def test_a_client_proves_who_it_is(tmp_path, certificates, peer):
    options, authority, _ = certificates
    folder = options.certificate.parent
    options = dataclasses.replace(options, clients_ca=folder / "authority.pem")
    with running("mosquitto", tmp_path, options) as broker:
        url = f"mqtts://127.0.0.1:{broker.port}"
        # Any certificate by that authority does; the broker's own is at hand.
        tls = Tls(ca=authority, certificate=options.certificate, key=options.key)
        assert peer(url, tls=tls).start().mqtt5
        with refused(NotConnectedError, "not-connected"):
            peer(url, tls=Tls(ca=authority)).start()


# Brokers that misbehave


def polite(number, kind, body):
    del number, body
    return {
        Scripted.CONNECT: Scripted.CONNACK5,
        Scripted.SUBSCRIBE: b"\x90\x04\x00\x01\x00\x01",
    }.get(kind, b"")


def test_a_session_is_clean_and_leaves_nothing(scripted, peer):
    broker = scripted(polite)
    peer(broker).start()
    (connect,) = broker.wait_for(Scripted.CONNECT)
    assert connect[:7] == b"\x00\x04MQTT\x05"
    assert connect[7] & 0x02  # clean start
    # Session Expiry Interval 0, ours Receive Maximum and Maximum Packet Size.
    assert b"\x11\x00\x00\x00\x00" in connect
    assert b"\x21\x00\x10" in connect
    assert b"\x27\x00\x40\x00\x00" in connect


def test_no_more_than_the_receive_maximum_is_sent_ahead(scripted, peer):
    def script(number, kind, body):
        if kind == Scripted.CONNECT:
            return b"\x20\x06\x00\x00\x03\x21\x00\x02"  # Receive Maximum 2
        if kind == Scripted.PUBLISH and body.endswith(b"go"):
            return b"\x40\x02" + body[3:5] + b"\x40\x02\x00\x01"
        return polite(number, kind, body)

    broker = scripted(script)
    one = peer(broker)
    assert one.start().unacknowledged == 2
    for payload in (b"1", b"go", b"3", b"4", b"5"):
        one.send(payload)
    bodies = broker.wait_for(Scripted.PUBLISH, 4)
    assert [body[-1:] for body in bodies] == [b"1", b"o", b"3", b"4"]
    one.until(lambda: len(one.fates) == 2)


def test_publications_carry_hints_for_operators(scripted, peer):
    broker = scripted(polite)
    one = peer(broker)
    one.start()
    one.send(b"x", seconds=4.2, correlation=b"id", reply_topic="r")
    (body,) = broker.wait_for(Scripted.PUBLISH)
    assert b"\x02\x00\x00\x00\x05" in body  # Message Expiry Interval, rounded up
    assert b"\x03\x00\x1aapplication/vnd.edgesdk.v1" in body
    assert b"\x09\x00\x02id" in body
    assert b"\x08\x00\x01r" in body


def test_a_broker_without_version_5_gets_the_older_one(scripted, peer):
    def script(number, kind, body):
        if kind == Scripted.CONNECT:
            return Scripted.CONNACK4 if body[6] == 4 else b"\x20\x02\x00\x01"
        return polite(number, kind, body)

    broker = scripted(script)
    one = peer(broker, limits=LinkLimits(silence_seconds=PATIENCE))
    assert one.start().version == 4
    assert one.lost == []


def test_a_slow_broker_gets_the_newest_version_after_all(scripted, peer):
    def script(number, kind, body):
        if kind == Scripted.CONNECT:
            threading.Event().wait(0.3)
            return Scripted.CONNACK5 if body[6] == 5 else Scripted.CONNACK4
        return polite(number, kind, body)

    broker = scripted(script)
    one = peer(broker, limits=LinkLimits(silence_seconds=0.1, connect_seconds=PATIENCE))
    assert one.start().version == 5
    assert [body[6] for body in broker.wait_for(Scripted.CONNECT, 3)] == [5, 4, 5]


def test_a_broker_that_was_slow_once_gets_the_newest_version_with_the_next_connection(
    scripted, peer
):
    def script(number, kind, body):
        if kind == Scripted.CONNECT and number == 0:
            return b""  # it never comes
        if kind == Scripted.CONNECT:
            return Scripted.CONNACK5 if body[6] == 5 else Scripted.CONNACK4
        if kind == Scripted.PUBLISH:
            return None
        return polite(number, kind, body)

    one = peer(scripted(script), limits=dataclasses.replace(EAGER, silence_seconds=0.2))
    assert one.start().version == 4
    one.send(b"x")
    one.until(lambda: len(one.links) == 2)
    assert one.links[1].version == 5


def test_a_broker_without_shared_subscriptions_gets_plain_ones(scripted):
    def script(number, kind, body):
        if kind == Scripted.CONNECT:
            return b"\x20\x05\x00\x00\x02\x2a\x00"
        return polite(number, kind, body)

    broker = scripted(script)
    transport = Transport(
        Broker.parse(f"mqtt://127.0.0.1:{broker.port}"),
        client_id="x",
        subscriptions=[Subscription("a/b", group="g")],
        on_message=lambda _: None,
    )
    transport.start()
    (body,) = broker.wait_for(Scripted.SUBSCRIBE)
    transport.close()
    assert body.endswith(b"\x00\x03a/b\x01")


def test_an_optional_subscription_may_be_refused(scripted):
    def script(number, kind, body):
        if kind == Scripted.SUBSCRIBE:
            return b"\x90\x05\x00\x01\x00\x01\x87"
        return polite(number, kind, body)

    broker = scripted(script)

    def connect(*, optional):
        transport = Transport(
            Broker.parse(f"mqtt://127.0.0.1:{broker.port}"),
            client_id="x",
            subscriptions=[Subscription("a"), Subscription("b", optional=optional)],
            on_message=lambda _: None,
        )
        transport.start()
        try:
            return transport.wait_ready(PATIENCE)
        finally:
            transport.close()

    assert connect(optional=True)
    with refused(NotConnectedError, "refused"):
        connect(optional=False)


@pytest.mark.parametrize(
    "junk",
    [
        b"\xff" * 50,
        b"\x30\xff\xff\xff\xff\xff",
        b"\x32\x02\xff\xff",
        b"\x32\x05\x00\x01t",
        b"\x40\x00",
        b"\x40\x03\x00\x01\xff",
        b"\x90\x01\x00",
        b"\x20\x00",
        b"\x30\x08\x00\x01t\x7f\xff\xff\xff\xff",
        b"\x30\x07\x00\x02\xff\xfe\x00ok",
        b"\xe0\x01\xff",
        b"\xf0\x00",
    ],
    ids=lambda junk: junk[:8].hex(),
)
def test_what_is_not_mqtt_ends_one_connection_only(scripted, peer, junk):
    def script(number, kind, body):
        if kind == Scripted.PUBLISH and number == 0:
            return junk
        if kind == Scripted.PUBLISH:
            return b"\x30\x06\x00\x01t\x00ok"
        return polite(number, kind, body)

    broker = scripted(script)
    one = peer(broker, "t")
    one.start()
    one.send(b"x")

    def ok():
        return any(message.payload == b"ok" for message in one.messages)

    def survived():
        return ok() or one.lost

    broker.wait_for(Scripted.PUBLISH)
    # Some of it is skipped, some of it ends the connection: nothing ends the transport.
    deadline = time.monotonic() + PATIENCE
    while not ok() and time.monotonic() < deadline:
        with one.told:
            one.told.wait_for(survived, 0.05)
        broker._script = lambda number, kind, body: script(max(number, 1), kind, body)
        try:
            one.send(b"y")
        except TransportError:
            continue
    assert ok()


def test_a_packet_beyond_the_limit_is_not_collected(scripted, peer):
    def script(number, kind, body):
        if kind == Scripted.PUBLISH:
            return b"\x30\xff\xff\xff\x7f\x00\x01t\x00" + bytes(1000)
        return polite(number, kind, body)

    broker = scripted(script)
    one = peer(broker, "t", limits=LinkLimits(packet_bytes=100_000))
    one.start()
    one.send(b"x")
    one.until(lambda: one.lost)
    assert "268435455" in str(one.lost[0])


def test_a_message_of_qos_2_is_not_kept(scripted, peer):
    """Nobody subscribes to it, and paho would keep as many as the broker has numbers for."""

    def script(number, kind, body):
        if kind == Scripted.PUBLISH:
            return b"\x34\x08\x00\x01t\x00\x01\x00ok"
        return polite(number, kind, body)

    one = peer(scripted(script), "t")
    one.start()
    one.send(b"x")
    one.until(lambda: one.lost)
    assert "QoS 2" in str(one.lost[0])
    assert one.messages == []


def test_a_broker_that_speaks_and_does_not_read_is_given_up(scripted, peer, monkeypatch):
    def script(number, kind, body):
        if kind == Scripted.PUBLISH:
            # It does not read the acknowledgements until all of it is sent.
            return b"\x32\x06\x00\x01t\x00\x01\x00" * 1_000_000
        return polite(number, kind, body)

    # The kernel would keep many thousands of them, too.
    monkeypatch.setattr(
        "edgesdk.mqtt._set_nodelay",
        lambda _client, _data, sock: sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1),
    )
    broker = scripted(script)
    broker._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    one = peer(broker, limits=LinkLimits(unread=50))
    one.start()
    one.send(b"x")
    one.until(lambda: one.lost)
    assert "a broker that reads" in str(one.lost[0])


def test_a_broker_that_throws_us_out_is_left_alone(scripted, peer):
    def script(number, kind, body):
        if kind == Scripted.PUBLISH:
            return b"\xe0\x02\x8e\x00"  # session taken over
        return polite(number, kind, body)

    drawn = []

    def uniform(low, high):
        drawn.append((low, high))
        return high

    one = peer(scripted(script), limits=LinkLimits(), uniform=uniform)
    one.start()
    one.send(b"x")
    one.until(lambda: one.lost)
    assert one.lost[0].reason == "refused"
    one.transport.close()
    assert drawn == [(30.0, 60.0)]


def test_a_connection_that_lasted_shortens_the_next_wait(scripted, peer):
    def script(number, kind, body):
        return None if kind == Scripted.PUBLISH else polite(number, kind, body)

    drawn = []

    def uniform(_low, high):
        drawn.append(high)
        return 0.0

    now = [0.0]
    one = peer(
        scripted(script),
        limits=LinkLimits(stable_seconds=30.0, backoff_first_seconds=1.0),
        uniform=uniform,
        clock=lambda: now[0],
    )
    one.start()
    for round_, lasted in enumerate((1.0, 1.0, 31.0, 1.0)):
        one.until(lambda count=round_: len(one.links) == count + 1)
        now[0] += lasted
        one.transport.publish(Publication("t", b"x", now[0] + 1.0))
        one.until(lambda count=round_: len(one.lost) == count + 1)
    one.until(lambda: len(one.links) == 5)
    assert drawn == [1.0, 2.0, 1.0, 2.0]
