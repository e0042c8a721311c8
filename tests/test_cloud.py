import logging
import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed

import numpy as np
import pytest

from brokers import BrokerOptions, running
from edgesdk import protocol
from edgesdk.announcement import Announcement
from edgesdk.cloud import CloudModel
from edgesdk.contract import Contract, TensorSpec
from edgesdk.errors import (
    BusyError,
    ConfigurationError,
    DeadlineExceededError,
    KeyUnavailableError,
    LifecycleError,
    NotConnectedError,
    QuotaError,
    RemoteError,
    TransportError,
)
from edgesdk.files import Home
from edgesdk.maas.gateway import GatewayLimits
from edgesdk.policy import Breaker, BreakerRule, Deadline, State, TokenBucket
from fixtures_cloud import (
    CLASSES,
    MODEL_ID,
    PATIENCE,
    BrokenModel,
    Courier,
    GatedModel,
    LinearModel,
    address,
    frames,
    refused,
)

# Longer than anything takes that works, shorter than anybody likes to wait for what does not.
SHORT = 0.4


def infer(cloud, frame=None, seconds=PATIENCE):
    frame = frames(1)[0] if frame is None else frame
    return cloud.infer([frame], deadline=Deadline.after(seconds, now=time.monotonic()))


def expected(frame):
    return LinearModel().run(frame)


def patient():
    """A breaker that never opens, for tests of what lies behind it."""
    return Breaker(uniform=random.uniform, rule=BreakerRule(failures=10**6, in_a_row=10**6))


def until(condition):
    """For what nobody is told of when it happens."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def in_background(function, *arguments, **options):
    """Run it in a thread; gives a function that waits for the result or raises its error."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(function, *arguments, **options)
    pool.shutdown(wait=False)
    return lambda: future.result(PATIENCE)


def test_the_cloud_answers(broker, serve, ask):
    serve(broker, LinearModel(version="7"))
    cloud = ask(broker)
    for frame in frames(5):
        reply = infer(cloud, frame)
        np.testing.assert_array_equal(reply.outputs[0], expected(frame))
    assert (reply.model_id, reply.version) == (MODEL_ID, "7")
    assert reply.provenance.model_digest == LinearModel().digest
    counters = cloud.counters
    assert (counters.asked, counters.answered, dict(counters.dropped)) == (5, 5, {})


def test_threads_share_one_connection(broker, serve, ask):
    serve(broker, LinearModel())
    cloud = ask(broker, outstanding=8)
    wanted = frames(40)
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda frame: infer(cloud, frame), wanted))
    for frame, reply in zip(wanted, replies, strict=True):
        np.testing.assert_array_equal(reply.outputs[0], expected(frame))


def test_open_requests_are_bounded(broker, serve, ask):
    model = GatedModel()
    serve(broker, model, limits=GatewayLimits(runners=2))
    cloud = ask(broker, outstanding=2)
    waiting = [in_background(infer, cloud) for _ in range(2)]
    for _ in range(2):
        assert model.begun.acquire(timeout=PATIENCE)
    with refused(BusyError, "outstanding"):
        infer(cloud)
    model.gate.set()
    for wait in waiting:
        wait()
    infer(cloud)


# The failures of brokers and workers


def test_a_broker_that_is_not_there_is_said_at_once(broker, ask):
    broker.kill()
    cloud = ask(broker)
    with refused(NotConnectedError, "not-connected"):
        infer(cloud)
    with refused(NotConnectedError, "not-connected"):
        infer(cloud)
    assert cloud.breaker.state is State.CLOSED


def test_a_cloud_is_waited_for_until_its_broker_is_there(broker, serve, ask):
    broker.kill()
    cloud = ask(broker)
    with refused(NotConnectedError, "not-connected"):
        cloud.wait_linked(0.05)
    wait = in_background(cloud.wait_linked, PATIENCE)
    broker.start()
    assert wait() == cloud.link
    serve(broker, LinearModel())
    infer(cloud)
    cloud.close()
    with refused(LifecycleError, "closed"):
        cloud.wait_linked(1000.0)
    with refused(LifecycleError, "closed"):
        cloud.start()


