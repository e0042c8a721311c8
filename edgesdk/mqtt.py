"""One connection to an MQTT broker. The only importer of paho.

The promise:

- Messages that a lost connection still held are reported as failed and die with it. (paho would
  queue a message that is published while it is offline, and deliver it after the reconnect, long
  after its sender gave up. So each connection is a paho client of its own.)
- The broker's own limits are kept: unacknowledged messages and size of a packet, which
  paho reads from CONNACK and then ignores.

All calls into paho are made by the thread that runs the connection; callbacks run on it and must
not block. The broker is not trusted with content, and may send anything: what is not MQTT, or is
larger than was agreed, ends the connection and nothing else.
"""

from __future__ import annotations

import contextlib
import logging
import math
import select
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edgesdk.errors import (
    BusyError,
    DeadlineExceededError,
    NotConnectedError,
    RemoteError,
    TransportError,
)
from edgesdk.link import (
    CONTENT_TYPE,
    MQTT5,
    Dialect,
    Greeting,
    Link,
    LinkLimits,
    Message,
    anew,
)

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from paho.mqtt.client import ConnectFlags, MQTTMessage
    from paho.mqtt.reasoncodes import ReasonCode

    from edgesdk.link import Broker, Outbox, Publication, Subscription

logger = logging.getLogger(__name__)

# What a reason code of the broker means to us; every other failure is "not-connected".
# MQTT 5, section 2.4; paho gives the codes of 3.1.1 in the same numbers.
_UNSUPPORTED_VERSION = 0x84
_UNLIMITED = 0xFFFF_FFFF
_LONGEST_EXPIRY = 0xFFFF_FFFF  # seconds
_TCP_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)  # Linux has it
_REASONS: dict[int, tuple[type[TransportError], str]] = {
    0x10: (NotConnectedError, "no-worker"),
    0x85: (NotConnectedError, "refused"),  # client identifier not valid
    0x86: (NotConnectedError, "refused"),  # bad user name or password
    0x87: (NotConnectedError, "refused"),  # not authorized
    0x8A: (NotConnectedError, "refused"),  # banned
    0x8C: (NotConnectedError, "refused"),  # bad authentication method
    0x8E: (NotConnectedError, "refused"),  # session taken over
    0x95: (RemoteError, "too-large"),  # packet too large
    0x97: (BusyError, "busy"),  # quota exceeded
    0x98: (NotConnectedError, "refused"),  # administrative action
}


def _translate(code: ReasonCode, doing: str) -> TransportError:
    kind, reason = _REASONS.get(int(code.value), (NotConnectedError, "not-connected"))
    return kind(reason, f"{doing}: expected success, got {code} ({int(code.value):#x})")


def _translate_os(error: OSError | ValueError, broker: Broker) -> TransportError:
    where = f"{broker.host}:{broker.port}"
    if isinstance(error, ssl.SSLCertVerificationError):
        text = (
            f"expected {where} to prove its name by a known authority, got: {error.verify_message}"
        )
        return NotConnectedError("refused", text)
    return NotConnectedError("not-connected", f"expected a broker at {where}, got {error!r}")


@dataclass(frozen=True)
class Settings:
    """What stays the same from connection to connection."""

    broker: Broker
    client_id: str
    subscriptions: tuple[Subscription, ...]
    on_message: Callable[[Message], None]
    context: ssl.SSLContext | None
    will: str | None
    limits: LinkLimits
    clock: Callable[[], float]


