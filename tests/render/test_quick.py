"""A quick look analyses the rendered frames only; what it renders is flagged, and stale for any other render."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fsgan_core.cli import main
from fsgan_core.clips import tracks
from fsgan_core.contract import layers
from fsgan_core.contract.errors import InputError
from fsgan_core.contract.shot import Clip, Shot
from fsgan_core.plates.image_reader import read_header, read_image
from fsgan_core.render import pipeline
from fsgan_core.render.frame_status import compute_frame_states
from fsgan_core.render.pipeline import RenderJob, render_shot
from fsgan_core.render.plan import plan_shot_job
from fsgan_core.render.verify import verify_shot
from fsgan_core.runtime.events import KEPT, RENDERED
from tests.small_shot import Small


@pytest.fixture
def analysed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[int, ...]]]:
    """The clips that were analysed, with their frames."""
    calls = []
    analyse = tracks.analyse_clip

    def note(clip_input, frames, *args, **options):
        calls.append((clip_input.name, frames))
        return analyse(clip_input, frames, *args, **options)

    monkeypatch.setattr(tracks, "analyse_clip", note)
    return calls


def untracked(small: Small, tmp_path: Path, frames: str) -> Shot:
    shot = small.shot(tmp_path / "out", frames)
    sources = tuple(replace(source, track="") for source in shot.source)
    return replace(shot, source=sources, target=replace(shot.target, track=""))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FSGAN_CACHE", str(tmp_path / "cache"))


def test_only_these_frames_are_analysed_and_flagged(
    small: Small, tmp_path: Path, analysed: list[tuple[str, tuple[int, ...]]]
) -> None:
    shot = untracked(small, tmp_path, "2,5")
    result = render_shot(shot, quick=True)
    assert [frame.state for frame in result.frames] == [RENDERED, RENDERED]
    assert dict(analysed)["plate"] == (2, 5)
    assert all("quick" in frame.flags for frame in result.frames)
    assert any(note.startswith("quick in 2,5 (2 frames): only these frames were analysed") for note in result.notes)
    metadata = read_header(tmp_path / "out" / "swap.0002.exr").metadata
    assert "quick" in str(metadata[layers.META_FLAGS]).split(", ") and metadata[layers.META_SYNTHETIC] == 1


def test_a_normal_render_does_it_again(small: Small, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shot = untracked(small, tmp_path, "3")
    (quick,) = render_shot(shot, quick=True).frames
    assert [frame.state for frame in render_shot(shot, quick=True).frames] == [KEPT]
    (state,) = compute_frame_states(RenderJob(plan_shot_job(shot)))
    assert state.state == "stale"
    render_shot(shot, frames="1")  # now the clips are analysed
    (state,) = compute_frame_states(RenderJob(plan_shot_job(shot)))
    assert state.state == "stale" and "quick" in state.changed
    (verified,) = verify_shot(shot)
    assert verified.state == "stale" and "a quick look" in verified.message
    looked = read_image(Path(quick.path)).get("R", "G", "B")
    with caplog.at_level(logging.WARNING):
        (full,) = render_shot(shot).frames
    assert full.state == RENDERED and "quick" not in full.flags
    assert "holds frames rendered with other settings" in caplog.text and "a quick look" in caplog.text
    final = read_image(Path(full.path))
    assert "quick" not in str(final.metadata.get(layers.META_FLAGS, ""))
    difference = np.abs(final.get("R", "G", "B") - looked)
    assert difference.max() > 0 and difference.mean() < 0.02  # the same person, near the same place


def test_finished_frames_are_not_replaced(small: Small, tmp_path: Path) -> None:
    shot = untracked(small, tmp_path, "3")
    (full,) = render_shot(shot).frames
    before = Path(full.path).read_bytes()
    with pytest.raises(InputError, match=r"swap\.0003\.exr was rendered with the analysis of the whole clip"):
        render_shot(shot, quick=True)
    assert Path(full.path).read_bytes() == before
    (forced,) = render_shot(shot, quick=True, force=True).frames
    assert forced.state == RENDERED and "quick" in forced.flags


def test_a_frame_without_a_face_is_flagged_too(small: Small, tmp_path: Path) -> None:
    from fsgan_core.plates.exr_writer import write_exr

    plate = read_image(small.folder / "plate.0001.exr")
    blank = tmp_path / "blank.0001.exr"
    write_exr(blank, replace(plate, pixels=np.zeros_like(plate.pixels)))
    shot = replace(untracked(small, tmp_path, ""), target=Clip(str(blank)))
    (frame,) = render_shot(shot, quick=True).frames
    assert frame.flags == ("quick", "no-face")


def test_a_drive_is_refused(small: Small, tmp_path: Path) -> None:
    shot = replace(untracked(small, tmp_path, "3"), job="drive")
    with pytest.raises(InputError, match="a drive cannot be quick"):
        render_shot(shot, quick=True)


def test_the_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def render(*_: object, quick: bool, **__: object) -> None:
        asked.append(quick)
        raise InputError("enough")

    monkeypatch.setattr(pipeline, "render_shot", render)
    swap = ["swap", "--source", "a.png", "--target", "b.png", "--output", "c.####.exr"]
    for flags in ([], ["--quick"]):
        assert main([*swap, *flags]) == 2
    assert asked == [False, True]
    with pytest.raises(SystemExit):  # a drive has no such flag
        main(["drive", "--driver", "a.png", "--plate", "b.png", "--output", "c.####.exr", "--quick"])
    assert len(asked) == 2
