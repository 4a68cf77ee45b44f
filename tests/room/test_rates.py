"""Rate limits: burst, rate, and the waiting time that is told."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from liveroom.server.room.rates import Rate, Rates

_RATES = st.floats(0.01, 1000)
_BURSTS = st.integers(1, 50)


@given(_RATES, _BURSTS, st.floats(1, 1e8))
def test_a_burst_passes_and_then_the_rate(per_s: float, burst: int, now: float) -> None:
    """A full bucket gives exactly its burst at once, and one more after each interval."""
    rates = Rates(Rate(per_s, burst))
    assert [rates.spend("ann", now) for _ in range(burst)] == [0.0] * burst
    assert rates.spend("ann", now) > 0
    for n in range(1, 4):
        assert rates.spend("ann", now + n / per_s) == 0.0
    assert rates.spend("ann", now + 3 / per_s) > 0


@given(_RATES, _BURSTS, st.lists(st.floats(0, 5), max_size=40))
def test_the_wait_that_is_told_is_right(per_s: float, burst: int, gaps: list[float]) -> None:
    """Who waits as long as told is let through, and who waits clearly less is not."""
    rate = Rate(per_s, burst)
    full_at, now = 0.0, 1000.0
    for gap in gaps:
        now += gap / per_s
        answer = rate.spend(full_at, now)
        if answer < 0:
            assert rate.spend(full_at, now + -answer * 0.99) < 0 or -answer < 2e-3
            assert rate.spend(full_at, now + -answer) > 0
        else:
            full_at = answer


@given(_RATES, _BURSTS, st.lists(st.floats(0, 3), min_size=1, max_size=100))
def test_never_more_than_burst_and_rate_together(per_s: float, burst: int, gaps: list[float]) -> None:
    """Over any stretch of asking, what is let through is at most the burst and the rate times the time."""
    rates = Rates(Rate(per_s, burst))
    now, passed = 1000.0, 0
    start = now + gaps[0] / per_s
    for gap in gaps:
        now += gap / per_s
        passed += rates.spend("ann", now) == 0.0
    assert passed <= burst + (now - start) * per_s + 0.02


def test_keys_do_not_share_a_bucket() -> None:
    """One user who spends everything costs the others nothing."""
    rates = Rates(Rate(1.0, 1))
    assert rates.spend("ann", 10.0) == 0.0
    assert rates.spend("ann", 10.0) > 0
    assert rates.spend("bob", 10.0) == 0.0


def test_a_refusal_costs_nothing() -> None:
    """Asking again and again does not put the next token off."""
    rates = Rates(Rate(1.0, 1))
    rates.spend("ann", 10.0)
    waits = [rates.spend("ann", 10.0) for _ in range(5)]
    assert waits == [1.0] * 5


def test_keys_whose_bucket_is_full_are_forgotten() -> None:
    """Users who came once leave nothing behind; those still limited stay limited."""
    rates = Rates(Rate(1.0, 1))
    for n in range(Rates._SWEEP_OVER):
        rates.spend(f"once-{n}", 10.0)
    rates.spend("busy", 19.9)
    rates.spend("next", 20.0)
    assert set(rates._full_at) == {"busy", "next"}
    assert rates.spend("busy", 20.0) > 0


def test_a_crowd_of_active_users_is_not_swept_at_every_message() -> None:
    """When nobody can be forgotten, the next sweep waits until there are twice as many."""
    rates = Rates(Rate(0.001, 1))
    for n in range(Rates._SWEEP_OVER + 1):
        rates.spend(f"user-{n}", 10.0)
    assert rates._sweep_at == 2 * (Rates._SWEEP_OVER + 1)
    assert len(rates._full_at) == Rates._SWEEP_OVER + 1
