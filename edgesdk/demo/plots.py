"""The plots of the report, as SVG files beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgesdk import charts
from edgesdk.demo.measure import trade_off
from edgesdk.session import Origin

if TYPE_CHECKING:
    from pathlib import Path

    from edgesdk.charts import Axes
    from edgesdk.demo.findings import Findings

COLOURS = {"device": charts.BLUE, "cloud": charts.ORANGE, "together": charts.GREEN}
NAMES = {"device": "device alone", "cloud": "cloud alone", "together": "together"}


def write(folder: Path, findings: Findings) -> list[str]:
    """Draw all of them; returns the names of the files."""
    drawings = {
        "accuracy.svg": _accuracy,
        "latency.svg": _latency,
        "outage.svg": _outage,
    }
    with charts.styled():
        for name, draw in drawings.items():
            figure = charts.Figure(figsize=(7.6, 3.9), layout="constrained")
            draw(figure.subplots(), findings)
            (folder / name).write_bytes(charts.svg(figure))
    return list(drawings)


def _accuracy(axes: Axes, findings: Findings) -> None:
    share, right = trade_off(findings.answers["device"], findings.answers["cloud"])
    axes.plot(100 * share, 100 * right, color="#999999", label="every threshold there could be")
    for name, answers in findings.answers.items():
        accuracy, asked = answers.accuracy, answers.cloud_share
        below, above = accuracy.value - accuracy.low, accuracy.high - accuracy.value
        axes.errorbar(
            100 * asked.value,
            100 * accuracy.value,
            yerr=[[100 * below], [100 * above]],
            fmt="o",
            capsize=4,
            color=COLOURS[name],
            label=f"{NAMES[name]}, with 95 % interval",
        )
    axes.set(xlabel="requests that the cloud answered (%)", ylabel="right answers (%)")
    axes.legend(loc="lower right")


def _latency(axes: Axes, findings: Findings) -> None:
    for name, answers in findings.answers.items():
        milliseconds = np.sort(1000 * answers.seconds)
        axes.step(
            milliseconds,
            100 * np.arange(1, len(milliseconds) + 1) / len(milliseconds),
            where="post",
            color=COLOURS[name],
            label=NAMES[name],
        )
    axes.set_xscale("log")
    axes.set(xlabel="from frame to answer (milliseconds)", ylabel="of the requests (%)")
    axes.legend(loc="lower right")


def _outage(axes: Axes, findings: Findings) -> None:
    events = findings.events
    dead = [number for number, event in enumerate(events) if event.phase == 1]
    axes.axvspan(dead[0] - 0.5, dead[-1] + 0.5, color="#f3e3e3", label="broker dead")
    groups: dict[str, Any] = {
        "the device, sure": ("device", lambda e: e.origin is Origin.DEVICE and not e.wanted_cloud),
        "the cloud": ("cloud", lambda e: e.origin is Origin.CLOUD),
        "the device, for want of the cloud": (
            "together",
            lambda e: e.origin is Origin.DEVICE and e.wanted_cloud,
        ),
    }
    for label, (colour, belongs) in groups.items():
        found = [(number, 1000 * e.seconds) for number, e in enumerate(events) if belongs(e)]
        if found:
            axes.plot(*zip(*found, strict=True), ".", color=COLOURS[colour], label=label)
    axes.set_yscale("log")
    axes.set(xlabel="request", ylabel="from frame to answer (ms)")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.17), ncols=4, columnspacing=1.2)
