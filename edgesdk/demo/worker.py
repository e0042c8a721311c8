"""``edgesdk gateway run`` in a process of its own, and what its log tells."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

from edgesdk.demo.workshop import CLOUD_MODEL
from edgesdk.errors import ConfigurationError

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from edgesdk.demo.workshop import Workshop

_PATIENCE = 30.0
_CONNECTED = "connected to "
# Half the test set at once, and as fast as one device can ask: not what a fleet is allowed.
_QUOTA = ["--quota-rate", "1000", "--quota-burst", "1000"]


class Worker:
    """The cloud's worker, connected to a broker when ``with`` is entered."""

    def __init__(self, workshop: Workshop, url: str) -> None:
        self._command = [
            *(sys.executable, "-m", "edgesdk.cli", "gateway", "run", "--json"),
            *("--broker", url, "--key", "gateway.key", "--devices", "devices"),
            *("--model", CLOUD_MODEL, *_QUOTA),
        ]
        self._workshop = workshop
        self._changed = threading.Condition()
        self._connections = 0
        self._ended = False
        self._log: list[str] = []
        self.counters: dict[str, Any] = {}

    def wait_connected(self, times: int) -> None:
        """Return when it has connected so many times.

        Raises:
            ConfigurationError: it has ended, or was not connected in time.
        """
        with self._changed:
            done = self._changed.wait_for(
                lambda: self._connections >= times or self._ended, _PATIENCE
            )
            if not done or self._connections < times:
                last = "\n".join(self._log[-5:])
                raise ConfigurationError(
                    "invalid", f"expected a gateway that connects, got one that said: {last}"
                )

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(  # noqa: S603 - this program, with this interpreter
            self._command,
            cwd=self._workshop.cloud,
            env=self._workshop.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._listen, name="gateway-log", daemon=True)
        self._reader.start()
        try:
            self.wait_connected(1)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        told = self._end()
        if error is None:
            self.counters = json.loads(told)

    def _end(self) -> str:
        """What it says at its end: its counters."""
        self._process.terminate()
        assert self._process.stdout is not None
        told = self._process.stdout.read()
        self._reader.join()
        self._process.wait()
        return told

    def _listen(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            with self._changed:
                self._log.append(line.rstrip())
                self._connections += _CONNECTED in line
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()
