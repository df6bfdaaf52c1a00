"""``uv run bot.py estimate``: the resources and the monthly cost of a phone line."""

from __future__ import annotations

import click
import cloup

from moshi_phone.commands.costs import Prices, Traffic
from moshi_phone.commands.costs import estimate as reckon
from moshi_phone.commands.numbers import Number, WholeNumber
from moshi_phone.commands.options import command


@command()
@cloup.option("--lines", type=WholeNumber(1, 1000), default=1, show_default=True, help="Simultaneous calls.")
@cloup.option("--calls-a-day", type=Number(0), default=20, show_default=True, help="Calls a day.")
@cloup.option("--minutes", type=Number(0), default=3, show_default=True, help="Average duration of a call.")
@cloup.option(
    "--days", type=Number(0, 31), default=22, show_default=True, help="Days with calls, in a month."
)
@cloup.option(
    "--busy-share",
    type=Number(0, 1),
    default=0.15,
    show_default=True,
    help="Share of a day's calls in its busiest hour.",
)
@cloup.option("--numbers", type=WholeNumber(0), default=1, show_default=True, help="Phone numbers.")
@cloup.option(
    "--call-price",
    type=Number(0),
    default=0.0085,
    show_default=True,
    help="Price of a minute of an incoming call; https://www.twilio.com/voice/pricing lists them by country.",
)
@cloup.option(
    "--stream-price",
    type=Number(0),
    default=0.004,
    show_default=True,
    help="Price of a minute of a Media Stream.",
)
@cloup.option(
    "--number-price", type=Number(0), default=1.15, show_default=True, help="Price of a number for a month."
)
@cloup.option(
    "--machine-price",
    type=Number(0),
    default=0,
    show_default=True,
    help="Price of a machine for an hour; 0 for your own.",
)
def estimate(
    *,
    lines: int,
    calls_a_day: float,
    minutes: float,
    days: float,
    busy_share: float,
    numbers: int,
    call_price: float,
    stream_price: float,
    number_price: float,
    machine_price: float,
) -> None:
    """Estimate the resources and the monthly cost of a phone line; docs/costs.md explains each figure.

    All prices are options, in one currency. The defaults are in US dollars and may be outdated
    (docs/costs.md names their sources): give your own.
    """
    traffic = Traffic(lines, calls_a_day, minutes, days, busy_share, numbers)
    found = reckon(traffic, Prices(call_price, stream_price, number_price, machine_price))
    for name, value in (
        ("calls", f"{calls_a_day * days:,.0f} a month, {found.minutes:,.0f} minutes"),
        ("busy tone", f"{found.refused_share:.1%} of the calls in the busiest hour find every line taken"),
        (
            "memory",
            f"{found.memory_gb:g} GB for Moshi with --quantize 4; `bench` says whether a machine holds it",
        ),
        ("phone", f"{found.phone:,.2f} a month"),
        (
            "machine",
            f"{found.machine:,.2f} a month" if machine_price else "yours; --machine-price for a rented one",
        ),
        ("total", f"{found.total:,.2f} a month, {found.per_minute:.4f} for a minute of a call"),
    ):
        click.echo(f"{name:<10} {value}")
