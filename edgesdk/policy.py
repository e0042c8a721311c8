"""When to ask the cloud, and when to leave it alone.

The promise: everything here is arithmetic on numbers that the caller passes in. No thread
starts, no clock is read and no die is cast, so that each rule can be tested to its edge.
``now`` is always monotonic seconds; ``uniform(a, b)`` gives a random number between two.

A question passes these gates, the cheap ones first:

1. the :class:`Mode`, and a :class:`Cause`: without one nothing is asked;
2. :class:`Breaker`: a link that keeps failing is left alone for a while;
3. :class:`TokenBucket`: a budget of questions;
4. :class:`Deadline`: what is late already is not sent.

State machines are safe to share between threads.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from edgesdk.errors import DeadlineExceededError, InputError, NotConnectedError, QuotaError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgesdk.errors import EdgeError

TTL_MAX_MS = 600_000
"""The longest time to live that a header can carry (docs/cloud-protocol.md, section 2)."""


class Mode(str, Enum):
    """Who answers."""

    ONLY_ON_DEVICE = "only_on_device"
    PREFER_ON_DEVICE = "prefer_on_device"
    PREFER_IN_CLOUD = "prefer_in_cloud"
    ONLY_IN_CLOUD = "only_in_cloud"

    @classmethod
    def of(cls, value: Mode | str) -> Mode:
        """The mode of that name."""
        try:
            return cls(value)
        except ValueError:
            names = ", ".join(mode.value for mode in cls)
            raise InputError("argument", f"expected a mode of {names}, got {value!r}") from None


@dataclass(frozen=True)
class Cause:
    """Why the cloud was asked.

    ``reason`` is ``mode``, ``asked``, ``low-confidence``, ``model-error`` or ``trust-error``;
    ``error`` is the error of the device's own model, where that was the cause.
    """

    reason: str
    message: str
    error: EdgeError | None = None

    def __str__(self) -> str:
        return self.message

    @classmethod
    def of_mode(cls, mode: Mode) -> Cause:
        """The session's mode puts the cloud first."""
        return cls("mode", f"the session's mode is {mode.value}")

    @classmethod
    def of_request(cls) -> Cause:
        """The caller asked for the cloud's answer."""
        return cls("asked", "the caller asked for the cloud's answer")

    @classmethod
    def of_error(cls, error: EdgeError, *, trust: bool = False) -> Cause:
        """The device's own model could not answer."""
        reason = "trust-error" if trust else "model-error"
        return cls(reason, f"{type(error).__name__}[{error.reason}]: {error}", error)

    @classmethod
    def of_confidence(cls, confidence: float, threshold: float) -> Cause:
        """The device's own answer is not sure enough."""
        text = f"expected a confidence of at least {threshold:g}, got {confidence:g}"
        return cls("low-confidence", text)


def is_unsure(confidence: float, threshold: float) -> bool:
    """Whether a confidence is below the threshold. One that is not a number is."""
    return not confidence >= threshold


@dataclass(frozen=True)
class Deadline:
    """A point of monotonic time."""

    at: float

    @classmethod
    def after(cls, seconds: float, *, now: float) -> Deadline:
        """That many seconds from now."""
        if not 0 < seconds <= TTL_MAX_MS / 1000:
            limit = TTL_MAX_MS // 1000
            raise InputError(
                "argument", f"expected a deadline above 0 and up to {limit} s, got {seconds!r}"
            )
        return cls(now + seconds)

    def remaining(self, *, now: float) -> float:
        """Seconds that are left; raises when there are none."""
        left = self.at - now
        if left <= 0:
            raise DeadlineExceededError(
                "deadline", f"expected time left, got a deadline {-left * 1000:.0f} ms ago"
            )
        return left

    def ttl_ms(self, *, now: float) -> int:
        """What is left in whole milliseconds, rounded up, as the header carries it."""
        return min(max(math.ceil(self.remaining(now=now) * 1000), 1), TTL_MAX_MS)


class Backoff:
    """How long to wait before the next attempt: exponential, with full jitter.

    The n-th wait in a row is drawn evenly from 0 to ``first * 2**n`` seconds, and never above
    ``cap``. Jitter keeps a fleet that lost one broker from coming back in step.
    """

    def __init__(
        self, *, first: float, cap: float, uniform: Callable[[float, float], float]
    ) -> None:
        self._first = first
        self._cap = cap
        self._uniform = uniform
        self.attempts = 0

    def next(self) -> float:
        """Draw the next wait, in seconds."""
        # The exponent is bounded so that years of failure do not overflow a float.
        limit = min(self._cap, self._first * 2.0 ** min(self.attempts, 64))
        self.attempts += 1
        return self._uniform(0.0, limit)

    def longest(self) -> float:
        """Draw a wait from the longest range: for refusals that trying again will not mend."""
        self.attempts = max(self.attempts + 1, 64)
        return self._uniform(self._cap / 2, self._cap)

    def reset(self) -> None:
        """The attempt succeeded, and lasted."""
        self.attempts = 0


