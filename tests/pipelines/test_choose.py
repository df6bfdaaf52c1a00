from __future__ import annotations

import re

import pytest
from pipecat.pipeline.parallel_pipeline import ParallelPipeline
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker

from moshi_phone.runtime.plugin import PluginUnfit
from moshi_phone.testing.engine import FakeEngine, FakeSession
from pipelines.call_parts import CallParts
from pipelines.choose import choose_pipeline, parse_options
from pipelines.line_mirror import line_mirror
from pipelines.phone_call import phone_call
from processors.tap import Tap
from tests.pipelines.test_phone_call import Transport
from tests.support.logs import Logged

HERE = "tests.pipelines.test_choose"
NO_FUNCTION = 5


def parts(**more: object) -> CallParts:
    return CallParts(Transport(), FakeSession(FakeEngine()), **more)  # type: ignore[arg-type]


def own(parts: CallParts, volume: float = 0.5) -> Pipeline:
    """Assembles a call, and may have more arguments with defaults."""
    return phone_call(parts)


def inner(parts: CallParts) -> Pipeline:
    """Has its taps inside a nested pipeline."""
    both = ParallelPipeline([*parts.taps], [Tap()])  # type: ignore[no-untyped-call]
    return Pipeline([parts.transport.input(), both])


def whole(parts: CallParts) -> PipelineWorker:
    """Returns a worker."""
    pipeline = Pipeline([parts.transport.input(), parts.transport.output()])
    return parts.worker(pipeline, name=parts.options["colour"])


def old(transport: object, session: object) -> Pipeline:
    """Takes two arguments."""
    raise NotImplementedError


def nothing(parts: CallParts) -> None:
    """Returns nothing."""


async def late(parts: CallParts) -> Pipeline:
    """Is a coroutine function."""
    raise NotImplementedError


async def test_a_function_gets_the_call_s_parts() -> None:
    tap = Tap()
    worker = choose_pipeline(f"{HERE}:own")(parts(taps=[tap]))
    (pipeline,) = worker.pipeline.processors[1:-1]  # inside the worker's own
    assert tap in pipeline.processors


async def test_a_function_may_return_the_worker() -> None:
    worker = choose_pipeline(f"{HERE}:whole")(parts(options={"colour": "red"}))
    assert worker.name == "red"


async def test_left_out_taps_of_a_worker_are_logged_too(logged: Logged) -> None:
    choose_pipeline(f"{HERE}:whole")(parts(taps=[Tap()], options={"colour": "red"}))
    assert "leaves out 1 taps" in logged.text


def test_options_of_a_user_s_pipeline() -> None:
    assert parse_options(["colour=red", "sum=1+1=2", "empty="]) == {
        "colour": "red",
        "sum": "1+1=2",
        "empty": "",
    }
    for lines, sentence in (
        (["colour"], "expected KEY=VALUE, got 'colour'"),
        (["=red"], "expected KEY=VALUE, got '=red'"),
        (["colour=red", "colour=blue"], "colour is there twice"),
    ):
        with pytest.raises(PluginUnfit, match=f"--pipeline-option: {re.escape(sentence)}"):
            parse_options(lines)


async def test_without_an_account_a_transfer_does_not_start() -> None:
    assert not parts().transfer("the caller asked for a person")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("old", "expected a function of one argument, a CallParts (pipelines/call_parts.py), got tests."),
        ("late", f"expected def, got async def {HERE}:late; it must return a Pipeline at once."),
        ("NO_FUNCTION", f"expected a function that returns a Pipeline, got {HERE}:NO_FUNCTION."),
        ("test_without_an_account_a_transfer_does_not_start", "expected def, got async def"),
    ],
)
def test_invalid_pipeline_functions_are_refused(name: str, sentence: str) -> None:
    with pytest.raises(PluginUnfit) as unfit:
        choose_pipeline(f"{HERE}:{name}")
    assert sentence in str(unfit.value)


async def test_a_function_that_returns_something_else_is_an_error() -> None:
    with pytest.raises(
        PluginUnfit, match=r"expected a Pipeline or a PipelineWorker from .*:nothing, got NoneType"
    ):
        choose_pipeline(f"{HERE}:nothing")(parts())


@pytest.mark.parametrize("name", ["pipelines.phone_call:phone_call", f"{HERE}:inner"])
async def test_used_taps_are_not_logged(logged: Logged, name: str) -> None:
    choose_pipeline(name)(parts(taps=[Tap()]))
    assert "taps" not in logged.text


async def test_left_out_taps_are_logged_once(logged: Logged) -> None:
    make = choose_pipeline(f"{line_mirror.__module__}:{line_mirror.__name__}")
    for _ in range(2):
        make(parts(taps=[Tap()], inbound_taps=[Tap()]))
    assert logged.text.count("leaves out 2 taps") == 1