def test_a_broker_that_dies_ends_what_waits_for_it(broker, serve, ask):
    model = GatedModel()
    serve(broker, model)
    cloud = ask(broker)
    waiting = [in_background(infer, cloud) for _ in range(2)]
    assert model.begun.acquire(timeout=PATIENCE)
    broker.kill()
    for wait in waiting:
        with refused(NotConnectedError, "not-connected"):
            wait()
    model.gate.set()


@pytest.mark.slow
def test_every_request_ends_while_the_broker_comes_and_goes(broker, serve, ask):
    serve(broker, LinearModel())
    cloud = ask(broker, breaker=patient())
    over, told = threading.Event(), threading.Condition()
    outcomes = {1: [], 2: []}

    def keep_asking(seed):
        for frame in frames(100_000, seed):
            try:
                outputs = infer(cloud, frame, SHORT).outputs[0]
                np.testing.assert_array_equal(outputs, expected(frame))
                outcome = "answered"
            except TransportError:
                outcome = "failed"
                over.wait(0.01)  # there is nothing to do until the broker is back
            with told:
                outcomes[seed].append(outcome)
                told.notify_all()
            if over.is_set():
                return

    def until_all(outcome):
        """Until every thread has had another one of these."""
        with told:
            start = {seed: len(found) for seed, found in outcomes.items()}
            assert told.wait_for(
                lambda: all(outcome in outcomes[seed][start[seed] :] for seed in outcomes),
                PATIENCE,
            )

    waiting = [in_background(keep_asking, seed) for seed in outcomes]
    for _ in range(3):
        until_all("answered")
        broker.kill()
        until_all("failed")
        broker.start()
    until_all("answered")
    over.set()
    for wait in waiting:
        wait()


def test_a_frozen_broker_costs_the_deadline_and_nothing_stale_is_run(broker, serve, ask):
    model = LinearModel()
    gateway = serve(broker, model)
    cloud = ask(broker, breaker=patient())
    infer(cloud)
    broker.freeze()
    for _ in range(2):
        with refused(DeadlineExceededError, "deadline"):
            infer(cloud, seconds=SHORT)
    broker.thaw()
    infer(cloud)
    assert model.runs == 2
    assert set(gateway.counters.refused) <= {"expired"}


def test_a_killed_worker_is_noticed_at_once_where_the_broker_says_so(broker, worker, ask):
    started = worker(broker)
    cloud = ask(broker, breaker=patient())
    infer(cloud)
    started.kill()
    # The broker needs a moment to notice, too.
    errors = []
    while not errors or (broker.mqtt5 and errors[-1] == "deadline"):
        with pytest.raises(TransportError) as caught:
            infer(cloud, seconds=SHORT)
        errors.append(caught.value.reason)
    assert errors[-1] == ("no-worker" if broker.mqtt5 else "deadline")


def test_a_frozen_worker_costs_the_deadline_and_answers_too_late(broker, worker, ask):
    started = worker(broker)
    cloud = ask(broker)
    infer(cloud)
    started.freeze()
    with refused(DeadlineExceededError, "deadline"):
        infer(cloud, seconds=SHORT)
    started.thaw()
    infer(cloud)
    # The worker has refused it as expired, and the refusal came to nobody.
    assert dict(cloud.counters.dropped) == {"late": 1}


# What the gateway refuses


def test_a_full_worker_is_busy_at_once(broker, serve, ask):
    model = GatedModel()
    serve(broker, model, limits=GatewayLimits(queue=1, runners=1))
    cloud = ask(broker)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(infer, cloud)
        assert model.begun.acquire(timeout=PATIENCE)
        others = [pool.submit(infer, cloud) for _ in range(3)]
        # One of them waits for its turn.
        ended = as_completed(others, PATIENCE)
        busy = [next(ended), next(ended)]
        model.gate.set()
    assert [future.exception().reason for future in busy] == ["busy", "busy"]
    assert first.exception() is None
    assert sum(future.exception() is None for future in others) == 1


