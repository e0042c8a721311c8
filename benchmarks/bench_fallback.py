"""How long the cloud fallback takes: ``python benchmarks/bench_fallback.py [--requests N]``.

A mosquitto on loopback, with ``set_tcp_nodelay true`` and then as it is by default, a gateway in a
process of its own, and a model that does nothing, so that what is measured is broker, sealing and
threads. Figures in milliseconds; run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import contextlib
import getpass
import multiprocessing
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgesdk import oip, protocol
from edgesdk.cloud import CloudModel
from edgesdk.contract import Contract, TensorSpec
from edgesdk.errors import TransportError
from edgesdk.keys import SecretKey, open_secret_key
from edgesdk.link import Broker, Publication, Subscription
from edgesdk.maas.engine import InProcess
from edgesdk.maas.gateway import Gateway, GatewayLimits
from edgesdk.maas.registry import Registry
from edgesdk.policy import Deadline
from edgesdk.session import Session
from edgesdk.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edgesdk.record import PublicRecord

SIZES = {"1 KB": 1024, "150 KB": 150_528, "900 KB": 900_000}
ANSWER = 1024
PATIENCE = 30.0


class Still:
    """A model that answers without looking."""

    version = "1"

    def __init__(self, name: str, size: int) -> None:
        self.model_id = f"bench/{name.replace(' ', '').lower()}"
        self.contract = Contract(
            (TensorSpec("x", np.dtype(np.int8), (1, size)),),
            (TensorSpec("y", np.dtype(np.int8), (1, ANSWER)),),
        )
        self._outputs = [np.zeros((1, ANSWER), np.int8)]

    def infer(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The same outputs for all inputs."""
        del inputs
        return self._outputs


MODELS = {name: Still(name, size) for name, size in SIZES.items()}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


@contextlib.contextmanager
def mosquitto(folder: Path, *, nodelay: bool) -> Iterator[int]:
    """A broker on a free port."""
    program = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        raise SystemExit("mosquitto is not installed (Debian: apt-get install -y mosquitto)")
    port = free_port()
    config = folder / f"mosquitto-{port}.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n"
        f"set_tcp_nodelay {str(nodelay).lower()}\nuser {getpass.getuser()}\nlog_dest none\n"
    )
    process = subprocess.Popen([program, "-c", config], stderr=subprocess.DEVNULL)  # noqa: S603
    try:
        while not accepts(port):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.01)
                raise SystemExit("mosquitto did not start")
        yield port
    finally:
        process.terminate()
        process.wait()


def serve(port: int, folder: Path, ready: threading.Event, stop: threading.Event) -> None:
    """The gateway's process."""
    engine = InProcess()
    for model in MODELS.values():
        engine.add(model, digest=bytes(32))
    limits = GatewayLimits(quota_rate=1e6, quota_burst=1e6)
    with open_secret_key(folder / "gateway.key", kind="gateway") as key:
        broker, devices = Broker.parse(f"mqtt://127.0.0.1:{port}"), Registry(folder / "devices")
        with Gateway(broker, key=key, devices=devices, engine=engine, limits=limits) as gateway:
            gateway.wait_ready(PATIENCE)
            ready.set()
            stop.wait()


@contextlib.contextmanager
def gateway(port: int, folder: Path) -> Iterator[None]:
    context = multiprocessing.get_context("spawn")
    ready, stop = context.Event(), context.Event()
    process = context.Process(target=serve, args=(port, folder, ready, stop))
    process.start()
    try:
        ready.wait(PATIENCE)
        yield
    finally:
        stop.set()
        process.join()


def quantiles(seconds: list[float]) -> tuple[float, float, float]:
    """10th, 50th and 99th percentile in milliseconds."""
    low, middle, high = np.percentile(np.array(seconds) * 1000, [10, 50, 99])
    return float(low), float(middle), float(high)