class State(Enum):
    """Where a breaker stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(frozen=True)
class BreakerRule:
    """When a breaker opens, and for how long."""

    window: int = 20  # requests looked at
    failures: int = 5  # of these open it
    in_a_row: int = 3  # and so do these
    first: float = 1.0  # seconds, upper end of the first wait
    cap: float = 60.0  # seconds, upper end of the longest wait


class Breaker:
    """Leaves a link that keeps failing alone for a while.

    CLOSED lets every request pass. Too many failures make it OPEN, which refuses at once
    until a wait with full jitter is over; then it is HALF_OPEN and lets one request
    through, whose outcome decides.

    Each request holds a permit. A permit of an earlier state counts no more, so that a
    request which hung through an outage says nothing about what came after.
    """

    def __init__(
        self, *, uniform: Callable[[float, float], float], rule: BreakerRule | None = None
    ) -> None:
        self._rule = rule or BreakerRule()
        self._backoff = Backoff(first=self._rule.first, cap=self._rule.cap, uniform=uniform)
        self._lock = threading.Lock()
        self._recent: deque[bool] = deque(maxlen=self._rule.window)
        self._row = 0
        self._until = 0.0
        self._state = State.CLOSED
        self._era = 0
        self._probing = False

    @property
    def state(self) -> State:
        """Where it stands. OPEN lasts until a request comes after the wait."""
        return self._state

    def admit(self, *, now: float) -> int:
        """Let a request pass, with a permit for its outcome; or raise."""
        with self._lock:
            if self._state is State.OPEN and now >= self._until:
                self._enter(State.HALF_OPEN)
            if self._state is State.OPEN or self._probing:
                wait = max(self._until - now, 0.0)
                raise NotConnectedError(
                    "circuit-open",
                    "expected a link that answers, got too many failures; "
                    f"the next attempt is due in {wait:.1f} s",
                )
            self._probing = self._state is State.HALF_OPEN
            return self._era

    def succeeded(self, permit: int) -> None:
        """The gateway answered, even if it refused."""
        with self._lock:
            if permit != self._era:
                return
            self._row = 0
            self._recent.append(True)
            if self._state is State.HALF_OPEN:
                self._close()

    def failed(self, permit: int, *, now: float) -> None:
        """No answer came."""
        with self._lock:
            if permit != self._era:
                return
            self._row += 1
            self._recent.append(False)
            rule = self._rule
            worn = self._row >= rule.in_a_row or self._recent.count(False) >= rule.failures
            if worn or self._state is State.HALF_OPEN:
                self._until = now + self._backoff.next()
                self._enter(State.OPEN)

    def withdrawn(self, permit: int) -> None:
        """The request ended without saying anything about the link."""
        with self._lock:
            if permit == self._era:
                self._probing = False

    def reset(self) -> None:
        """The link is known to be good again."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        self._recent.clear()
        self._row = 0
        self._backoff.reset()
        self._enter(State.CLOSED)

    def _enter(self, state: State) -> None:
        self._state = state
        self._era += 1
        self._probing = False


class TokenBucket:
    """A budget: ``rate`` requests a second on average, ``burst`` at once."""

    def __init__(self, *, rate: float, burst: float, now: float) -> None:
        if not (rate >= 0 and burst >= 1 and math.isfinite(rate) and math.isfinite(burst)):
            raise InputError(
                "argument", f"expected a rate >= 0 and a burst >= 1, got {rate} and {burst}"
            )
        self._rate = rate
        self._burst = burst
        self._level = burst
        self._at = now
        self._lock = threading.Lock()

    def take(self, *, now: float, tokens: float = 1.0) -> None:
        """Spend that much, or raise and spend nothing."""
        with self._lock:
            # A clock that stands or steps back must not mint tokens.
            self._level = min(self._burst, self._level + max(now - self._at, 0.0) * self._rate)
            self._at = max(now, self._at)
            if self._level < tokens:
                raise QuotaError(
                    "budget",
                    f"expected at most {self._burst:g} requests at once and {self._rate:g} "
                    "a second, got more",
                )
            self._level -= tokens
