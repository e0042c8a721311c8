import math
import random
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesdk.errors import DeadlineExceededError, InputError, NotConnectedError, QuotaError
from edgesdk.policy import (
    TTL_MAX_MS,
    Backoff,
    Breaker,
    BreakerRule,
    Cause,
    Deadline,
    Mode,
    State,
    TokenBucket,
    is_unsure,
)


def longest(_low, high):
    return high


def refused(breaker, now):
    with pytest.raises(NotConnectedError) as caught:
        breaker.admit(now=now)
    return caught.value.reason == "circuit-open"


def fail(breaker, times, now=0.0):
    for _ in range(times):
        breaker.failed(breaker.admit(now=now), now=now)


def succeed(breaker, times, now=0.0):
    for _ in range(times):
        breaker.succeeded(breaker.admit(now=now))


def test_modes_are_known_by_name():
    assert [Mode.of(mode.value) for mode in Mode] == list(Mode)
    assert Mode.of(Mode.ONLY_IN_CLOUD) is Mode.ONLY_IN_CLOUD
    with pytest.raises(InputError, match="only_on_device") as caught:
        Mode.of("prefer_the_moon")
    assert caught.value.reason == "argument"


def test_a_cause_carries_the_error_of_the_device():
    error = QuotaError("budget", "none left")
    cause = Cause.of_error(error)
    assert (cause.reason, cause.error) == ("model-error", error)
    assert str(cause) == "QuotaError[budget]: none left"
    assert Cause.of_error(error, trust=True).reason == "trust-error"
    assert Cause.of_mode(Mode.PREFER_IN_CLOUD).reason == "mode"


@pytest.mark.parametrize(
    ("confidence", "unsure"), [(0.5, False), (0.49, True), (math.nan, True), (-math.inf, True)]
)
def test_what_is_not_at_least_the_threshold_is_unsure(confidence, unsure):
    assert is_unsure(confidence, 0.5) is unsure


def test_a_deadline_that_has_passed_raises():
    deadline = Deadline.after(0.2, now=100.0)
    assert deadline.remaining(now=100.15) == pytest.approx(0.05)
    with pytest.raises(DeadlineExceededError) as caught:
        deadline.remaining(now=100.2)
    assert caught.value.reason == "deadline"


@pytest.mark.parametrize("seconds", [0, -1, math.nan, math.inf, TTL_MAX_MS / 1000 + 1])
def test_a_deadline_must_fit_into_a_header(seconds):
    with pytest.raises(InputError) as caught:
        Deadline.after(seconds, now=0.0)
    assert caught.value.reason == "argument"


@given(st.floats(1e-6, TTL_MAX_MS / 1000))
def test_time_to_live_is_rounded_up_and_bounded(seconds):
    ttl = Deadline.after(seconds, now=0.0).ttl_ms(now=0.0)
    assert 1 <= ttl <= TTL_MAX_MS
    assert seconds * 1000 <= ttl < seconds * 1000 + 1 + 1e-6


def test_backoff_doubles_up_to_its_cap():
    backoff = Backoff(first=0.5, cap=4.0, uniform=longest)
    assert [backoff.next() for _ in range(5)] == [0.5, 1.0, 2.0, 4.0, 4.0]
    backoff.reset()
    assert backoff.next() == 0.5


@given(st.integers(0, 2**32), st.integers(1, 200))
def test_backoff_draws_from_zero_to_its_limit(seed, attempts):
    uniform = random.Random(seed).uniform  # noqa: S311  (jitter)
    backoff = Backoff(first=1.0, cap=60.0, uniform=uniform)
    for attempt in range(attempts):
        assert 0 <= backoff.next() <= min(60.0, 2.0 ** min(attempt, 64))


def test_a_hopeless_attempt_is_followed_by_a_long_wait():
    backoff = Backoff(first=0.5, cap=60.0, uniform=lambda low, _high: low)
    assert backoff.longest() == 30.0
    backoff = Backoff(first=0.5, cap=60.0, uniform=longest)
    backoff.longest()
    assert backoff.next() == 60.0


def test_breaker_opens_after_failures_in_a_row():
    breaker = Breaker(uniform=longest)
    fail(breaker, 2)
    succeed(breaker, 1)
    fail(breaker, 2)
    assert breaker.state is State.CLOSED
    fail(breaker, 1)
    assert breaker.state is State.OPEN
    assert refused(breaker, 0.5)


def test_breaker_opens_after_failures_among_the_recent():
    breaker = Breaker(uniform=longest, rule=BreakerRule(window=20, failures=5, in_a_row=3))
    for _ in range(4):
        fail(breaker, 1)
        succeed(breaker, 1)
    assert breaker.state is State.CLOSED
    fail(breaker, 1)
    assert breaker.state is State.OPEN


def test_old_failures_are_forgotten():
    breaker = Breaker(uniform=longest, rule=BreakerRule(window=6, failures=2, in_a_row=3))
    fail(breaker, 1)
    succeed(breaker, 6)
    fail(breaker, 1)
    assert breaker.state is State.CLOSED


