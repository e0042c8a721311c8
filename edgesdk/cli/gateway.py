"""``edgesdk gateway``: the worker in the cloud, and the devices that it serves."""

# ruff: noqa: PLC0415 - a gateway brings the core, cryptography and paho, which --help does not need
from __future__ import annotations

import hashlib
import logging
import signal
import socket
import sys
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import click

from edgesdk import files
from edgesdk.cli.exits import Misuse, printable
from edgesdk.cli.options import (
    KEY,
    PATH,
    Integer,
    Number,
    command,
    home_hint,
    home_option,
)
from edgesdk.cli.streams import make_folder
from edgesdk.cli.trust import read_record
from edgesdk.errors import ConfigurationError
from edgesdk.files import Home
from edgesdk.limits import BUNDLE, KIB, MODEL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edgesdk.cli.output import Output
    from edgesdk.link import Link, Tls
    from edgesdk.maas.engine import InProcess
    from edgesdk.maas.ledger import Counters
    from edgesdk.model import Model

_CA_BYTES = 256 * KIB
_STOPS = (signal.SIGINT, signal.SIGTERM)


def _devices_option(function: Any) -> Any:  # noqa: ANN401 - click's
    return click.option(
        "--devices",
        type=PATH,
        metavar="FOLDER",
        help="The records of enrolled devices.  [devices, in --home]",
    )(function)


@command(
    "enrol",
    examples=["edgesdk gateway enrol camera-17.pub --devices devices"],
)
@click.argument("record", type=PATH, nargs=-1, required=True)
@_devices_option
@home_option
def enrol(out: Output, *, record: tuple[str, ...], devices: str | None, home: str | None) -> None:
    """Serve these devices from now on.

    Puts each enrolment RECORD into the folder that `gateway run` looks into, also
    while it runs. To turn a device away, remove its file.
    """
    from edgesdk.maas.registry import Registry

    folder = _folder(devices, home)
    records = [read_record(path) for path in record]
    make_folder(folder, mode=0o755)
    registry = Registry(folder)
    made = []
    for public in records:
        path = registry.enrol(public)
        made.append(
            {
                "device": public.name,
                "kid": public.kid.hex(),
                "name": public.label,
                "path": str(path),
            }
        )
    out.document["enrolled"] = made
    out.table(("device", "name", "record"), [(e["device"], e["name"], e["path"]) for e in made])


@command(
    "run",
    examples=[
        (
            "edgesdk gateway run --broker mqtts://broker.example --key gateway.key \\\n"
            "    --devices devices --model demo/digits@2.0=digits_cloud.tflite"
        ),
    ],
)
@click.option(
    "--broker", required=True, metavar="URL", help="mqtt[s]://[user[:password]@]host[:port]"
)
@click.option("--key", type=KEY, required=True, metavar="URI", help="The gateway's key.")
@click.option(
    "--model",
    multiple=True,
    required=True,
    metavar="[ID[@VERSION]=]PATH",
    help="A .tflite with its id, or a bundle for this machine.",
)
@_devices_option
@home_option
@click.option(
    "--pool",
    default="default",
    show_default=True,
    metavar="NAME",
    help="The pool that devices ask for.",
)
@click.option(
    "--runners",
    type=Integer(1, 256),
    default=2,
    show_default=True,
    metavar="N",
    help="Requests that are run at once.",
)
@click.option(
    "--quota-rate",
    type=Number(positive=True),
    default=50.0,
    show_default=True,
    metavar="X",
    help="Requests a second that one device may make on average ...",
)
@click.option(
    "--quota-burst",
    type=Integer(1),
    default=200,
    show_default=True,
    metavar="N",
    help="... and how many of them at once.",
)
@click.option("--threads", type=Integer(1, 1024), metavar="N", help="Threads for each run.  [1]")
@click.option(
    "--broker-ca",
    type=PATH,
    metavar="FILE",
    help="Authorities of the broker.  [broker-ca.pem of --home, else the system's]",
)
def run(
    out: Output,
    *,
    broker: str,
    key: str,
    model: tuple[str, ...],
    devices: str | None,
    home: str | None,
    pool: str,
    runners: int,
    quota_rate: float,
    quota_burst: int,
    threads: int | None,
    broker_ca: str | None,
) -> None:
    """Run models for enrolled devices.

    A worker that takes requests from the broker, checks who asks, runs the model
    and answers, sealed and signed. What it refuses it logs, with the reason, on
    standard error; with --json each line of the log is an object. The broker may
    come and go.

    Ctrl-C or SIGTERM end it: it finishes what it has begun, and shows its counters.
    """
    from edgesdk.keys import open_secret_key
    from edgesdk.link import Broker
    from edgesdk.maas.gateway import Gateway, GatewayLimits
    from edgesdk.maas.registry import Registry

    place = Broker.parse(broker)
    folder = _folder(devices, home)
    if not folder.is_dir():
        raise ConfigurationError(
            "missing",
            f"{folder}: expected the folder of enrolled devices, got none",
            hint="edgesdk gateway enrol RECORD",
        )
    tls = _authorities(home, broker_ca) if place.tls else None
    with ExitStack() as stack:
        secret = stack.enter_context(open_secret_key(key, kind="gateway"))
        engine = _engine(stack, model, home=home, threads=threads)
        log = logging.getLogger("edgesdk.gateway")
        worker = Gateway(
            place,
            key=secret,
            devices=Registry(folder),
            engine=engine,
            pool=pool,
            limits=GatewayLimits(runners=runners, quota_rate=quota_rate, quota_burst=quota_burst),
            tls=tls,
            on_ready=_tell_of_link(log, place.host, place.port),
        )
        wait = stack.enter_context(_until_stopped())
        stack.enter_context(_logging(out))
        log.info("serving pool %s as %s", pool, secret.name)
        for served in engine.models():
            log.info("offering %s %s", served.model_id, served.version)
        with worker:
            wait()
            log.info("stopping")
        _tell(out, worker.counters)


