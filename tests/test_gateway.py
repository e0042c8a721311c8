import logging
import os
import queue
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from brokers import BrokerOptions, running
from edgesdk import oip, protocol
from edgesdk.announcement import Announcement
from edgesdk.contract import Contract, TensorSpec
from edgesdk.errors import EdgeError, InputError, MalformedBundleError, RemoteError, SignatureError
from edgesdk.keys import SecretKey
from edgesdk.maas.engine import InProcess
from edgesdk.maas.gateway import GatewayLimits
from edgesdk.maas.ledger import Quotas, Replays
from edgesdk.maas.registry import Registry
from edgesdk.protocol import Header
from fixtures_cloud import (
    GENEROUS,
    MODEL_ID,
    PATIENCE,
    SIDE,
    BrokenModel,
    GatedModel,
    LinearModel,
    engine_of,
    frames,
    refused,
)


class Asker:
    """A device that says exactly what it is told to, and reads what it gets."""

    def __init__(self, parties, client, broker):
        self.parties = parties
        self.client = client(broker, protocol.answer_topic(parties.device.kid))
        self.topic = protocol.request_topic(parties.device.kid, "default")

    def craft(self, frame=None, *, body=None, signer=None, sealed_to=None, **changes):
        """A request, and what opens its answer."""
        options = {
            "device": self.parties.device.kid,
            "gateway": self.parties.gateway.kid,
            "model_id": MODEL_ID,
            "created_ms": int(time.time() * 1000),
            "ttl_ms": 60_000,
        }
        header = Header.ask(**(options | changes))
        if body is None:
            body = self.body(header, frames(1)[0] if frame is None else frame)
        return protocol.seal_request(
            body,
            header=header,
            device=signer or self.parties.device,
            gateway=sealed_to or self.parties.gateway_record,
        )

    @staticmethod
    def body(header, frame, *, model_id=MODEL_ID, version=None, request_id=None, name="x"):
        tensor = oip.Tensor(name, frame)
        request_id = request_id or header.request_id
        return oip.encode_question(oip.Question(request_id, model_id, version, (tensor,)))

    def say(self, message, topic=None):
        self.client.say(topic or self.topic, message)

    def read(self, exchange, number=1):
        """The answer to a request; it is the number-th message that came."""
        message = self.client.wait_for(number)[number - 1].payload
        return oip.decode_answer(exchange.open_answer(message, self.parties.gateway_record))

    def ask(self, *arguments, **options):
        message, exchange = self.craft(*arguments, **options)
        number = len(self.client.seen) + 1
        self.say(message)
        return self.read(exchange, number)

    def expect_silence(self):
        """What was said before is dropped: the next request is the first to be answered."""
        message, exchange = self.craft()
        self.say(message)
        assert isinstance(self.read(exchange), oip.Answer)


@pytest.fixture
def asker(broker, parties, client):
    return Asker(parties, client, broker)


@pytest.fixture
def reasons():
    """The reasons that the gateway logs, as they come."""
    found: queue.Queue = queue.Queue()

    class Handler(logging.Handler):
        def emit(self, record):
            found.put(record.reason)

    handler, logger = Handler(logging.WARNING), logging.getLogger("edgesdk.maas.gateway")
    logger.addHandler(handler)
    yield found
    logger.removeHandler(handler)


def asking(asker, header_changes=None, **body_changes):
    """A request whose body says something else than its header."""
    _, exchange = asker.craft(**(header_changes or {}))
    body = asker.body(exchange.header, frames(1)[0], **body_changes)
    return {"body": body, "request_id": exchange.header.request_id, **(header_changes or {})}


