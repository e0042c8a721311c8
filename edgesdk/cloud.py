"""A model that a gateway runs: one request, one answer, one deadline.

Before a request goes out, in this order: room among the open requests; a connection; the
circuit breaker; the budget; the sizes that broker and gateway take; time left.

An answer counts if it comes on this device's own topic, names a request that is open, is signed
by the gateway and opens with this request's key (docs/cloud-protocol.md, section 8). Everything
else is dropped, counted and logged, and the request waits on. Every wait ends with the answer,
the deadline, the loss of the connection or ``close``, whichever is first.

Not retried here, and not remembered: what has no answer in time never happened.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import random
import secrets
import threading
import time
from collections import Counter
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from edgesdk import oip, protocol
from edgesdk.announcement import Announcement
from edgesdk.errors import (
    BusyError,
    ConfigurationError,
    DeadlineExceededError,
    EdgeError,
    InputError,
    LifecycleError,
    NotConnectedError,
    RemoteError,
    TransportError,
    TrustError,
)
from edgesdk.files import read_trusted
from edgesdk.keys import SecretKey, open_device_key
from edgesdk.limits import BUNDLE
from edgesdk.link import (
    PACKET_OVERHEAD,
    Broker,
    LinkLimits,
    Message,
    Publication,
    Subscription,
    Tls,
    anew,
)
from edgesdk.policy import Breaker
from edgesdk.record import PublicRecord
from edgesdk.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from edgesdk.contract import Array, Contract
    from edgesdk.files import Home, PathLike
    from edgesdk.link import Link
    from edgesdk.policy import Deadline, TokenBucket

logger = logging.getLogger(__name__)

OUTSTANDING = 4
_CA_BYTES = 256 * 1024

# The body of the answer, or why there is none.
_Inbox: TypeAlias = "queue.SimpleQueue[bytes | TransportError]"


@dataclass(frozen=True)
class Reply:
    """The cloud's answer, in the terms of this device's contract."""

    outputs: list[Array]
    model_id: str
    version: str
    provenance: oip.Provenance


@dataclass(frozen=True)
class CloudCounters:
    """What has happened so far. ``dropped`` counts by reason."""

    asked: int
    answered: int
    dropped: Mapping[str, int]


class CloudModel:
    """One model behind one gateway, for one device. Safe to share between threads."""

    def __init__(
        self,
        broker: Broker,
        *,
        device: SecretKey,
        gateway: PublicRecord,
        contract: Contract,
        model_id: str,
        version: str | None = None,
        pool: str = "default",
        outstanding: int = OUTSTANDING,
        tls: Tls | None = None,
        client_id: str | None = None,
        budget: TokenBucket | None = None,
        breaker: Breaker | None = None,
        limits: LinkLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        if outstanding < 1:
            raise InputError("argument", f"expected at least 1 open request, got {outstanding}")
        self.contract = contract
        self.model_id = model_id
        self.version = version
        self.breaker = breaker or Breaker(uniform=random.uniform)
        self._device = device
        self._gateway = gateway
        self._pool = protocol.check_pool(pool)
        self._budget = budget
        self._clock = clock
        self._time = _GatewayTime(wall)
        self._room = threading.BoundedSemaphore(outstanding)
        self._most = outstanding
        self._open: dict[bytes, tuple[protocol.Exchange, _Inbox]] = {}
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._announcement: Announcement | None = None
        self._heard_until = 0  # the newest one held so long, in seconds since 1970
        self._closed = False
        self._own_key: SecretKey | None = None
        self._owner = os.getpid()
        self._topic = protocol.answer_topic(device.kid)
        self._service = protocol.service_topic(self._pool)
        self._transport = Transport(
            broker,
            # Unique, so that two programs of one device do not throw each other out.
            client_id=client_id or f"{device.name}-{secrets.token_hex(4)}",
            subscriptions=[Subscription(self._topic), Subscription(self._service, optional=True)],
            on_message=self._on_message,
            on_lost=self._on_lost,
            tls=tls,
            limits=replace(
                limits or LinkLimits(),
                packet_bytes=protocol.LIMITS.message_bytes + PACKET_OVERHEAD,
            ),
            clock=clock,
        )

    @classmethod
    def from_home(
        cls,
        url: str,
        *,
        home: Home,
        device_key: SecretKey | PathLike | None = None,
        gateway: PublicRecord | PathLike | None = None,
        tls: Tls | None = None,
        **options: Any,  # noqa: ANN401  (those of the constructor)
    ) -> CloudModel:
        """The same, with keys and trust from the configuration folder, unless they are given.

        Raises:
            TrustError, ConfigurationError: something is missing or malformed.
        """
        broker = Broker.parse(url)
        record = _gateway_record(home.gateway if gateway is None else gateway)
        if broker.tls and tls is None:
            tls = _authorities(home)
        key = home.device_key if device_key is None else device_key
        if isinstance(key, SecretKey):
            return cls(broker, device=key, gateway=record, tls=tls, **options)
        own = open_device_key(key)
        model = cls(broker, device=own, gateway=record, tls=tls, **options)
        model._own_key = own
        return model

    def start(self) -> None:
        """Begin to connect, in the background. ``infer`` and ``wait_linked`` do it too.

        Raises:
            NotConnectedError: the system gives no thread.
            LifecycleError: ``closed``, ``forked``.
        """
        self._check_usable()
        self._transport.start()

    def close(self) -> None:
        """Disconnect; whoever still waits is told so."""
        if os.getpid() != self._owner:
            return
        self._closed = True
        self._transport.close()
        if self._own_key is not None:
            self._own_key.close()

    @property
    def link(self) -> Link | None:
        """What was agreed with the broker; None while there is no connection."""
        return self._transport.link

    def wait_linked(self, timeout: float) -> Link:
        """The connection to the broker, waiting for it through attempts that fail.

        Raises:
            TransportError: there was none within ``timeout`` seconds, and why.
            LifecycleError: ``closed``, ``forked``.
        """
        self.start()
        return self._transport.wait_linked(timeout)

    @property
    def announcement(self) -> Announcement | None:
        """What the gateway has last said of itself."""
        return self._announcement

    @property
    def counters(self) -> CloudCounters:
        """What has happened so far."""
        with self._lock:
            dropped = MappingProxyType(dict(self._dropped))
            return CloudCounters(self._counts["asked"], self._counts["answered"], dropped)

    def infer(self, arrays: Sequence[Array], *, deadline: Deadline) -> Reply:
        """Have the gateway run the model on inputs in the order, shapes and types of the contract.

        ``deadline`` is a point of this model's clock. Outputs are those of the contract, too.

        Raises:
            TransportError: there is no answer, and why.
            LifecycleError: ``closed``, ``forked``.
        """
        self._check_usable()
        if not self._room.acquire(blocking=False):
            raise BusyError("outstanding", f"expected at most {self._most} open requests, got more")
        try:
            self._transport.start()
            self._transport.wait_ready(deadline.remaining(now=self._clock()))
            return self._guarded(arrays, deadline)
        finally:
            self._room.release()

    def _check_usable(self) -> None:
        # Before any lock: another thread may have held it when this process was forked.
        if os.getpid() != self._owner:
            raise LifecycleError("forked", "expected the process that connected, got its child")
        if self._closed:
            raise LifecycleError("closed", "expected an open cloud model, got a closed one")

    def _guarded(self, arrays: Sequence[Array], deadline: Deadline) -> Reply:
        """Ask, and tell the breaker what came of it."""
        permit = self.breaker.admit(now=self._clock())
        try:
            if self._budget is not None:
                self._budget.take(now=self._clock())
            answer = self._exchange(arrays, deadline)
        except (DeadlineExceededError, NotConnectedError):
            self.breaker.failed(permit, now=self._clock())
            raise
        except BaseException:
            self.breaker.withdrawn(permit)
            raise
        # A refusal as well: the way there and back is good.
        self.breaker.succeeded(permit)
        return self._reply(answer)

    def _exchange(self, arrays: Sequence[Array], deadline: Deadline) -> oip.Answer | oip.Refusal:
        sent_ms = self._time.own_ms()
        header = protocol.Header.ask(
            device=self._device.kid,
            gateway=self._gateway.kid,
            model_id=self.model_id,
            created_ms=self._time.of(sent_ms),
            ttl_ms=deadline.ttl_ms(now=self._clock()),
        )
        body = self._body(header.request_id, arrays)
        message, exchange = protocol.seal_request(
            body, header=header, device=self._device, gateway=self._gateway
        )
        self._check_size(message)
        with self._listening(exchange) as inbox:
            self._publish(message, header, inbox, deadline)
            answer = oip.decode_answer(self._await(inbox, deadline))
        self._time.learn(answer.provenance.time_ms, sent_ms=sent_ms)
        expected = (header.request_id, oip.digest_of(body))
        if (answer.request_id, answer.provenance.request_digest) != expected:
            raise RemoteError("answer", "expected an answer to this request's body, got another")
        return answer

    def _body(self, request_id: bytes, arrays: Sequence[Array]) -> bytes:
        specs = self.contract.inputs
        inputs = tuple(map(oip.Tensor.of, specs, arrays))
        try:
            return oip.encode_question(
                oip.Question(request_id, self.model_id, self.version, inputs)
            )
        except InputError as error:
            # It fits the model, and so it is not the caller's fault.
            raise RemoteError("too-large", f"expected what the protocol holds: {error}") from error

    def _check_size(self, message: bytes) -> None:
        announced = self._announcement
        limit = protocol.LIMITS.message_bytes
        if announced is not None:
            limit = min(limit, announced.max_bytes)
        if len(message) > limit:
            raise RemoteError(
                "too-large", f"expected a request of at most {limit} bytes, got {len(message)}"
            )

    def _publish(
        self, message: bytes, header: protocol.Header, inbox: _Inbox, deadline: Deadline
    ) -> None:
        def settled(error: TransportError | None) -> None:
            if error is not None:
                inbox.put(error)

        self._transport.publish(
            Publication(
                topic=protocol.request_topic(header.device, self._pool),
                payload=message,
                deadline=deadline.at,
                settled=settled,
                correlation=header.request_id,
                reply_topic=self._topic,
            )
        )
        with self._lock:
            self._counts["asked"] += 1

    @contextlib.contextmanager
    def _listening(self, exchange: protocol.Exchange) -> Iterator[_Inbox]:
        request_id = exchange.header.request_id
        inbox: _Inbox = queue.SimpleQueue()
        with self._lock:
            self._open[request_id] = exchange, inbox
        try:
            yield inbox
        finally:
            with self._lock:
                del self._open[request_id]

    def _await(self, inbox: _Inbox, deadline: Deadline) -> bytes:
        try:
            came = inbox.get(timeout=deadline.remaining(now=self._clock()))
        except queue.Empty:
            raise DeadlineExceededError(
                "deadline", "expected an answer before the deadline, got none"
            ) from None
        if isinstance(came, TransportError):
            raise came
        return came

    def _reply(self, answer: oip.Answer | oip.Refusal) -> Reply:
        if isinstance(answer, oip.Refusal):
            raise answer.error()
        if answer.model_id != self.model_id or self.version not in {None, answer.version}:
            raise RemoteError(
                "answer",
                f"expected an answer of {self.model_id} {self.version or ''}, "
                f"got one of {answer.model_id} {answer.version}",
            )
        expected, came = self.contract.outputs, answer.outputs
        if [spec.name for spec in expected] != [tensor.name for tensor in came]:
            raise RemoteError(
                "answer",
                f"expected the outputs {', '.join(spec.name for spec in expected)}, "
                f"got {', '.join(tensor.name for tensor in came)}",
            )
        try:
            outputs = [tensor.fit(spec) for tensor, spec in zip(came, expected, strict=True)]
        except InputError as error:
            raise RemoteError("answer", f"an output of the cloud: {error}") from error
        with self._lock:
            self._counts["answered"] += 1
        return Reply(outputs, answer.model_id, answer.version, answer.provenance)

    # What follows runs on the transport's thread.

    def _on_message(self, message: Message) -> None:
        if message.topic == self._service:
            self._announce(message.payload)
        elif message.topic == self._topic:
            self._deliver(message.payload)
        else:
            self._drop("topic", "expected an own topic, got another")

    def _deliver(self, payload: bytes) -> None:
        try:
            header = protocol.Header.parse(payload, expect=protocol.Kind.ANSWER)
            with self._lock:
                waiting = self._open.get(header.request_id)
            if waiting is None:
                # No more than a sign of deadlines that are short.
                text = "expected an answer to an open request, got another"
                self._drop("late", text, logging.INFO)
                return
            exchange, inbox = waiting
            # Here and not where it is waited for: a flood of forgeries fills no queue, and the
            # one good answer among them is found.
            inbox.put(exchange.open_answer(payload, self._gateway))
        except (RemoteError, TrustError) as error:
            self._drop(error.reason, str(error))

    def _announce(self, payload: bytes) -> None:
        if not payload:
            self._announcement = None
            return
        try:
            announcement = Announcement.parse(
                payload,
                gateway=self._gateway,
                pool=self._pool,
                now=self._time.of(self._time.own_ms()) // 1000,
            )
        except EdgeError as error:
            self._drop(error.reason, f"an announcement: {error}")
            return
        self._announcement = announcement
        if announcement.until > self._heard_until:
            # A gateway that has just spoken is worth asking. The broker could take an old
            # announcement away and show it again, but it cannot make one that is newer.
            self._heard_until = announcement.until
            self.breaker.reset()

    def _on_lost(self, error: TransportError) -> None:
        with self._lock:
            waiting = list(self._open.values())
        for _, inbox in waiting:
            inbox.put(anew(error))

    def _drop(self, reason: str, text: str, level: int = logging.WARNING) -> None:
        with self._lock:
            self._dropped[reason] += 1
        logger.log(level, "dropped what came from the broker: %s", text, extra={"reason": reason})


def _gateway_record(source: PublicRecord | PathLike) -> PublicRecord:
    if isinstance(source, PublicRecord):
        record = source
    else:
        # It says whom to trust with every frame, so it is read like the trust file.
        record = PublicRecord.parse(read_trusted(source, limit=BUNDLE.record_bytes))
    if record.kind != "gateway":
        raise ConfigurationError(
            "invalid", f"expected the record of a gateway, got one of a {record.kind}"
        )
    return record


def _authorities(home: Home) -> Tls:
    """Those of the folder; the system's where there are none."""
    if not home.broker_ca.exists():
        return Tls()
    return Tls(ca=read_trusted(home.broker_ca, limit=_CA_BYTES))


class _GatewayTime:
    """The gateway's clock, as far as its answers have told.

    A device without a battery for its clock wakes up in 1970. An answer says what time it was
    when it was made; if that does not lie between question and answer, the clocks differ.
    """

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._offset_ms = 0

    def own_ms(self) -> int:
        return int(self._wall() * 1000)

    def of(self, own_ms: int) -> int:
        """What the gateway's clock showed when ours showed that."""
        return max(own_ms + self._offset_ms, 0)

    def learn(self, told_ms: int, *, sent_ms: int) -> None:
        """Believe the time that an answer tells; ``sent_ms`` is ours of its question."""
        now_ms = self.own_ms()
        if not self.of(sent_ms) - 1 <= told_ms <= self.of(now_ms) + 1:
            self._offset_ms = told_ms - (sent_ms + now_ms) // 2
            logger.info("the gateway's clock is %d ms ahead of ours", self._offset_ms)
