"""Damaged pictures of a source: they are not used while others are there, and it is said."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fsgan_core.contract.errors import FsganError
from fsgan_core.contract.layers import RGB
from fsgan_core.contract.shot import Clip, Shot
from fsgan_core.plates.exr_writer import write_exr
from fsgan_core.plates.image_reader import read_image
from fsgan_core.plates.plate import Plate
from fsgan_core.plates.sequence import FrameSequence
from fsgan_core.render.pipeline import render_shot
from fsgan_core.report.view_map import make_view_map
from fsgan_core.report.view_sheet import describe_view_map
from tests.small_shot import FRAMES, Small

Spoil = Callable[[Path], object]
ALL = range(1, FRAMES + 1)
LEADS = 2  # the view that leads frame 2: it is the same picture


def make_shot(
    small: Small,
    folder: Path,
    spoilt: dict[int, Spoil],
    *,
    frames: Sequence[int] = range(1, FRAMES + 1),
    **settings: str,
) -> Shot:
    """The plate as its own source, frames of which are spoilt before they are opened."""
    for frame in frames:
        path = folder / f"actor.{frame:04d}.exr"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(Path(small.plate.replace("####", f"{frame:04d}")).read_bytes())
        if frame in spoilt:
            spoilt[frame](path)
    shot = small.shot(folder / "out", "2", **settings)
    return replace(shot, source=(Clip(str(folder / "actor.####.exr"), track=str(small.folder / "plate.json")),))


def add_nan(count: int = 1) -> Spoil:
    """Spoils pixels beside the nose."""

    def spoil(path: Path) -> None:
        plate = read_image(path)
        pixels = plate.pixels.copy()
        x, y = 124 - plate.data_window.x, 125 - plate.data_window.y
        pixels[y, x : x + count, :3] = np.nan
        write_exr(path, replace(plate, pixels=pixels))

    return spoil


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def render(shot: Shot) -> np.ndarray:
    result = render_shot(shot)
    assert result.list_frames("rendered") == (2,)
    return read_image(Path(shot.output.path.replace("####", "0002"))).get(*RGB)


def list_warnings(caplog: pytest.LogCaptureFixture, word: str) -> list[str]:
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING and word in record.message]


def tell_views(shot: Shot) -> str:
    return "\n".join(describe_view_map(make_view_map(shot.source, shot.stages, shot.target, pictures=False)))


def test_a_view_with_bad_pixels_is_like_an_excluded_one(
    small: Small, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spoilt = make_shot(small, tmp_path / "a", {LEADS: add_nan(), 4: add_nan()})
    excluded = make_shot(small, tmp_path / "b", {}, reenact__exclude=f"{LEADS},4")
    whole = make_shot(small, tmp_path / "c", {})
    picture = render(spoilt)
    assert picture.tobytes() == render(excluded).tobytes() != render(whole).tobytes()
    (warning,) = list_warnings(caplog, "NaN")
    assert "actor.####.exr" in warning and "frames 2,4 are not used as a view" in warning
    assert warning in tell_views(spoilt)
    assert len(list_warnings(caplog, "NaN")) == 1


def test_if_all_views_have_bad_pixels_the_best_is_used(
    small: Small, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spoilt = {frame: add_nan(1 if frame == 1 else 3) for frame in ALL}
    shot = make_shot(small, tmp_path, spoilt)
    assert np.isfinite(render(shot)).all()
    told = "\n".join(list_warnings(caplog, "NaN"))
    assert "frames 2-6 are not used as a view" in told and "frame 1 is used, since no view is without" in told
    assert {view.frame: view.state for view in make_view_map(shot.source, shot.stages, pictures=False).views} == {
        **dict.fromkeys(ALL, "spare"),
        1: "used",
    }


@pytest.mark.parametrize("has_track", [True, False])
def test_a_frame_that_cannot_be_decoded_is_left_out(
    small: Small, tmp_path: Path, caplog: pytest.LogCaptureFixture, has_track: bool
) -> None:
    shot = make_shot(small, tmp_path, {LEADS: cut_off})
    if not has_track:
        shot = replace(shot, source=(replace(shot.source[0], track=""),))
    render(shot)
    (warning,) = list_warnings(caplog, "actor.0002.exr")
    assert warning.endswith("actor.0002.exr cannot be read: frame 2 is left out of the source")
    assert warning in tell_views(shot)
    render(replace(shot, output=replace(shot.output, path=str(tmp_path / "other" / "swap.####.exr"))))
    assert len(list_warnings(caplog, "actor.0002.exr")) == 1
    named = shot.stages.with_settings({"reenact.exclude": str(LEADS)})
    render(replace(shot, stages=named, output=replace(shot.output, path=str(tmp_path / "named" / "swap.####.exr"))))


def test_an_excluded_frame_is_not_read(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shot = make_shot(small, tmp_path, {LEADS: cut_off}, reenact__exclude=f"2-{FRAMES}")
    seen: set[str] = set()
    read = FrameSequence.read

    def note(sequence: FrameSequence, frame: int) -> Plate:
        seen.add(sequence.get_frame_path(frame).name)
        return read(sequence, frame)

    monkeypatch.setattr(FrameSequence, "read", note)
    render(shot)
    assert {name for name in seen if name.startswith("actor")} == {"actor.0001.exr"}


def test_if_no_frame_can_be_decoded_it_is_an_error(small: Small, tmp_path: Path) -> None:
    shot = make_shot(small, tmp_path, {1: cut_off, 2: cut_off}, frames=(1, 2))  # the others are missing
    with pytest.raises(FsganError, match=r"no source view is left.*cannot be read"):
        render_shot(shot)
