"""Which pipeline a call runs: ``phone_call``, or a function of the user's own (``--pipeline``)."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from pipecat.pipeline.pipeline import Pipeline

from moshi_phone.runtime.plugin import PluginUnfit, load

OPTION = "--pipeline"
OFFERED = ("transport", "session", "playout_lead_ms", "hang_secs", "inbound_taps", "taps")
"""What ``bot.run_call`` offers a pipeline function; it takes by name what it wants of that."""

OFFERED_BY_NAME = ("transfer",)
"""What it offers beside, to who names it: ``transfer(why) -> bool`` begins to put the caller through to
``--transfer-to``, and says whether it has (``server/calls/control.py``). ``phone_call`` needs none of it."""

MakePipeline = Callable[..., Pipeline]


def choose_pipeline(spec: str) -> MakePipeline:
    """Give the function that assembles a call, as ``phone_call`` does.

    Args:
        spec: ``MODULE:FUNCTION``.

    Returns:
        A function that takes all of ``OFFERED`` and ``OFFERED_BY_NAME`` by name, whatever of it the chosen
        one wants.

    Raises:
        PluginUnfit: when it is not there, or wants what is not offered.
    """
    function = load(spec, OPTION)
    if not callable(function):
        raise PluginUnfit(f"{OPTION}: expected a function that gives a Pipeline, got {spec}, which is none.")
    if inspect.iscoroutinefunction(function):
        raise PluginUnfit(f"{OPTION}: expected def, got async def {spec}; it gives a Pipeline at once.")
    # Looked at now, so that what cannot be called is found at the start and not with the first call.
    parameters = inspect.signature(function).parameters.values()
    takes_all = any(one.kind is one.VAR_KEYWORD for one in parameters)
    wanted = [one.name for one in parameters if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)]
    needed = [one.name for one in parameters if one.default is one.empty and one.name in wanted]
    if "transport" not in wanted and not takes_all:
        raise PluginUnfit(
            f"{OPTION}: expected a function of transport, session, …, got {spec}({', '.join(wanted)})."
        )
    if strange := [name for name in needed if name not in (*OFFERED, *OFFERED_BY_NAME)]:
        raise PluginUnfit(
            f"{OPTION}: {spec} wants {', '.join(strange)}; what a call offers is "
            f"{', '.join((*OFFERED, *OFFERED_BY_NAME))}."
        )
    given = {*wanted, *OFFERED} if takes_all else set(wanted)

    def make(**offered: Any) -> Pipeline:
        return _checked(function(**{name: offered[name] for name in offered.keys() & given}), spec)

    return make


def watches(spec: str) -> bool:
    """Tell whether the function takes the taps, without which a call is neither measured nor recorded."""
    parameters = inspect.signature(load(spec, OPTION)).parameters.values()
    return any(one.name == "taps" or one.kind is one.VAR_KEYWORD for one in parameters)


def _checked(pipeline: Any, spec: str) -> Pipeline:
    if not isinstance(pipeline, Pipeline):
        hint = "; does it return what it makes?" if pipeline is None else "."
        raise PluginUnfit(f"{OPTION}: expected a Pipeline from {spec}, got {type(pipeline).__name__}{hint}")
    return pipeline