class Connection:
    """One paho client, from CONNECT to the loss of the connection.

    CONNACK, then SUBSCRIBE and SUBACK, and then the link stands. Whatever goes wrong ends
    ``run``, which returns why.
    """

    def __init__(
        self,
        settings: Settings,
        dialect: Dialect,
        outbox: Outbox,
        closing: threading.Event,
        on_ready: Callable[[Link], None],
    ) -> None:
        self.greeting = Greeting()
        self.lasted = 0.0
        self._settings = settings
        self._limits = settings.limits
        self._clock = settings.clock
        self._outbox = outbox
        self._closing = closing
        self._on_ready = on_ready
        self._dialect = dialect
        self._mqtt5 = dialect.version >= MQTT5
        self._begun = self._clock()
        self._stood_at: float | None = None
        self._offer = (0, 0)
        self._link: Link | None = None
        self._error: TransportError | None = None
        self._unacknowledged: dict[int, Publication] = {}
        self._client = self._make_client()

    def run(self) -> TransportError:
        """Connect, and serve until the connection is lost or the transport closes."""
        try:
            self._connect()
            self._begun = self._clock()
            while self._error is None and not self._closing.is_set():
                left = self._patience()
                if left <= 0:
                    self.greeting.silent = self.greeting.after is None
                    self._fail("the broker did not answer in time")
                elif not self._turn(left):
                    self._fail("the connection was lost")
        except (OSError, ValueError) as error:  # a host name may be no name at all
            self._error = self._error or _translate_os(error, self._settings.broker)
        except Exception:  # whatever it is, the next connection is tried
            logger.exception("a connection failed", extra={"reason": "not-connected"})
            self._fail("expected a connection, got an unforeseen error")
        finally:
            self._end()
        return self._why()

    def _patience(self) -> float:
        """Seconds that the broker has left to greet us; without end once the link stands."""
        if self._link is not None:
            return math.inf
        greeted = self.greeting.after is not None
        patience = self._limits.connect_seconds if greeted else self._dialect.patience
        return patience - (self._clock() - self._begun)

    def _make_client(self) -> Client:
        settings = self._settings
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=settings.client_id,
            clean_session=None if self._mqtt5 else True,
            protocol=MQTTProtocolVersion(self._dialect.version),
            reconnect_on_failure=False,
        )
        client.connect_timeout = self._limits.connect_seconds
        # Unacknowledged messages are counted here, and paho is handed none that it would have
        # to keep for later: no cap in flight, and a tight one on what it holds.
        client.max_inflight_messages_set(0)
        client.max_queued_messages_set(self._limits.unacknowledged)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        client.on_socket_open = _set_nodelay
        if settings.context is not None:
            client.tls_set_context(settings.context)
        if settings.broker.username is not None:
            client.username_pw_set(settings.broker.username, settings.broker.password)
        if settings.will is not None:
            client.will_set(settings.will, b"", qos=1, retain=True)
        return client

    def _connect(self) -> None:
        broker = self._settings.broker
        keepalive = self._limits.keepalive_seconds
        if not self._mqtt5:
            self._client.connect(broker.host, broker.port, keepalive)
            return
        properties = _no_properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 0
        properties.ReceiveMaximum = self._limits.receive_maximum
        properties.MaximumPacketSize = self._limits.packet_bytes
        self._client.connect(
            broker.host, broker.port, keepalive, clean_start=True, properties=properties
        )

    def _turn(self, patience: float) -> bool:
        """Wait for something to happen and do it; False when the socket is gone."""
        self._send_waiting()
        sock = self._client.socket()
        if sock is None:
            return False
        poll = select.poll()
        poll.register(sock, select.POLLIN | (select.POLLOUT if self._client.want_write() else 0))
        poll.register(self._outbox.wakened, select.POLLIN)
        # TLS may hold bytes of which the kernel knows no longer.
        buffered = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
        # A second at most, for paho keeps the connection alive in between.
        events = dict(poll.poll(0 if buffered else math.ceil(min(patience, 1.0) * 1000)))
        if events.pop(self._outbox.wakened.fileno(), 0):
            self._outbox.wakened.recv(4096)
        event = next(iter(events.values()), 0)
        if event & select.POLLOUT:
            self._client.loop_write()
        if buffered or event & ~select.POLLOUT:
            self._read()
        self._client.loop_misc()
        return self._client.socket() is not None

    def _read(self) -> None:
        """Read a little, and see that the broker does not make paho keep what has no bound.

        MaximumPacketSize and ReceiveMaximum are requests, which a hostile broker ignores. paho
        puts a packet together however large it is, keeps messages of QoS 2 until the broker
        releases them, and lets acknowledgements wait for a broker that does not read.
        """
        client, limits = self._client, self._limits
        client.loop_read()
        _acknowledge_at_once(client.socket())
        size, unread = int(client._in_packet["remaining_length"]), len(client._out_packet)  # noqa: SLF001
        if size > limits.packet_bytes:
            self._fail(f"expected a packet of at most {limits.packet_bytes} bytes, got {size}")
        if client._in_messages:  # noqa: SLF001
            self._fail("expected messages of QoS 0 or 1, got one of QoS 2")
        if unread > limits.unread:
            self._fail(f"expected a broker that reads, got {unread} packets waiting for it")

    def _send_waiting(self) -> None:
        while self._link is not None and len(self._unacknowledged) < self._link.unacknowledged:
            publication = self._outbox.take()
            if publication is None:
                return
            left = publication.deadline - self._clock()
            if left > 0:
                self._publish(publication, left)
            else:
                publication.settled(
                    DeadlineExceededError("deadline", "expected the broker to take it in time")
                )

    def _publish(self, publication: Publication, left: float) -> None:
        try:
            info = self._client.publish(
                publication.topic,
                publication.payload,
                qos=1,
                retain=publication.retain,
                properties=_properties(publication, left) if self._mqtt5 else None,
            )
        except Exception:
            publication.settled(NotConnectedError("not-connected", "expected it to be sent"))
            raise
        self._unacknowledged[info.mid] = publication
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._fail(f"expected the message to be sent, got {info.rc!r}")

    def _fail(self, text: str) -> None:
        if self._error is None:
            self._error = NotConnectedError("not-connected", text)

    def _why(self) -> TransportError:
        return self._error or NotConnectedError("not-connected", "the connection was closed")

    def _end(self) -> None:
        """Say goodbye if anybody listens, close the socket, settle what was under way."""
        if self._stood_at is not None:
            self.lasted = self._clock() - self._stood_at
        goodbye = self._error is None
        self._fail("the connection was closed")
        with contextlib.suppress(Exception):  # whatever it is, nobody can act on it any more
            if goodbye:
                self._client.disconnect()
        sock = self._client.socket()
        if sock is not None:
            sock.close()
        for publication in self._unacknowledged.values():
            publication.settled(anew(self._why()))
        self._unacknowledged.clear()

    # Callbacks of paho, on the same thread.

    def _on_connect(
        self,
        client: Client,
        _data: object,
        _flags: ConnectFlags,
        code: ReasonCode,
        given: Properties | None,
    ) -> None:
        if code.is_failure:
            self.greeting.refused_version = int(code.value) == _UNSUPPORTED_VERSION
            self._error = self._error or _translate(code, "connecting to the broker")
            return
        self.greeting.after = self._clock() - self._begun
        if self.greeting.after > self._dialect.too_slow:
            self._fail("the broker is slow, and may know MQTT 5")
            return
        self._offer = (
            int(getattr(given, "ReceiveMaximum", _UNLIMITED)),
            int(getattr(given, "MaximumPacketSize", _UNLIMITED)),
        )
        shared = self._mqtt5 and bool(getattr(given, "SharedSubscriptionAvailable", 1))
        filters = [(each.render(shared=shared), 1) for each in self._settings.subscriptions]
        if filters:
            client.subscribe(filters)
        else:
            self._stand()

    def _on_subscribe(
        self, _client: Client, _data: object, _mid: int, codes: list[ReasonCode], _given: object
    ) -> None:
        for code, subscription in zip(codes, self._settings.subscriptions, strict=False):
            if code.is_failure and not subscription.optional:
                self._error = self._error or _translate(code, "subscribing")
                return
        self._stand()

    def _stand(self) -> None:
        sock = cast("socket.socket | None", self._client.socket())
        if sock is None or self._link is not None:
            return
        receive, size = self._offer
        self._link = Link(
            version=self._dialect.version,
            unacknowledged=min(receive, self._limits.unacknowledged),
            packet_bytes=size,
            nodelay=bool(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)),
        )
        self._stood_at = self._clock()
        logger.info("connected: %s", self._link)
        self._outbox.stand(self._link)
        self._on_ready(self._link)

    def _on_publish(
        self, _client: Client, _data: object, mid: int, code: ReasonCode, _given: object
    ) -> None:
        publication = self._unacknowledged.pop(mid, None)
        if publication is not None:
            # 0x10 is a success of MQTT and a failure of ours: nobody listens.
            taken = int(code.value) == 0
            publication.settled(None if taken else _translate(code, "publishing"))

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        try:
            self._settings.on_message(Message(message.topic, bytes(message.payload)))
        except Exception:  # a message must not end the connection; a topic may be no UTF-8
            logger.exception("dropped a message", extra={"reason": "malformed"})

    def _on_disconnect(
        self, _client: Client, _data: object, _flags: object, code: ReasonCode, _given: object
    ) -> None:
        self._error = self._error or _translate(code, "the connection was lost")


