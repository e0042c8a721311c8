"""The worker that answers devices: docs/cloud-protocol.md, section 7.

Three stages, so that none waits for a slower one::

    broker -> intake -> the door (one thread) -> queue -> runners -> broker
              bounded   who asks, and what       bounded   the model

A message is acknowledged when it has arrived, not when it has been answered: a broker that deals
out a shared subscription in turn would otherwise hold requests back behind a busy worker. When
the queue is full the device hears so at once.

Order of checks at the door. Up to the third a message is dropped: an answer would help a forger,
and without the key inside of the message none can be sealed.

1. form: sizes, magic, version, type, flags;
2. the topic is that of the header's device and of this pool; the gateway is this one;
3. the device is enrolled, and has signed; and the message opens.

From there the device is known, and gets a sealed refusal with a reason:

4. the time window;
5. replay: a request that has been seen is answered with the same bytes, and not run again;
6. the device's quota; the body; the model; room in the queue. The window again before it is run.

What is dropped or refused is counted, and logged with its reason.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import secrets
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edgesdk import oip, protocol
from edgesdk.announcement import Announcement
from edgesdk.errors import (
    DeadlineExceededError,
    InputError,
    QuotaError,
    RemoteError,
    TransportError,
    TrustError,
)
from edgesdk.link import PACKET_OVERHEAD, Broker, LinkLimits, Message, Publication, Subscription
from edgesdk.maas.ledger import Counters, Quotas, Replays, Tally
from edgesdk.record import name_of
from edgesdk.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from edgesdk.keys import SecretKey
    from edgesdk.link import Link, Tls
    from edgesdk.maas.engine import Engine, Served
    from edgesdk.maas.ledger import Seen
    from edgesdk.maas.registry import Registry

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class GatewayLimits:
    """Bounds of one worker."""

    request_bytes: int = 2 * 1024 * 1024  # announced to devices
    intake: int = 64  # messages that wait to be looked at
    queue: int = 64  # requests that wait to be run
    runners: int = 2  # requests that are run at once
    replay_bytes: int = 64 * 1024 * 1024  # answers kept for requests that come again
    devices: int = 10_000  # quotas kept
    quota_rate: float = 50.0  # requests a second for each device, on average
    quota_burst: float = 200.0  # and at once
    announcement_seconds: int = 3600  # how long an announcement holds; it is renewed at half
    refusal_seconds: float = 5.0  # how long a refusal may take to the broker
    stop_seconds: float = 5.0  # for what is under way to end


LIMITS = GatewayLimits()
LINK_LIMITS = LinkLimits(receive_maximum=64, unacknowledged=64, waiting=1024)
_GOODBYE_SECONDS = 1.0
_LONGEST_TOPIC = len(protocol.request_topic(bytes(16), "p" * 32))


@dataclass(frozen=True)
class _Job:
    """A request that may be run."""

    request: protocol.OpenRequest
    question: oip.Question
    served: Served


class _RefusedError(Exception):
    """Ends a request with a refusal that its device gets to read."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message


