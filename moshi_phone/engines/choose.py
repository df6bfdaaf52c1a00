"""Selects the engine from the options."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import get_args

from moshi_phone.engines import nvidia
from moshi_phone.engines.duplex import DuplexEngine, EngineUnavailable
from moshi_phone.engines.options import AUTO_CALLS, EngineOptions
from moshi_phone.engines.parrot import ParrotEngine
from moshi_phone.engines.personas import NO_PERSONAS, Personas, resolve_personas
from moshi_phone.engines.said_words import fault_of_greeting
from moshi_phone.engines.voices import PERSONAPLEX_REPO
from moshi_phone.runtime.errors import describe_error
from moshi_phone.runtime.plugin import PluginUnfit, load

ENGINES = ("auto", "moshi", "parrot", "remote")


@dataclass(frozen=True)
class EngineChoice:
    """An engine, and why it was selected.

    Attributes:
        engine: not started yet.
        reason: follows the engine's name in the log: "because …", "on Metal".
        hint: how to select another one; may be empty.
        personas: the settings of calls, by number or by name.
        left_out: set options that the engine ignores.
    """

    engine: DuplexEngine
    reason: str
    hint: str = ""
    personas: Personas = NO_PERSONAS
    left_out: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """Return the choice in one line, for the log."""
        hints = [*([self.hint] if self.hint else []), *(f"{name} is left out" for name in self.left_out)]
        return f"Engine: {'; '.join([f'{self.engine.name}, {self.reason}', *hints])}."


def accelerator() -> str | None:
    """Return the name of mlx's accelerator on this machine, or None if mlx would use the CPU."""
    try:
        import mlx.core as mx  # noqa: PLC0415 - loading mlx takes a moment, and the parrot does not need it
    except ImportError:  # mlx has no backend, or its driver is missing
        return None
    if mx.metal.is_available():
        return "Metal"
    if mx.cuda.is_available():
        return "CUDA"
    return None


def unused_gpu() -> str | None:
    """Return the name of this machine's NVIDIA GPU if mlx does not use it."""
    return None if accelerator() else nvidia.gpu_name()


def uses_backends(options: EngineOptions) -> bool:
    """Return whether remote servers answer: naming one selects them."""
    return options.engine == "remote" or (options.engine == "auto" and bool(options.remote.server))


def create_engine(options: EngineOptions) -> EngineChoice:
    """Create the engine that the options select, with the reason and the alternative.

    Raises:
        EngineUnavailable: when the options request something that is not available.
    """
    settled, personas = resolve_personas(options)
    return replace(_choose(settled), personas=personas)


def _choose(options: EngineOptions) -> EngineChoice:
    if options.greets_in_words and (fault := fault_of_greeting(options.greeting)):
        raise EngineUnavailable(f"--greeting: {fault}.")
    if ":" in options.engine:
        return EngineChoice(_own_engine(options), "user-supplied")
    if options.engine not in ENGINES:
        raise EngineUnavailable(
            f"--engine: expected {', '.join(ENGINES)} or MODULE:CLASS, got {options.engine!r}."
        )
    remote = uses_backends(options)
    if options.listens and (remote or options.engine == "parrot"):
        raise EngineUnavailable(
            f"{'Servers' if remote else 'The parrot'} cannot listen for words; leave out --listen, or take "
            "--engine moshi."
        )
    if remote:
        return _remote_engine(options)
    if options.engine == "parrot":
        return _requested_parrot(options)
    return _moshi_or_parrot(options)


def _requested_parrot(options: EngineOptions) -> EngineChoice:
    if options.persona:
        raise EngineUnavailable("The parrot takes no persona; leave out --persona, or take --engine moshi.")
    if options.greets_in_words:
        raise EngineUnavailable(
            "The parrot cannot say given words; leave out --greeting, or take --engine moshi."
        )
    return EngineChoice(_parrot(options), "as requested", left_out=_left_out_by_parrot(options))


