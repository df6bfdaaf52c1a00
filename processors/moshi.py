"""The stage with the bot: connects an engine's full-duplex session to the pipeline."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import numpy as np
from loguru import logger
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    Frame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    InterruptionFrame,
    LLMServiceMetadataFrame,
    LLMUpdateSettingsFrame,
    SpeechOutputAudioRawFrame,
    StartFrame,
    TranscriptionFrame,
    TTSSpeakFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    UserMuteStartedFrame,
    UserMuteStoppedFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.ai_service import AIService
from pipecat.turns.user_turn_strategies import ExternalUserTurnStrategies

from moshi_phone.audio import pcm
from moshi_phone.audio.formats import FRAME_MS, FRAME_SAMPLES, SAMPLE_RATE_HZ
from moshi_phone.audio.silence import SILENT_FRAME, is_silent
from moshi_phone.audio.speech_activity import Change, SpeechActivity
from moshi_phone.engines.duplex import BUGS, HANG_SECS, DuplexSession, DuplexStep, EngineFailed, Unsupported
from moshi_phone.runtime.errors import describe_error
from moshi_phone.runtime.watchdog import Watchdog
from processors.caller_blocks import CallerBlocks
from processors.frames import EngineMetricsFrame, MulawInputFrame
from processors.moshi_settings import MoshiSettings
from processors.stage import Stage
from processors.transcription_frames import WordFrames

SPEECH_PAUSE_S = 0.8  # silence that ends its speech, as in pipecat's own full-duplex service
MULAW_FRAMES_WITHOUT_PCM = 12  # a second without any PCM: the decoder is missing
_BOTH_WAYS = (
    InterimTranscriptionFrame,
    TranscriptionFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)


class MoshiProcessor(AIService, Stage):
    """A full-duplex service: the caller's audio in; speech (24 kHz, 80 ms a frame) and text out, at once.

    The caller's audio is the clock. Each 80 ms of it goes to the session as soon as it is complete. Each
    output of the session is pushed at once: the words of both sides (``transcription_frames.py``), an
    ``EngineMetricsFrame`` with the step's times, and the speech. If a session raises, or owes an answer for
    ``hang_secs``, a permanent error is reported, which ends the call.

    As in pipecat's own services of this kind, the caller's words and turns are pushed in both directions, so
    that context aggregators on either side contain the conversation. ``TTSStartedFrame`` and
    ``TTSStoppedFrame`` enclose the speech. A ``TTSSpeakFrame`` is said in the engine's own voice if the
    engine can, otherwise it passes. An ``InterruptionFrame`` drops its words that still wait.
    ``LLMUpdateSettingsFrame`` changes the settings. While the caller is muted, the session receives silence.

    With ``enable_metrics``, the time from the end of the caller's turn to the next speech is reported (TTFB),
    and the time to the end of that speech (processing).

    Args:
        session: of any engine; its opener closes it.
        hang_secs: how long the session may owe an answer.
        audio_passthrough: whether the caller's audio continues downstream, for a recorder behind this stage.
        settings: the settings with which the session was opened, to be read or changed later.
    """

    Settings = MoshiSettings
    _settings: MoshiSettings

    def __init__(
        self,
        session: DuplexSession,
        *,
        hang_secs: float = HANG_SECS,
        audio_passthrough: bool = False,
        settings: MoshiSettings | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(MoshiSettings.complete(settings), **kwargs)
        self.session = session
        self._hang_secs = hang_secs
        self._audio_passthrough = audio_passthrough
        self._blocks = CallerBlocks()  # resampler and incomplete block, if the transport needs them
        self._words = WordFrames()  # open sentences and turns of both sides
        self._speech = SpeechActivity(SPEECH_PAUSE_S)  # start and end of the bot's speech
        self._fed_frames = 0  # total of the caller's frames: the clock of the words
        self._mulaw_frames = 0  # before any PCM; see MULAW_FRAMES_WITHOUT_PCM
        self._fed_at_s: deque[float] = deque()  # feed time of each unanswered frame, in seconds
        self._speaker: asyncio.Task[None] | None = None  # reads the session's outputs
        self._silence: asyncio.Task[None] | None = None  # feeds silence while the caller is muted
        self._watchdog = Watchdog(hang_secs, self._give_up)  # fires after hang_secs without an owed answer

    @property
    def settings(self) -> MoshiSettings:
        """The current settings, read-only; their ``request()`` opens the next session."""
        return self._settings

    def can_generate_metrics(self) -> bool:
        """Report that this service measures its responses."""
        return True

    def service_metadata_frame(self) -> LLMServiceMetadataFrame:
        """Return how to detect turns: by this stage's own frames, if the session transcribes the caller.

        Interruptions are excluded: the model itself stops when the caller interrupts.
        """
        own = ExternalUserTurnStrategies(enable_interruptions=False) if self.session.listens else None
        return LLMServiceMetadataFrame(service_name=self.name, user_turn_strategies=own)

    async def start(self, frame: StartFrame) -> None:
        """Start pushing the session's outputs."""
        await super().start(frame)
        self._speaker = self.create_task(self._speak())

    async def stop(self, frame: EndFrame) -> None:
        """Stop reading the session, and close open words and speech."""
        await super().stop(frame)
        await self._stop_output()
        await self._finish_words()
        if self._speech.stop():
            await self.push_frame(TTSStoppedFrame())

    async def cancel(self, frame: CancelFrame) -> None:
        """Stop reading the session, except for the caller's last words: a caller's hang-up ends here."""
        await super().cancel(frame)
        await self._stop_output()
        await self._finish_words()

    async def cleanup(self) -> None:
        """Stop reading the session, however the pipeline ended."""
        await super().cleanup()  # type: ignore[no-untyped-call]
        await self._stop_output()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Feed the caller's audio, and say requested text; other frames pass."""
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame) and direction is FrameDirection.DOWNSTREAM:
            for block in self._blocks.cut(frame):
                self._feed(block)
            if not self._audio_passthrough:
                return
        elif isinstance(frame, MulawInputFrame):
            await self._expect_decoder()
        elif isinstance(frame, InterruptionFrame):
            self.session.stop_saying()  # the model ends its own speech by itself
        elif isinstance(frame, TTSSpeakFrame) and self._say(frame.text):
            return
        elif isinstance(frame, LLMUpdateSettingsFrame) and frame.service in (None, self):
            if frame.delta is not None:
                await self._update_settings(frame.delta)
            return
        elif isinstance(frame, UserStoppedSpeakingFrame):  # from another turn detection
            await self._turn_ended()
        elif isinstance(frame, UserMuteStartedFrame) and self._silence is None:
            # the session needs a clock while the caller's audio is muted
            self._silence = self.create_task(self._hear_silence())
        elif isinstance(frame, UserMuteStoppedFrame):
            await self._unmute()
        await self.push_frame(frame, direction)

    # also called without input, for a muted caller
    def _feed(self, block: np.ndarray[Any, np.dtype[np.float32]]) -> None:
        self._fed_at_s.append(asyncio.get_running_loop().time())
        self._fed_frames += 1
        try:
            self.session.feed(block)
        except BUGS as error:  # ours, or from a user's own engine
            self.create_task(self._report_broken(error))
        # Not restarted for every frame: that would postpone the timeout while the caller speaks.
        if not self._watchdog.is_running:
            self._watchdog.start()

    async def _expect_decoder(self) -> None:
        self._mulaw_frames += 1
        if self._mulaw_frames == MULAW_FRAMES_WITHOUT_PCM and not self._fed_frames:
            await self.push_error(
                "MoshiProcessor expects PCM audio, got µ-law: put MulawDecoder() before it",
                force_treat_as_permanent=True,
            )

    async def _hear_silence(self) -> None:
        """Feed silence in real time: a muted caller's audio, which is the clock, does not arrive."""
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            self._feed(SILENT_FRAME)
            due_s += FRAME_MS / 1000  # by deadlines, so that late wake-ups do not add up
            await asyncio.sleep(due_s - loop.time())

    async def _unmute(self) -> None:
        if self._silence is not None:
            silence, self._silence = self._silence, None
            await self.cancel_task(silence)

    def _say(self, text: str) -> bool:
        try:
            self.session.say(text)
        except (Unsupported, ValueError) as error:
            logger.warning("MoshiProcessor cannot say a TTSSpeakFrame, and passes it on: {}", error)
            return False  # the frame continues to a TTS, if any
        return True

    async def _update_settings(self, delta: Any) -> dict[str, Any]:
        changed = await super()._update_settings(delta)
        later = set(changed)
        temperature = self._settings.temperature
        if "temperature" in changed and isinstance(temperature, (int, float)):
            try:
                self.session.set_temperature(temperature)
                later.remove("temperature")
            except (Unsupported, ValueError) as error:
                logger.warning("{}", error)
        if later:  # read by the next session's request()
            logger.warning("{}: {} applies from the next call", self.name, ", ".join(sorted(later)))
        return changed

    async def _speak(self) -> None:
        try:
            async for step in self.session.outputs():
                self._answered()
                await self._push(step)
                await asyncio.sleep(0)  # a user's own engine may never await anything
        except EngineFailed as error:
            await self.push_error(str(error), exception=error, force_treat_as_permanent=True)
        except BUGS as error:  # ours or of an engine of the user's own
            await self._report_broken(error)

    async def _report_broken(self, error: BaseException) -> None:
        """End the call. In a task, SystemExit would stop the event loop, and with it all calls."""
        logger.opt(exception=error).error("{} broke", self.session.display_name)
        said = f"{self.session.display_name} broke ({describe_error(error)})"
        await self.push_error(said, exception=EngineFailed(said), force_treat_as_permanent=True)

    async def _push(self, step: DuplexStep) -> None:
        fed_at_s = self._fed_at_s.popleft() if self._fed_at_s else asyncio.get_running_loop().time()
        heard_s = self._fed_frames * FRAME_MS / 1000
        for words in self._words.of_step(step, heard_s, self.get_clock().get_time()):
            await self._push_words(words)
        # Before the speech: the meter needs a frame's delay when it counts the frame.
        await self.push_frame(
            EngineMetricsFrame(
                (asyncio.get_running_loop().time() - fed_at_s) * 1000,
                step.timings_ms,
                self.session.backlog_frames,
                self.session.dropped_frames,
                self.session.untranscribed_frames,
                self.session.codec_delay_ms + self._blocks.resampling_ms,
            )
        )
        if step.pcm is None:
            return
        if step.pcm.dtype != np.float32 or step.pcm.shape != (FRAME_SAMPLES,):
            raise ValueError(
                f"expected float32 [{FRAME_SAMPLES}] in DuplexStep.pcm, got {step.pcm.dtype} "
                f"{list(step.pcm.shape)}"
            )
        change = self._speech.add(loud=not is_silent(step.pcm), audio_s=FRAME_MS / 1000)
        if change is Change.STARTED:
            await self.stop_ttfb_metrics()
            # Otherwise an aggregator would open a turn by it; the words do that, if there are any.
            started = TTSStartedFrame()
            started.append_to_context = False
            await self.push_frame(started)
        speech = SpeechOutputAudioRawFrame(pcm.to_bytes(step.pcm), SAMPLE_RATE_HZ, num_channels=1)
        await self.push_frame(speech)
        if change is Change.STOPPED:
            await self.push_frame(TTSStoppedFrame())
            await self.stop_processing_metrics()

    async def _push_words(self, frame: Frame) -> None:
        if not isinstance(frame, _BOTH_WAYS):
            await self.push_frame(frame)
            return
        if isinstance(frame, UserStoppedSpeakingFrame):
            await self._turn_ended()
        await self.broadcast_frame_instance(frame)

    async def _finish_words(self) -> None:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        try:
            last = await self.session.finish_listening()
        except BUGS as error:  # ours, or from a user's own engine
            logger.opt(exception=error).error("The caller's last words are lost")
            last = ()
        if last:
            heard_s = self._fed_frames * FRAME_MS / 1000 + loop.time() - began_s
            step = DuplexStep(None, caller_text=last)
            for words in self._words.of_step(step, heard_s, self.get_clock().get_time()):
                await self._push_words(words)
        for words in self._words.finish():
            await self._push_words(words)

    async def _turn_ended(self) -> None:
        # while the bot speaks, the next speech is no response
        if self.metrics_enabled and not self._speech.speaking:
            await self.start_ttfb_metrics()
            await self.start_processing_metrics()

    def _answered(self) -> None:
        # Frames dropped by the session are never answered; their times are removed first. One more than the
        # backlog: this step's own frame is no longer in it.
        while len(self._fed_at_s) > self.session.backlog_frames + 1:
            self._fed_at_s.popleft()
        self._watchdog.stop()
        # Restarted only while an answer is owed: a silent transport is not the engine's fault.
        if self.session.backlog_frames:
            self._watchdog.start()

    def _give_up(self) -> None:
        error = EngineFailed(f"{self.session.display_name} gave no answer for {self._hang_secs:g} s")
        self.create_task(self.push_error(str(error), exception=error, force_treat_as_permanent=True))

    async def _stop_output(self) -> None:
        await self._unmute()
        self._watchdog.stop()
        # swapped before the await: the pipeline's end and cleanup() both stop it
        if self._speaker is not None:
            speaker, self._speaker = self._speaker, None
            await self.cancel_task(speaker)
