from __future__ import annotations

import numpy as np

from processors.gain import AutomaticGain
from tests.support.echoes import power_db, speech


def test_a_quiet_caller_is_amplified_and_a_normal_one_is_unchanged() -> None:
    for level, least_db, most_db in ((0.2, 8, 18), (2.0, 0, 0)):
        samples = (speech(8, caller=True) * level * 32_767).astype("<i2")
        stage = AutomaticGain()
        out = b"".join(stage.clean(samples[at : at + 640].tobytes()) for at in range(0, len(samples), 640))
        louder = np.frombuffer(out, "<i2")
        gained = power_db(louder[-16_000:]) - power_db(samples[-16_000:])
        assert least_db <= gained <= most_db
