"""telephony/remembered_answers.py: a repeated request gets the same answer, at any process."""

from __future__ import annotations

from moshi_phone.telephony.remembered_answers import MAX_REMEMBERED, RememberedAnswers


async def test_the_same_request_has_one_answer() -> None:
    answers = RememberedAnswers()
    answers.add("signature", "<Response/>")
    answers.add("", "unsigned requests are not alike")
    assert await answers.find("signature") == "<Response/>"
    assert [await answers.find(one) for one in ("another", "")] == [None, None]


async def test_other_processes_are_asked_only_for_unknown_answers() -> None:
    asked = list[str]()

    async def ask_others(signature: str) -> str | None:
        asked.append(signature)
        return "theirs" if signature == "elsewhere" else None

    answers = RememberedAnswers(ask_others)
    answers.add("here", "ours")
    found = [await answers.find(one) for one in ("here", "elsewhere", "new", "")]
    assert found == ["ours", "theirs", None, None]
    assert asked == ["elsewhere", "new"]


async def test_the_oldest_are_dropped() -> None:
    answers = RememberedAnswers()
    for number in range(MAX_REMEMBERED + 1):
        answers.add(str(number), "")
    assert [answers.own("0"), answers.own("1")] == [None, ""]
