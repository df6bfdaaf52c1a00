"""What a line takes and costs in a month. Pure: every price comes in as an argument."""

from __future__ import annotations

from dataclasses import dataclass

HOURS_A_MONTH = 730.0
FIRST_CALL_GB, FURTHER_CALL_GB = 8.5, 3.0
"""Memory of Moshi with ``--quantize 4``; docs/scale.md says where both come from."""


@dataclass(frozen=True)
class Traffic:
    """What a month brings.

    Attributes:
        lines: how many calls there can be at once.
        calls_a_day: how many come.
        minutes: how long one lasts, on average.
        days: on which calls come, in a month.
        busy_share: which share of a day's calls comes in its busiest hour.
        numbers: of phone numbers.
    """

    lines: int
    calls_a_day: float
    minutes: float
    days: float = 22.0
    busy_share: float = 0.15
    numbers: int = 1


@dataclass(frozen=True)
class Prices:
    """What things cost, in any one currency.

    Attributes:
        call_minute: of a phone call that comes in.
        stream_minute: of a Media Stream.
        number_month: of a phone number.
        machine_hour: of a machine that runs all the time; 0 for one of your own.
    """

    call_minute: float
    stream_minute: float
    number_month: float
    machine_hour: float = 0.0


@dataclass(frozen=True)
class Estimate:
    """What was reckoned.

    Attributes:
        minutes: of calls that are answered, in a month.
        refused_share: of the calls of the busiest hour, that find every line taken.
        memory_gb: of the machine.
        phone: what the phone company takes a month.
        machine: what the machine costs a month.
    """

    minutes: float
    refused_share: float
    memory_gb: float
    phone: float
    machine: float

    @property
    def total(self) -> float:
        """All of it, a month."""
        return self.phone + self.machine

    @property
    def per_minute(self) -> float:
        """All of it, for a minute of a call; 0 without calls."""
        return self.total / self.minutes if self.minutes else 0.0


def refused_share(load: float, lines: int) -> float:
    """Give the share of calls that find every line taken, by Erlang's formula B.

    Args:
        load: how many calls there would be at once, on average, if none were refused.
        lines: how many there can be.
    """
    share = 1.0
    for taken in range(1, lines + 1):  # by recursion: the factorials of the formula overflow
        share = load * share / (taken + load * share)
    return share


def estimate(traffic: Traffic, prices: Prices) -> Estimate:
    """Reckon a month. Who finds every line taken is taken to go away, and costs nothing."""
    busiest = refused_share(traffic.calls_a_day * traffic.busy_share * traffic.minutes / 60, traffic.lines)
    # Outside the busiest hour fewer are refused: as if none were, the sum is an upper bound.
    answered_a_day = traffic.calls_a_day * (1 - traffic.busy_share * busiest)
    minutes = answered_a_day * traffic.minutes * traffic.days
    return Estimate(
        minutes,
        busiest,
        FIRST_CALL_GB + FURTHER_CALL_GB * (traffic.lines - 1),
        minutes * (prices.call_minute + prices.stream_minute) + traffic.numbers * prices.number_month,
        HOURS_A_MONTH * prices.machine_hour,
    )
