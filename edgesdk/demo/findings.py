"""All that a demonstration has found, for the terminal and the report to show."""

from __future__ import annotations

import math
import os
import platform
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from edgesdk import __version__
from edgesdk.demo.intervals import Estimate, proportion
from edgesdk.demo.outage import PHASES
from edgesdk.session import Origin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgesdk.demo.measure import Answers
    from edgesdk.demo.outage import Event
    from edgesdk.demo.refusals import Refusal


@dataclass
class Findings:
    """Filled scene by scene."""

    commands: list[str] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    threshold: float = math.nan
    answers: dict[str, Answers] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    gateway: dict[str, Any] = field(default_factory=dict)
    isa: str = ""
    seconds: float = math.nan

    @property
    def refused_all(self) -> bool:
        """Whether nothing was loaded that must not be."""
        return all(refusal.error is not None for refusal in self.refusals)

    @property
    def answered_all(self) -> bool:
        """Whether every request has an answer, also with the broker dead."""
        return all(event.origin is not None for event in self.events)

    @property
    def machine(self) -> str:
        """Where this was measured."""
        return (
            f"{platform.machine()}, {os.cpu_count()} processors, kernels {self.isa}, "
            f"Python {platform.python_version()}, edgesdk {__version__}"
        )

    def to_json(self) -> dict[str, Any]:
        """The numbers, for programs. Seconds, and shares from 0 to 1."""
        return {
            "machine": self.machine,
            "seconds": round(self.seconds, 1),
            "bytes": self.sizes,
            "threshold": self.threshold,
            "answers": {name: _answers(each) for name, each in self.answers.items()},
            "refusals": [
                {"attempt": each.attempt, "verdict": each.verdict, "message": str(each.error)}
                for each in self.refusals
            ],
            "outage": [_phase(phase) for phase in phases(self.events)],
            "gateway": self.gateway,
        }


@dataclass(frozen=True)
class Phase:
    """One phase of the outage."""

    name: str
    requests: int
    by_device: int
    by_cloud: int
    unanswered: int
    kept: int
    accuracy: Estimate
    slowest: float


def phases(events: Sequence[Event]) -> list[Phase]:
    """What became of the requests of each phase."""
    return [
        _summary(name, [event for event in events if event.phase == number])
        for number, name in enumerate(PHASES)
    ]


def _summary(name: str, events: Sequence[Event]) -> Phase:
    by_device = [event for event in events if event.origin is Origin.DEVICE]
    return Phase(
        name=name,
        requests=len(events),
        by_device=len(by_device),
        by_cloud=sum(event.origin is Origin.CLOUD for event in events),
        unanswered=sum(event.origin is None for event in events),
        kept=sum(event.wanted_cloud for event in by_device),
        accuracy=proportion(sum(event.right for event in events), len(events)),
        slowest=max(event.seconds for event in events),
    )


def _answers(answers: Answers) -> dict[str, Any]:
    found = {"accuracy": answers.accuracy, "cloud_share": answers.cloud_share}
    found |= {"p50": answers.latency(0.5), "p99": answers.latency(0.99)}
    return {"requests": len(answers.digits)} | {
        name: _estimate(each) for name, each in found.items()
    }


def _estimate(estimate: Estimate) -> dict[str, float | None]:
    bounds = {"value": estimate.value, "low": estimate.low, "high": estimate.high}
    return {name: value if np.isfinite(value) else None for name, value in bounds.items()}


def _phase(phase: Phase) -> dict[str, Any]:
    return vars(phase) | {"accuracy": _estimate(phase.accuracy)}
