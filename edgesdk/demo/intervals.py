"""95 % intervals of what the demonstration measures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgesdk.contract import Array

_Z = 1.959963984540054  # the normal distribution's 97.5 % quantile


@dataclass(frozen=True)
class Estimate:
    """A measured value with the interval that holds the true one in 95 of 100 experiments."""

    value: float
    low: float
    high: float


def proportion(hits: int, trials: int) -> Estimate:
    """A share, with Wilson's score interval (E. B. Wilson, JASA 22 (1927), 209-212)."""
    share = hits / trials
    spread = _Z * _Z / trials
    centre = (share + spread / 2) / (1 + spread)
    half = _Z / (1 + spread) * math.sqrt(share * (1 - share) / trials + spread / (4 * trials))
    # Rounding must not put the bounds beyond the value where they meet it.
    return Estimate(share, min(max(centre - half, 0.0), share), max(min(centre + half, 1.0), share))


def quantile(samples: Sequence[float] | Array, level: float) -> Estimate:
    """A quantile, with the interval between order statistics, which assumes no distribution.

    Their ranks are those of the binomial distribution's normal approximation (W. J. Conover,
    Practical Nonparametric Statistics, section 3.2). Where the upper rank lies beyond the last
    sample, the bound is infinite: so few samples cannot tell.
    """
    ordered = np.sort(np.asarray(samples, dtype=np.float64))
    count = len(ordered)
    half = _Z * math.sqrt(count * level * (1 - level))
    low = math.floor(count * level - half)
    high = math.ceil(count * level + half)
    return Estimate(
        float(np.quantile(ordered, level)),
        float(ordered[max(low, 0)]),
        float(ordered[high]) if high < count else math.inf,
    )
