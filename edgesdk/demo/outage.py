"""The broker is killed in mid-run, and comes back."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgesdk.errors import TransportError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgesdk.demo.broker import BrokerProcess
    from edgesdk.demo.digits import Half
    from edgesdk.demo.worker import Worker
    from edgesdk.session import Origin, Session

PHASES = ("before", "broker killed", "broker back")
_RECONNECT_SECONDS = 30.0


@dataclass(frozen=True)
class Event:
    """One request: its phase, who answered (None: nobody), and after how many seconds.

    ``wanted_cloud`` says that the device was not sure, and asked.
    """

    phase: int
    origin: Origin | None
    seconds: float
    wanted_cloud: bool
    right: bool


def run(
    session: Session, half: Half, broker: BrokerProcess, worker: Worker, step: Callable[[], None]
) -> list[Event]:
    """A third of the images before, a third while the broker is dead, and a third after."""
    third = len(half) // 3
    events: list[Event] = []
    for phase, between in enumerate((None, broker.kill, lambda: _return(session, broker, worker))):
        if between is not None:
            between()
        for index in range(phase * third, (phase + 1) * third):
            events.append(_ask(session, half, index, phase))
            step()
    return events


def _return(session: Session, broker: BrokerProcess, worker: Worker) -> None:
    broker.start()
    worker.wait_connected(2)
    assert session.cloud is not None
    session.cloud.wait_linked(_RECONNECT_SECONDS)


def _ask(session: Session, half: Half, index: int, phase: int) -> Event:
    begun = time.perf_counter()
    try:
        result = session.run(half.images[index])
    except TransportError:
        return Event(phase, None, time.perf_counter() - begun, wanted_cloud=True, right=False)
    seconds = time.perf_counter() - begun
    assert not isinstance(result.outputs, dict)
    right = int(result.outputs.argmax()) == half.labels[index]
    return Event(
        phase, result.origin, seconds, wanted_cloud=result.cause is not None, right=bool(right)
    )
