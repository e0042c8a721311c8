"""Real brokers for tests: mosquitto as a process, and amqtt in a thread of this one.

Each can be started, killed, started again on the same port, frozen and thawed; ``stop`` leaves
nothing behind. ``mqtt5`` says what a broker can; what needs it is skipped with that reason.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import getpass
import logging
import os
import shutil
import signal
import socket
import subprocess
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

NO_MOSQUITTO = "mosquitto is not installed (Debian: apt-get install -y mosquitto)"
NO_MQTT5 = "this broker speaks MQTT 3.1.1 only; the behaviour needs MQTT 5"
READY_SECONDS = 20.0


@dataclass(frozen=True)
class BrokerOptions:
    """What a test may want of a broker."""

    users: dict[str, str] = field(default_factory=dict)
    acl: str | None = None  # mosquitto only
    max_packet_bytes: int | None = None  # mosquitto only
    receive_maximum: int | None = None  # mosquitto only
    certificate: Path | None = None
    key: Path | None = None
    clients_ca: Path | None = None  # mosquitto only: who signs clients, who must then be signed


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def find_mosquitto() -> str | None:
    return shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


class Mosquitto:
    """A mosquitto with a configuration of its own on a loopback port."""

    name = "mosquitto"
    mqtt5 = True

    def __init__(self, folder: Path, options: BrokerOptions) -> None:
        program = find_mosquitto()
        if program is None:
            pytest.skip(NO_MOSQUITTO)
        self.port = free_port()
        self.pid = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._config = folder / "mosquitto.conf"
        self._config.write_text(_configuration(folder, options, self.port))
        self._command = [program, "-c", str(self._config)]
        self._log = folder / "mosquitto.log"
        atexit.register(self.stop)

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        self.pid = self._process.pid
        while not _accepts(self.port):
            # Waiting for its end is waiting for the next try, and hears when it failed.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.01)
                raise RuntimeError(self._log.read_text())

    def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            # A frozen one dies of this without thawing.
            process.kill()
            process.wait()

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        self.kill()
        atexit.unregister(self.stop)


def _configuration(folder: Path, options: BrokerOptions, port: int) -> str:
    lines = [
        f"listener {port} 127.0.0.1",
        "set_tcp_nodelay true",
        "persistence false",
        "log_dest stderr",
        # As root it would become somebody who cannot read the files of this test.
        f"user {getpass.getuser()}",
        f"allow_anonymous {'false' if options.users else 'true'}",
    ]
    if options.users:
        passwords = folder / "passwords"
        for name, password in options.users.items():
            create = [] if passwords.exists() else ["-c"]
            subprocess.run(
                ["mosquitto_passwd", *create, "-b", str(passwords), name, password],  # noqa: S607
                check=True,
                capture_output=True,
            )
        lines.append(f"password_file {passwords}")
    if options.acl is not None:
        (folder / "acl").write_text(options.acl)
        lines.append(f"acl_file {folder / 'acl'}")
    if options.max_packet_bytes is not None:
        lines.append(f"max_packet_size {options.max_packet_bytes}")
    if options.receive_maximum is not None:
        lines.append(f"max_inflight_messages {options.receive_maximum}")
    if options.certificate is not None:
        lines += [f"certfile {options.certificate}", f"keyfile {options.key}"]
    if options.clients_ca is not None:
        lines += [f"cafile {options.clients_ca}", "require_certificate true"]
    return "\n".join(lines) + "\n"


class Amqtt:
    """An amqtt in a thread of this process."""

    name = "amqtt"
    mqtt5 = False

    def __init__(self, folder: Path, options: BrokerOptions) -> None:
        self.port = free_port()
        self._config = _amqtt_configuration(folder, options, self.port)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._frozen = threading.Event()
        # Its warnings about clients that leave are what these tests are made of.
        logging.getLogger("amqtt").setLevel(logging.CRITICAL)
        logging.getLogger("transitions").setLevel(logging.CRITICAL)

    def start(self) -> None:
        ready = threading.Event()
        self._dying = False
        self._thread = threading.Thread(target=self._run, args=(ready,), name="amqtt", daemon=True)
        self._thread.start()
        if not ready.wait(READY_SECONDS) or not _accepts(self.port):
            raise RuntimeError("amqtt did not start")

    def kill(self) -> None:
        """As abruptly as a thread can: nothing that has come in is looked at any more."""
        self._dying = True
        self.thaw()
        thread, self._thread = self._thread, None
        if thread is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
            thread.join(READY_SECONDS)
            assert not thread.is_alive()

    def freeze(self) -> None:
        assert self._loop is not None
        self._frozen.clear()
        entered = threading.Event()

        def hold() -> None:
            entered.set()
            self._frozen.wait()
            if self._dying:
                self._broker.abort()

        self._loop.call_soon_threadsafe(hold)
        entered.wait(READY_SECONDS)

    def thaw(self) -> None:
        self._frozen.set()

    def stop(self) -> None:
        self.kill()

    def _run(self, ready: threading.Event) -> None:
        asyncio.run(self._serve(ready))

    async def _serve(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._broker = _abortable_broker(self._config)
        await self._broker.start()
        ready.set()
        await self._stopping.wait()
        # Connections that are just coming need a few turns of the loop to be known, and to end;
        # asyncio forgets those that come while it closes the server.
        (listening,) = (server.instance for server in self._broker._servers.values())
        for listener in listening.sockets:
            self._loop.remove_reader(listener.fileno())
        for _ in range(20):
            self._broker.abort()
            await asyncio.sleep(0)
        listening.close()


def _abortable_broker(config: dict[str, object]):
    """Its broker, which forgets to close connections that end before they have begun."""
    # Takes half a second to import: only those who use it pay.
    from amqtt.broker import Broker

    class AbortableBroker(Broker):
        def __init__(self, config):
            super().__init__(config)
            self.writers = set()

        def stream_connected(self, reader, writer, listener_name):
            # Not a coroutine itself: one that is cancelled before it has begun would tell nobody.
            self.writers.add(writer)
            return self._stream(reader, writer, listener_name)

        async def _stream(self, reader, writer, listener_name):
            try:
                with contextlib.suppress(OSError, asyncio.CancelledError):
                    await super().stream_connected(reader, writer, listener_name)
            finally:
                self.writers.discard(writer)
                writer.transport.abort()

        def abort(self):
            for writer in list(self.writers):
                writer.transport.abort()

    return AbortableBroker(config)


def _amqtt_configuration(folder: Path, options: BrokerOptions, port: int) -> dict[str, object]:
    listener: dict[str, object] = {"type": "tcp", "bind": f"127.0.0.1:{port}"}
    if options.certificate is not None:
        listener |= {"ssl": True, "certfile": str(options.certificate), "keyfile": str(options.key)}
    plugins: dict[str, object] = {}
    if options.users:
        from pwdlib.hashers.argon2 import Argon2Hasher

        passwords = folder / "passwords"
        hasher = Argon2Hasher()
        lines = [f"{name}:{hasher.hash(text)}\n" for name, text in options.users.items()]
        passwords.write_text("".join(lines))
        plugins["amqtt.plugins.authentication.FileAuthPlugin"] = {"password_file": str(passwords)}
    else:
        plugins["amqtt.plugins.authentication.AnonymousAuthPlugin"] = {"allow_anonymous": True}
    return {"listeners": {"default": listener}, "plugins": plugins}


def _accepts(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


BROKERS = {each.name: each for each in (Mosquitto, Amqtt)}


@contextlib.contextmanager
def running(name: str, folder: Path, options: BrokerOptions | None = None):
    """A broker of that name, started; it is stopped for sure."""
    broker = BROKERS[name](folder, options or BrokerOptions())
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()


@pytest.fixture(params=sorted(BROKERS))
def broker(request, tmp_path):
    """The suite runs on each broker; a module-wide one would carry retained messages over."""
    with running(request.param, tmp_path) as started:
        yield started


@pytest.fixture
def mosquitto(tmp_path):
    """The broker with MQTT 5, for what 3.1.1 does not have."""
    with running("mosquitto", tmp_path) as started:
        yield started


@pytest.fixture
def mqtt5_broker(broker):
    if not broker.mqtt5:
        pytest.skip(NO_MQTT5)
    return broker


class Scripted:
    """A broker that does what a test tells it: ``script(connection, kind, body)`` for each packet.

    The script gives bytes to answer with, or None to hang up. ``kind`` is the first byte of the
    packet, ``body`` what follows its length; connections are numbered.
    """

    CONNECT, PUBLISH, SUBSCRIBE, DISCONNECT = 0x10, 0x32, 0x82, 0xE0
    CONNACK5 = b"\x20\x03\x00\x00\x00"
    CONNACK4 = b"\x20\x02\x00\x00"

    def __init__(self, script) -> None:
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.packets = []
        self._came = threading.Condition()
        self._connections = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def wait_for(self, kind: int, count: int = 1):
        """The bodies of all packets of that kind, once there are so many."""

        def found():
            return [body for _, each, body in self.packets if each == kind]

        with self._came:
            assert self._came.wait_for(lambda: len(found()) >= count, READY_SECONDS)
            return found()

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(READY_SECONDS)
        for connection, thread in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            thread.join(READY_SECONDS)
            connection.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                number = len(self._connections)
                thread = threading.Thread(
                    target=self._serve, args=(number, connection), daemon=True
                )
                self._connections.append((connection, thread))
                thread.start()

    def _serve(self, number: int, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection.makefile("rb") as stream:
            while first := stream.read(1):
                length = shift = 0
                while True:
                    byte = stream.read(1)[0]
                    length |= (byte & 0x7F) << shift
                    shift += 7
                    if byte < 0x80:
                        break
                body = stream.read(length)
                with self._came:
                    self.packets.append((number, first[0], body))
                    self._came.notify_all()
                answer = self._script(number, first[0], body)
                if answer is None:
                    connection.shutdown(socket.SHUT_RDWR)
                    return
                connection.sendall(answer)


@pytest.fixture
def scripted():
    """``scripted(script)`` starts one; all are stopped at the end."""
    with contextlib.ExitStack() as stack:

        def start(script) -> Scripted:
            made = Scripted(script)
            stack.callback(made.stop)
            return made

        yield start