def timed(count: int, action: Callable[[], object]) -> tuple[float, float, float]:
    for _ in range(max(count // 10, 5)):
        action()
    found = []
    for _ in range(count):
        start = time.perf_counter()
        action()
        found.append(time.perf_counter() - start)
    return quantiles(found)


def row(name: str, figures: tuple[float, float, float]) -> None:
    print(f"  {name:<44}{figures[0]:>8.3f}{figures[1]:>9.3f}{figures[2]:>9.3f}", flush=True)


def bench_sealed(port: int, device: SecretKey, record: PublicRecord, count: int) -> None:
    for name, model in MODELS.items():
        cloud = CloudModel(
            Broker.parse(f"mqtt://127.0.0.1:{port}"),
            device=device,
            gateway=record,
            contract=model.contract,
            model_id=model.model_id,
        )
        frame = np.zeros(model.contract.inputs[0].shape, np.int8)

        def ask(cloud: CloudModel = cloud, frame: np.ndarray = frame) -> None:
            cloud.infer([frame], deadline=Deadline.after(PATIENCE, now=time.monotonic()))

        row(f"sealed, {name} asked, 1 KB answered", timed(count, ask))
        cloud.close()


def bench_plain(port: int, count: int) -> None:
    """The same way there and back without sealing: what broker and threads take."""
    for name, size in SIZES.items():
        came = threading.Event()
        deadline = time.monotonic() + 3600

        def echo(_message: object, deadline: float = deadline) -> None:
            there.publish(Publication("b", bytes(ANSWER), deadline))  # noqa: B023

        there, here = (
            Transport(
                Broker.parse(f"mqtt://127.0.0.1:{port}"),
                client_id=topic,
                subscriptions=[Subscription(topic)],
                on_message=handler,
            )
            for topic, handler in (("a", echo), ("b", lambda _, came=came: came.set()))
        )
        for each in (there, here):
            each.start()
            each.wait_ready(PATIENCE)
        payload = bytes(size)

        def ask() -> None:
            came.clear()  # noqa: B023
            here.publish(Publication("a", payload, deadline))  # noqa: B023
            came.wait(PATIENCE)  # noqa: B023

        row(f"plain QoS 1, {name} there, 1 KB back", timed(count, ask))
        for each in (there, here):
            each.close()


def bench_crypto(device: SecretKey, key: SecretKey, count: int) -> None:
    record, enrolled = key.record("gateway"), device.record("device")
    for name, model in MODELS.items():
        now = int(time.time() * 1000)
        header = protocol.Header.ask(
            device=device.kid,
            gateway=key.kid,
            model_id=model.model_id,
            created_ms=now,
            ttl_ms=1000,
        )
        tensor = oip.Tensor("x", np.zeros(model.contract.inputs[0].shape, np.int8))
        body = oip.encode_question(oip.Question(header.request_id, model.model_id, None, (tensor,)))

        def seal(body: bytes = body, header: protocol.Header = header) -> bytes:
            return protocol.seal_request(body, header=header, device=device, gateway=record)[0]

        message = seal()

        def unseal(message: bytes = message) -> protocol.OpenRequest:
            request = protocol.parse_request(message)
            return protocol.unseal(protocol.authenticate(request, enrolled), key)

        row(f"seal a request of {name}", timed(count, seal))
        row(f"verify and open it (+{len(message) - len(body)} bytes)", timed(count, unseal))
    opened, answer = unseal(), bytes(ANSWER)
    exchange = protocol.Exchange(opened.header, opened.reply_key)

    def reply() -> bytes:
        return protocol.seal_answer(opened, answer, gateway=key, now_ms=now)

    sealed = reply()
    row("seal an answer of 1 KB", timed(count, reply))
    row("verify and open it", timed(count, lambda: exchange.open_answer(sealed, record)))


def bench_down(folder: Path, device: SecretKey, record: PublicRecord, count: int) -> None:
    """What a cloud that is away costs a local answer."""
    model, frame = MODELS["1 KB"], np.zeros((1, 1024), np.int8)
    row("Session.run, no cloud", timed(count, lambda: Session(model).run(frame)))
    away = f"mqtt://127.0.0.1:{free_port()}"
    with Session(model, cloud=away, device_key=device, gateway=record, home=folder) as session:
        with contextlib.suppress(TransportError):
            session.run(frame, ask_cloud=True)
        ask = timed(count, lambda: session.run(frame, ask_cloud=True))
    row("Session.run, cloud asked, broker away", ask)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=500, help="for each row")
    count = parser.parse_args().requests
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "devices").mkdir()
        device = stack.enter_context(SecretKey.generate("device"))
        key = stack.enter_context(SecretKey.generate("gateway"))
        key.save(folder / "gateway.key")
        Registry(folder / "devices").enrol(device.record("device"))
        record = key.record("gateway")
        print(f"  {'milliseconds':<44}{'p10':>8}{'p50':>9}{'p99':>9}")
        port = stack.enter_context(mosquitto(folder, nodelay=True))
        stack.enter_context(gateway(port, folder))
        bench_sealed(port, device, record, count)
        bench_plain(port, count)
        with mosquitto(folder, nodelay=False) as slow, gateway(slow, folder):
            print("  a broker that holds small packets back (its default):")
            bench_sealed(slow, device, record, count)
            bench_plain(slow, count)
        print("  sealing alone:")
        bench_crypto(device, key, count)
        print("  the cloud away:")
        bench_down(folder, device, record, count)


if __name__ == "__main__":
    main()
