"""What a report keeps of a frame while it is rendered is what it would read from the frame's file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fsgan_core.clips.inputs import open_input, open_inputs
from fsgan_core.contract.layers import META_KEY
from fsgan_core.contract.shot import Clip, Shot
from fsgan_core.plates.exr_writer import write_exr
from fsgan_core.plates.image_reader import read_image
from fsgan_core.render.pipeline import render_shot
from fsgan_core.report import kept_looks, write
from fsgan_core.report.kept_looks import KeptLooks
from fsgan_core.report.looks import FrameLook, LookMaker, LookReader, compute_look_margin
from fsgan_core.report.write import make_report
from tests.small_shot import Small


def read_looks(shot: Shot, frames: list[int]) -> list[FrameLook]:
    inputs = open_inputs(shot.source, shot.target, shot.stages)
    result = open_input(Clip(shot.output.path, inputs.output_space), inputs.config)
    maker = LookMaker(inputs.config, inputs.target.space, compute_look_margin(inputs, shot.job))
    return list(LookReader(inputs.target, result, maker).iterate(frames))


@pytest.mark.parametrize("depth", ["auto", "float"])
def test_they_are_those_of_the_files(small: Small, tmp_path: Path, depth: str) -> None:
    shot = small.shot(tmp_path, "1-2", layers="all", output__depth=depth)
    kept = KeptLooks()
    assert not render_shot(shot, on_picture=kept.keep).failures
    for read in read_looks(shot, [1, 2]):
        found = kept.take(read.number, shot.output.path)
        assert found is not None and found.window == read.window and found.face_box == read.face_box
        assert found.metadata == read.metadata and found.pictures.keys() == read.pictures.keys() != set()
        for name in ("before", "after", "part_before", "part_after", "matte"):
            np.testing.assert_array_equal(getattr(found, name), getattr(read, name), err_msg=name)
        for name, picture in read.pictures.items():
            np.testing.assert_array_equal(found.pictures[name], picture, err_msg=name)
        assert found.part_before.any() and (found.part_before != found.part_after).any()


def test_a_report_reads_no_frame_that_was_rendered_just_now(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shot, kept = small.shot(tmp_path, "1-2"), KeptLooks()
    result = render_shot(shot, on_picture=kept.keep)
    read: list[int] = []
    usual = LookReader.read_plates
    monkeypatch.setattr(LookReader, "read_plates", lambda self, frame: read.append(frame) or usual(self, frame))
    with_kept = make_report(tmp_path / "a", shot, result, measure="none", kept=kept).data
    assert read == []
    without = make_report(tmp_path / "b", shot, result, measure="none").data
    assert sorted(read) == [1, 2]
    assert with_kept.figures == without.figures and with_kept.frames == without.frames


def test_a_file_that_was_replaced_since_is_read(small: Small, tmp_path: Path) -> None:
    shot, kept = small.shot(tmp_path, "1"), KeptLooks()
    path = render_shot(shot, on_picture=kept.keep).frames[0].path
    plate = read_image(path)
    write_exr(path, replace(plate, metadata={**plate.metadata, META_KEY: "another"}))
    assert kept.take(1, shot.output.path) is None


def test_what_a_lossy_file_holds_is_read(small: Small, tmp_path: Path) -> None:
    shot, kept = small.shot(tmp_path, "1", output__compression="dwaa"), KeptLooks()
    render_shot(shot, on_picture=kept.keep)
    assert kept.take(1, shot.output.path) is None


def test_memory_is_bounded(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_looks, "MAX_KEPT_BYTES", 1)
    shot, kept = small.shot(tmp_path, "1-6"), KeptLooks()
    render_shot(shot, on_picture=kept.keep)
    found = [frame for frame in range(1, 7) if kept.take(frame, shot.output.path) is not None]
    assert 1 <= len(found) < 6, "those that were begun before the first one was kept"


def test_their_time_is_taken_off_what_the_report_may_take(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shot, kept = small.shot(tmp_path, "1-2"), KeptLooks()
    result = render_shot(shot, on_picture=kept.keep)
    assert kept.seconds > 0
    kept.seconds = 1000.0
    budgets: list[float] = []
    usual = write.measure_faces
    monkeypatch.setattr(
        write,
        "measure_faces",
        lambda *given, budget, **named: budgets.append(budget) or usual(*given, budget=0, **named),
    )
    make_report(tmp_path / "a", shot, result, kept=kept)
    assert budgets[0] < -900