def test_a_request_is_answered(broker, serve, asker):
    gateway = serve(broker, LinearModel())
    (frame,) = frames(1)
    answer = asker.ask(frame)
    np.testing.assert_array_equal(answer.outputs[0].array, LinearModel().run(frame))
    assert (answer.model_id, answer.version) == (MODEL_ID, "1.0")
    about = answer.provenance
    assert about.engine == "edgesdk"
    assert about.worker == asker.parties.gateway.kid
    assert about.model_digest == LinearModel().digest
    gateway.stop()
    counters = gateway.counters
    assert (counters.received, counters.run, counters.answered) == (1, 1, 1)
    assert (dict(counters.refused), dict(counters.dropped)) == ({}, {})


# Dropped: nothing is said to whom nobody knows


@pytest.mark.parametrize(
    "poison",
    [
        b"",
        b"EDCL",
        bytes(64),
        os.urandom(2000),
        b"EDCL\x01\x01\0\0" + os.urandom(2000),
        b"EDCL\x01\x02\0\0" + os.urandom(2000),
        b"EDCL\x02\x01\0\0" + os.urandom(2000),
    ],
    ids=["empty", "short", "zeros", "random", "header", "answer", "version"],
)
def test_poison_is_dropped_and_the_worker_lives(broker, serve, asker, poison):
    gateway = serve(broker, LinearModel())
    asker.say(poison)
    asker.expect_silence()
    assert sum(gateway.counters.dropped.values()) == 1
    assert set(gateway.counters.dropped) <= {"malformed", "unknown-signer"}
    assert gateway.counters.run == 1


def test_a_truncated_request_is_dropped(broker, serve, asker):
    gateway = serve(broker, LinearModel())
    message, _ = asker.craft()
    for length in (64, 1000, len(message) - 1):
        asker.say(message[:length])
    asker.expect_silence()
    assert sum(gateway.counters.dropped.values()) == 3


def test_a_flipped_bit_is_dropped(broker, serve, asker):
    gateway = serve(broker, LinearModel())
    message, _ = asker.craft()
    positions = [9, 20, 40, 50, 60, 64, 700, len(message) - 70, len(message) - 1]
    for position in positions:
        flipped = bytearray(message)
        flipped[position] ^= 1
        asker.say(bytes(flipped))
    asker.expect_silence()
    assert sum(gateway.counters.dropped.values()) == len(positions)
    assert set(gateway.counters.dropped) == {"malformed", "signature"}
    assert gateway.counters.run == 1


def test_a_request_on_the_topic_of_another_device_is_dropped(broker, serve, asker):
    gateway = serve(broker, LinearModel())
    message, _ = asker.craft()
    asker.say(message, protocol.request_topic(asker.parties.other.kid, "default"))
    asker.expect_silence()
    assert dict(gateway.counters.dropped) == {"malformed": 1}


def test_a_request_to_another_gateway_is_dropped(broker, serve, asker):
    gateway = serve(broker, LinearModel())
    message, _ = asker.craft(gateway=asker.parties.other.kid)
    asker.say(message)
    asker.expect_silence()
    assert dict(gateway.counters.dropped) == {"malformed": 1}


def test_a_request_in_the_name_of_another_device_is_dropped(broker, serve, asker):
    gateway = serve(broker, LinearModel())
    message, _ = asker.craft(signer=asker.parties.other)
    asker.say(message)
    asker.expect_silence()
    assert dict(gateway.counters.dropped) == {"signature": 1}


def test_a_request_that_does_not_open_is_dropped(broker, serve, asker):
    gateway = serve(broker, LinearModel())
    with SecretKey.generate("gateway") as stranger:
        message, _ = asker.craft(sealed_to=stranger.record("stranger"))
    asker.say(message)
    asker.expect_silence()
    assert dict(gateway.counters.dropped) == {"payload": 1}


def test_a_device_that_is_not_enrolled_is_dropped(broker, serve, asker, registry, reasons):
    gateway = serve(broker, LinearModel())
    record = registry.folder / f"{asker.parties.device.name}.pub"
    record.unlink()
    message, _ = asker.craft()
    asker.say(message)
    assert reasons.get(timeout=PATIENCE) == "unknown-signer"
    assert dict(gateway.counters.dropped) == {"unknown-signer": 1}
    registry.enrol(asker.parties.device_record)
    asker.expect_silence()


