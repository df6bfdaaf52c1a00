"""Fixtures and hooks of all tests."""

from __future__ import annotations

import asyncio
import ctypes
import functools
import gc
import inspect
import os
import secrets
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import hypothesis
import psutil
import pytest
import uvicorn.server
from filelock import FileLock
from loguru import logger

from moshi_phone.commands.random_model import write_random_mimi
from moshi_phone.runtime.last_resort import last_resort
from moshi_phone.server.calls import load, media_watch
from tests.fakes.twilio_api import FakeTwilioApi, fake_twilio_api
from tests.support.clone import Clone
from tests.support.logs import Logged, logged_lines

_MUCH_MEMORY_BYTES = 1_500_000_000
_ASYNC_TEST_SECS = 240

hypothesis.settings.register_profile("no-deadline", deadline=None)  # a busy machine is slow
hypothesis.settings.load_profile("no-deadline")

# If a shell runs the tests in the background, they ignore Ctrl-C, and so does every program that they start:
# programs that Ctrl-C must end would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return the number of test processes: two, unless the user gave a number."""
    option = config.option
    is_whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS and "not slow" in option.markexpr
    is_watched = option.keyword or option.capture == "no"
    return min(2, os.cpu_count() or 1) if is_whole and not is_watched else 0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the tests that load codecs, which take longest; processes get one test at a time.

    CPU-bound ones come last: CI runs them beside the others, and each codec takes 350 MB.
    """
    for item in items:
        if inspect.iscoroutinefunction(test := getattr(item, "obj", None)):
            has_browser = item.get_closest_marker("browser") is not None
            item.obj = _ending(test, has_browser=has_browser)  # type: ignore[attr-defined]
    items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    if "mimi_file" not in getattr(item, "fixturenames", ()):
        return 1
    return 2 if item.get_closest_marker("cpu_bound") else 0


def _ending(test: Callable[..., Awaitable[None]], *, has_browser: bool) -> Callable[..., Awaitable[None]]:
    """Make a hanging test fail in an orderly way, and keep a failing browser test from breaking pytest.

    pytest-timeout, which has a later limit and is for the other tests, aborts the event loop. Then the tasks
    of a call, cancelled all at once, can hang for ever. A traceback through Playwright breaks pytest itself,
    and so all later tests (a bug of CPython 3.11): it is formatted here.
    """

    @functools.wraps(test)
    async def within(*args: object, **kwargs: object) -> None:
        try:
            async with asyncio.timeout(_ASYNC_TEST_SECS) as limit:
                await test(*args, **kwargs)
        except Exception as error:
            if limit.expired():
                frames = traceback.extract_tb(_first(error).__traceback__)
                lines = [f"{at.filename}:{at.lineno}" for at in frames]
                pytest.fail("\n".join([f"hangs: not over after {_ASYNC_TEST_SECS} s", *lines]), pytrace=False)
            if has_browser:
                pytest.fail("".join(traceback.format_exception(error)), pytrace=False)
            raise

    return within


def _first(error: BaseException) -> BaseException:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error


def pytest_collection_finish() -> None:
    """Exempt loaded objects from garbage collection, as the server does."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _quiet() -> None:
    """Disable pipecat's debug log, which costs time and fills the reports."""
    logger.remove()
    logger.add(sys.stderr, level="WARNING")


@pytest.fixture(autouse=True, scope="session")
def _no_forced_end() -> Iterator[None]:
    """Prevent a command that runs in this process from ending the process later."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(last_resort, "_exit_process", lambda _: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def _quick_servers() -> Iterator[None]:
    """Let uvicorn check more often whether it should exit: its interval of 0.1 s passes twice at the end of
    each server."""

    async def sleep(secs: float) -> None:
        await asyncio.sleep(secs / 20)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uvicorn.server, "asyncio", SimpleNamespace(**vars(asyncio) | {"sleep": sleep}))
        yield


@pytest.fixture(autouse=True)
def _state_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep programs' state out of the home of the user who runs the tests."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / "state" / secrets.token_hex(4)))


@pytest.fixture(autouse=True)
def _slow_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not end calls whose caller is silent for 5 s, and do not refuse calls: the machine may be busy."""
    monkeypatch.setattr(media_watch, "STILL_SECS", 120.0)
    monkeypatch.setattr(load, "HIGH_LAG_S", 1.0)


