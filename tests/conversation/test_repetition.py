from __future__ import annotations

from moshi_phone.conversation.repetition import RepetitionDetector


def repetitions(text: str, times: int = 1) -> int:
    detector = RepetitionDetector()
    pieces = (" " + text).replace(" ", "\n ").split("\n")[1:] * times
    return sum(detector.add(piece) for piece in pieces)


def test_a_repetition_is_reported_once() -> None:
    assert repetitions("I am here, I am here.", 12) == 1
    assert repetitions("Yes.", 40) == 1


def test_ordinary_speech_is_not_a_repetition() -> None:
    text = (
        "The birch canoe slid on the smooth planks. Glue the sheet to the dark blue background. It is easy "
        "to tell the depth of a well. These days a chicken leg is a rare dish."
    )
    assert repetitions(text, 2) == 0
    assert repetitions("No, no, no, wait.", 1) == 0


def test_pieces_of_words_are_joined() -> None:
    detector = RepetitionDetector()
    pieces = [" hel", "lo", " the", "re", " old", " friend"] * 8
    assert sum(detector.add(piece) for piece in pieces) == 1


def test_a_second_repetition_counts_after_other_words() -> None:
    detector = RepetitionDetector()
    other = [f" word{number}" for number in range(70)]
    pieces = [" I", " am", " here", " now"] * 8 + other + [" I", " am", " there", " now"] * 8
    assert sum(detector.add(piece) for piece in pieces) == 2