def test_a_slip_of_the_registry_is_survived(broker, serve, asker, registry, reasons):
    class Slippery(Registry):
        slips = 1

        def find(self, kid):
            if self.slips:
                self.slips -= 1
                raise RuntimeError("a slip")
            return super().find(kid)

    gateway = serve(broker, LinearModel(), devices=Slippery(registry.folder))
    asker.say(asker.craft()[0])
    assert reasons.get(timeout=PATIENCE) == "internal"
    asker.expect_silence()
    assert dict(gateway.counters.dropped) == {"internal": 1}


def test_a_slip_of_the_engine_is_told(broker, serve, asker):
    class Slippery(InProcess):
        def find(self, model_id, version):
            raise RuntimeError(model_id, version)

    serve(broker, engine=Slippery())
    assert asker.ask().reason == "model-failed"


def test_what_is_dropped_is_logged_with_its_reason(broker, serve, asker, caplog):
    serve(broker, LinearModel())
    with caplog.at_level(logging.WARNING, logger="edgesdk"):
        asker.say(b"poison")
        asker.expect_silence()
    (record,) = [each for each in caplog.records if each.name == "edgesdk.maas.gateway"]
    assert record.reason == "malformed"
    assert "expected at least 64 bytes, got 6" in record.getMessage()


def test_a_topic_of_a_stranger_does_not_fill_the_log(broker, serve, asker, caplog):
    serve(broker, LinearModel())
    with caplog.at_level(logging.WARNING, logger="edgesdk"):
        asker.say(b"poison", f"e/v1/{'x' * 60_000}/req/default")
        asker.expect_silence()
    (record,) = [each for each in caplog.records if each.name == "edgesdk.maas.gateway"]
    assert len(record.getMessage()) < 200


# Refused: who is known is told why


@pytest.mark.parametrize(
    ("late_ms", "reason"),
    [(60_000, "expired"), (89_000, "expired"), (91_000, "clock"), (-31_000, "clock")],
)
def test_a_request_out_of_its_time_is_refused(broker, serve, asker, late_ms, reason):
    now = time.time()
    gateway = serve(broker, LinearModel(), wall=lambda: now)
    refusal = asker.ask(created_ms=int(now * 1000) - late_ms)
    assert refusal.reason == reason
    assert refusal.provenance.time_ms == int(now * 1000)
    assert (gateway.counters.run, dict(gateway.counters.refused)) == (0, {reason: 1})


def test_a_request_from_a_far_future_ends_no_connection(broker, serve, asker):
    """What would be left of its time is more than MQTT can say."""
    links = []
    gateway = serve(broker, LinearModel(), on_ready=links.append)
    for created_ms in (2**33 * 1000 + int(time.time() * 1000), 2**64 - 1):
        assert asker.ask(created_ms=created_ms).reason == "clock"
    assert isinstance(asker.ask(), oip.Answer)
    assert len(links) == 1
    assert dict(gateway.counters.refused) == {"clock": 2}


def test_an_unknown_model_is_refused_with_what_is_on_offer(broker, serve, asker):
    serve(broker, LinearModel(version="1.0"), LinearModel(version="2.0"))
    refusal = asker.ask(**asking(asker, {"model_id": "test/other"}, model_id="test/other"))
    assert (refusal.reason, "test/other" in refusal.message) == ("unknown-model", True)
    refusal = asker.ask(**asking(asker, version="3.0"))
    assert refusal.reason == "unknown-model"
    assert "1.0, 2.0" in refusal.message


def test_the_newest_version_answers_unless_one_is_named(broker, serve, asker):
    serve(broker, LinearModel(version="1.0"), LinearModel(version="2.0"))
    assert asker.ask().version == "2.0"
    assert asker.ask(**asking(asker, version="1.0")).version == "1.0"


