"""What a demonstration shows while it runs: at most 80 columns, with or without a terminal."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from edgesdk.demo.findings import phases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rich.console import Console, JustifyMethod

    from edgesdk.demo.findings import Findings
    from edgesdk.demo.intervals import Estimate
    from edgesdk.demo.measure import Answers

    T = TypeVar("T")

_WIDTH = 78
_NAMES = {"device": "device alone", "cloud": "cloud alone", "together": "together"}


class Terminal:
    """The story, line by line."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._scene = 0

    def scene(self, title: str) -> None:
        """A numbered heading."""
        self._scene += 1
        self._console.print()
        self._console.print(Text(f"{self._scene}. {title}", style="bold"))

    def say(self, text: str) -> None:
        """A paragraph."""
        for line in textwrap.wrap(text, _WIDTH - 3, break_on_hyphens=False):
            self._console.print(Text("   " + line))

    def command(self, text: str) -> None:
        """A command as one would type it, on several lines if it is long."""
        lines = textwrap.wrap(text, _WIDTH - 5, subsequent_indent="    ", break_on_hyphens=False)
        for number, line in enumerate(lines):
            more = " \\" if number < len(lines) - 1 else ""
            self._console.print(Text(f"   {line}{more}", style="cyan"))

    def watch(self, what: str, steps: Sequence[T]) -> Iterable[T]:
        """The steps, with a bar while they last; only on a terminal."""
        with self._bar() as bar:
            yield from bar.track(steps, description=f"   {what}")

    def counted(self, what: str, total: int, work: Callable[[Callable[[], None]], T]) -> T:
        """What ``work`` returns, with a bar that it moves by calling its argument."""
        with self._bar() as bar:
            task = bar.add_task(f"   {what}", total=total)
            return work(lambda: bar.advance(task))

    def _bar(self) -> Progress:
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(24),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )

    # ---- tables

    def accuracy(self, answers: dict[str, Answers]) -> None:
        """How often each way is right, and how often it asks the cloud."""
        rows = [
            (_NAMES[name], percent(each.accuracy), interval(each.accuracy), percent(share), span)
            for name, each in answers.items()
            for share in [each.cloud_share]
            for span in [interval(share) if name == "together" else ""]
        ]
        headers = ("", "right", "95 % interval", "to the cloud", "95 % interval")
        self._table(headers, rows)

    def latency(self, answers: dict[str, Answers]) -> None:
        """How long each way takes."""
        rows = []
        for name, each in answers.items():
            half, tail = each.latency(0.5), each.latency(0.99)
            cells = [cell for q in (half, tail) for cell in (milliseconds(q.value), span(q))]
            rows.append((_NAMES[name], *cells))
        headers = ("milliseconds", "p50", "95 % interval", "p99", "95 % interval")
        self._table(headers, rows)

    def refusals(self, findings: Findings) -> None:
        """Each attempt, the class of the error, and its own words."""
        for refusal in findings.refusals:
            line = Text("   ")
            line.append(f"{refusal.attempt:<34}")
            line.append(refusal.verdict, style="green" if refusal.error else "bold red")
            self._console.print(line)
            for part in textwrap.wrap(str(refusal.error), _WIDTH - 6):
                self._console.print(Text("      " + part, style="dim"))

    def outage(self, findings: Findings) -> None:
        """Who has answered before, during and after."""
        headers = ("", "requests", "device", "cloud", "nobody", "right", "slowest")
        rows = [
            (
                phase.name,
                f"{phase.requests}",
                f"{phase.by_device}",
                f"{phase.by_cloud}",
                f"{phase.unanswered}",
                percent(phase.accuracy),
                f"{milliseconds(phase.slowest)} ms",
            )
            for phase in phases(findings.events)
        ]
        self._table(headers, rows)

    def _table(self, headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
        table.add_column(" ")
        for number, header in enumerate(headers):
            side: JustifyMethod = "right" if number else "left"
            table.add_column(header, justify=side, no_wrap=True)
        for row in rows:
            table.add_row("  ", *row)
        self._console.print()
        self._console.print(table)
        self._console.print()


def percent(estimate: Estimate) -> str:
    """A share, with one decimal."""
    return f"{100 * estimate.value:.1f} %"


def interval(estimate: Estimate) -> str:
    """The interval of a share, in percent."""
    return f"{100 * estimate.low:.1f} to {100 * estimate.high:.1f}"


def milliseconds(seconds: float) -> str:
    """Three significant digits."""
    value = 1000 * seconds
    if not math.isfinite(value):
        return "?"
    decimals = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:.{decimals}f}"


def span(estimate: Estimate) -> str:
    """The interval of a duration."""
    return f"{milliseconds(estimate.low)} to {milliseconds(estimate.high)}"
