"""Number types of the command line, with readable errors and help."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import click


class Number(click.ParamType[float]):
    """A number within inclusive bounds.

    Args:
        least: the smallest, or None for no bound.
        most: the largest, or None for no bound.
    """

    name = "number"
    words = "a number"

    def __init__(self, least: float | None = None, most: float | None = None) -> None:
        self.least = least
        self.most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse the number, or fail with a sentence on what is expected."""
        try:
            number = self.read(value)
        except (TypeError, ValueError):
            self.fail(f"expected {self.expected}, got {value!r}.", param, ctx)
        too_small = self.least is not None and number < self.least
        too_large = self.most is not None and number > self.most
        if too_small or too_large or number != number:  # noqa: PLR0124 - NaN is no number
            self.fail(f"expected {self.expected}, got {value}.", param, ctx)
        return number

    @staticmethod
    def read(value: Any) -> float:
        """Parse a number."""
        return float(value)

    @property
    def expected(self) -> str:
        """Description of valid values."""
        match self.least, self.most:
            case None, None:
                return self.words
            case least, None:
                return f"{self.words} of {least:g} or more"
            case None, most:
                return f"{self.words} of {most:g} or less"
            case least, most:
                return f"{self.words} from {least:g} to {most:g}"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002 - click's
        """Return N, for the help."""
        return "N"


class WholeNumber(Number):
    """An integer within inclusive bounds, or a word with a meaning of its own.

    Args:
        least: the smallest, or None for no bound.
        most: the largest, or None for no bound.
        named: numbers by their words; they may lie outside the bounds.
    """

    name = "whole number"
    words = "a whole number"

    def __init__(
        self, least: float | None = None, most: float | None = None, named: Mapping[str, int] | None = None
    ) -> None:
        super().__init__(least, most)
        self.named = named or {}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse a word, or a number as ``Number`` does."""
        if isinstance(value, str) and value in self.named:
            return self.named[value]
        return super().convert(value, param, ctx)

    @property
    def expected(self) -> str:
        """See ``Number``."""
        return " or ".join([super().expected, *self.named])

    @staticmethod
    def read(value: Any) -> int:
        """Parse an integer; 3.5 and True are refused."""
        if isinstance(value, (bool, float)):
            raise ValueError
        return int(value)


class PhoneNumbers(click.types.StringParamType):
    """A phone number as given. A variable may hold several, separated by commas or blanks."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ARG002
        """Return the text unchanged; it is validated where it is used."""
        return str(value).strip()

    def split_envvar_value(self, rv: str) -> list[str]:
        """Split a variable's value; numbers may contain blanks, as in +1 555 000 1111."""
        return split_numbers(rv)


def split_numbers(text: str) -> list[str]:
    """Split a text with several phone numbers, each with its country code."""
    return [part for part in re.split(r"\s*[,;]\s*|\s+(?=\+)", text.strip()) if part]