@pytest.mark.parametrize(
    "body",
    [b"", b"\x02\0\0\0{}", os.urandom(100)],
    ids=["empty", "no question", "random"],
)
def test_a_body_that_is_none_is_refused(broker, serve, asker, body):
    gateway = serve(broker, LinearModel())
    assert asker.ask(body=body).reason == "bad-input"
    assert gateway.counters.run == 0


@pytest.mark.parametrize(
    "changes",
    [{"request_id": bytes(16)}, {"model_id": "test/other"}],
    ids=["request id", "model"],
)
def test_a_body_must_say_what_its_header_says(broker, serve, asker, changes):
    serve(broker, LinearModel())
    said = asking(asker, **changes)
    assert asker.ask(**said).reason == "bad-input"


@pytest.mark.parametrize(
    ("frame", "name"),
    [
        (np.zeros((1, SIDE + 1), np.int8), "x"),
        (np.zeros((1, SIDE), np.int16), "x"),
        (np.zeros((1, SIDE), np.int8), "y"),
    ],
    ids=["shape", "dtype", "name"],
)
def test_inputs_that_do_not_fit_are_refused(broker, serve, asker, frame, name):
    model = LinearModel()
    serve(broker, model)
    _, exchange = asker.craft()
    body = asker.body(exchange.header, frame, name=name)
    refusal = asker.ask(body=body, request_id=exchange.header.request_id)
    assert refusal.reason == "bad-input"
    assert model.runs == 0


def test_a_model_that_fails_is_told_of_and_survived(broker, serve, asker, caplog):
    gateway = serve(broker, LinearModel(version="1"), BrokenModel(version="2"))
    with caplog.at_level(logging.CRITICAL, logger="edgesdk"):
        refusal = asker.ask()
    assert refusal.reason == "model-failed"
    assert "fire" not in refusal.message
    assert asker.ask(**asking(asker, version="1")).version == "1"
    assert dict(gateway.counters.refused) == {"model-failed": 1}


def test_a_quota_is_per_device(broker, serve, asker, parties, client):
    limits = GatewayLimits(quota_rate=0.0, quota_burst=2)
    gateway = serve(broker, LinearModel(), limits=limits)
    reasons = [getattr(asker.ask(), "reason", None) for _ in range(3)]
    assert reasons == [None, None, "quota"]
    swapped = parties._replace(device=parties.other, device_record=parties.other_record)
    assert isinstance(Asker(swapped, client, broker).ask(), oip.Answer)
    assert gateway.counters.run == 3


# Replays


def test_a_request_that_comes_again_gets_the_same_bytes(broker, serve, asker):
    model = LinearModel()
    gateway = serve(broker, model)
    message, exchange = asker.craft()
    for number in (1, 2, 3):
        asker.say(message)
        asker.read(exchange, number)
    assert len({seen.payload for seen in asker.client.seen}) == 1
    assert (model.runs, gateway.counters.repeated) == (1, 2)


def test_a_request_that_comes_again_while_it_runs_is_run_once(broker, serve, asker):
    model = GatedModel()
    gateway = serve(broker, model)
    message, exchange = asker.craft()
    asker.say(message)
    assert model.begun.acquire(timeout=PATIENCE)
    asker.say(message)
    refusal_of_another = asker.ask(**asking(asker, version="none"))
    assert refusal_of_another.reason == "unknown-model"
    model.gate.set()
    assert isinstance(asker.read(exchange, 2), oip.Answer)
    assert (model.runs, gateway.counters.repeated) == (1, 1)


def test_a_refusal_that_comes_again_is_the_same(broker, serve, asker):
    gateway = serve(broker, LinearModel())
    message, exchange = asker.craft(**asking(asker, version="none"))
    for number in (1, 2):
        asker.say(message)
        assert asker.read(exchange, number).reason == "unknown-model"
    assert len({seen.payload for seen in asker.client.seen}) == 1
    assert dict(gateway.counters.refused) == {"unknown-model": 1}


