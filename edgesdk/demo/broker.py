"""A broker that needs no installation: amqtt in a process of its own, so that it can be killed.

Run as a program it serves one loopback port until its standard input ends.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

from edgesdk.errors import ConfigurationError

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

_READY = b"ready\n"
_HOST = "127.0.0.1"


class BrokerProcess:
    """A broker on a free port of the loopback interface, which it keeps through ``kill``."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind((_HOST, 0))
            self.port = int(probe.getsockname()[1])
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        return f"mqtt://{_HOST}:{self.port}"

    def start(self) -> None:
        """Start it, and return when it takes connections."""
        self._process = subprocess.Popen(  # noqa: S603 - this program, with this interpreter
            [sys.executable, "-m", "edgesdk.demo.broker", str(self.port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != _READY:
            raise ConfigurationError(
                "invalid", f"expected a broker on port {self.port}, got one that ended"
            )

    def kill(self) -> None:
        """End it as a power cut would: no goodbye to anybody."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()


async def _serve(port: int) -> None:
    from amqtt.broker import Broker  # noqa: PLC0415 - half a second, for the broker's process only

    broker = Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"{_HOST}:{port}"}},
            "plugins": {
                "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}
            },
        }
    )
    await broker.start()
    sys.stdout.buffer.write(_READY)
    sys.stdout.buffer.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)
    await broker.shutdown()


def main() -> None:
    """Serve the port that the first argument names."""
    # It warns of each client that leaves without a goodbye, which is what happens here.
    logging.basicConfig(level=logging.CRITICAL)
    asyncio.run(_serve(int(sys.argv[1])))


if __name__ == "__main__":
    main()
