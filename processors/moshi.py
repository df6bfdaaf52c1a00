"""The bot's stage: runs an engine's full-duplex session in a pipeline."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from loguru import logger
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    LLMServiceMetadataFrame,
    LLMUpdateSettingsFrame,
    StartFrame,
    TTSSpeakFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    UserMuteStartedFrame,
    UserMuteStoppedFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.ai_service import AIService
from pipecat.turns.user_turn_strategies import ExternalUserTurnStrategies

from moshi_phone.audio.formats import FRAME_MS, Pcm
from moshi_phone.audio.silence import SILENT_FRAME
from moshi_phone.engines.duplex import BUGS, HANG_SECS, DuplexSession, DuplexStep, EngineFailed, Unsupported
from moshi_phone.runtime.errors import describe_error
from processors.caller_blocks import CallerBlocks
from processors.frames import EngineMetricsFrame, MulawInputFrame
from processors.llm_requests import LLMRequests
from processors.moshi_settings import OF_A_SESSION, MoshiSettings
from processors.speech_frames import SpeechFrames
from processors.stage import Stage
from processors.transcription_frames import CALLER_FRAMES, WordFrames
from processors.unanswered_frames import UnansweredFrames

STEPS_A_TURN = 8  # then other tasks run; after each step, that took an iteration of the event loop
MULAW_FRAMES_WITHOUT_PCM = 12  # a second without any PCM: the decoder is missing


class MoshiProcessor(AIService, Stage):
    """Runs a full-duplex session: the caller's audio goes in, the bot's speech and text come out.

    The caller's audio is the clock: each 80 ms of it are fed to the session as soon as they are complete. The
    session's outputs are pushed at once: the words of both sides (``transcription_frames.py``), an
    ``EngineMetricsFrame`` and the speech (24 kHz, 80 ms a frame), which ``TTSStartedFrame`` and
    ``TTSStoppedFrame`` enclose. If the session raises, or does not answer for ``hang_secs``, a permanent
    error ends the call.

    As in pipecat's own full-duplex services, the caller's words and turns are pushed in both directions, so
    that context aggregators on either side receive them. A ``TTSSpeakFrame`` is spoken in the engine's own
    voice if the engine supports it, and otherwise passed on. An ``InterruptionFrame`` drops queued words. An
    ``LLMUpdateSettingsFrame`` changes the settings. While the caller is muted, the session is fed silence.

    With ``enable_metrics``, two times are measured from the end of the caller's turn: to the start of the
    next speech (TTFB), and to its end (processing).

    Args:
        session: of any engine. Whoever opened it closes it.
        hang_secs: how long an answer may take, in seconds.
        audio_passthrough: whether to push the caller's audio downstream, for a recorder behind this stage.
        settings: the settings with which the session was opened.
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
        self._speech = SpeechFrames()  # whether the bot is speaking
        self._unanswered = UnansweredFrames(hang_secs, self._report_timeout)
        self._llm_requests = LLMRequests()  # on which the session does not act
        self._mulaw_frames = 0  # received before any PCM; see MULAW_FRAMES_WITHOUT_PCM
        self._output_task: asyncio.Task[None] | None = None  # reads the session's outputs
        self._silence_task: asyncio.Task[None] | None = None  # feeds silence while the caller is muted

    @property
    def settings(self) -> MoshiSettings:
        """The current settings, read-only. ``settings.request()`` is for ``engine.open_session()``."""
        return self._settings

    def can_generate_metrics(self) -> bool:
        """Return True: TTFB and processing time are measured."""
        return True

    def service_metadata_frame(self) -> LLMServiceMetadataFrame:
        """Announce turn detection by this stage's own frames, if the session transcribes the caller.

        Interruptions are excluded: the model itself stops when the caller interrupts.
        """
        turns = ExternalUserTurnStrategies(enable_interruptions=False) if self.session.listens else None
        return LLMServiceMetadataFrame(service_name=self.name, user_turn_strategies=turns)

    async def start(self, frame: StartFrame) -> None:
        """Start pushing the session's outputs."""
        await super().start(frame)
        self._output_task = self.create_task(self._push_outputs())

    async def stop(self, frame: EndFrame) -> None:
        """Stop reading the session, push the caller's last words, and end open speech."""
        await super().stop(frame)
        await self._stop_output()
        await self._finish_words()
        for stopped in self._speech.finish():
            await self.push_frame(stopped)

    async def cancel(self, frame: CancelFrame) -> None:
        """Stop reading the session, and push the caller's last words: a hang-up cancels the pipeline."""
        await super().cancel(frame)
        await self._stop_output()
        await self._finish_words()

    async def cleanup(self) -> None:
        """Stop reading the session if neither ``stop`` nor ``cancel`` was called."""
        await super().cleanup()  # type: ignore[no-untyped-call]
        await self._stop_output()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Feed the caller's audio, speak requested text, apply settings; other frames pass."""
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
        elif isinstance(frame, UserMuteStartedFrame) and self._silence_task is None:
            self._silence_task = self.create_task(self._feed_silence())
        elif isinstance(frame, UserMuteStoppedFrame):
            await self._unmute()
        elif direction is FrameDirection.DOWNSTREAM:
            self._llm_requests.note(frame, self)
        await self.push_frame(frame, direction)

    def _feed(self, block: Pcm) -> None:
        if self._output_task is None:
            return  # ended: the transport still reads while the last clip is played
        self._unanswered.feed()
        try:
            self.session.feed(block)
        except BUGS as error:  # ours, or from a user's own engine
            self.create_task(self._report_broken(error))

    async def _expect_decoder(self) -> None:
        self._mulaw_frames += 1
        if self._mulaw_frames == MULAW_FRAMES_WITHOUT_PCM and not self._unanswered.fed_s:
            mistake = "MoshiProcessor expects PCM audio, got µ-law: put MulawDecoder() before it"
            await self.push_error(mistake, force_treat_as_permanent=True)

    async def _feed_silence(self) -> None:
        """Feed silence in real time: the audio of a muted caller, the session's clock, does not arrive."""
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            self._feed(SILENT_FRAME)
            due_s += FRAME_MS / 1000  # absolute deadlines: late wake-ups do not add up
            await asyncio.sleep(due_s - loop.time())

    async def _unmute(self) -> None:
        if self._silence_task is not None:
            task, self._silence_task = self._silence_task, None
            await self.cancel_task(task)

    def _say(self, text: str) -> bool:
        try:
            self.session.say(text)
        except (Unsupported, ValueError) as error:
            logger.warning("MoshiProcessor cannot say a TTSSpeakFrame, and passes it on: {}", error)
            return False  # a TTS behind this stage may speak it
        return True

    async def _update_settings(self, delta: Any) -> dict[str, Any]:
        changed = await super()._update_settings(delta)
        not_applied = set(changed)
        temperature = self._settings.temperature
        if "temperature" in changed and isinstance(temperature, (int, float)):
            try:
                self.session.set_temperature(temperature)
                not_applied.remove("temperature")
            except (Unsupported, ValueError) as error:
                logger.warning("{}", error)
        if later := sorted(not_applied & OF_A_SESSION):
            logger.warning("{}: {} applies from the next call", self.name, ", ".join(later))
        if unknown := sorted(not_applied - OF_A_SESSION):
            logger.warning("{}: {} has no effect on this engine", self.name, ", ".join(unknown))
        return changed

    async def _push_outputs(self) -> None:
        steps = itertools.count(1)
        try:
            async for step in self.session.outputs():
                await self._push_step(step)
                if next(steps) % STEPS_A_TURN == 0:
                    await asyncio.sleep(0)  # a user's own engine may never await anything
        except EngineFailed as error:
            await self.push_error(str(error), exception=error, force_treat_as_permanent=True)
        except BUGS as error:  # ours, or from a user's own engine
            await self._report_broken(error)

    async def _report_broken(self, error: BaseException) -> None:
        """End this call only: in a task, SystemExit would stop the event loop and all calls."""
        logger.opt(exception=error).error("{} broke", self.session.display_name)
        message = f"{self.session.display_name} broke ({describe_error(error)})"
        await self.push_error(message, exception=EngineFailed(message), force_treat_as_permanent=True)

    async def _push_step(self, step: DuplexStep) -> None:
        fed_at_s = self._unanswered.answer(self.session.backlog_frames)
        await self._push_words(step, self._unanswered.fed_s)
        # Before the speech: the meter reads a frame's delay when it counts the frame.
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
        if step.pcm is not None:
            for frame in self._speech.of_audio(step.pcm):
                await self._push_speech(frame)

    async def _push_speech(self, frame: Frame) -> None:
        if isinstance(frame, TTSStartedFrame):
            await self.stop_ttfb_metrics()
        await self.push_frame(frame)
        if isinstance(frame, TTSStoppedFrame):
            await self.stop_processing_metrics()

    async def _push_words(self, step: DuplexStep, heard_s: float) -> None:
        for frame in self._words.of_step(step, heard_s, self.get_clock().get_time()):
            await self._push_word_frame(frame)

    async def _push_word_frame(self, frame: Frame) -> None:
        if isinstance(frame, UserStoppedSpeakingFrame):
            await self._turn_ended()
        if isinstance(frame, CALLER_FRAMES):
            await self.broadcast_frame_instance(frame)
        else:
            await self.push_frame(frame)

    async def _finish_words(self) -> None:
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        try:
            last_words = await self.session.finish_listening()
        except BUGS as error:  # ours, or from a user's own engine
            logger.opt(exception=error).error("The caller's last words are lost")
            last_words = ()
        if last_words:
            heard_s = self._unanswered.fed_s + loop.time() - started_s
            await self._push_words(DuplexStep(None, caller_text=last_words), heard_s)
        for frame in self._words.finish():
            await self._push_word_frame(frame)

    async def _turn_ended(self) -> None:
        # Speech that has already started is no response to this turn.
        if self.metrics_enabled and not self._speech.is_speaking:
            await self.start_ttfb_metrics()
            await self.start_processing_metrics()

    def _report_timeout(self) -> None:
        error = EngineFailed(f"{self.session.display_name} gave no answer for {self._hang_secs:g} s")
        self.create_task(self.push_error(str(error), exception=error, force_treat_as_permanent=True))

    async def _stop_output(self) -> None:
        await self._unmute()
        self._unanswered.stop()
        if task := self._output_task:
            self._output_task = None  # before the await: the pipeline's end and cleanup() both stop it
            await self.cancel_task(task)