def _folder(devices: str | None, home: str | None) -> Path:
    from pathlib import Path

    return Path(devices) if devices else Home.find(home).folder / "devices"


def _authorities(home: str | None, path: str | None) -> Tls:
    from edgesdk.link import Tls

    inside = Home.find(home).broker_ca
    if path is None and not inside.exists():
        return Tls()
    return Tls(ca=files.read_trusted(path or inside, limit=_CA_BYTES))


# ---- models


def _engine(
    stack: ExitStack,
    entries: tuple[str, ...],
    *,
    home: str | None,
    threads: int | None,
) -> InProcess:
    from edgesdk.maas.engine import InProcess

    engine = InProcess()
    for entry in entries:
        named, separator, path = entry.rpartition("=")
        if not path or (separator and not named):
            raise Misuse(f"--model: expected [ID[@VERSION]=]PATH, got {entry!r}")
        model_id, _, version = named.partition("@")
        model, digest = _load(path, home=home, threads=threads)
        stack.enter_context(model)
        if not (model_id or model.model_id):
            raise Misuse(f"--model: expected ID={path} for a plain model, got it without an id")
        engine.add(model, digest=digest, model_id=model_id or None, version=version or None)
    return engine


def _load(path: str, *, home: str | None, threads: int | None) -> tuple[Model, bytes]:
    from edgesdk.model import load, load_unprotected
    from edgesdk.state import NO_FLOORS

    if path.endswith(".tflite"):
        model = load_unprotected(path, num_threads=threads)
        limit = MODEL.model_bytes
    else:
        with home_hint(Home.find(home)):
            # The operator names the releases to serve, older ones among them.
            model = load(path, home=home, num_threads=threads, accepted=NO_FLOORS)
        limit = BUNDLE.file_bytes
    return model, hashlib.sha256(files.read_once(path, limit=limit)).digest()


# ---- log and end


@contextmanager
def _until_stopped() -> Iterator[Callable[[], None]]:
    """What waits for SIGINT or SIGTERM; one that comes before the wait ends it as well.

    A lock would not do: the handler in Python runs between two steps of the main thread, which
    sleeps for ever where the signal comes just before it does, or to another thread. The number is
    written to a socket at once, whichever thread the signal comes to.
    """
    reading, writing = socket.socketpair()
    with reading, writing:
        writing.setblocking(False)
        wakeup = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
        before = {number: signal.signal(number, lambda *_: None) for number in _STOPS}

        def wait() -> None:
            while reading.recv(1)[0] not in _STOPS:
                pass

        try:
            yield wait
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(wakeup)


class _LogHandler(logging.Handler):
    """Lines on standard error: text with a time, or objects."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    def emit(self, record: logging.LogRecord) -> None:
        reason = getattr(record, "reason", None)
        message = record.getMessage()
        if self._as_json:
            import json

            line = json.dumps(
                {
                    "time": round(record.created, 3),
                    "level": record.levelname.lower(),
                    "message": message,
                    "reason": reason,
                    "device": getattr(record, "device", None),
                }
            )
        else:
            at = time.strftime("%H:%M:%S", time.localtime(record.created))
            told = f" [{reason}]" if reason else ""
            line = f"{at} {record.levelname.lower():7} {printable(message)}{told}"
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


@contextmanager
def _logging(out: Output) -> Iterator[None]:
    """A gateway's log is its voice: all of it is shown, and in its own form."""
    logger = logging.getLogger("edgesdk")
    before = logger.handlers[:], logger.level
    logger.handlers = [_LogHandler(as_json=out.as_json)]
    logger.setLevel(logging.DEBUG if out.debug else logging.INFO)
    try:
        yield
    finally:
        logger.handlers, level = before
        logger.setLevel(level)


def _tell_of_link(log: logging.Logger, host: str, port: int) -> Any:  # noqa: ANN401 - a callback
    def tell(link: Link) -> None:
        log.info("connected to %s:%d by MQTT %s", host, port, "5" if link.mqtt5 else "3.1.1")

    return tell


def _tell(out: Output, counters: Counters) -> None:
    counts: dict[str, int | dict[str, int]] = {
        "received": counters.received,
        "run": counters.run,
        "answered": counters.answered,
        "repeated": counters.repeated,
        "refused": dict(counters.refused),
        "dropped": dict(counters.dropped),
    }
    out.document.update(counts)
    out.fields([(name, _in_words(value)) for name, value in counts.items()])


def _in_words(value: int | dict[str, int]) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return ", ".join(f"{n:,} {reason}" for reason, n in sorted(value.items())) or "0"