def test_a_request_of_old_is_not_run_again(broker, serve, asker):
    now = [time.time()]
    model = LinearModel()
    serve(broker, model, wall=lambda: now[0])
    message, exchange = asker.craft(created_ms=int(now[0] * 1000), ttl_ms=1000)
    asker.say(message)
    assert isinstance(asker.read(exchange, 1), oip.Answer)
    now[0] += 1.0
    asker.say(message)
    assert asker.read(exchange, 2).reason == "expired"
    assert model.runs == 1


# Load


def test_a_full_queue_is_said_at_once(broker, serve, asker):
    """Also: a busy model does not keep the worker from taking what the broker has."""
    model = GatedModel()
    limits = GatewayLimits(queue=1, runners=1, quota_rate=1e6, quota_burst=1e6)
    gateway = serve(broker, model, limits=limits)
    first, first_exchange = asker.craft()
    asker.say(first)
    assert model.begun.acquire(timeout=PATIENCE)
    second, second_exchange = asker.craft()
    asker.say(second)
    refusals = [asker.ask().reason for _ in range(40)]
    assert refusals == ["busy"] * 40
    model.gate.set()
    assert isinstance(asker.read(first_exchange, 41), oip.Answer)
    assert isinstance(asker.read(second_exchange, 42), oip.Answer)
    assert dict(gateway.counters.refused) == {"busy": 40}


def test_what_expires_in_the_queue_is_not_run(broker, serve, asker):
    now = [time.time()]
    model = GatedModel()
    limits = GatewayLimits(queue=4, runners=1)
    gateway = serve(broker, model, limits=limits, wall=lambda: now[0])
    first, _ = asker.craft(created_ms=int(now[0] * 1000), ttl_ms=1000)
    asker.say(first)
    assert model.begun.acquire(timeout=PATIENCE)
    second, exchange = asker.craft(created_ms=int(now[0] * 1000), ttl_ms=1000)
    asker.say(second)
    assert asker.ask(**asking(asker, version="none")).reason == "unknown-model"
    now[0] += 1.0
    model.gate.set()
    # The first was late already, and its answer goes nowhere.
    assert asker.read(exchange, 2).reason == "expired"
    assert model.runs == 1
    assert dict(gateway.counters.dropped) == {"late": 1}


def test_a_flood_is_bounded(broker, serve, asker, registry, reasons):
    gate, entered = threading.Event(), threading.Semaphore(0)

    class SlowRegistry(Registry):
        def find(self, kid):
            entered.release()
            gate.wait(PATIENCE)
            return super().find(kid)

    gateway = serve(
        broker,
        LinearModel(),
        limits=GatewayLimits(intake=2, runners=1),
        devices=SlowRegistry(registry.folder),
    )
    sent = [asker.craft() for _ in range(6)]
    asker.say(sent[0][0])
    assert entered.acquire(timeout=PATIENCE)
    for message, _ in sent[1:]:
        asker.say(message)
    assert [reasons.get(timeout=PATIENCE) for _ in range(3)] == ["flooded"] * 3
    assert dict(gateway.counters.dropped) == {"flooded": 3}
    gate.set()
    for number, (_, exchange) in enumerate(sent[:3], start=1):
        assert isinstance(asker.read(exchange, number), oip.Answer)


def test_an_answer_beyond_the_brokers_limit_is_a_failure(tmp_path, parties, client, serve):
    class WideModel(LinearModel):
        def __init__(self):
            super().__init__()
            wide = TensorSpec("y", np.dtype(np.int8), (1, 8000))
            self.contract = Contract(self.contract.inputs, (wide,))

        def infer(self, inputs):
            return [np.zeros((len(inputs), 8000), np.int8)]

    with running("mosquitto", tmp_path, BrokerOptions(max_packet_bytes=6000)) as broker:
        serve(broker, WideModel())
        refusal = Asker(parties, client, broker).ask()
        assert refusal.reason == "model-failed"
        assert "at most 6000 bytes" in refusal.message


