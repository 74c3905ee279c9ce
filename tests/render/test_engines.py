"""The table of engines: what "auto" takes, what is told of one that cannot run."""

from __future__ import annotations

import pytest

from fsgan_core.contract.errors import EngineError
from fsgan_core.render.engines import ENGINES, Engine, resolve_engine

LACKING = Engine("blend", "fsgan", {}, missing=lambda: "it has no weights; run fsgan weights fetch")
READY = Engine("blend", "poisson", {})


def test_auto_takes_the_first_that_lacks_nothing() -> None:
    assert resolve_engine("blend", "auto", (LACKING, READY)) is READY
    better = Engine("blend", "better", {})
    assert resolve_engine("blend", "auto", (LACKING, better, READY)) is better


def test_one_by_name() -> None:
    assert resolve_engine("blend", "poisson", (LACKING, READY)) is READY


@pytest.mark.parametrize(("name", "says"), [("fsgan", "no weights; run"), ("magic", "fsgan, poisson and auto")])
def test_refusals(name: str, says: str) -> None:
    with pytest.raises(EngineError, match=says) as caught:
        resolve_engine("blend", name, (LACKING, READY))
    assert caught.value.exit_code == 2


def test_nothing_runs() -> None:
    with pytest.raises(EngineError, match="doctor"):
        resolve_engine("blend", "auto", (LACKING,))


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: f"{engine.stage}-{engine.name}")
def test_functions_are_there(engine: Engine) -> None:
    for role in engine.functions:
        assert callable(engine.function(role))
    assert engine.weights_text == "none" and engine.missing() == ""
