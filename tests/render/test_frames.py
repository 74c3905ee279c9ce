"""What a maker of frames shares with another: never a view that was cut for another network; what stages share."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fsgan_core.contract.params import MaskParams, ReenactParams
from fsgan_core.contract.shot import Stages
from fsgan_core.networks.weights.catalogue import WeightsInfo
from fsgan_core.networks.weights.installed import InstalledWeights
from fsgan_core.plates.plate import Window
from fsgan_core.render.context import make_context
from fsgan_core.render.engines import ENGINES, ResolvedEngine
from fsgan_core.render.frames import FrameRenderer
from fsgan_core.stages.allowed_views import ViewRef
from fsgan_core.stages.neural.fsgan_crop import compute_view_margin
from fsgan_core.stages.reenactment import VIEW_MARGIN


def maker(
    monkeypatch: pytest.MonkeyPatch, engine: ResolvedEngine[Any], like: FrameRenderer | None = None
) -> FrameRenderer:
    """One that reads no files: a view is the margin that it was cut with."""
    inputs: Any = SimpleNamespace(
        stages=Stages(),
        device="cpu",
        config=SimpleNamespace(digest=""),
        working_space="",
        target=SimpleNamespace(space=""),
    )
    context = make_context(inputs, lambda frame: None)  # type: ignore[arg-type, return-value]
    made = FrameRenderer(replace(context, engines=replace(context.engines, reenact=engine)), like=like)
    picture = SimpleNamespace(nbytes=0)
    monkeypatch.setattr(
        made, "_read_view", lambda scene, ref, margin, _: SimpleNamespace(display=picture, matte=picture, margin=margin)
    )
    return made


def test_views_kept_in_memory_are_as_wide_as_each_network_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    fsgan, warp = (engine for engine in ENGINES if engine.stage == "reenact")
    wide = InstalledWeights(WeightsInfo("v1", "reenact", crop=2.0, landmarks=68), Path("v1"), "00" * 32)
    scene: Any = SimpleNamespace(number=0, driven_frames={}, open_eyed_frames=())
    first = maker(monkeypatch, ResolvedEngine(warp))
    second = maker(monkeypatch, ResolvedEngine(fsgan, {"reenact": wide}), like=first)
    margins = [one._get_view(scene, ViewRef(0, 1)).margin for one in (first, second, first)]  # type: ignore[attr-defined]
    assert margins == [VIEW_MARGIN, compute_view_margin(2.0), VIEW_MARGIN]
    assert margins[1] > margins[0]


def test_only_a_swap_keeps_the_targets_glasses(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a drive they move with the face: held in place, thin rims broke."""
    made = maker(monkeypatch, ResolvedEngine(next(engine for engine in ENGINES if engine.stage == "reenact")))
    asked: list[bool] = []

    def measure_mattes(face_frame: Any, params: MaskParams) -> Any:
        asked.append(params.keep_glasses)
        return SimpleNamespace(pixels=np.zeros(1))

    monkeypatch.setattr(ResolvedEngine, "load", lambda self: SimpleNamespace(measure_mattes=measure_mattes))
    monkeypatch.setattr(type(made.context), "is_driven", lambda self, frame: frame == 2)
    monkeypatch.setattr(made, "get_face_frame", lambda frame, with_holdout: None)
    for frame in (1, 2):
        made._measure_mattes(frame)
    assert asked == [True, False]


def test_irises_are_measured_in_views_of_the_same_glasses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever of two renders that share what they keep came first."""
    scene: Any = SimpleNamespace(number=0, driven_frames={}, open_eyed_frames=(), iris_views=(ViewRef(0, 1),))
    engine: Any = ResolvedEngine(next(engine for engine in ENGINES if engine.stage == "reenact"))
    first = maker(monkeypatch, engine)
    second = maker(monkeypatch, engine, like=first)
    second.context.inputs.stages = Stages(reenact=ReenactParams(keep_source_glasses=True))  # type: ignore[misc]

    def read_view(scene: Any, ref: ViewRef, margin: float, keep_glasses: bool) -> Any:
        picture, face = (
            SimpleNamespace(nbytes=0, has_glasses=keep_glasses),
            SimpleNamespace(get_mesh=lambda aspect: None),
        )
        return SimpleNamespace(display=picture, matte=picture, window=None, face=face, pixel_aspect=1.0)

    for one in (first, second):
        monkeypatch.setattr(one, "_read_view", read_view)
    module = sys.modules[FrameRenderer.__module__]
    monkeypatch.setattr(module, "measure_iris", lambda pictures: [one[0].has_glasses for one in pictures])
    monkeypatch.setattr(module, "compute_iris_tint", lambda source, target, amount: source)
    tints: list[Any] = [one._get_iris_tint(scene, ReenactParams()) for one in (first, second, first)]
    assert tints == [[False], [True], [False]]


def test_the_stages_of_a_frame_get_one_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is found in a frame is kept in it; a look at a neighbour in between does not end that."""
    made = maker(monkeypatch, ResolvedEngine(next(engine for engine in ENGINES if engine.stage == "reenact")))
    targets: Any = {frame: SimpleNamespace(plate=SimpleNamespace(frame=frame)) for frame in (1, 2)}
    scene: Any = SimpleNamespace(faces={1: "first", 2: "second"}, codec=None, driven_frames={})
    made.context = replace(made.context, get_scene=lambda frame: scene)
    made.context.inputs.holdout = None  # type: ignore[misc]
    monkeypatch.setattr(type(made.context), "get_region", lambda self, frame: Window(0, 0, 4, 4))
    monkeypatch.setattr(made, "get_target", lambda frame: targets[frame])
    first = made.get_face_frame(1)
    assert made.get_face_frame(2, with_holdout=False).face == "second"  # type: ignore[comparison-overlap]
    assert made.get_face_frame(1) is first
    second = made.get_face_frame(2)
    assert (second.face, second.plate.frame) == ("second", 2)  # type: ignore[attr-defined, comparison-overlap]
    targets[2] = SimpleNamespace(plate=SimpleNamespace(frame=2))
    assert made.get_face_frame(2).plate is targets[2].plate


def test_a_frame_measured_for_its_neighbours_is_converted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = maker(monkeypatch, ResolvedEngine(next(engine for engine in ENGINES if engine.stage == "reenact")))
    scene: Any = SimpleNamespace(faces={1: "first", 2: "second"}, codec=None, driven_frames={})
    made.context = replace(made.context, get_scene=lambda frame: scene)
    made.context.inputs.holdout = None  # type: ignore[misc]
    monkeypatch.setattr(type(made.context), "get_region", lambda self, frame: Window(0, 0, 4, 4))
    monkeypatch.setattr(made, "get_target", lambda frame: SimpleNamespace(plate=frame))
    converted: list[int] = []

    def convert(plate: int, window: Window, codec: None) -> np.ndarray:
        converted.append(plate)
        return np.full((4, 4, 3), plate, np.float32)

    monkeypatch.setattr(sys.modules[FrameRenderer.__module__], "to_display", convert)
    measured = made.get_face_frame(2, with_holdout=False).display
    assert made.get_face_frame(1).display[0, 0, 0] == 1
    assert made.get_face_frame(2).display is measured
    assert converted == [2, 1]
    assert made.used_bytes >= 2 * measured.nbytes
