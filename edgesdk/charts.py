"""Charts as SVG files: one face for all of them, and the only importer of matplotlib.

Needs the extra ``demo``, or matplotlib by itself.
"""

from __future__ import annotations

import io
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from edgesdk.errors import ConfigurationError

try:
    import matplotlib as mpl
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
except ImportError as error:
    raise ConfigurationError(
        "extra", f"expected matplotlib, got {error}", hint="pip install matplotlib"
    ) from error

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Axes", "Figure", "styled", "svg"]

# Okabe and Ito's palette: told apart by colour-blind readers too.
BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "edgesdk",
    "font.family": "sans-serif",
    "font.size": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "legend.frameon": False,
}


@contextmanager
def styled() -> Iterator[None]:
    """Within it, figures have the style of all."""
    with mpl.rc_context(_STYLE):
        yield


def svg(figure: Figure) -> bytes:
    """The same figure gives the same bytes."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None})
    return drawn.getvalue()