def test_one_probe_decides_after_the_wait():
    breaker = Breaker(uniform=longest)
    fail(breaker, 3)
    assert refused(breaker, 0.99)
    probe = breaker.admit(now=1.0)
    assert breaker.state is State.HALF_OPEN
    assert refused(breaker, 1.0)
    breaker.succeeded(probe)
    assert breaker.state is State.CLOSED
    succeed(breaker, 3, now=1.0)


def test_a_failed_probe_opens_again_for_longer():
    breaker = Breaker(uniform=longest)
    fail(breaker, 3)
    breaker.failed(breaker.admit(now=1.0), now=1.0)
    assert breaker.state is State.OPEN
    assert refused(breaker, 2.99)
    breaker.admit(now=3.0)


def test_waits_start_short_again_after_a_success():
    breaker = Breaker(uniform=longest)
    fail(breaker, 3)
    breaker.failed(breaker.admit(now=1.0), now=1.0)
    breaker.succeeded(breaker.admit(now=3.0))
    fail(breaker, 3, now=3.0)
    breaker.admit(now=4.0)


def test_a_withdrawn_probe_makes_room_for_another():
    breaker = Breaker(uniform=longest)
    fail(breaker, 3)
    breaker.withdrawn(breaker.admit(now=1.0))
    assert breaker.state is State.HALF_OPEN
    breaker.succeeded(breaker.admit(now=1.0))
    assert breaker.state is State.CLOSED


def test_outcomes_of_an_earlier_state_count_no_more():
    breaker = Breaker(uniform=longest)
    early = [breaker.admit(now=0.0) for _ in range(5)]
    for permit in early[:3]:
        breaker.failed(permit, now=0.0)
    assert breaker.state is State.OPEN
    breaker.succeeded(early[3])
    assert breaker.state is State.OPEN
    probe = breaker.admit(now=1.0)
    breaker.failed(early[4], now=1.0)
    breaker.withdrawn(early[4])
    assert refused(breaker, 1.0)
    breaker.succeeded(probe)
    assert breaker.state is State.CLOSED


def test_reset_closes_at_once():
    breaker = Breaker(uniform=longest)
    fail(breaker, 3)
    breaker.reset()
    assert breaker.state is State.CLOSED
    fail(breaker, 2)
    assert breaker.state is State.CLOSED


@given(st.lists(st.tuples(st.sampled_from("asfw"), st.floats(0, 100)), max_size=60))
def test_breaker_never_has_two_probes(steps):
    breaker, permits, now = Breaker(uniform=longest), [], 0.0
    probing = None
    for what, pause in steps:
        now += pause
        if what == "a":
            try:
                permit = breaker.admit(now=now)
            except NotConnectedError:
                continue
            permits.append(permit)
            if breaker.state is State.HALF_OPEN:
                assert probing != permit
                probing = permit
        elif permits:
            permit = permits.pop()
            if permit == probing:
                probing = None
            {
                "s": breaker.succeeded,
                "f": lambda permit: breaker.failed(permit, now=now),  # noqa: B023
                "w": breaker.withdrawn,
            }[what](permit)


def test_bucket_gives_a_burst_and_then_the_rate():
    bucket = TokenBucket(rate=2.0, burst=3.0, now=0.0)
    for _ in range(3):
        bucket.take(now=0.0)
    with pytest.raises(QuotaError) as caught:
        bucket.take(now=0.4)
    assert caught.value.reason == "budget"
    bucket.take(now=0.5)


def test_bucket_gains_nothing_from_a_clock_that_steps_back():
    bucket = TokenBucket(rate=1.0, burst=1.0, now=100.0)
    bucket.take(now=100.0)
    for now in (50.0, 100.0, 50.0, 100.5):
        with pytest.raises(QuotaError):
            bucket.take(now=now)
    bucket.take(now=101.0)


@given(st.lists(st.floats(0, 3), max_size=100))
def test_bucket_never_gives_more_than_rate_and_burst(pauses):
    bucket, now, given_out = TokenBucket(rate=2.0, burst=5.0, now=0.0), 0.0, 0
    for pause in pauses:
        now += pause
        try:
            bucket.take(now=now)
        except QuotaError:
            continue
        given_out += 1
    assert given_out <= 5.0 + 2.0 * now + 1e-6


@pytest.mark.parametrize(("rate", "burst"), [(-1, 1), (1, 0.5), (math.nan, 1), (1, math.inf)])
def test_a_bucket_needs_sense(rate, burst):
    with pytest.raises(InputError) as caught:
        TokenBucket(rate=rate, burst=burst, now=0.0)
    assert caught.value.reason == "argument"


def test_bucket_is_shared_by_threads_without_gain():
    bucket, taken = TokenBucket(rate=0.0, burst=100.0, now=0.0), []

    def take():
        for _ in range(50):
            try:
                bucket.take(now=0.0)
            except QuotaError:
                return
            taken.append(1)

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 100