def test_a_busy_gateway_says_nothing_against_the_link(broker, serve, ask):
    serve(broker, LinearModel(), limits=GatewayLimits(quota_rate=0.0, quota_burst=1))
    cloud = ask(broker, breaker=Breaker(uniform=random.uniform, rule=BreakerRule(in_a_row=1)))
    infer(cloud)
    for _ in range(3):
        with refused(QuotaError, "quota"):
            infer(cloud)
    assert cloud.breaker.state is State.CLOSED


def test_an_unknown_model_is_a_remote_error(broker, serve, ask):
    serve(broker, LinearModel(version="1"))
    with refused(RemoteError, "unknown-model"):
        infer(ask(broker, model_id="test/other"))
    with refused(RemoteError, "unknown-model"):
        infer(ask(broker, version="2"))
    assert infer(ask(broker, version="1")).version == "1"


def test_a_model_that_fails_is_a_remote_error(broker, serve, ask, caplog):
    serve(broker, BrokenModel())
    with (
        caplog.at_level(logging.CRITICAL, logger="edgesdk"),
        refused(RemoteError, "model-failed"),
    ):
        infer(ask(broker))


def test_inputs_that_the_gateway_finds_unfit_are_a_remote_error(broker, serve, ask):
    serve(broker, LinearModel())
    contract = LinearModel().contract
    wide = TensorSpec("x", np.dtype(np.int8), (1, 99))
    cloud = ask(broker, contract=Contract((wide,), contract.outputs))
    with refused(RemoteError, "bad-input"):
        infer(cloud, np.zeros((1, 99), np.int8))


@pytest.mark.parametrize("apart", [-86_400.0, -5.0, 5.0, 86_400.0 * 365 * 50])
def test_clocks_that_are_apart_are_brought_together(broker, serve, ask, apart):
    """A device that wakes up in another year fails once, and then knows what time it is."""
    serve(broker, LinearModel(), wall=lambda: time.time() + apart)
    cloud = ask(broker)
    if not -30 <= apart < 0:
        with pytest.raises(TransportError) as caught:
            infer(cloud, seconds=2.0)
        assert caught.value.reason in {"clock", "expired"}
    for _ in range(3):
        infer(cloud, seconds=2.0)
    assert cloud.breaker.state is State.CLOSED


# What this device refuses by itself


def test_what_is_too_large_for_the_broker_is_not_sent(tmp_path, serve, ask):
    wide = TensorSpec("x", np.dtype(np.int8), (1, 5000))
    contract = Contract((wide,), LinearModel().contract.outputs)
    with running("mosquitto", tmp_path, BrokerOptions(max_packet_bytes=4000)) as broker:
        gateway = serve(broker, LinearModel())
        cloud = ask(broker, contract=contract)
        with refused(RemoteError, "too-large"):
            infer(cloud, np.zeros((1, 5000), np.int8))
        assert cloud.link is not None
        assert gateway.counters.received == 0


def test_what_is_too_large_for_the_gateway_is_not_sent(broker, serve, ask):
    wide = TensorSpec("x", np.dtype(np.int8), (1, 5000))
    gateway = serve(broker, LinearModel(), limits=GatewayLimits(request_bytes=4000))
    cloud = ask(broker, contract=Contract((wide,), LinearModel().contract.outputs))
    while cloud.announcement is None:
        # It comes with the subscription, perhaps after the first request.
        with pytest.raises(TransportError):
            infer(cloud, np.zeros((1, 5000), np.int8), SHORT)
    assert cloud.announcement.max_bytes == 4000
    asked = cloud.counters.asked
    with refused(RemoteError, "too-large"):
        infer(cloud, np.zeros((1, 5000), np.int8))
    assert cloud.counters.asked == asked
    assert gateway.counters.run == 0


