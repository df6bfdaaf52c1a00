"""The stages that options add to a call: keys and phrases with an action, filters of the caller's audio."""

from __future__ import annotations

from functools import partial

from pipecat.processors.frame_processor import FrameProcessor

from moshi_phone.records.call_metrics import CallMetrics
from moshi_phone.server.calls.call import Call
from moshi_phone.server.calls.consent import keeps_calls, refuse
from moshi_phone.server.calls.control import CallControl
from moshi_phone.server.calls.options import CallOptions
from moshi_phone.server.calls.state import ServerState
from processors.dtmf_actions import Action, DtmfActions
from processors.gain import AutomaticGain
from processors.noise import NoiseSuppressor
from processors.phrase_trigger import PhraseTrigger
from processors.tap import FrameMonitor


def caller_filters(options: CallOptions, metrics: CallMetrics) -> list[FrameProcessor]:
    """Create the stages for noisy and quiet callers, as enabled by the options.

    Args:
        options: of the server's calls.
        metrics: of the call.
    """
    filters: list[FrameProcessor] = []
    if options.noise_suppression:
        filters.append(NoiseSuppressor(metrics))
    # After the suppressor: otherwise a quiet caller's noise would be amplified first.
    if options.automatic_gain:
        filters.append(AutomaticGain())
    return filters


def action_monitors(call: Call, state: ServerState, control: CallControl) -> list[FrameMonitor]:
    """Create the monitors of keys and phrases with an action, as enabled by the options.

    Args:
        call: ended, transferred or no longer recorded by them.
        state: has the options.
        control: transfers the call, and says goodbye.
    """
    options, keys = state.settings.calls, dict[str, Action]()
    if hangup_key := state.settings.server.hangup_key:
        keys[hangup_key] = call.request_end
    if options.transfer_key:
        keys[options.transfer_key] = control.transfer
    if (optout_key := state.settings.taps.record_optout_key) and keeps_calls(state.settings.taps):
        keys[optout_key] = partial(refuse, call, state)
    monitors: list[FrameMonitor] = []
    # Keys without an action are observed, too: they end a silence of the caller.
    if talk := call.observations.conversation:
        monitors.append(DtmfActions(keys, talk.key_pressed))
    elif keys:
        monitors.append(DtmfActions(keys))
    if options.transfer_phrase:
        monitors.append(PhraseTrigger(options.transfer_phrase, control.transfer, by_both=False))
    if options.hangup_phrase:
        monitors.append(
            PhraseTrigger(
                options.hangup_phrase, control.say_goodbye, by_both=True, take_back=control.take_back_goodbye
            )
        )
    return monitors
