"""Devices, gateways and a small model for the tests of the cloud path.

Run as a program, this is a worker in a process of its own: ``fixtures_cloud.py URL FOLDER``.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

from edgesdk.cloud import CloudModel
from edgesdk.contract import Contract, TensorSpec
from edgesdk.keys import SecretKey, open_secret_key
from edgesdk.link import Broker, LinkLimits, Publication, Subscription
from edgesdk.maas.engine import InProcess
from edgesdk.maas.gateway import LINK_LIMITS, Gateway, GatewayLimits
from edgesdk.maas.registry import Registry
from edgesdk.transport import Transport

if TYPE_CHECKING:
    from edgesdk.record import PublicRecord

pytest_plugins = ["brokers"]

SIDE = 16
CLASSES = 4
MODEL_ID = "test/linear"
# Long enough for a machine with other work to do; nothing waits for all of it when it works.
PATIENCE = 20.0
# Reconnects at once, so that tests of outages need no patience.
EAGER = LinkLimits(backoff_first_seconds=0.01, backoff_cap_seconds=0.05)
EAGER_GATEWAY = replace(LINK_LIMITS, backoff_first_seconds=0.01, backoff_cap_seconds=0.05)


def eager(broker, base=EAGER) -> LinkLimits:
    """The same; a broker that is known to be silent on MQTT 5 is not waited for."""
    return base if getattr(broker, "mqtt5", True) else replace(base, silence_seconds=0.1)


@contextlib.contextmanager
def refused(error, reason):
    """Expect an error of that class, or of one below it, for that reason."""
    with pytest.raises(error) as caught:
        yield caught
    assert caught.value.reason == reason


class LinearModel:
    """One quantized dense layer, computed by numpy."""

    def __init__(self, *, model_id: str | None = MODEL_ID, version: str = "1.0", seed: int = 7):
        random = np.random.default_rng(seed)
        self.weights = random.integers(-127, 128, (SIDE, CLASSES), np.int8)
        self.model_id = model_id
        self.version = version
        self.runs = 0
        self.contract = Contract(
            (TensorSpec("x", np.dtype(np.int8), (1, SIDE), scale=1 / 64, zero_point=-3),),
            (TensorSpec("y", np.dtype(np.int8), (1, CLASSES), scale=1 / 256, zero_point=-128),),
        )

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.weights.tobytes()).digest()

    def infer(self, inputs):
        self.runs += 1
        steps = inputs[0].astype(np.int32) + 3
        real = steps @ self.weights.astype(np.int32) / 96 - 20
        return [np.clip(np.rint(real), -128, 127).astype(np.int8)]

    def run(self, frame):
        return self.infer(self.contract.arrays(frame))[0]

    def close(self) -> None:
        pass


class GatedModel(LinearModel):
    """One that answers when it is let, and says when it has begun."""

    def __init__(self, **options):
        super().__init__(**options)
        self.begun = threading.Semaphore(0)
        self.gate = threading.Event()

    def infer(self, inputs):
        self.begun.release()
        self.gate.wait(PATIENCE)
        return super().infer(inputs)


class BrokenModel(LinearModel):
    """One that fails in a way that nobody foresaw."""

    def infer(self, inputs):
        del inputs
        self.runs += 1
        raise RuntimeError("the tensor arena is on fire")


def frames(count: int, seed: int = 1):
    random = np.random.default_rng(seed)
    return [random.integers(-128, 128, (1, SIDE), np.int8) for _ in range(count)]


class Parties(NamedTuple):
    """Who takes part: keys, and records of what others know of them."""

    device: SecretKey
    other: SecretKey
    gateway: SecretKey
    device_record: PublicRecord
    other_record: PublicRecord
    gateway_record: PublicRecord

    def __repr__(self) -> str:
        # Three post-quantum keys fill the screen of whoever reads a failure.
        return "<Parties>"


@pytest.fixture(scope="session")
def parties():
    device, other = SecretKey.generate("device"), SecretKey.generate("device")
    gateway = SecretKey.generate("gateway")
    with device, other, gateway:
        yield Parties(
            device,
            other,
            gateway,
            device.record("camera"),
            other.record("intruder"),
            gateway.record("gateway"),
        )


@pytest.fixture
def registry(tmp_path, parties):
    """Both devices are enrolled: what one may not do for the other is to be seen."""
    folder = tmp_path / "devices"
    folder.mkdir()
    found = Registry(folder)
    found.enrol(parties.device_record)
    found.enrol(parties.other_record)
    return found


@pytest.fixture
def home(tmp_path, parties):
    """The configuration folder of the device."""
    folder = tmp_path / "cloud-home"
    folder.mkdir()
    parties.device.save(folder / "device.key")
    (folder / "gateway.pub").write_bytes(parties.gateway_record.encode())
    return folder


def address(broker) -> str:
    return f"mqtt://127.0.0.1:{broker.port}"


def engine_of(*models) -> InProcess:
    engine = InProcess()
    for model in models:
        engine.add(model, digest=model.digest)
    return engine


GENEROUS = GatewayLimits(quota_rate=1e6, quota_burst=1e6)


@pytest.fixture
def serve(parties, registry):
    """Start a gateway on a broker: ``serve(broker, model)``; all are stopped at the end."""
    with contextlib.ExitStack() as stack:

        def start(broker, *models, limits=GENEROUS, **options) -> Gateway:
            gateway = Gateway(
                Broker.parse(address(broker)),
                key=options.pop("key", parties.gateway),
                devices=options.pop("devices", registry),
                engine=options.pop("engine", None) or engine_of(*models),
                limits=limits,
                link_limits=options.pop("link_limits", eager(broker, EAGER_GATEWAY)),
                **options,
            )
            stack.enter_context(gateway)
            gateway.wait_ready(PATIENCE)
            return gateway

        yield start


@pytest.fixture
def ask(parties):
    """Make a cloud model of the device: ``ask(broker)``; all are closed at the end."""
    with contextlib.ExitStack() as stack:

        def make(broker, **options) -> CloudModel:
            cloud = CloudModel(
                Broker.parse(address(broker)),
                device=options.pop("device", parties.device),
                gateway=parties.gateway_record,
                contract=options.pop("contract", LinearModel().contract),
                model_id=options.pop("model_id", MODEL_ID),
                limits=options.pop("limits", eager(broker)),
                **options,
            )
            stack.callback(cloud.close)
            return cloud

        yield make


class Client:
    """Any other client of the broker: sees what it subscribes to, says what it likes."""

    def __init__(self, broker, *filters: str, on_message=None) -> None:
        self.seen = []
        self._arrived = threading.Condition()
        self._on_message = on_message
        self.transport = Transport(
            Broker.parse(address(broker)),
            client_id=f"client-{os.urandom(4).hex()}",
            subscriptions=[Subscription(each) for each in filters],
            on_message=self._take,
            limits=eager(broker),
        )
        self.transport.start()
        self.transport.wait_ready(PATIENCE)

    def _take(self, message) -> None:
        with self._arrived:
            self.seen.append(message)
            self._arrived.notify_all()
        if self._on_message is not None:
            self._on_message(message)

    def wait_for(self, count: int):
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.seen) >= count, PATIENCE)
            return list(self.seen)

    def say(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish, and wait until the broker has taken it."""
        taken = threading.Event()
        deadline = self.transport._settings.clock() + PATIENCE
        self.transport.publish(
            Publication(topic, payload, deadline, lambda _: taken.set(), retain=retain)
        )
        assert taken.wait(PATIENCE)

    def close(self) -> None:
        self.transport.close()