class WideModel(LinearModel):
    """One with that many bytes of outputs."""

    def __init__(self, size):
        super().__init__()
        wide = TensorSpec("y", np.dtype(np.int8), (1, size))
        self.contract = Contract(self.contract.inputs, (wide,))

    def infer(self, inputs):
        (spec,) = self.contract.outputs
        return [np.zeros((len(inputs), *spec.shape[1:]), np.int8)]


def test_the_largest_answer_arrives_and_a_larger_one_is_a_failure(broker, serve, ask):
    gateway = serve(broker, WideModel(4_190_000))
    largest = protocol.LIMITS.message_bytes
    sent = []
    publish = gateway._transport.publish
    gateway._transport.publish = lambda each: (sent.append(len(each.payload)), publish(each))
    infer(ask(broker, contract=WideModel(4_190_000).contract))
    size = 4_190_000 + largest - sent[-1]
    gateway._engine.add(WideModel(size), digest=bytes(32))
    assert infer(ask(broker, contract=WideModel(size).contract)).outputs[0].shape == (1, size)
    assert sent[-1] == largest
    gateway._engine.add(WideModel(size + 1), digest=bytes(32))
    with refused(RemoteError, "model-failed"):
        infer(ask(broker, contract=WideModel(size + 1).contract))


def test_what_the_protocol_does_not_hold_is_not_the_callers_fault(broker, ask, serve):
    serve(broker, LinearModel())
    many = tuple(TensorSpec(str(n), np.dtype(np.int8), (1,)) for n in range(17))
    cloud = ask(broker, contract=Contract(many, LinearModel().contract.outputs))
    deadline = Deadline.after(PATIENCE, now=time.monotonic())
    with refused(RemoteError, "too-large"):
        cloud.infer([np.zeros(1, np.int8)] * 17, deadline=deadline)


def test_a_budget_is_kept(broker, serve, ask):
    serve(broker, LinearModel())
    cloud = ask(broker, budget=TokenBucket(rate=0.0, burst=2, now=time.monotonic()))
    infer(cloud)
    infer(cloud)
    with refused(QuotaError, "budget"):
        infer(cloud)
    assert cloud.breaker.state is State.CLOSED


def test_a_link_that_keeps_failing_is_left_alone(broker, serve, ask):
    """Until a gateway says that it is there."""
    breaker = Breaker(uniform=lambda _low, _high: 1e6, rule=BreakerRule(in_a_row=2))
    cloud = ask(broker, breaker=breaker)
    for _ in range(2):
        with pytest.raises(TransportError) as caught:
            infer(cloud, seconds=SHORT)
        assert caught.value.reason == ("no-worker" if broker.mqtt5 else "deadline")
    with refused(NotConnectedError, "circuit-open"):
        infer(cloud)
    asked = cloud.counters.asked
    with refused(NotConnectedError, "circuit-open"):
        infer(cloud)
    assert cloud.counters.asked == asked
    serve(broker, LinearModel())
    until(lambda: breaker.state is State.CLOSED)
    infer(cloud)


def test_an_old_announcement_does_not_make_a_link_good(broker, serve, ask, client):
    """The broker takes it away and shows it again, as often as it likes."""
    topic = protocol.service_topic("default")
    forger = client(broker, topic)
    gateway = serve(broker, LinearModel())
    announcement = forger.wait_for(1)[0].payload
    breaker = Breaker(uniform=lambda _low, _high: 1e6, rule=BreakerRule(in_a_row=1))
    cloud = ask(broker, breaker=breaker)
    infer(cloud)
    gateway.stop()
    with pytest.raises(TransportError):
        infer(cloud, seconds=SHORT)
    assert breaker.state is State.OPEN
    forger.say(topic, b"")
    forger.say(topic, announcement)
    # What is said on the other topic comes after it, and is counted.
    forger.say(protocol.answer_topic(cloud._device.kid), b"junk")
    until(lambda: cloud.counters.dropped)
    assert cloud.announcement is not None
    assert breaker.state is State.OPEN


