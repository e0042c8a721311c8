"""What a worker remembers: which requests it has seen, what each device has had, what happened.

All of it is bounded, and safe to share between threads.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from cachetools import LRUCache, TLRUCache

from edgesdk.policy import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgesdk.protocol import Header

# What an entry weighs besides the answer in it, roughly.
_ENTRY_BYTES = 512
# A clock that steps back a little must not make a request new again.
_MARGIN_SECONDS = 5.0


@dataclass(frozen=True)
class Counters:
    """What has happened so far; ``refused`` and ``dropped`` count by reason."""

    received: int
    answered: int
    repeated: int
    run: int
    refused: Mapping[str, int]
    dropped: Mapping[str, int]


class Tally:
    """Counters that any thread may raise."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str]] = Counter()

    def count(self, what: str, reason: str = "") -> None:
        """One more of that, for that reason."""
        with self._lock:
            self._counts[what, reason] += 1

    def snapshot(self) -> Counters:
        """The counters as they stand."""
        with self._lock:
            counts = dict(self._counts)

        def by_reason(what: str) -> Mapping[str, int]:
            return MappingProxyType({r: n for (w, r), n in counts.items() if w == what})

        return Counters(
            received=counts.get(("received", ""), 0),
            answered=counts.get(("answered", ""), 0),
            repeated=counts.get(("repeated", ""), 0),
            run=counts.get(("run", ""), 0),
            refused=by_reason("refused"),
            dropped=by_reason("dropped"),
        )


@dataclass(frozen=True)
class Seen:
    """A request that has been seen until that time, and its answer once there is one."""

    until: float
    answer: bytes | None = field(default=None, repr=False)

    @property
    def weight(self) -> int:
        """What it takes of the budget, in bytes."""
        return _ENTRY_BYTES + len(self.answer or b"")


class Replays:
    """Requests that have been seen, each until its time is over, within a budget of bytes.

    One that falls out for want of room would be run again if it came again in time, which costs
    a run and gives nobody anything: its answer opens with the device's key only.
    """

    def __init__(self, limit: int, *, clock: Callable[[], float]) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self._limit = limit
        self._seen: TLRUCache[tuple[bytes, bytes], Seen] = TLRUCache(
            limit,
            ttu=lambda _key, seen, _now: seen.until,
            timer=clock,
            getsizeof=lambda seen: seen.weight,
        )

    def claim(self, header: Header, *, seconds: float) -> Seen | None:
        """What is known of a request; nothing, if it is new, and then it is known from now on."""
        key = header.device, header.request_id
        with self._lock:
            found = self._seen.get(key)
            if found is None:
                self._seen[key] = Seen(self._clock() + seconds + _MARGIN_SECONDS)
            return found

    def settle(self, header: Header, answer: bytes) -> None:
        """Keep the answer to a request that has been claimed."""
        key = header.device, header.request_id
        with self._lock:
            claimed = self._seen.get(key)
            if claimed is None:
                return
            settled = Seen(claimed.until, answer)
            # One that would never fit stays known, without its answer.
            if settled.weight <= self._limit:
                self._seen[key] = settled


class Quotas:
    """A token bucket for each device that has asked lately."""

    def __init__(self, *, rate: float, burst: float, devices: int) -> None:
        self._rate = rate
        self._burst = burst
        self._lock = threading.Lock()
        self._buckets: LRUCache[bytes, TokenBucket] = LRUCache(devices)

    def take(self, device: bytes, *, now: float) -> None:
        """One request of this device.

        Raises:
            QuotaError: ``budget``: it has had its share.
        """
        with self._lock:
            bucket = self._buckets.get(device)
            if bucket is None:
                bucket = TokenBucket(rate=self._rate, burst=self._burst, now=now)
                self._buckets[device] = bucket
        bucket.take(now=now)
