from __future__ import annotations

from inspect import signature

import pytest
from pipecat.pipeline.pipeline import Pipeline

from moshi_phone.runtime.plugin import PluginUnfit
from pipelines.choose import OFFERED, OFFERED_BY_NAME, choose_pipeline, watches
from pipelines.phone_call import phone_call


def whole(**offered: object) -> Pipeline:
    """Takes everything."""
    assert offered.keys() == set(OFFERED)
    return Pipeline([])


MODEST = {7: Pipeline([])}


def modest(transport: object, hang_secs: int) -> Pipeline:
    """Takes two of what is offered."""
    return MODEST[hang_secs]


def naming(transport: object, transfer: object, **more: object) -> Pipeline:
    """Takes all that phone_call takes, and what it names beside."""
    assert more.keys() | {"transport"} == set(OFFERED)
    return MODEST[7]


def strange(transport: object, moon: object) -> Pipeline:
    """Wants what no call has."""
    raise NotImplementedError


def nothing(transport: object) -> None:
    """Gives nothing."""


async def late(transport: object) -> Pipeline:
    """Was written with ``async``."""
    raise NotImplementedError


def test_a_function_takes_what_it_wants_of_what_is_offered() -> None:
    offered = dict.fromkeys(OFFERED)
    assert isinstance(choose_pipeline("tests.pipelines.test_choose:whole")(**offered), Pipeline)
    made = choose_pipeline("tests.pipelines.test_choose:modest")(**{**offered, "hang_secs": 7})
    assert made is MODEST[7]


def test_what_phone_call_does_not_need_is_for_who_names_it() -> None:
    offered = dict.fromkeys((*OFFERED, *OFFERED_BY_NAME))
    for name in ("whole", "modest", "naming"):
        made = choose_pipeline(f"tests.pipelines.test_choose:{name}")(**{**offered, "hang_secs": 7})
        assert isinstance(made, Pipeline)


def test_what_a_call_offers_is_what_phone_call_takes() -> None:
    assert tuple(signature(phone_call).parameters) == OFFERED


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("strange", "wants moon; what a call offers is transport, session, playout_lead_ms"),
        (
            "late",
            "expected def, got async def tests.pipelines.test_choose:late; it gives a",
        ),
        ("OFFERED", "expected a function that gives a Pipeline, got tests.pipelines.test_choose:OFFERED"),
        ("test_what_a_call_offers_is_what_phone_call_takes", "expected a function of transport, session"),
    ],
)
def test_what_is_no_pipeline_function(name: str, sentence: str) -> None:
    with pytest.raises(PluginUnfit) as unfit:
        choose_pipeline(f"tests.pipelines.test_choose:{name}")
    assert sentence in str(unfit.value)


def test_a_function_that_gives_no_pipeline() -> None:
    with pytest.raises(PluginUnfit, match=r"expected a Pipeline from .*:nothing, got NoneType"):
        choose_pipeline("tests.pipelines.test_choose:nothing")(**dict.fromkeys(OFFERED))


def test_the_mirror_takes_no_taps() -> None:
    assert watches("pipelines.phone_call:phone_call")
    assert not watches("pipelines.line_mirror:line_mirror")
