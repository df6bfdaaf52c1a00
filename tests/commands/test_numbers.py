from __future__ import annotations

import click
import pytest

from moshi_phone.commands.numbers import Number, WholeNumber


@pytest.mark.parametrize(
    ("kind", "given", "read"),
    [
        (WholeNumber(0, 65535), "5001", 5001),
        (WholeNumber(), -3, -3),
        (WholeNumber(1, None, {"auto": 0}), "auto", 0),
        (Number(0, 10), "2.5", 2.5),
    ],
)
def test_reads_numbers_within_bounds(kind: Number, given: object, read: float) -> None:
    assert kind.convert(given, None, None) == read


@pytest.mark.parametrize(
    ("kind", "given", "sentence"),
    [
        (WholeNumber(0, 65535), "abc", "expected a whole number from 0 to 65535, got 'abc'."),
        (WholeNumber(0, 65535), 65536, "expected a whole number from 0 to 65535, got 65536."),
        (WholeNumber(1), "0", "expected a whole number of 1 or more, got 0."),
        (WholeNumber(1, None, {"auto": 0}), "0", "expected a whole number of 1 or more or auto, got 0."),
        (WholeNumber(), 2.5, "expected a whole number, got 2.5."),
        (WholeNumber(), True, "expected a whole number, got True."),
        (Number(None, 3), "4", "expected a number of 3 or less, got 4."),
        (Number(0, 1), "nan", "expected a number from 0 to 1, got nan."),
    ],
)
def test_the_error_names_the_expected_values(kind: Number, given: object, sentence: str) -> None:
    with pytest.raises(click.BadParameter) as bad:
        kind.convert(given, None, None)
    assert str(bad.value) == sentence
