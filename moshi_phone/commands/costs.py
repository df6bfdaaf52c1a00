"""The resources and the monthly cost of a phone line. Pure: all prices are arguments."""

from __future__ import annotations

from dataclasses import dataclass

HOURS_A_MONTH = 730.0
FIRST_CALL_GB, FURTHER_CALL_GB = 8.5, 3.0
"""Memory of Moshi with ``--quantize 4``; docs/scale.md derives both."""


@dataclass(frozen=True)
class Traffic:
    """The calls of a month.

    Attributes:
        lines: maximum number of simultaneous calls.
        calls_a_day: number of calls a day.
        minutes: average duration of a call.
        days: number of days with calls, in a month.
        busy_share: share of a day's calls in its busiest hour.
        numbers: number of phone numbers.
    """

    lines: int
    calls_a_day: float
    minutes: float
    days: float = 22.0
    busy_share: float = 0.15
    numbers: int = 1


@dataclass(frozen=True)
class Prices:
    """Prices, all in the same currency.

    Attributes:
        call_minute: one minute of an incoming call.
        stream_minute: one minute of a Media Stream.
        number_month: one phone number for a month.
        machine_hour: one hour of a rented machine that always runs; 0 for your own machine.
    """

    call_minute: float
    stream_minute: float
    number_month: float
    machine_hour: float = 0.0


@dataclass(frozen=True)
class Estimate:
    """The result of ``estimate``.

    Attributes:
        minutes: minutes of answered calls in a month.
        refused_share: share of the busiest hour's calls that find all lines taken.
        memory_gb: memory of the machine.
        phone: the phone company's charge for a month.
        machine: the machine's cost for a month.
    """

    minutes: float
    refused_share: float
    memory_gb: float
    phone: float
    machine: float

    @property
    def total(self) -> float:
        """The total cost of a month."""
        return self.phone + self.machine

    @property
    def per_minute(self) -> float:
        """The total cost of one minute of a call; 0 without calls."""
        return self.total / self.minutes if self.minutes else 0.0


def refused_share(load: float, lines: int) -> float:
    """Return the share of calls that find all lines taken, by Erlang's formula B.

    Args:
        load: average number of simultaneous calls if none were refused.
        lines: maximum number of simultaneous calls.
    """
    share = 1.0
    for taken in range(1, lines + 1):  # by recursion, because the formula's factorials overflow
        share = load * share / (taken + load * share)
    return share


def estimate(traffic: Traffic, prices: Prices) -> Estimate:
    """Estimate a month. Refused callers are assumed not to call again, and cost nothing."""
    busiest = refused_share(traffic.calls_a_day * traffic.busy_share * traffic.minutes / 60, traffic.lines)
    # Assuming no refusals outside the busiest hour gives an upper bound of the cost.
    answered_a_day = traffic.calls_a_day * (1 - traffic.busy_share * busiest)
    minutes = answered_a_day * traffic.minutes * traffic.days
    return Estimate(
        minutes,
        busiest,
        FIRST_CALL_GB + FURTHER_CALL_GB * (traffic.lines - 1),
        minutes * (prices.call_minute + prices.stream_minute) + traffic.numbers * prices.number_month,
        HOURS_A_MONTH * prices.machine_hour,
    )
