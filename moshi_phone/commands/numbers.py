"""Numbers on the command line, with errors and help in words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import click


class Number(click.ParamType[float]):
    """A number within bounds, both included.

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
        """Read it, or fail with a sentence that says what is expected."""
        try:
            number = self.read(value)
        except (TypeError, ValueError):
            self.fail(f"expected {self.expected}, got {value!r}.", param, ctx)
        too_small = self.least is not None and number < self.least
        too_large = self.most is not None and number > self.most
        if too_small or too_large or number != number:  # noqa: PLR0124 - NaN is none
            self.fail(f"expected {self.expected}, got {value}.", param, ctx)
        return number

    @staticmethod
    def read(value: Any) -> float:
        """Turn what was given into a number."""
        return float(value)

    @property
    def expected(self) -> str:
        """What would be right, in words."""
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
        """Show it as N in the help."""
        return "N"


class WholeNumber(Number):
    """A whole number within bounds, both included, or a word that stands for one.

    Args:
        least: the smallest, or None for no bound.
        most: the largest, or None for no bound.
        named: what words stand for; these numbers may lie beyond the bounds.
    """

    name = "whole number"
    words = "a whole number"

    def __init__(
        self, least: float | None = None, most: float | None = None, named: Mapping[str, int] | None = None
    ) -> None:
        super().__init__(least, most)
        self.named = named or {}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read a word, or a number as ``Number`` does."""
        if isinstance(value, str) and value in self.named:
            return self.named[value]
        return super().convert(value, param, ctx)

    @property
    def expected(self) -> str:
        """See ``Number``."""
        return " or ".join([super().expected, *self.named])

    @staticmethod
    def read(value: Any) -> int:
        """Turn what was given into a whole number; 3.5 and True are none."""
        if isinstance(value, (bool, float)):
            raise ValueError
        return int(value)


class PhoneNumbers(click.types.StringParamType):
    """A phone number as it was written; a variable may hold several, with commas or blanks between them."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ARG002
        """Give the text; whether it is a number is seen where it is used."""
        return str(value).strip()

    def split_envvar_value(self, rv: str) -> list[str]:
        """Split a variable's value; a number may be written in groups, +1 555 000 1111."""
        return split_numbers(rv)


def split_numbers(text: str) -> list[str]:
    """Split a text with several phone numbers, each with its country code."""
    return [part for part in re.split(r"\s*[,;]\s*|\s+(?=\+)", text.strip()) if part]
