"""What the tests of the commands share: a render that draws nothing, and a small shot's flags."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from fsgan_core.contract.shot import Shot
from fsgan_core.render import pipeline
from fsgan_core.runtime.events import Event, FrameReport, RenderResult
from tests.small_shot import Small

SWAP = ["swap", "--source", "a.mov", "--target", "b.####.exr", "--output", "out/c.####.exr"]


class FakeRender:
    """Stands for render_shot: keeps what it was asked for, says two frames, returns or raises what it was told to."""

    def __init__(self, *, fails: Sequence[tuple[int, str]] = (), raises: BaseException | None = None) -> None:
        self.fails = dict(fails)
        self.raises = raises
        self.shot: Shot | None = None
        self.options: dict[str, Any] = {}

    def __call__(
        self,
        shot: Shot,
        *,
        frames: str,
        device: str,
        force: bool,
        quick: bool,
        on_event: Callable[[Event], None],
        on_picture: Callable[..., None] | None,
    ) -> RenderResult:
        self.shot = shot
        self.options = {"frames": frames, "device": device, "force": force, "quick": quick}
        if self.raises is not None:
            raise self.raises
        on_event(Event("analyse", "b", 3, 9))
        reports = []
        for frame in (1, 2):
            state = "failed" if frame in self.fails else "rendered"
            on_event(Event("frame", "swap", frame, 2, frame, state, 0.5, self.fails.get(frame, "")))
            reports.append(FrameReport(frame, state, f"out/{frame}.exr", {"blend": 0.5}, (), self.fails.get(frame, "")))
        return RenderResult(
            "swap",
            shot.output.path,
            "ACEScg",
            tuple(reports),
            {"blend": 1.0, "total": 1.5},
            {"blend": "poisson"},
            notes=("no face in 7",),
        )


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeRender]:
    def install(**told: Any) -> FakeRender:
        made = FakeRender(**told)
        monkeypatch.setattr(pipeline, "render_shot", made)
        return made

    return install


def source_flags(small: Small) -> list[str]:
    return ["--source", str(small.folder / "source.png"), "--source-track", str(small.folder / "source.json")]


def target_flags(small: Small) -> list[str]:
    return ["--target", small.plate, "--target-track", str(small.folder / "plate.json")]