def test_workers_of_a_pool_share_requests(mqtt5_broker, serve, asker):
    models = LinearModel(), LinearModel()
    gateways = [serve(mqtt5_broker, model) for model in models]
    for _ in range(20):
        assert isinstance(asker.ask(), oip.Answer)
    assert models[0].runs + models[1].runs == 20
    assert all(model.runs for model in models)
    assert sum(gateway.counters.received for gateway in gateways) == 20


def test_runners_run_at_once(broker, serve, asker):
    model = GatedModel()
    serve(broker, model)
    for _ in range(2):
        asker.say(asker.craft()[0])
    for _ in range(2):
        assert model.begun.acquire(timeout=PATIENCE)
    model.gate.set()
    asker.client.wait_for(2)


# Announcements, and the end


def announcements(client):
    return [message.payload for message in client.seen]


def test_a_gateway_announces_itself(broker, serve, client, parties):
    serve(broker, LinearModel(version="1"), LinearModel(version="2"))
    watcher = client(broker, protocol.service_topic("default"))
    (message,) = watcher.wait_for(1)
    found = Announcement.parse(
        message.payload, gateway=parties.gateway_record, pool="default", now=int(time.time())
    )
    assert found.models == ((MODEL_ID, "1"), (MODEL_ID, "2"))
    assert found.max_bytes == GatewayLimits().request_bytes


def test_a_gateway_that_stops_withdraws_its_announcement(broker, serve, client):
    gateway = serve(broker, LinearModel())
    watcher = client(broker, protocol.service_topic("default"))
    watcher.wait_for(1)
    gateway.stop()
    watcher.wait_for(2)
    assert announcements(watcher)[1] == b""


def test_the_broker_withdraws_the_announcement_of_one_that_died(broker, worker, client):
    started = worker(broker)
    watcher = client(broker, protocol.service_topic("default"))
    watcher.wait_for(1)
    started.kill()
    watcher.wait_for(2)
    assert announcements(watcher)[1] == b""


def test_an_announcement_is_renewed(broker, serve, client):
    watcher = client(broker, protocol.service_topic("default"))
    serve(broker, LinearModel(), limits=GatewayLimits(announcement_seconds=1))
    watcher.wait_for(3)
    assert all(announcements(watcher))


def test_stopping_ends_what_is_under_way(broker, serve, asker):
    model = GatedModel()
    gateway = serve(broker, model)
    message, exchange = asker.craft()
    asker.say(message)
    assert model.begun.acquire(timeout=PATIENCE)
    stopping = threading.Thread(target=gateway.stop)
    stopping.start()
    model.gate.set()
    stopping.join(PATIENCE)
    assert not stopping.is_alive()
    assert isinstance(asker.read(exchange), oip.Answer)
    gateway.stop()


def test_whoever_asks_while_a_worker_stops_is_told(broker, serve, asker):
    """Also what waits in its queue when its time to stop is over."""
    model = GatedModel()
    limits = replace(GENEROUS, runners=1, stop_seconds=0.5)
    gateway = serve(broker, model, limits=limits)
    asker.say(asker.craft()[0])
    assert model.begun.acquire(timeout=PATIENCE)
    queued, queued_exchange = asker.craft()
    asker.say(queued)
    while gateway._queue.empty():
        assert isinstance(asker.ask(**asking(asker, version="none")), oip.Refusal)
    told = len(asker.client.seen)
    stopping = threading.Thread(target=gateway.stop)
    stopping.start()
    assert gateway._stopping.wait(PATIENCE)
    assert asker.ask().reason == "busy"
    assert asker.read(queued_exchange, told + 2).reason == "busy"
    stopping.join(PATIENCE)
    model.gate.set()
    for runner in gateway._runners:
        runner.join(PATIENCE)
        assert not runner.is_alive()