def test_a_deadline_that_has_passed_is_not_waited_for(broker, serve, ask):
    gateway = serve(broker, LinearModel())
    cloud = ask(broker)
    infer(cloud)
    with refused(DeadlineExceededError, "deadline"):
        cloud.infer(frames(1), deadline=Deadline(time.monotonic() - 1.0))
    assert gateway.counters.received == 1
    assert cloud.breaker.state is State.CLOSED


def test_closing_ends_what_waits(broker, serve, ask):
    model = GatedModel()
    serve(broker, model)
    cloud = ask(broker)
    wait = in_background(infer, cloud)
    assert model.begun.acquire(timeout=PATIENCE)
    cloud.close()
    with refused(NotConnectedError, "not-connected"):
        wait()
    with refused(LifecycleError, "closed"):
        infer(cloud)
    model.gate.set()


# Other models


class Other(LinearModel):
    """The same purpose, other numbers."""

    def __init__(self, spec, outputs):
        super().__init__()
        self.contract = Contract(self.contract.inputs, (spec,))
        self._outputs = outputs

    def infer(self, inputs):
        del inputs
        return [self._outputs]


def test_outputs_of_another_quantization_are_converted(broker, serve, ask):
    spec = TensorSpec("y", np.dtype(np.uint8), (1, CLASSES), scale=1 / 128, zero_point=0)
    serve(broker, Other(spec, np.array([[0, 1, 64, 127]], np.uint8)))
    reply = infer(ask(broker))
    np.testing.assert_array_equal(reply.outputs[0], np.array([[-128, -126, 0, 126]], np.int8))


def test_outputs_in_floats_are_quantized(broker, serve, ask):
    spec = TensorSpec("y", np.dtype(np.float32), (1, CLASSES))
    serve(broker, Other(spec, np.array([[0.0, 0.25, 0.5, 9.0]], np.float32)))
    reply = infer(ask(broker))
    np.testing.assert_array_equal(reply.outputs[0], np.array([[-128, -64, 0, 127]], np.int8))


@pytest.mark.parametrize(
    "spec",
    [
        TensorSpec("z", np.dtype(np.int8), (1, CLASSES)),
        TensorSpec("y", np.dtype(np.int8), (1, CLASSES + 1)),
        TensorSpec("y", np.dtype(np.int32), (1, CLASSES)),
        TensorSpec("y", np.dtype(np.float32), (1, CLASSES)),
    ],
    ids=["name", "shape", "dtype", "nan"],
)
def test_outputs_that_do_not_fit_are_no_answer(broker, serve, ask, spec):
    fill = np.nan if spec.dtype.kind == "f" else 0
    serve(broker, Other(spec, np.full(spec.shape, fill, spec.dtype)))
    with refused(RemoteError, "answer"):
        infer(ask(broker))


# Forgers


@pytest.fixture
def overheard(broker, serve, ask, client, parties):
    """A request that waits for its answer, and a client that has overheard it."""
    model = GatedModel()
    serve(broker, model)
    forger = client(broker, protocol.request_topic(parties.device.kid, "default"))
    cloud = ask(broker)
    (frame,) = frames(1)
    wait = in_background(infer, cloud, frame)
    assert model.begun.acquire(timeout=PATIENCE)
    (request,) = forger.wait_for(1)
    topic = protocol.answer_topic(parties.device.kid)

    def end():
        model.gate.set()
        np.testing.assert_array_equal(wait().outputs[0], expected(frame))
        return dict(cloud.counters.dropped)

    return request.payload, lambda payload: forger.say(topic, payload), end


