"""`fsgan verify` raises no false alarm, whatever was rendered."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fsgan_core.contract.layers import RGB
from fsgan_core.contract.shot import Shot
from fsgan_core.plates.exr_writer import write_exr
from fsgan_core.plates.image_reader import read_image
from fsgan_core.plates.plate import Plate
from fsgan_core.plates.sequence import format_output_path
from fsgan_core.render.pipeline import render_shot
from fsgan_core.render.verify import verify_files, verify_shot
from tests.render.test_bad_input import copied
from tests.render.test_pipeline import write_parts
from tests.small_shot import Small, plate_of


def expect_whole(shot: Shot) -> None:
    result = render_shot(shot)
    assert not result.failures
    for found in (*verify_shot(shot), *verify_files(shot.output.path)):
        assert (found.state, found.message) == ("whole", "")
    assert render_shot(shot).list_frames("kept") == tuple(sorted(frame.frame for frame in result.frames))


@pytest.mark.parametrize("layers", ["result", "all"])
def test_a_drive(small: Small, tmp_path: Path, layers: str) -> None:
    expect_whole(small.shot(tmp_path, "2", job="drive", layers=layers))


def test_a_second_pass(small: Small, tmp_path: Path) -> None:
    """The target is a finished frame with all layers and statements of its own."""
    first = small.shot(tmp_path / "first", "2", layers="all", consent__reference="R-1")
    render_shot(first)
    second = small.shot(tmp_path / "second", "2", layers="all", target=first.output.path)
    expect_whole(second)
    expect_whole(small.shot(tmp_path / "third", "2", target=first.output.path, blend__engine="over"))


def test_a_frame_without_a_face(small: Small, tmp_path: Path, grace_hopper: np.ndarray) -> None:
    plates = copied(small, tmp_path / "in")
    for frame in (1, 2, 3):
        write_exr(plates.folder / f"plate.{frame:04d}.exr", plate_of(np.full_like(grace_hopper, 60), frame))
    shot = plates.shot(tmp_path / "out", "3-4", layers="all")
    expect_whole(replace(shot, target=replace(shot.target, track="")))


@pytest.mark.parametrize("eye", ["left", "right"])
def test_one_eye_of_a_stereo_plate(small: Small, tmp_path: Path, eye: str) -> None:
    plate = read_image(format_output_path(small.plate, 2))
    colours = plate.pixels[..., :3]
    write_parts(tmp_path / "stereo.0002.exr", {"left": colours, "right": colours}, plate)
    shot = small.shot(tmp_path / "out", "2")
    shot = replace(shot, target=replace(shot.target, path=str(tmp_path / "stereo.####.exr"), part=eye))
    expect_whole(shot)
    path = tmp_path / "out" / "swap.0002.exr"
    other = "left" if eye == "right" else "right"
    painted = read_image(path, other)
    painted.pixels[2, 2] = 0.5
    parts = {name: read_image(path, name).get(*RGB) for name in ("left", "right")} | {other: painted.get(*RGB)}
    write_parts(path, parts, plate)
    assert [found.state for found in verify_shot(shot)] != ["whole"]


def test_ids_and_a_held_frame(small: Small, tmp_path: Path) -> None:
    plate = read_image(format_output_path(small.plate, 2))
    ids = np.arange(plate.pixels[..., 0].size, dtype=np.uint32).reshape(plate.pixels.shape[:2]) + np.uint32(2**31)
    pixels = np.dstack([plate.pixels, ids.astype(np.float32)])
    with_ids = Plate(
        pixels,
        (*plate.channels, "object.id"),
        plate.data_window,
        plate.display_window,
        1.0,
        {"shot": "ids", "framesPerSecond": 24.0, "list": ["a", "b"]},
        (*plate.formats, "uint"),
        {"object.id": ids},
    )
    write_exr(tmp_path / "ids.0002.exr", with_ids)
    shot = small.shot(tmp_path / "out", "2-3", target=str(tmp_path / "ids.####.exr"), output__missing="hold")
    expect_whole(shot)
    path = tmp_path / "out" / "swap.0002.exr"
    finished = read_image(path)
    finished.integers["object.id"][0, 0] ^= 1
    write_exr(path, finished)
    assert [found.state for found in verify_shot(shot)] == ["changed", "whole"]
