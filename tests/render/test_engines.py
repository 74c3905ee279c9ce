"""The table of engines: what "auto" takes, which weights it runs with, what is told of one that cannot run."""

from __future__ import annotations

import inspect
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fsgan_core.contract.errors import EngineError, WeightsError
from fsgan_core.contract.params import BlendParams, MaskParams, ReenactParams, WeightsParams
from fsgan_core.contract.shot import Stages
from fsgan_core.networks.weights import installed as installed_weights
from fsgan_core.render.engines import (
    ENGINES,
    Engine,
    ResolvedEngine,
    choose_engine,
    describe_missing,
    draws_whole_face,
    find_auto_engine,
)
from fsgan_core.stages.interface import BlendEngine, DriveEngine, InpaintEngine, MaskEngine, ReenactEngine


def found(role: str, name: str = "", licence: str = "unknown") -> Any:
    """Stands for an installed file."""
    info = SimpleNamespace(name=name or f"{role}_weights", role=role, licence=licence)
    return SimpleNamespace(info=info, path=Path("nowhere"), sha256=f"{len(name):02d}" + "ab" * 31)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Roles whose weights are there; a test may change the set."""
    roles: set[str] = set()

    def find(role: str, name: str = "", allow: str = "any") -> Any:
        if role not in roles or allow == "commercial":
            raise WeightsError(f"no weights for {role}; run fsgan weights import")
        return found(role, name)

    monkeypatch.setattr(installed_weights, "find_weights", find)
    monkeypatch.setattr(
        installed_weights,
        "find_best_weights",
        lambda role, allow="any": found(role) if role in roles and allow != "commercial" else None,
    )
    return roles


def test_auto_is_classical_without_weights(installed: set[str]) -> None:
    names = {stage: choose_engine(stage, Stages()).name for stage in ("reenact", "mask", "inpaint", "blend", "drive")}
    assert names == {"reenact": "mesh", "mask": "geometric", "inpaint": "fill", "blend": "poisson", "drive": "liquify"}


def test_auto_is_neural_where_its_weights_are(installed: set[str]) -> None:
    installed.add("blend")
    chosen = choose_engine("blend", Stages())
    assert chosen.name == "fsgan" and list(chosen.get_weight_hashes()) == ["blend_weights"]
    assert choose_engine("reenact", Stages()).name == "mesh"


def test_auto_leaves_weights_that_are_not_allowed(installed: set[str]) -> None:
    installed.add("blend")
    stages = Stages(weights=WeightsParams(allow="commercial"))
    assert choose_engine("blend", stages).name == "poisson"


def test_weights_that_are_named_make_auto_neural(installed: set[str]) -> None:
    installed.add("blend")
    chosen = choose_engine("blend", Stages(blend=BlendParams(network="mine")))
    assert chosen.name == "fsgan" and list(chosen.get_weight_hashes()) == ["mine"]
    installed.clear()
    with pytest.raises(WeightsError, match="weights import"):
        choose_engine("blend", Stages(blend=BlendParams(network="mine")))


def test_one_by_name(installed: set[str]) -> None:
    installed.add("blend")
    assert choose_engine("blend", Stages(blend=BlendParams(engine="over"))).name == "over"


def test_reenact_uses_the_mask_network_that_the_mask_would_run_with(installed: set[str]) -> None:
    installed.add("reenact")
    stages = Stages(reenact=ReenactParams(engine="fsgan"))
    assert set(choose_engine("reenact", stages).installed_weights) == {"reenact"}
    installed.add("mask")
    assert set(choose_engine("reenact", stages).installed_weights) == {"reenact", "mask"}
    without = replace(stages, mask=MaskParams(engine="geometric"))
    assert set(choose_engine("reenact", without).installed_weights) == {"reenact"}


def test_an_engine_without_its_weights_says_what_to_run(installed: set[str]) -> None:
    with pytest.raises(WeightsError, match="weights import") as caught:
        choose_engine("mask", Stages(mask=MaskParams(engine="fsgan")))
    assert caught.value.exit_code == 2


def test_an_engine_that_is_not_known() -> None:
    table = (Engine("blend", "over", lambda networks: None),)
    with pytest.raises(EngineError, match="there are over and auto"):
        choose_engine("blend", Stages(blend=BlendParams(engine="poisson")), table=table)
    with pytest.raises(EngineError, match="doctor"):
        choose_engine("mask", Stages(), table=table)


def test_what_the_metadata_says_of_weights() -> None:
    chosen = ResolvedEngine(ENGINES[0], {"reenact": found("reenact", "gr", "research"), "mask": found("mask", "gs")})
    assert chosen.weights_text.startswith("gs:02ababababab (unknown), gr:02")
    assert "(research)" in chosen.weights_text
    assert ResolvedEngine(ENGINES[1]).weights_text == "none"


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: f"{engine.stage}-{engine.name}")
def test_an_engine_has_the_methods_of_its_stage(engine: Engine[Any]) -> None:
    protocol = {
        "reenact": ReenactEngine,
        "mask": MaskEngine,
        "inpaint": InpaintEngine,
        "blend": BlendEngine,
        "drive": DriveEngine,
    }[engine.stage]
    created = engine.create({})
    for name in (name for name in vars(protocol) if not name.startswith("_")):
        wanted = inspect.signature(getattr(protocol, name)).parameters
        offered = inspect.signature(getattr(created, name)).parameters
        assert [name for name in wanted if name != "self"] == [name for name in offered if name in wanted]


def test_the_table_imports_no_engine() -> None:
    program = "import sys, fsgan_core.render.engines; print(*{'torch', 'scipy', 'cv2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_what_is_missing(installed: set[str]) -> None:
    lacking = {f"{engine.stage}-{engine.name}" for engine in ENGINES if describe_missing(engine)}
    assert lacking == {"reenact-fsgan", "mask-fsgan", "inpaint-fsgan", "blend-fsgan"}


@pytest.mark.parametrize(("stage", "engine"), [("reenact", "mesh"), ("blend", "poisson"), ("drive", "liquify")])
def test_what_auto_takes(stage: str, engine: str) -> None:
    """Without weights; and none for a stage that is not there."""
    assert find_auto_engine(stage) == find_auto_engine(stage, "commercial") == engine
    assert find_auto_engine("nothing") == ""


@pytest.mark.parametrize(
    ("trained", "setting", "anew"),
    [(True, "auto", False), (False, "auto", True), (True, "off", True), (False, "on", False)],
)
def test_who_draws_the_face_anew(trained: bool, setting: str, anew: bool) -> None:
    """A refined view shows no more than the view: what it lacks is looked for in others."""
    row = next(engine for engine in ENGINES if engine.stage == "reenact" and engine.name == "fsgan")
    network = SimpleNamespace(info=SimpleNamespace(prewarp=trained))
    assert draws_whole_face(ResolvedEngine(row, {"reenact": network}), setting) is anew  # type: ignore[dict-item]
    assert not draws_whole_face(ResolvedEngine(ENGINES[-1]), setting)