@pytest.fixture(autouse=True)
def _memory_goes_back() -> Iterator[None]:
    """Return the memory of codecs and models to the system: glibc kept up to 5 GB of it for their threads."""
    yield
    if sys.platform == "linux" and psutil.Process().memory_info().rss > _MUCH_MEMORY_BYTES:
        # engines are reference cycles, with gigabytes of codecs that Python's collector does not count
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture
def twilio() -> Iterator[FakeTwilioApi]:
    """A running fake of Twilio's REST API."""
    with fake_twilio_api() as api:
        yield api


@pytest.fixture
def logged() -> Iterator[Logged]:
    """The log of the test."""
    with logged_lines() as logs:
        yield logs


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A fresh clone of the repository."""
    return Clone(tmp_path_factory.mktemp("clone"))


@pytest.fixture(scope="session")
def mimi_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Mimi with random values, full size (385 MB); created once per test run, for all processes."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # each process has its own folder in the run's folder
        folder = folder.parent
    path = folder / "mimi.safetensors"
    with FileLock(folder / "mimi.lock"):
        return path if path.exists() else write_random_mimi(path)


@pytest.fixture(scope="session")
def tiny_listening(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for ``--listen-model`` with a tiny model, for real Mimi tokens. Do not change its files: they
    are shared.
    """
    from tests.support.tiny_listening import write_tiny_listening  # noqa: PLC0415 - loads mlx

    return write_tiny_listening(tmp_path_factory.mktemp("tiny") / "listening", card=2048)


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory, mimi_file: Path) -> Path:
    """A folder for ``--model`` with a tiny Moshi. Its files are shared: copy those that you change."""
    from tests.support.tiny_moshi import write_tiny_checkpoint  # noqa: PLC0415 - loads mlx

    return write_tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "moshi", mimi=mimi_file)


@pytest.fixture(scope="session")
def talkative_pair(
    tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path, tiny_listening: Path
) -> tuple[Path, Path]:
    """``tiny_checkpoint`` and ``tiny_listening``, both of whose words make short sentences."""
    from tests.support.tiny_sentences import with_sentences  # noqa: PLC0415 - loads mlx

    folder = tmp_path_factory.mktemp("talkative")
    return (
        with_sentences(tiny_checkpoint, folder / "moshi"),
        with_sentences(tiny_listening, folder / "listening"),
    )


@pytest.fixture(scope="session")
def tiny_personaplex(tmp_path_factory: pytest.TempPathFactory, mimi_file: Path) -> Path:
    """A folder for ``--model`` with a tiny PersonaPlex as NVIDIA publishes it, and three voices."""
    from moshi_phone.commands.random_model import write_tiny_tokenizer  # noqa: PLC0415 - loads mlx
    from tests.support.tiny_personaplex import write_personaplex  # noqa: PLC0415
    from tests.support.tiny_voice import write_voice  # noqa: PLC0415

    folder = write_personaplex(tmp_path_factory.mktemp("tiny") / "personaplex", dim=64, text_card=200)
    (folder / "tokenizer-e351c8d8-checkpoint125.safetensors").symlink_to(mimi_file)
    write_tiny_tokenizer(folder / "tokenizer_spm_32k_3.model", 200)
    for seed, name in enumerate(("NATF2", "NATM0", "VARF1")):
        write_voice(folder / "voices" / f"{name}.pt", folder / "model.safetensors", seed=seed)
    return folder
