from __future__ import annotations

from pipecat.pipeline.pipeline import Pipeline
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams

from processors.chain import output_behind, stages_behind
from processors.stage import Stage


def test_the_later_stages_are_found_in_their_order() -> None:
    first, second, output, last = Stage(), Stage(), BaseOutputTransport(TransportParams()), Stage()
    Pipeline([first, second, output, last])
    assert list(stages_behind(first))[:3] == [second, output, last]
    assert list(stages_behind(Stage())) == []
    assert [output_behind(stage) for stage in (first, second, output, last)] == [output, output, None, None]