def test_requests_that_come_while_a_worker_disconnects_are_told(broker, serve, asker):
    gateway = serve(broker, LinearModel())
    withdraw = gateway._withdraw
    reasons = []

    def ask_then_withdraw():
        reasons.append(asker.ask().reason)
        withdraw()

    gateway._withdraw = ask_then_withdraw
    gateway.stop()
    assert reasons == ["busy"]
    assert not gateway._door.is_alive()


def test_a_door_that_hangs_does_not_hold_up_stopping(broker, serve, asker, registry):
    gate, entered = threading.Event(), threading.Semaphore(0)

    class HangingRegistry(Registry):
        def find(self, kid):
            entered.release()
            gate.wait(PATIENCE * 10)
            return super().find(kid)

    limits = replace(GENEROUS, intake=1)
    gateway = serve(broker, LinearModel(), limits=limits, devices=HangingRegistry(registry.folder))
    for _ in range(3):
        asker.say(asker.craft()[0])
    assert entered.acquire(timeout=PATIENCE)
    stopping = threading.Thread(target=gateway.stop)
    stopping.start()
    stopping.join(PATIENCE)
    assert not stopping.is_alive()
    gate.set()
    gateway._intake.put(None)
    gateway._door.join(PATIENCE)


def test_a_key_that_is_closed_too_early_ends_no_thread(broker, parties, serve, asker):
    model = GatedModel()
    key = SecretKey.parse(parties.gateway.encode())
    gateway = serve(broker, model, key=key)
    asker.say(asker.craft()[0])
    assert model.begun.acquire(timeout=PATIENCE)
    key.close()
    asker.say(asker.craft()[0])
    model.gate.set()
    gateway.stop()
    assert dict(gateway.counters.dropped) == {"internal": 2}


def test_an_engine_that_cannot_say_its_models_is_survived(broker, serve, asker):
    class Shy(InProcess):
        def models(self):
            raise RuntimeError("away")

        def find(self, model_id, version):
            return super().find(model_id, version) if version else self.served

    engine = Shy()
    engine.served = engine.add(LinearModel(), digest=bytes(32))
    serve(broker, engine=engine, limits=replace(GENEROUS, announcement_seconds=0))
    assert isinstance(asker.ask(), oip.Answer)


def test_a_gateway_that_was_never_started_can_be_stopped(parties, registry):
    from edgesdk.link import Broker
    from edgesdk.maas.gateway import Gateway

    Gateway(
        Broker.parse("mqtt://127.0.0.1:1"),
        key=parties.gateway,
        devices=registry,
        engine=engine_of(LinearModel()),
    ).stop()


def test_a_gateway_comes_back_with_its_broker(broker, serve, parties, client):
    links, told = [], threading.Condition()

    def on_ready(link):
        with told:
            links.append(link)
            told.notify_all()

    serve(broker, LinearModel(), on_ready=on_ready)
    broker.kill()
    broker.start()
    with told:
        assert told.wait_for(lambda: len(links) == 2, PATIENCE)
    assert isinstance(Asker(parties, client, broker).ask(), oip.Answer)


# The engine


def test_an_engine_needs_a_model_with_an_id():
    engine = InProcess()
    with refused(InputError, "argument"):
        engine.add(LinearModel(model_id=None), digest=b"")
    served = engine.add(LinearModel(model_id=None), digest=b"", model_id="a", version="b")
    assert (served.model_id, served.version) == ("a", "b")


def test_adding_a_version_again_makes_it_the_newest():
    engine = InProcess()
    for version in ("1", "2", "1"):
        engine.add(LinearModel(version=version), digest=b"")
    assert [served.version for served in engine.models()] == ["2", "1"]
    assert engine.find(MODEL_ID, None).version == "1"