def _set_nodelay(_client: Client, _data: object, sock: object) -> None:
    # Nagle's algorithm against delayed acknowledgements costs 40 ms a message.
    cast("socket.socket", sock).setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _acknowledge_at_once(sock: object) -> None:
    """Let a broker that keeps to Nagle's algorithm, as mosquitto does by default, go on sending.

    It holds an answer back until the packet before it is acknowledged, for which Linux takes its
    time, 40 ms, unless it is asked not to; and it must be asked again after each read.
    """
    if sock is not None and _TCP_QUICKACK is not None:
        with contextlib.suppress(OSError):
            cast("socket.socket", sock).setsockopt(socket.IPPROTO_TCP, _TCP_QUICKACK, 1)


def _no_properties(packet: int) -> Properties:
    return Properties(packet)  # type: ignore[no-untyped-call]


def _properties(publication: Publication, left: float) -> Properties:
    properties = _no_properties(PacketTypes.PUBLISH)
    if not publication.retain:
        properties.MessageExpiryInterval = min(max(1, math.ceil(left)), _LONGEST_EXPIRY)
    properties.ContentType = CONTENT_TYPE
    if publication.correlation:
        properties.CorrelationData = publication.correlation
    if publication.reply_topic:
        properties.ResponseTopic = publication.reply_topic
    return properties
