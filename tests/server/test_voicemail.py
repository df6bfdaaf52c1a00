from __future__ import annotations

import pytest

from server.settings import SettingsError
from server.voicemail import Voicemail


def test_talking_to_a_machine_needs_no_detection() -> None:
    Voicemail().check(elsewhere=True)
    assert Voicemail().detection is None
    assert Voicemail("hang-up").detection == "Enable"


@pytest.mark.parametrize(
    ("mail", "sentence"),
    [
        (Voicemail("message"), "--voicemail message needs --voicemail-message, which says what."),
        (Voicemail("talk", "Hello."), "--voicemail-message needs --voicemail message."),
        (Voicemail("hang-up"), "--voicemail is for calls that this program answers itself: leave out --url."),
    ],
)
def test_what_does_not_go_together(mail: Voicemail, sentence: str) -> None:
    with pytest.raises(SettingsError) as unfit:
        mail.check(elsewhere=True)
    assert str(unfit.value) == sentence
