"""The scenes of the demonstration in their order."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgesdk import files, interpreter
from edgesdk.demo import digits, measure, outage, page, refusals
from edgesdk.demo.broker import BrokerProcess
from edgesdk.demo.findings import Findings, phases
from edgesdk.demo.terminal import Terminal
from edgesdk.demo.worker import Worker
from edgesdk.demo.workshop import Workshop
from edgesdk.model import load
from edgesdk.session import Mode, Session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

# Far more than any answer takes here: what is late is lost, and a loaded machine is not a fault.
_DEADLINE_SECONDS = 2.0
_CONNECT_SECONDS = 30.0


def tell(report: Path, *, console: Console) -> int:
    """All scenes, then the report. 0 if nothing was loaded or lost that must not be."""
    begun = time.monotonic()
    terminal = Terminal(console)
    with _ends_on_sigterm(), ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="edgesdk-demo-"))
        story = _Story(Path(folder), terminal, stack)
        story.publish()
        story.start_cloud()
        story.read_digits()
        story.attack()
        story.kill_broker()
    findings = story.findings
    findings.gateway = story.worker.counters
    findings.seconds = time.monotonic() - begun
    _report(report, terminal, findings)
    return 0 if findings.refused_all and findings.answered_all else 1


class _Story:
    """Its scenes, to be told in the order of ``tell``; ``stack`` ends what they start."""

    broker: BrokerProcess
    worker: Worker

    def __init__(self, folder: Path, terminal: Terminal, stack: ExitStack) -> None:
        self.findings = Findings(isa=str(interpreter.machine()["isa_default"]))
        self._terminal = terminal
        self._stack = stack
        self._workshop = Workshop(folder, self._show)
        self._seen, self._unseen = digits.halves()

    def _show(self, command: str) -> None:
        self.findings.commands.append(command)
        self._terminal.command(command)

    def publish(self) -> None:
        """From keys to a bundle that one device can open."""
        self._terminal.scene("Publish a protected model")
        workshop = self._workshop
        workshop.make(self._seen)
        plain, cloud = workshop.publisher / "digits.tflite", workshop.cloud / "digits_cloud.tflite"
        sizes = {path.name: path.stat().st_size for path in (plain, workshop.bundle, cloud)}
        self.findings.sizes = sizes
        self._terminal.say(
            f"{sizes['digits.tflite']:,} bytes of network, {sizes['digits.emb']:,} of bundle: "
            "encrypted, and signed with Ed25519 and ML-DSA-65. Only kiosk-1 can open it."
        )
        self._model = self._stack.enter_context(load(workshop.bundle, home=workshop.device))

    def start_cloud(self) -> None:
        """A broker, and a worker behind it."""
        self._terminal.scene("Start the cloud: a broker and a worker, each in its own process")
        self.broker = self._stack.enter_context(BrokerProcess())
        self.worker = self._stack.enter_context(Worker(self._workshop, self.broker.url))
        self._terminal.say(
            f"amqtt at {self.broker.url}; `edgesdk gateway run` serves the larger network"
        )

    def read_digits(self) -> None:
        """Each way of answering, on the half that no network has seen."""
        self._terminal.scene(f"Read {len(self._unseen)} digits that neither network has seen")
        learned = self._ask("training half", self._seen, mode=Mode.ONLY_ON_DEVICE)
        threshold = measure.choose_threshold(learned)
        self.findings.threshold = threshold
        self.findings.answers = {
            "device": self._ask("device alone", self._unseen, mode=Mode.ONLY_ON_DEVICE),
            "cloud": self._ask("cloud alone", self._unseen, mode=Mode.ONLY_IN_CLOUD),
            "together": self._ask("together", self._unseen, threshold=threshold),
        }
        self._terminal.accuracy(self.findings.answers)
        self._terminal.say(
            f"Together: an answer of the device is kept from a confidence of {threshold:.2f} on. "
            f"Above it, {100 * measure.KEPT_ACCURACY:.0f} % were right on the training half."
        )
        self._terminal.latency(self.findings.answers)
        self._terminal.say(
            "All of it in one machine: a network adds its own time to each answer of the cloud, "
            "sealed and signed both ways."
        )

    def attack(self) -> None:
        """What must not load."""
        self._terminal.scene("Bundles that a device must not load")
        self._workshop.tell = self.findings.commands.append
        self.findings.refusals = refusals.try_all(self._workshop)
        self._terminal.refusals(self.findings)

    def kill_broker(self) -> None:
        """An outage, and its end."""
        self._terminal.scene("The broker is killed in mid-run, and comes back")
        with self._session(threshold=self.findings.threshold) as session:
            work = partial(outage.run, session, self._unseen, self.broker, self.worker)
            self.findings.events = self._terminal.counted("answers", len(self._unseen), work)
        self._terminal.outage(self.findings)
        dead = phases(self.findings.events)[1]
        self._terminal.say(
            f"Every request was answered. With the broker dead the device asked {dead.kept} times "
            "in vain, and gave its own answer."
            if self.findings.answered_all
            else "NOT every request was answered."
        )

    def _ask(self, what: str, half: digits.Half, **options: Any) -> measure.Answers:  # noqa: ANN401 - Session's
        with self._session(**options) as session:
            return measure.ask_all(session, half, partial(self._terminal.watch, what))

    @contextmanager
    def _session(self, **options: Any) -> Iterator[Session]:  # noqa: ANN401 - Session's
        with Session(
            self._model,
            cloud=self.broker.url,
            home=self._workshop.device,
            deadline=_DEADLINE_SECONDS,
            **options,
        ) as session:
            if session.cloud is not None:
                session.cloud.wait_linked(_CONNECT_SECONDS)
            yield session


def _report(folder: Path, terminal: Terminal, findings: Findings) -> None:
    numbers = json.dumps(findings.to_json(), indent=2) + "\n"
    files.write_replace(folder / "findings.json", numbers.encode())
    index = page.write(folder, findings)
    terminal.scene(f"Done after {findings.seconds:.0f} s")
    terminal.say(f"Report: {index}")
    terminal.say(f"Measured on {findings.machine}.")


@contextmanager
def _ends_on_sigterm() -> Iterator[None]:
    """Let SIGTERM end this as Ctrl-C does, so that broker and gateway end too."""

    def end(*_: Any) -> None:  # noqa: ANN401 - as the signal module calls it
        sys.exit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
