"""What a connection to a broker is made of, apart from MQTT itself. Imports no MQTT library.

Where the broker is and how it proves its name (:class:`Broker`, :class:`Tls`), what goes and
comes (:class:`Publication`, :class:`Message`, :class:`Subscription`), what was agreed
(:class:`Link`), and the :class:`Outbox`, the one place that callers' threads and the
connection's thread share.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
import ssl
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from edgesdk.errors import (
    BusyError,
    ConfigurationError,
    LifecycleError,
    NotConnectedError,
    RemoteError,
    TransportError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONTENT_TYPE = "application/vnd.edgesdk.v1"
MQTT5 = 5
MQTT311 = 4
# Topic and properties of a message, beside it in one packet.
PACKET_OVERHEAD = 4096


def anew(error: TransportError) -> TransportError:
    """The same error anew: one exception must not be raised by two threads."""
    return type(error)(error.reason, error.message, hint=error.hint)


@dataclass(frozen=True)
class Broker:
    """Where the broker is, and who we say we are."""

    host: str
    port: int
    tls: bool
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> Broker:
        """Read ``mqtt[s]://[user[:password]@]host[:port]``."""
        # The text of the error leaves out what may be a password.
        bad = ConfigurationError(
            "invalid",
            "expected mqtt://host or mqtts://[user[:password]@]host[:port], got another URL",
        )
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise bad from None
        if parts.scheme not in {"mqtt", "mqtts"} or not host or port == 0:
            raise bad
        if parts.path.strip("/") or parts.query or parts.fragment:
            raise bad
        tls = parts.scheme == "mqtts"
        return cls(
            host=host,
            port=port or (8883 if tls else 1883),
            tls=tls,
            username=None if parts.username is None else unquote(parts.username),
            password=None if parts.password is None else unquote(parts.password),
        )


@dataclass(frozen=True)
class Tls:
    """Whom we believe to be the broker, and how we prove who we are.

    ``ca`` holds PEM certificates; without it the system's authorities count.
    """

    ca: bytes | None = None
    certificate: Path | None = None
    key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """A context that checks certificate and host name. TLS 1.2 is the oldest version."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.sslsocket_class = _TidySocket
        try:
            if self.ca is None:
                context.load_default_certs()
            else:
                # Not by way of create_default_context: it takes an empty file for none at all,
                # and then believes the authorities of the system.
                context.load_verify_locations(cadata=self.ca.decode("ascii"))
            if self.certificate is not None:
                # The standard library takes a client's key from a path only.
                context.load_cert_chain(self.certificate, self.key)
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                "invalid", f"expected PEM certificates and their key, got {type(error).__name__}"
            ) from error
        return context


class _TidySocket(ssl.SSLSocket):
    """One that is closed when its handshake fails; paho forgets it."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002  (as inherited)
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


@dataclass(frozen=True)
class Subscription:
    """A topic filter; a ``group`` shares it among workers where the broker can."""

    filter: str
    group: str | None = None
    optional: bool = False  # a broker that refuses it is no worse for it

    def render(self, *, shared: bool) -> str:
        """The filter for a broker that has shared subscriptions, or for one that has not.

        One that has not (MQTT 3.1.1) may grant such a subscription and deliver nothing.
        """
        return f"$share/{self.group}/{self.filter}" if shared and self.group else self.filter


@dataclass(frozen=True)
class Message:
    """What came. ``topic`` is the broker's word for it."""

    topic: str
    payload: bytes


@dataclass(frozen=True)
class Publication:
    """What shall go, with QoS 1, before ``deadline`` (seconds of the transport's clock).

    ``settled`` is called once, on the transport's thread: with None when the broker has taken it,
    else with the reason why it has not.
    """

    topic: str
    payload: bytes
    deadline: float
    settled: Callable[[TransportError | None], None] = field(default=lambda _: None)
    correlation: bytes = b""
    reply_topic: str = ""
    retain: bool = False

    @property
    def packet_bytes(self) -> int:
        """An upper bound on the size of the packet that carries it."""
        # Fixed header 5, topic 2, packet id 2; properties: their length 4, expiry 5, and 3 bytes
        # before each of the others (MQTT 5, sections 2.2.2 and 3.3).
        properties = len(CONTENT_TYPE) + len(self.correlation) + len(self.reply_topic)
        return 27 + len(self.topic) + properties + len(self.payload)


@dataclass(frozen=True)
class LinkLimits:
    """Bounds of one connection."""

    packet_bytes: int = 4 * 1024 * 1024  # largest packet taken from the broker
    receive_maximum: int = 16  # messages the broker may send ahead of our acknowledgement
    unacknowledged: int = 16  # messages sent ahead of the broker's acknowledgement
    waiting: int = 64  # messages that wait here for their turn
    unread: int = 4096  # packets, acknowledgements mostly, that wait for the broker to read
    connect_seconds: float = 5.0  # from TCP to SUBACK
    silence_seconds: float = 0.5  # without CONNACK, after which MQTT 3.1.1 is tried
    keepalive_seconds: int = 15  # a silent broker is given up after about twice this
    stable_seconds: float = 30.0  # a connection that lasted so long was a good one
    backoff_first_seconds: float = 0.5
    backoff_cap_seconds: float = 60.0
    close_seconds: float = 2.0  # to say goodbye


@dataclass(frozen=True)
class Link:
    """What was agreed with the broker on a connection that stands."""

    version: int  # 5, or 4 for MQTT 3.1.1
    unacknowledged: int  # messages that the broker takes ahead of its acknowledgement
    packet_bytes: int  # largest packet that the broker takes
    nodelay: bool  # read back from the socket

    @property
    def mqtt5(self) -> bool:
        """Whether the broker speaks MQTT 5."""
        return self.version >= MQTT5


