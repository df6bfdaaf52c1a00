from __future__ import annotations

import pytest

from moshi_phone.records.redaction import redact_digits


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("My card is 4242 4242-4242 4242.", "My card is #### ####-#### ####."),
        ("It costs 25.", "It costs ##."),
        ("four two, four two", "# #, # #"),
        ("It's Four two four, double seven please", "It's # # #, # # please"),
        ("one hundred and twenty three", "# # and # #"),
        ("Quatre-vingt-dix sept", "#-#-# #"),
        ("quarante deux et trois", "# # et #"),
        ("One moment, I have two dogs.", "One moment, I have two dogs."),
        ("Someone often sixes tens", "Someone often sixes tens"),
        ("one two", "one two"),
        ("", ""),
    ],
)
def test_masks_digits_and_spoken_numbers(said: str, kept: str) -> None:
    assert redact_digits(said) == kept


def test_a_long_line_is_redacted_quickly() -> None:
    assert redact_digits("one and " * 20_000).startswith("# and #")