def test_an_engine_converts_another_quantization():
    model = LinearModel()
    engine = engine_of(model)
    (frame,) = frames(1)
    real = (frame.astype(np.float32) + 3) / 64
    (output,) = engine.infer(engine.find(MODEL_ID, None), [oip.Tensor("x", real)])
    np.testing.assert_array_equal(output.array, LinearModel().run(frame))
    assert (output.scale, output.zero_point) == (1 / 256, -128)


# The registry


def test_a_registry_finds_what_was_enrolled(registry, parties):
    assert registry.find(parties.device.kid) == parties.device_record
    assert registry.find(parties.device.kid) is registry.find(parties.device.kid)
    with refused(SignatureError, "unknown-signer"):
        registry.find(parties.gateway.kid)


def test_a_registry_enrols_devices_only(registry, parties):
    with refused(MalformedBundleError, "record"):
        registry.enrol(parties.gateway_record)


@pytest.mark.parametrize("kind", ["gateway", "other", "junk", "large"])
def test_a_record_under_a_wrong_name_is_not_believed(registry, parties, kind):
    content = {
        "gateway": parties.gateway_record.encode(),
        "other": parties.other_record.encode(),
        "junk": b"{}",
        "large": bytes(100_000),
    }[kind]
    path = registry.folder / f"{parties.device.name}.pub"
    path.write_bytes(content)
    with refused(SignatureError, "unknown-signer"):
        registry.find(parties.device.kid)


def test_a_registry_does_not_follow_links(registry, parties, tmp_path):
    path = registry.folder / f"{parties.device.name}.pub"
    path.rename(tmp_path / "elsewhere.pub")
    path.symlink_to(tmp_path / "elsewhere.pub")
    with refused(SignatureError, "unknown-signer"):
        registry.find(parties.device.kid)


# What a worker remembers


def header(parties, number):
    return Header.ask(
        device=parties.device.kid,
        gateway=parties.gateway.kid,
        model_id="m",
        created_ms=0,
        ttl_ms=1000,
        request_id=number.to_bytes(16, "big"),
    )


def test_a_seen_request_is_forgotten_when_its_time_is_over(parties):
    now = [0.0]
    replays = Replays(10_000, clock=lambda: now[0])
    one = header(parties, 1)
    assert replays.claim(one, seconds=1.0) is None
    assert replays.claim(one, seconds=1.0).answer is None
    replays.settle(one, b"answer")
    assert replays.claim(one, seconds=1.0).answer == b"answer"
    now[0] = 100.0
    assert replays.claim(one, seconds=1.0) is None


def test_seen_requests_keep_to_their_budget(parties):
    replays = Replays(10_000, clock=lambda: 0.0)
    for number in range(100):
        replays.claim(header(parties, number), seconds=1.0)
        replays.settle(header(parties, number), bytes(1000))
    assert replays._seen.currsize <= 10_000
    assert replays.claim(header(parties, 99), seconds=1.0).answer == bytes(1000)
    assert replays.claim(header(parties, 0), seconds=1.0) is None


def test_an_answer_beyond_the_budget_stays_known(parties):
    replays = Replays(10_000, clock=lambda: 0.0)
    one = header(parties, 1)
    replays.claim(one, seconds=1.0)
    replays.settle(one, bytes(20_000))
    assert replays.claim(one, seconds=1.0).answer is None


def test_quotas_are_kept_for_a_bounded_number_of_devices():
    quotas = Quotas(rate=0.0, burst=1, devices=2)
    for device in (b"a", b"b", b"c"):
        quotas.take(device, now=0.0)
    quotas.take(b"a", now=0.0)
    with pytest.raises(EdgeError):
        quotas.take(b"a", now=0.0)


def test_a_model_that_is_not_there_is_a_remote_error():
    with refused(RemoteError, "unknown-model"):
        engine_of(LinearModel()).find("test/none", None)
