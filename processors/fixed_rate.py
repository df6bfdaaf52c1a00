"""Finds pipecat stages that assume another sample rate than the caller's audio has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from loguru import logger
from pipecat.processors.frame_processor import FrameProcessor

from processors.chain import stages_behind
from processors.stage import Stage

_KNOWN = ("pipecat", "processors", "moshi_phone")  # packages whose stages do not resample, except for ours


def warn_of_other_rates(stage: Stage, out_hz: int) -> None:
    """Warn of each recognizer behind a stage that assumes another rate than its audio has.

    pipecat's STT services and VADs do not read a frame's rate: they use their own, or the pipeline's
    ``audio_in_sample_rate``.

    Args:
        stage: a ``Resampler`` or ``MulawDecoder``, when the pipeline starts.
        out_hz: rate of the audio that it pushes.
    """
    for detector, rate_hz in _detectors(stage):
        if rate_hz == out_hz:
            continue
        if rate_hz == getattr(stage, "in_hz", None):
            remedy = f"put it before Resampler({rate_hz}, {out_hz})"
        else:
            remedy = f"put a Resampler({out_hz}, {rate_hz}) before it, or give it that rate"
        logger.warning("{} takes {} Hz, and gets {} Hz; {}", detector.name, rate_hz, out_hz, remedy)


def _detectors(stage: Stage) -> Iterator[tuple[FrameProcessor, int]]:
    params = stage.pipeline_worker.params
    for behind in stages_behind(stage):
        controller: Any = getattr(behind, "_vad_controller", None)  # also of a user aggregator
        if hasattr(behind, "run_stt") or controller is not None:
            own: Any = controller._vad_analyzer if controller is not None else behind
            yield behind, getattr(own, "_init_sample_rate", None) or params.audio_in_sample_rate
        elif hasattr(behind, "in_hz") or type(behind).__module__.partition(".")[0] not in _KNOWN:
            return  # another rate from here on, or a user's stage, which may resample