def test_a_forged_answer_is_passed_over(overheard, parties):
    request, say, end = overheard
    asked = protocol.Header.parse(request, expect=protocol.Kind.REQUEST)
    header = asked.answer(now_ms=asked.created_ms)
    say(header.encode() + os.urandom(200))
    opened = protocol.OpenRequest(asked, bytes(32), b"", proof=protocol._PROOF)
    now = asked.created_ms
    say(protocol.seal_answer(opened, b"no", gateway=parties.other, now_ms=now))
    # Even one by the gateway's own key: it does not know this request's.
    say(protocol.seal_answer(opened, b"no", gateway=parties.gateway, now_ms=now))
    assert end() == {"signature": 2, "payload": 1}


def test_junk_on_the_topic_of_answers_is_passed_over(overheard):
    request, say, end = overheard
    for junk in (b"", b"EDCL", os.urandom(300), request, request[:64]):
        say(junk)
    assert end() == {"malformed": 5}


def test_a_good_answer_is_found_in_a_flood_of_forgeries(overheard):
    request, say, end = overheard
    asked = protocol.Header.parse(request, expect=protocol.Kind.REQUEST)
    forged = asked.answer(now_ms=asked.created_ms).encode() + bytes(100)
    for _ in range(50):
        say(forged)
    assert end() == {"signature": 50}


def test_an_answer_that_comes_again_is_too_late(broker, serve, ask, client, caplog):
    caplog.set_level(logging.INFO, logger="edgesdk.cloud")
    serve(broker, LinearModel())
    cloud = ask(broker)
    topic = protocol.answer_topic(cloud._device.kid)
    forger = client(broker, topic)
    infer(cloud)
    (answer,) = forger.wait_for(1)
    forger.say(topic, answer.payload)
    infer(cloud)
    assert dict(cloud.counters.dropped) == {"late": 1}
    (told,) = [record for record in caplog.records if getattr(record, "reason", None) == "late"]
    assert told.levelno == logging.INFO


def test_an_announcement_by_another_is_ignored(broker, ask, serve, client, parties):
    forged = Announcement(parties.gateway.kid, "default", 10, int(time.time()) + 1000, ())
    forger = client(broker)
    topic = protocol.service_topic("default")
    serve(broker, LinearModel())
    cloud = ask(broker)
    infer(cloud)
    forger.say(topic, forged.encode(parties.other))
    forger.say(topic, b"junk")
    infer(cloud)
    infer(cloud)
    assert cloud.announcement is None or cloud.announcement.max_bytes > 10
    assert dict(cloud.counters.dropped) == {"unknown-signer": 1, "malformed": 1}


# A broker that cannot be trusted


class Mischief:
    """Drops, duplicates, holds back, swaps, replays and damages, as its dice fall."""

    def __init__(self, seed):
        self._dice = random.Random(seed)  # noqa: S311
        self._past = []
        self._held = []
        self.tricks = set()

    def __call__(self, topic, payload):
        self._past.append((topic, payload))
        trick = self._dice.choice(
            ["pass"] * 5 + ["drop", "twice", "hold", "swap", "replay", "flip", "cut", "lie"]
        )
        self.tricks.add(trick)
        held, self._held = self._held, []
        return [*getattr(self, f"_{trick}")(topic, payload), *held]

    def _pass(self, topic, payload):
        return [(topic, payload)]

    def _drop(self, _topic, _payload):
        return []

    def _twice(self, topic, payload):
        return [(topic, payload)] * 2

    def _hold(self, topic, payload):
        # It goes after the next one, whichever way that goes.
        self._held.append((topic, payload))
        return []

    def _swap(self, topic, payload):
        others = [other for other, _ in self._past if other != topic]
        return [(self._dice.choice(others), payload)] if others else [(topic, payload)]

    def _replay(self, topic, payload):
        return [self._dice.choice(self._past), (topic, payload)]

    def _flip(self, topic, payload):
        damaged = bytearray(payload)
        damaged[self._dice.randrange(len(damaged))] ^= 1 << self._dice.randrange(8)
        return [(topic, bytes(damaged))]

    def _cut(self, topic, payload):
        return [(topic, payload[: self._dice.randrange(len(payload))])]

    def _lie(self, topic, payload):
        """Another message's body under this one's header."""
        return [(topic, payload[:64] + self._dice.choice(self._past)[1][64:])]