def _moshi_or_parrot(options: EngineOptions) -> EngineChoice:
    """Create Moshi, or a parrot if the choice is free and mlx has no accelerator."""
    # Not for the other engines: importing mlx and querying the driver take time.
    found = accelerator()
    gpu = unused_gpu()
    hint = f"to have Moshi on it: {nvidia.REMEDY}; " if gpu else ""
    if options.engine == "auto" and found is None:
        no_accelerator = "because mlx finds no accelerator here (Metal or CUDA)"
        return EngineChoice(
            _parrot(options),
            f"because mlx does not use this machine's {gpu}" if gpu else no_accelerator,
            f"{hint}--engine moshi runs Moshi anyway; --engine parrot asks for the parrot",
            left_out=_left_out_by_parrot(options),
        )
    try:
        from moshi_phone.engines.moshi.engine import MoshiEngine  # noqa: PLC0415 - as above
    except ModuleNotFoundError as error:
        raise EngineUnavailable(
            f"The Moshi engine needs the package {error.name}, which is not installed: run uv sync. "
            "--engine parrot answers calls without it."
        ) from error
    where = f"on {found}" if found else "on the CPU, which is too slow for a conversation"
    if gpu:
        where += f", and not on this machine's {gpu}"
    return EngineChoice(MoshiEngine(options), where, f"{hint}--engine parrot answers without it")


def _left_out_by_parrot(options: EngineOptions) -> tuple[str, ...]:
    """Return the set options that the parrot ignores."""
    # A persona, or one of PersonaPlex's voices, selects a model by itself.
    is_named = options.model not in ("", PERSONAPLEX_REPO)
    asked = {
        "--listen": options.listens,
        "--persona": bool(options.persona),
        "--voice": bool(options.voice),
        "--model": is_named,
        "--greeting": options.greets_in_words,
    }
    return tuple(name for name, is_set in asked.items() if is_set)


def _parrot(options: EngineOptions) -> ParrotEngine:
    """Create a parrot, with the number of calls if it is set."""
    if options.calls is None or options.calls == AUTO_CALLS:
        return ParrotEngine(options.parrot_delay)
    return ParrotEngine(options.parrot_delay, options.calls)


def _own_engine(options: EngineOptions) -> DuplexEngine:
    """Create the user's own engine: its class takes the options, or no argument."""
    made = load(options.engine, "--engine")
    if not (isinstance(made, type) and issubclass(made, DuplexEngine)):
        raise PluginUnfit(f"--engine: expected a class derived from DuplexEngine, got {options.engine}.")
    # Instantiation would fail as well, but with a traceback.
    if missing := sorted(getattr(made, "__abstractmethods__", ())):
        raise PluginUnfit(f"--engine: {options.engine} lacks {', '.join(missing)} (see engines/duplex.py).")
    for name, is_async in (("start", True), ("stop", True), ("open_session", False)):
        if inspect.iscoroutinefunction(getattr(made, name)) is not is_async:
            kinds = ("async def", "def") if is_async else ("def", "async def")
            raise PluginUnfit(
                f"--engine: expected {kinds[0]} {name}, got {kinds[1]} in {options.engine} "
                "(see engines/duplex.py)."
            )
    try:
        make: Callable[..., DuplexEngine] = made
        return make(options) if inspect.signature(make).parameters else make()
    except EngineUnavailable:
        raise
    except TypeError as error:
        raise PluginUnfit(
            f"--engine: {options.engine} cannot be created from EngineOptions ({error})."
        ) from error
    except Exception as error:  # the user's class may raise anything
        raise PluginUnfit(
            f"--engine: {options.engine} cannot be created ({describe_error(error)})."
        ) from error


def _remote_engine(options: EngineOptions) -> EngineChoice:
    from moshi_phone.engines.remote.engine import RemoteEngine  # noqa: PLC0415 - loads Opus, which only servers need
    from moshi_phone.engines.remote.query import Greeting, RemoteCallSettings  # noqa: PLC0415

    sampling = {
        "text_temperature": options.text_temperature,
        "text_top_k": options.text_top_k,
        "audio_temperature": options.audio_temperature,
        "audio_top_k": options.audio_top_k,
        "max_steps": options.remote.max_steps,
    }
    greetings: tuple[Greeting, ...] = get_args(Greeting)
    # Any other value is the greeting itself, in words.
    greeting = next((kind for kind in greetings if kind == options.greeting), None)
    requested = RemoteCallSettings(
        persona=options.persona,
        voice=options.voice,
        greeting=greeting or "speech",
        greeting_words="" if greeting else options.greeting,
        sampling=tuple(sampling.items()),
        seed=options.seed,
    )
    engine = RemoteEngine(options.remote, requested, options.greeting_frames)
    names = ", ".join(server.name for server in engine.servers)
    return EngineChoice(engine, f"at {names}", "--engine parrot answers without a server")
