from __future__ import annotations

from pipecat.frames.frames import TextFrame, TTSTextFrame
from pipecat.utils.text.base_text_aggregator import TextType

from moshi_phone.conversation.metrics import ConversationMetrics
from processors.repetition_watch import RepetitionWatch
from tests.support.logs import Logged


def test_a_bot_that_repeats_itself_is_counted_and_logged_without_its_words(logged: Logged) -> None:
    metrics = ConversationMetrics()
    watch = RepetitionWatch(metrics)
    for _ in range(12):
        for word in (" my", " secret", " number", " is"):
            watch.observe(TTSTextFrame(word, text_type=TextType.TOKEN))
            watch.observe(TextFrame(word))
    watch.close()
    assert metrics.repetitions == 1
    assert logged.text.count("repeats itself") == 1
    assert "secret" not in logged.text