class Gateway:
    """One worker of a pool. Use it in ``with``, or call ``start`` and ``stop``."""

    def __init__(
        self,
        broker: Broker,
        *,
        key: SecretKey,
        devices: Registry,
        engine: Engine,
        pool: str = "default",
        limits: GatewayLimits = LIMITS,
        tls: Tls | None = None,
        client_id: str | None = None,
        link_limits: LinkLimits = LINK_LIMITS,
        on_ready: Callable[[Link], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._key = key
        self._devices = devices
        self._engine = engine
        self._pool = protocol.check_pool(pool)
        self._limits = limits
        self._on_ready = on_ready
        self._clock = clock
        self._wall = wall
        self._tally = Tally()
        self._replays = Replays(limits.replay_bytes, clock=clock)
        self._quotas = Quotas(
            rate=limits.quota_rate, burst=limits.quota_burst, devices=limits.devices
        )
        self._intake: queue.Queue[Message | None] = queue.Queue(limits.intake)
        self._queue: queue.Queue[_Job | None] = queue.Queue(limits.queue)
        self._stopping = threading.Event()
        self._door = threading.Thread(target=self._keep_door, name="edgesdk-door", daemon=True)
        self._runners = [
            threading.Thread(target=self._keep_running, name=f"edgesdk-run-{n}", daemon=True)
            for n in range(limits.runners)
        ]
        self._service = protocol.service_topic(self._pool)
        self._transport = Transport(
            broker,
            client_id=client_id or f"gw-{key.name}-{secrets.token_hex(4)}",
            subscriptions=[
                Subscription(
                    protocol.request_filter(self._pool), group=protocol.worker_group(self._pool)
                )
            ],
            on_message=self._on_message,
            on_ready=self._on_link,
            tls=tls,
            will=self._service,
            limits=replace(link_limits, packet_bytes=limits.request_bytes + PACKET_OVERHEAD),
            clock=clock,
        )

    @property
    def counters(self) -> Counters:
        """What has happened so far."""
        return self._tally.snapshot()

    def wait_ready(self, timeout: float) -> Link:
        """The connection to the broker, waiting for the first attempt to succeed or fail.

        Raises:
            NotConnectedError: there is none.
        """
        return self._transport.wait_ready(timeout)

    def start(self) -> None:
        """Begin to serve; the connection is kept up from now on. A worker serves once."""
        for thread in (self._door, *self._runners):
            thread.start()
        self._transport.start()

    def stop(self) -> None:
        """Turn new requests away, end those under way, withdraw the announcement, disconnect.

        The door is the last to close: until there is no connection any more, whoever asks hears
        that this worker is busy, and need not wait for its deadline.
        """
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._end(self._runners, self._queue, self._limits.stop_seconds)
        self._turn_away()
        self._withdraw()
        self._transport.close()
        self._end([self._door], self._intake, _GOODBYE_SECONDS)

    def _end(
        self, threads: Sequence[threading.Thread], inbox: queue.Queue[Any], seconds: float
    ) -> None:
        """Let threads do what is in their inbox, and end; a while later they are left alone."""
        until = self._clock() + seconds
        with contextlib.suppress(queue.Full):
            inbox.put(None, timeout=seconds)
        for thread in threads:
            if thread.is_alive():
                thread.join(max(until - self._clock(), 0.0))

    def _turn_away(self) -> None:
        """Refuse what no runner has come to."""
        with contextlib.suppress(queue.Empty):
            while True:
                job = self._queue.get_nowait()
                if job is not None:
                    self._refuse(job.request, _RefusedError("busy", "this worker has stopped"))
        self._pass_on_the_end()  # for a runner that comes back later

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # The transport's thread.

    def _on_message(self, message: Message) -> None:
        self._tally.count("received")
        try:
            self._intake.put_nowait(message)
        except queue.Full:
            self._drop(message.topic, "flooded", "expected fewer messages at once, got too many")

    def _on_link(self, link: Link) -> None:
        self._announce()
        self._on_ready(link)

    # The door's thread.

    def _keep_door(self) -> None:
        period = self._limits.announcement_seconds / 2
        renew_at = self._clock() + period
        while True:
            if self._clock() >= renew_at:
                self._announce()
                renew_at = self._clock() + period
            try:
                message = self._intake.get(timeout=max(renew_at - self._clock(), 0.001))
            except queue.Empty:
                continue
            if message is None:
                return
            self._tend(message)

    def _tend(self, message: Message) -> None:
        try:
            request = self._open(message)
        except (RemoteError, TrustError) as error:
            self._drop(message.topic, error.reason, str(error))
            return
        except Exception:  # whatever a message does, the next one is looked at
            logger.exception("dropped a message", extra={"reason": "internal"})
            self._tally.count("dropped", "internal")
            return
        try:
            self._admit(request)
        except _RefusedError as refusal:
            self._refuse(request, refusal)
        except Exception:  # likewise; its device hears of it
            logger.exception("failed on a request", extra={"reason": "model-failed"})
            self._refuse(request, _RefusedError("model-failed", "the gateway failed"))

    def _open(self, message: Message) -> protocol.OpenRequest:
        """Steps 1 to 3."""
        size, limit = len(message.payload), self._limits.request_bytes
        if size > limit:
            raise RemoteError("malformed", f"expected at most {limit} bytes, got {size}")
        request = protocol.parse_request(message.payload)
        header = request.header
        if message.topic != protocol.request_topic(header.device, self._pool):
            raise RemoteError("malformed", "expected the topic of its device, got another")
        if header.gateway != self._key.kid[: len(header.gateway)]:
            raise RemoteError("malformed", "expected a request to this gateway, got another's")
        authentic = protocol.authenticate(request, self._devices.find(header.device))
        return protocol.unseal(authentic, self._key)

    def _admit(self, request: protocol.OpenRequest) -> None:
        """Steps 4 to 6."""
        header = request.header
        _check_window(header, self._now_ms())
        seen = self._replays.claim(header, seconds=self._seconds_left(header))
        if seen is not None:
            self._repeat(header, seen)
            return
        if self._stopping.is_set():
            raise _RefusedError("busy", "this worker is about to stop")
        try:
            self._quotas.take(header.device, now=self._clock())
            question = _read(request)
            served = self._engine.find(question.model_id, question.version)
            self._queue.put_nowait(_Job(request, question, served))
        except QuotaError as error:
            raise _RefusedError("quota", str(error)) from None
        except RemoteError as error:
            reason = "bad-input" if error.reason == "malformed" else error.reason
            raise _RefusedError(reason, str(error)) from None
        except queue.Full:
            raise _RefusedError("busy", "the queue of this worker is full") from None

    def _repeat(self, header: protocol.Header, seen: Seen) -> None:
        self._tally.count("repeated")
        # Without an answer yet: the one under way will do for both.
        if seen.answer is not None:
            self._publish(header, seen.answer, self._seconds_left(header))

    # The runners' threads.

    def _keep_running(self) -> None:
        while (job := self._queue.get()) is not None:
            self._attempt(job)
        self._pass_on_the_end()

    def _pass_on_the_end(self) -> None:
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(None)

    def _attempt(self, job: _Job) -> None:
        try:
            self._run(job)
        except _RefusedError as refusal:
            self._refuse(job.request, refusal)
        except Exception:  # a model may fail in any way, and the next request is run
            logger.exception("a model failed", extra={"reason": "model-failed"})
            self._refuse(job.request, _RefusedError("model-failed", "the model failed"))

    def _run(self, job: _Job) -> None:
        _check_window(job.request.header, self._now_ms())
        self._tally.count("run")
        try:
            outputs = self._engine.infer(job.served, job.question.inputs)
        except InputError as error:
            raise _RefusedError("bad-input", str(error)) from None
        answer = oip.Answer(
            request_id=job.request.header.request_id,
            model_id=job.served.model_id,
            version=job.served.version,
            outputs=tuple(outputs),
            provenance=self._provenance(job.request, model_digest=job.served.digest),
        )
        self._answer(job.request, answer)

    def _answer(self, request: protocol.OpenRequest, answer: oip.Answer) -> None:
        left = self._seconds_left(request.header)
        if left <= 0:
            self._drop_answer(request.header, "late", "the model took longer than the deadline")
            return
        try:
            self._send(request.header, self._seal(request, answer), left)
        except RemoteError as error:
            raise _RefusedError("model-failed", f"its answer cannot be sent: {error}") from None
        self._tally.count("answered")

    # All threads.

    def _refuse(self, request: protocol.OpenRequest, refusal: _RefusedError) -> None:
        header = request.header
        self._tally.count("refused", refusal.reason)
        logger.warning(
            "refused a request of %s: %s",
            name_of(header.device),
            refusal.message,
            extra={"reason": refusal.reason, "device": name_of(header.device)},
        )
        about = self._provenance(request)
        told = oip.Refusal(header.request_id, refusal.reason, refusal.message, about)
        try:
            message = self._seal(request, told)
        except Exception:  # a key that was closed too early must not end this thread
            logger.exception("failed to refuse a request", extra={"reason": "internal"})
            self._tally.count("dropped", "internal")
            return
        # Not the request's own time: one that came too late, or from another year, still tells
        # its device how far apart the clocks are.
        self._publish(header, message, self._limits.refusal_seconds)

    def _seal(self, request: protocol.OpenRequest, answer: oip.Answer | oip.Refusal) -> bytes:
        body = oip.encode_answer(answer)
        message = protocol.seal_answer(request, body, gateway=self._key, now_ms=self._now_ms())
        self._replays.settle(request.header, message)
        return message

    def _publish(self, header: protocol.Header, message: bytes, seconds: float) -> None:
        """Send it if it can be sent."""
        try:
            self._send(header, message, seconds)
        except RemoteError as error:
            self._drop_answer(header, error.reason, str(error))

    def _send(self, header: protocol.Header, message: bytes, seconds: float) -> None:
        """Send it, or raise RemoteError if it is too large for the broker."""

        def settled(error: TransportError | None) -> None:
            if error is not None:
                self._drop_answer(header, error.reason, str(error))

        topic, deadline = protocol.answer_topic(header.device), self._clock() + seconds
        publication = Publication(topic, message, deadline, settled, correlation=header.request_id)
        try:
            self._transport.publish(publication)
        except RemoteError:
            raise
        except TransportError as error:
            settled(error)

    def _provenance(
        self, request: protocol.OpenRequest, *, model_digest: bytes | None = None
    ) -> oip.Provenance:
        return oip.Provenance(
            request_digest=oip.digest_of(request.body),
            engine=self._engine.name,
            worker=self._key.kid,
            time_ms=self._now_ms(),
            model_digest=model_digest,
        )

    def _announce(self) -> None:
        try:
            announcement = Announcement(
                gateway=self._key.kid,
                pool=self._pool,
                max_bytes=self._limits.request_bytes,
                until=int(self._wall()) + self._limits.announcement_seconds,
                models=tuple((each.model_id, each.version) for each in self._engine.models()),
            ).encode(self._key)
        except Exception:  # an engine may fail in any way, and devices can ask all the same
            logger.exception("failed to announce", extra={"reason": "internal"})
            return
        self._publish_service(announcement, lambda _: None)

    def _withdraw(self) -> None:
        done = threading.Event()
        self._publish_service(b"", lambda _: done.set())
        done.wait(_GOODBYE_SECONDS)

    def _publish_service(
        self, payload: bytes, settled: Callable[[TransportError | None], None]
    ) -> None:
        deadline = self._clock() + self._limits.refusal_seconds
        publication = Publication(self._service, payload, deadline, settled, retain=True)
        try:
            self._transport.publish(publication)
        except TransportError as error:
            settled(error)

    def _drop(self, topic: str, reason: str, text: str) -> None:
        self._tally.count("dropped", reason)
        # Whoever may publish chooses the topic, of up to 65,535 bytes.
        shown = topic[:_LONGEST_TOPIC]
        logger.warning("dropped a message on %r: %s", shown, text, extra={"reason": reason})

    def _drop_answer(self, header: protocol.Header, reason: str, text: str) -> None:
        self._tally.count("dropped", reason)
        device = name_of(header.device)
        logger.info("no answer reached %s: %s", device, text, extra={"reason": reason})

    def _now_ms(self) -> int:
        return int(self._wall() * 1000)

    def _seconds_left(self, header: protocol.Header) -> float:
        return (header.expires_ms - self._now_ms()) / 1000


def _check_window(header: protocol.Header, now_ms: int) -> None:
    try:
        header.check_window(now_ms=now_ms)
    except (RemoteError, DeadlineExceededError) as error:
        raise _RefusedError(error.reason, str(error)) from None


def _read(request: protocol.OpenRequest) -> oip.Question:
    """The body, which must say what the header says."""
    question = oip.decode_question(request.body)
    header = request.header
    if question.request_id != header.request_id:
        raise RemoteError("malformed", "expected the request id of the header, got another")
    if protocol.model_tag(question.model_id) != header.model_tag:
        raise RemoteError("malformed", "expected the model of the header, got another")
    return question
