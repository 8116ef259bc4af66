import pytest

from chatserver import rate_limits
from chatserver.errors import RateLimitedError
from chatserver.rate_limits import RateLimiter


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_burst_is_accepted_then_steady_rate() -> None:
    clock = Clock()
    limiter = RateLimiter(6, clock)
    for _ in range(6):
        limiter.check("a")
    for _ in range(3):
        with pytest.raises(RateLimitedError) as refused:
            limiter.check("a")
        assert refused.value.retry_after_seconds == 10
    limiter.check("b")
    clock.now += 9.5
    with pytest.raises(RateLimitedError) as refused:
        limiter.check("a")
    assert refused.value.retry_after_seconds == 1
    clock.now += 0.5
    limiter.check("a")
    with pytest.raises(RateLimitedError):
        limiter.check("a")
    clock.now += 3_600
    for _ in range(6):
        limiter.check("a")
    with pytest.raises(RateLimitedError):
        limiter.check("a")


def test_zero_is_no_limit() -> None:
    limiter = RateLimiter(0)
    for _ in range(10_000):
        limiter.check("a")


def test_number_of_remembered_clients_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limits, "MAX_CLIENTS", 10)
    limiter = RateLimiter(1, Clock())
    for number in range(100):
        limiter.check(str(number))
    with pytest.raises(RateLimitedError):
        limiter.check("99")
    limiter.check("0")
    assert len(limiter._clear_at) == 10


def test_who_has_no_room_left_is_told_without_being_counted() -> None:
    clock = Clock()
    limiter = RateLimiter(2, clock)
    limiter.count("a")
    for _ in range(3):
        limiter.require_room("a")
    limiter.count("a")
    limiter.count("a")  # one too many, which is not counted
    with pytest.raises(RateLimitedError) as refused:
        limiter.require_room("a")
    assert refused.value.retry_after_seconds == 30
    limiter.require_room("b")
    clock.now += 30
    limiter.require_room("a")