@dataclass
class Greeting:
    """How a broker took our CONNECT."""

    after: float | None = None  # seconds until its CONNACK
    refused_version: bool = False
    silent: bool = False  # it held the connection and said nothing


class Dialect:
    """Which version of MQTT to speak next: 5, and 3.1.1 to a broker that has no 5.

    Such a broker refuses 5, or is silent: it may take the properties of a CONNECT for the
    length of a string, and wait for the rest of it for ever. One that is only slow must not be
    taken for it; so when it is no faster with 3.1.1, it gets 5 again, with all the time there is,
    and 3.1.1 for good if it needs still more. Silence that was short speaks for one connection
    only: whoever delays a CONNACK once must not take MQTT 5 away for good, and with it shared
    subscriptions and the broker's limits.
    """

    def __init__(self, limits: LinkLimits) -> None:
        self._limits = limits
        self._known = False
        self.version = MQTT5
        self.patience = limits.silence_seconds  # for CONNACK
        self.too_slow = math.inf  # a CONNACK after this says that 5 deserves more patience

    def learn(self, greeting: Greeting) -> bool:
        """Whether to try again at once, in the other version."""
        newest = self.version == MQTT5
        if newest and greeting.refused_version:
            # Whatever was known before: it may be another broker by now.
            self._speak(MQTT311, known=True)
        elif self._known:
            return False
        elif newest and greeting.silent:
            # For good, once it has had all the time there is.
            patient = self.patience >= self._limits.connect_seconds
            slow = math.inf if patient else self._limits.silence_seconds / 2
            self._speak(MQTT311, known=patient, too_slow=slow)
        elif greeting.after is not None and greeting.after > self.too_slow:
            self._speak(MQTT5)
        else:
            self._known = newest and greeting.after is not None
            if not self._known:
                self._speak(MQTT5)  # nobody was there, or only silence spoke for 3.1.1
                self.patience = self._limits.silence_seconds
            return False
        return True

    def _speak(self, version: int, *, known: bool = False, too_slow: float = math.inf) -> None:
        self.version = version
        self.patience = self._limits.connect_seconds
        self.too_slow = too_slow
        self._known = known


class Outbox:
    """What the callers' threads and the transport's share: the link, and what waits for it.

    A message gets in only while a link stands, and all of them leave when it is lost: both
    under one lock, so that none slips from one connection into the next.
    """

    def __init__(self, broker: Broker, limits: LinkLimits) -> None:
        self.link: Link | None = None
        self._where = f"{broker.host}:{broker.port}"
        self._limit = limits.waiting
        self._error: TransportError | None = None  # why there is no link, once that is known
        self._ended = False  # there will be none any more
        self._waiting: deque[Publication] = deque()
        self._changed = threading.Condition()
        self._pid = os.getpid()
        self._bell, self.wakened = socket.socketpair()
        self._bell.setblocking(False)
        self.wakened.setblocking(False)

    def put(self, publication: Publication) -> None:
        """Let a message wait for its turn on the link that stands, or raise at once."""
        if os.getpid() != self._pid:
            raise LifecycleError("forked", "expected the process that connected, got its child")
        with self._changed:
            if self.link is None:
                raise self._why_not()
            size, limit = publication.packet_bytes, self.link.packet_bytes
            if size > limit:
                raise RemoteError(
                    "too-large", f"expected a packet of at most {limit} bytes, got {size}"
                )
            if len(self._waiting) >= self._limit:
                raise BusyError(
                    "outstanding", f"expected at most {self._limit} waiting messages, got one more"
                )
            self._waiting.append(publication)
        self.wake()

    def take(self) -> Publication | None:
        """The next message, if there is one."""
        with self._changed:
            return self._waiting.popleft() if self._waiting else None

    def wait(self, timeout: float) -> Link:
        """The link, waiting for the outcome of the first attempt only."""
        with self._changed:
            self._changed.wait_for(
                lambda: self.link is not None or self._error is not None, timeout
            )
            if self.link is None:
                raise self._why_not()
            return self.link

    def wait_linked(self, timeout: float) -> Link:
        """The link, waiting through attempts that fail; then the last one's error."""
        with self._changed:
            self._changed.wait_for(lambda: self.link is not None or self._ended, timeout)
            if self.link is None:
                raise self._why_not()
            return self.link

    def stand(self, link: Link) -> None:
        """Let messages in."""
        with self._changed:
            self.link = link
            self._error = None
            self._changed.notify_all()

    def end(self, error: TransportError) -> None:
        """Tell those who wait for a link that there will be none; one that stands is lost later."""
        with self._changed:
            self._ended = True
            if self.link is None:
                self._error = error
            self._changed.notify_all()

    def lose(self, error: TransportError) -> bool:
        """Forget the link, if there was one, and settle what waited for it."""
        with self._changed:
            stood, self.link, self._error = self.link is not None, None, error
            waited, self._waiting = self._waiting, deque()
            self._changed.notify_all()
        for publication in waited:
            publication.settled(anew(error))
        return stood

    def wake(self) -> None:
        """Have the connection's thread look."""
        # A full pipe wakes as well; a closed one needs no waking.
        with contextlib.suppress(OSError):
            self._bell.send(b"\0")

    def close(self) -> None:
        """Release what wakes."""
        self._bell.close()
        self.wakened.close()

    def _why_not(self) -> TransportError:
        if self._error is not None:
            return anew(self._error)
        text = f"expected a connection to {self._where}, got none yet"
        return NotConnectedError("not-connected", text)
