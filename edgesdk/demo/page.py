"""The report: one page of HTML with its plots beside it. It loads nothing from anywhere."""

from __future__ import annotations

from importlib.resources import files as resources
from typing import TYPE_CHECKING

import jinja2

from edgesdk import files
from edgesdk.demo import plots
from edgesdk.demo.findings import phases
from edgesdk.demo.measure import KEPT_ACCURACY
from edgesdk.demo.terminal import interval, milliseconds, percent, span

if TYPE_CHECKING:
    from pathlib import Path

    from edgesdk.demo.findings import Findings

_TEMPLATE = "report.html.jinja"


def write(folder: Path, findings: Findings) -> Path:
    """Write ``index.html`` and its plots; returns the page's path."""
    plots.write(folder, findings)
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "percent": percent,
        "interval": interval,
        "milliseconds": milliseconds,
        "span": span,
    }
    template = resources(__package__).joinpath(_TEMPLATE).read_text("utf-8")
    text = environment.from_string(template).render(
        findings=findings,
        kept=KEPT_ACCURACY,
        names=plots.NAMES,
        phases=phases(findings.events),
    )
    index = folder / "index.html"
    files.write_replace(index, text.encode())
    return index