@pytest.fixture
def client():
    """``client(broker, filter, ...)``."""
    with contextlib.ExitStack() as stack:

        def make(broker, *filters, **options) -> Client:
            made = Client(broker, *filters, **options)
            stack.callback(made.close)
            return made

        yield make


class Courier:
    """A broker that cannot be trusted: one for devices, one for gateways, and mischief between.

    Each message that goes over becomes what ``mischief(topic, payload)`` makes of it, a list of
    topics and payloads.
    """

    def __init__(self, near, far, mischief) -> None:
        self._mischief = mischief
        self._lock = threading.Lock()
        self._ends = {}
        self._ends["far"] = Client(far, "e/v1/+/rep", on_message=self._carry("near"))
        self._ends["near"] = Client(near, "e/v1/+/req/+", on_message=self._carry("far"))

    def _carry(self, end):
        def carry(message) -> None:
            with self._lock:
                for topic, payload in self._mischief(message.topic, message.payload):
                    transport = self._ends[end].transport
                    deadline = transport._settings.clock() + PATIENCE
                    transport.publish(Publication(topic, payload, deadline))

        return carry

    def close(self) -> None:
        for end in self._ends.values():
            end.close()


class Worker:
    """A gateway in a process of its own, that can be killed or frozen."""

    def __init__(self, broker, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, address(broker), str(folder)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        if self._process.poll() is None:
            self.thaw()
            self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


@pytest.fixture
def worker(tmp_path, parties, registry):
    """``worker(broker)`` starts a worker process."""
    parties.gateway.save(tmp_path / "gateway.key")
    assert registry.folder == tmp_path / "devices"
    with contextlib.ExitStack() as stack:

        def start(broker) -> Worker:
            started = Worker(broker, tmp_path)
            stack.callback(started.stop)
            return started

        yield start


def _main(url: str, folder: Path) -> None:
    with open_secret_key(folder / "gateway.key", kind="gateway") as key:
        gateway = Gateway(
            Broker.parse(url),
            key=key,
            devices=Registry(folder / "devices"),
            engine=engine_of(LinearModel()),
            limits=GENEROUS,
        )
        with gateway:
            gateway.wait_ready(PATIENCE)
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            threading.Event().wait()


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]))
