"""What a report reads of a frame: the face at full size, the whole picture small, and only real changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from fsgan_core.clips.inputs import open_input
from fsgan_core.contract.layers import META_COLORSPACE, META_FACE, META_FLAGS
from fsgan_core.contract.shot import Clip
from fsgan_core.plates.colour import open_config
from fsgan_core.plates.exr_writer import write_exr
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.report import looks
from fsgan_core.report.looks import LookMaker, LookReader, find_largest_channel

BOX = (800, 300, 200, 200)


@pytest.fixture
def reader(tmp_path: Path) -> LookReader:
    """Frames of 1600x900: a changed face, one that was passed through, and a change without a box."""
    window = Window(0, 0, 1600, 900)
    noise = np.random.default_rng(1).random((900, 1600, 3), np.float32) * 0.5 + 0.1
    noise[..., 1] = 0.1 + 0.5 * (np.arange(1600) // 40 % 2)  # hard edges, which shrink differently in linear light
    plate = Plate(noise, ("R", "G", "B"), window, window)
    changed = noise.copy()
    changed[350:450, 850:950] += 0.3
    space = {META_COLORSPACE: "ACEScg"}
    for frame, pixels, metadata in (
        (1, changed, {META_FACE: " ".join(map(str, BOX)), **space}),
        (2, noise, {META_FLAGS: "no-face", **space}),
        (3, changed, space),
    ):
        write_exr(tmp_path / f"plate.{frame}.exr", plate)
        write_exr(tmp_path / f"result.{frame}.exr", replace(plate, pixels=pixels, metadata=metadata))
    config = open_config("ocio://default")
    target, result = (open_input(Clip(str(tmp_path / f"{name}.#.exr")), config) for name in ("plate", "result"))
    return LookReader(target, result, LookMaker(config, target.space, 0.6))


def test_the_face_has_all_its_pixels_and_the_rest_is_the_targets(reader: LookReader) -> None:
    look = reader.read(1)
    assert look.before.shape == (540, 960, 3) and look.after.shape == look.before.shape
    assert look.window == Window(710, 210, 380, 380), "the face with its margin; the change lies within"
    assert look.part_before.shape == (380, 380, 3) and look.part_after.shape == (380, 380, 3)
    difference = find_largest_channel(cv2.absdiff(look.part_before, look.part_after)) > looks.MIN_CHANGE
    rows, columns = np.flatnonzero(difference.any(axis=1)), np.flatnonzero(difference.any(axis=0))
    assert (rows[0], rows[-1]) == (140, 239) and (columns[0], columns[-1]) == (140, 239)
    outside = look.before != look.after
    outside[210 * 3 // 5 - 1 : 590 * 3 // 5 + 1, 710 * 3 // 5 - 1 : 1090 * 3 // 5 + 1] = False
    assert not outside.any()
    middle = (slice(215, 265), slice(515, 565))
    assert (look.after[middle].astype(int) - look.before[middle]).mean() > 20


@pytest.mark.parametrize("x", [800, 801, 802, 803])
@pytest.mark.parametrize("y", [300, 301, 302])
def test_the_small_picture_shows_the_result_wherever_the_face_lies(reader: LookReader, x: int, y: int) -> None:
    """An area that ended at the face's frame had no room for whole small pixels, and the target was shown instead."""
    result = reader.result.sequence.read(1)
    path = reader.result.sequence.get_frame_path(1)
    write_exr(path, replace(result, metadata={**result.metadata, META_FACE: f"{x} {y} 200 200"}))
    look = replace(reader, maker=replace(reader.maker, margin=0.3)).read(1)
    middle = (slice(215, 265), slice(515, 565))
    assert (look.after[middle].astype(int) - look.before[middle]).mean() > 20


def test_a_frame_without_a_face_is_unchanged(reader: LookReader) -> None:
    look = reader.read(2)
    assert look.window is None and np.array_equal(look.before, look.after)


def test_changes_are_found_without_a_box(reader: LookReader) -> None:
    assert reader.read(3).window == Window(844, 344, 112, 112)
