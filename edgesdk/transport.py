"""A connection to a broker that is kept up by one thread.

The promise:

- Nothing is published unless a connection stands, and nothing outlives it.
- Everything that waits for a message to be taken hears of its fate once: taken by the
  broker, refused, lost with the connection, too late, or closed.
- MQTT 5 is tried first, and 3.1.1 on a new connection when the broker refuses the version.
- Reconnects wait with full jitter. The wait grows until a connection has *lasted*: so two
  clients with one id, which throw each other out, do it ever more rarely.

MQTT itself is spoken in ``mqtt``.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from typing import TYPE_CHECKING

from edgesdk.errors import NotConnectedError, TransportError
from edgesdk.link import Dialect, Link, LinkLimits, Message, Outbox, Tls, anew
from edgesdk.mqtt import Connection, Settings
from edgesdk.policy import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgesdk.link import Broker, Publication, Subscription

logger = logging.getLogger(__name__)


def _closed() -> TransportError:
    return NotConnectedError("not-connected", "expected a connection, got a closed one")


class Transport:
    """A connection that is kept up until ``close``.

    ``on_message``, ``on_ready`` and ``on_lost`` are called on the transport's own thread.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        client_id: str,
        subscriptions: Sequence[Subscription],
        on_message: Callable[[Message], None],
        on_ready: Callable[[Link], None] = lambda _: None,
        on_lost: Callable[[TransportError], None] = lambda _: None,
        tls: Tls | None = None,
        will: str | None = None,
        limits: LinkLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        limits = limits or LinkLimits()
        if broker.password is not None and not broker.tls:
            logger.warning(
                "the password for %s goes over the network in the clear; mqtts:// hides it",
                broker.host,
                extra={"reason": "refused"},
            )
        self._settings = Settings(
            broker=broker,
            client_id=client_id,
            subscriptions=tuple(subscriptions),
            on_message=on_message,
            context=(tls or Tls()).context() if broker.tls else None,
            will=will,
            limits=limits,
            clock=clock,
        )
        self._on_ready = on_ready
        self._on_lost = on_lost
        self._backoff = Backoff(
            first=limits.backoff_first_seconds, cap=limits.backoff_cap_seconds, uniform=uniform
        )
        self._outbox = Outbox(broker, limits)
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def start(self) -> None:
        """Begin to connect. Starting twice is starting once.

        Raises:
            NotConnectedError: ``not-connected``: the system gives no thread.
        """
        with self._starting:
            if self._thread is None and not self._closing.is_set():
                thread = threading.Thread(target=self._run, name="edgesdk-mqtt", daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:
                    text = f"expected a thread for the connection, got: {error}"
                    raise NotConnectedError("not-connected", text) from error
                self._thread = thread

    @property
    def link(self) -> Link | None:
        """What was agreed with the broker; None while there is no connection."""
        return self._outbox.link

    def wait_ready(self, timeout: float) -> Link:
        """The link, waiting for the outcome of the first attempt only."""
        return self._outbox.wait(timeout)

    def wait_linked(self, timeout: float) -> Link:
        """The link, waiting through attempts that fail; then the last one's error."""
        return self._outbox.wait_linked(timeout)

    def publish(self, publication: Publication) -> None:
        """Hand a message to the connection that stands; raise at once if none does."""
        self._outbox.put(publication)

    def close(self) -> None:
        """Say goodbye and stop. Whatever still waits is told so."""
        with self._starting:
            self._closing.set()
            thread = self._thread
        # The thread may be in the kernel for a while, waiting for a broker that does not answer.
        self._outbox.end(_closed())
        self._outbox.wake()
        if thread is None:
            self._outbox.lose(_closed())
            self._outbox.close()
        elif thread is not threading.current_thread():
            # A connect that hangs in the kernel must not hold the caller: the thread is a
            # daemon, and ends by itself when the kernel gives up.
            thread.join(self._settings.limits.close_seconds)

    def _run(self) -> None:
        dialect = Dialect(self._settings.limits)
        try:
            while not self._closing.is_set():
                connection = Connection(
                    self._settings, dialect, self._outbox, self._closing, self._on_ready
                )
                error = connection.run()
                if not dialect.learn(connection.greeting):
                    self._lost(error)
                    self._closing.wait(self._pause(error, connection))
        finally:
            self._lost(_closed())
            self._outbox.close()

    def _lost(self, error: TransportError) -> None:
        logger.info("%s", error, extra={"reason": error.reason})
        if self._outbox.lose(error):
            self._on_lost(anew(error))

    def _pause(self, error: TransportError, connection: Connection) -> float:
        if error.reason == "refused":
            return self._backoff.longest()
        if connection.lasted >= self._settings.limits.stable_seconds:
            self._backoff.reset()
        return self._backoff.next()