@pytest.fixture
def far(broker, tmp_path):
    """Another broker of the same kind."""
    (tmp_path / "far").mkdir()
    with running(broker.name, tmp_path / "far") as started:
        yield started


@pytest.fixture(params=range(2))
def mischief(request, broker, far):
    """What goes from one broker to the other goes through its hands."""
    made = Mischief(request.param)
    made.near = broker
    courier = Courier(broker, far, made)
    yield made
    courier.close()


@pytest.mark.slow
def test_a_malicious_broker_gets_no_wrong_result_accepted(mischief, far, serve, ask, parties):
    model = LinearModel()
    gateway = serve(far, model)
    near = mischief.near
    clouds = [
        ask(near, device=device, breaker=patient()) for device in (parties.device, parties.other)
    ]

    def keep_asking(cloud, seed):
        answered = 0
        for frame in frames(20, seed):
            try:
                outputs = infer(cloud, frame, SHORT / 2).outputs[0]
            except TransportError:
                continue
            np.testing.assert_array_equal(outputs, expected(frame))
            answered += 1
        return answered

    waiting = [in_background(keep_asking, cloud, n) for n, cloud in enumerate(clouds)]
    assert all(wait() for wait in waiting)
    assert len(mischief.tricks) == 9
    # However often a request came, it was run once at most.
    assert model.runs <= sum(cloud.counters.asked for cloud in clouds)
    assert gateway.counters.dropped


# From the configuration folder


def from_home(folder, broker, **options):
    return CloudModel.from_home(
        address(broker),
        home=Home(folder),
        contract=LinearModel().contract,
        model_id=MODEL_ID,
        **options,
    )


def test_identity_comes_from_the_folder(broker, serve, home):
    serve(broker, LinearModel())
    cloud = from_home(home, broker)
    infer(cloud)
    cloud.close()
    with pytest.raises(LifecycleError):
        cloud._device.sign_ed25519(b"")


def test_a_key_that_was_passed_in_stays_open(broker, serve, home, parties):
    serve(broker, LinearModel())
    (home / "device.key").unlink()
    cloud = from_home(home, broker, device_key=parties.device, gateway=parties.gateway_record)
    infer(cloud)
    cloud.close()
    parties.device.sign_ed25519(b"")


class Nowhere:
    port = 1


def test_the_record_of_the_gateway_must_be_there(home):
    (home / "gateway.pub").unlink()
    with refused(ConfigurationError, "missing"):
        from_home(home, Nowhere)


def test_the_record_of_the_gateway_must_be_one_of_a_gateway(home, parties):
    (home / "gateway.pub").write_bytes(parties.other_record.encode())
    with refused(ConfigurationError, "invalid"):
        from_home(home, Nowhere)


def test_the_record_of_the_gateway_must_not_be_open_to_others(home):
    (home / "gateway.pub").chmod(0o666)
    with refused(ConfigurationError, "permissions"):
        from_home(home, Nowhere)


def test_the_key_of_the_device_must_be_there_and_private(home):
    (home / "device.key").chmod(0o644)
    with refused(KeyUnavailableError, "key-permissions"):
        from_home(home, Nowhere)
    (home / "device.key").unlink()
    with refused(KeyUnavailableError, "no-key"):
        from_home(home, Nowhere)


def test_an_empty_file_of_authorities_is_not_the_systems(home):
    (home / "broker-ca.pem").write_bytes(b"")
    with refused(ConfigurationError, "invalid"):
        CloudModel.from_home(
            "mqtts://127.0.0.1:1",
            home=Home(home),
            contract=LinearModel().contract,
            model_id=MODEL_ID,
        )
