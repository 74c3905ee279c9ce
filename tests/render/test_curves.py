"""Parameters that change over time: each frame is rendered, and made stale, by its own values."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fsgan_core.contract.curve import Curve
from fsgan_core.contract.param_fields import iterate_param_fields
from fsgan_core.contract.params import STAGE_PARAMS, MaskParams
from fsgan_core.contract.shot import Shot, Stages
from fsgan_core.farm.bundle import make_bundle, write_bundle
from fsgan_core.plates.image_reader import read_image
from fsgan_core.render.pipeline import RenderJob, render_shot
from fsgan_core.render.plan import plan_shot_job
from fsgan_core.stages.masking import MEASURING_PARAMS, measure_mattes
from tests.small_shot import FRAMES, Small

CURVED = [
    (stage, knob) for stage, cls in STAGE_PARAMS.items() for knob in iterate_param_fields(cls) if knob.is_animatable
]
CURVED_NAMES = [f"{stage}.{knob.name}" for stage, knob in CURVED]
FRAME = 2


def with_settings(shot: Shot, settings: dict[str, Any]) -> Shot:
    return replace(shot, stages=shot.stages.with_settings(settings))


def make_shot(small: Small, output: Path, settings: dict[str, Any], frames: str = "", job: str = "swap") -> Shot:
    return with_settings(small.shot(output, frames, job, mask__smooth="1"), settings)


def compute_keys(shot: Shot) -> dict[int, str]:
    job = RenderJob(plan_shot_job(shot))
    return {frame: job.compute_frame_key(frame) for frame in range(1, FRAMES + 1)}


def find_changed_frames(one: dict[int, str], other: dict[int, str]) -> list[int]:
    return [frame for frame in one if one[frame] != other[frame]]


def read_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.exr"))}


@pytest.mark.parametrize(("stage", "knob"), CURVED, ids=CURVED_NAMES)
def test_a_frame_has_the_key_of_its_own_value(small: Small, tmp_path: Path, stage: str, knob: Any) -> None:
    """As if the parameter had that value in the whole clip."""
    job = "drive" if stage == "drive" else "swap"
    name, low, high = f"{stage}.{knob.name}", knob.minimum, knob.maximum
    if name == "reenact.likeness" or name.startswith("reenact.likeness_"):
        low = 0.2  # at 0 the proportions do not enter the key
    if stage == "drive":  # the plan of a drive spans the clip: only the curve's own frame may differ
        low = knob.default
    if name == "mask.smooth":
        low, high = 1, 3
    values = {frame: high if frame == FRAME else low for frame in range(1, FRAMES + 1)}
    curved = compute_keys(make_shot(small, tmp_path, {name: values}, job=job))
    plain = compute_keys(make_shot(small, tmp_path, {name: low}, job=job))
    changed = find_changed_frames(curved, plain)
    if stage == "drive":
        assert FRAME in changed
    elif knob.name in MEASURING_PARAMS:
        assert changed == [FRAME - 1, FRAME, FRAME + 1]  # their mattes are averaged with the frame's
    else:
        assert changed == [FRAME]
        assert curved[FRAME] == compute_keys(make_shot(small, tmp_path, {name: high}, job=job))[FRAME]


CHANGING = {
    "mask.feather": {1: 0.02, FRAMES: 0.2},
    "mask.forehead": {1: 1.2, FRAMES: 0.6},
    "mask.smooth": {1: 0, 3: 2, FRAMES: 0},
    "mask.size": {1: -2, FRAMES: 2},
    "reenact.likeness": {1: 0.0, FRAMES: 1.0},
    "blend.grain": {1: 0.0, FRAMES: 2.0},
    "blend.mix": {1: 1.0, FRAMES: 0.5},
}


def test_chunks_equal_the_whole(small: Small, tmp_path: Path) -> None:
    render_shot(make_shot(small, tmp_path / "whole", CHANGING))
    for chunk in ("5-6", "1-2", "4", "3"):
        render_shot(make_shot(small, tmp_path / "chunks", CHANGING, chunk))
    assert read_files(tmp_path / "whole") == read_files(tmp_path / "chunks")
    assert len(read_files(tmp_path / "whole")) == FRAMES


def test_chunks_of_a_drive_equal_the_whole(small: Small, tmp_path: Path) -> None:
    settings = {"drive.mouth": {1: 0.0, FRAMES: 2.0}, "drive.pose": {1: 0.0, FRAMES: 0.5}}
    render_shot(make_shot(small, tmp_path / "whole", settings, "2-4", "drive"))
    for chunk in ("4", "2-3"):
        render_shot(make_shot(small, tmp_path / "chunks", settings, chunk, "drive"))
    assert read_files(tmp_path / "whole") == read_files(tmp_path / "chunks")


def test_a_frame_looks_as_with_its_own_values(small: Small, tmp_path: Path) -> None:
    names = ("mask.feather", "mask.size", "reenact.likeness", "blend.grain", "blend.mix")
    render_shot(make_shot(small, tmp_path / "curves", {name: CHANGING[name] for name in names}, "3"))
    plain = {name: Curve.from_dict(CHANGING[name]).get_value(3) for name in names}
    render_shot(make_shot(small, tmp_path / "plain", plain, "3"))
    assert read_files(tmp_path / "curves") == read_files(tmp_path / "plain")
    render_shot(make_shot(small, tmp_path / "other", {**plain, "blend.mix": 1.0}, "3"))
    pictures = [read_image(tmp_path / folder / "swap.0003.exr").pixels for folder in ("curves", "other")]
    assert (pictures[0] != pictures[1]).any()


def test_a_changed_sample_renders_only_its_frame(small: Small, tmp_path: Path) -> None:
    values = dict.fromkeys(range(1, FRAMES + 1), 0.05)
    render_shot(make_shot(small, tmp_path, {"mask.feather": values}))
    result = render_shot(make_shot(small, tmp_path, {"mask.feather": {**values, 4: 0.2}}))
    assert [report.frame for report in result.frames if report.state == "rendered"] == [4]


@pytest.mark.parametrize("name", [knob.name for stage, knob in CURVED if stage == "mask"])
def test_what_a_measurement_depends_on(small: Small, tmp_path: Path, name: str) -> None:
    """`MEASURING_PARAMS` lists all of it: the keys of the neighbours rely on that."""
    renderer = RenderJob(plan_shot_job(small.shot(tmp_path))).renderer
    face_frame = renderer.get_face_frame(FRAME)
    knob = next(knob for knob in iterate_param_fields(MaskParams) if knob.name == name)
    one, other = (
        measure_mattes(face_frame, params=MaskParams().replace(**{name: value}))
        for value in (knob.minimum, knob.maximum)
    )
    if name not in MEASURING_PARAMS:
        assert np.array_equal(one.pixels, other.pixels)


def test_stages_without_curves_stay_the_same() -> None:
    assert Stages().at_frame(7) == Stages()


def test_shot_file_and_farm_job_carry_curves(small: Small, tmp_path: Path) -> None:
    shot = make_shot(small, tmp_path / "out", CHANGING)
    shot.save(tmp_path / "shot.toml")
    assert Shot.load(tmp_path / "shot.toml").stages == shot.stages
    write_bundle(make_bundle(shot), tmp_path / "job")
    sent = Shot.load(tmp_path / "job" / "shot.toml").stages  # its engines are those of this machine
    for name in CHANGING:
        stage, _, parameter = name.partition(".")
        assert getattr(getattr(sent, stage), parameter) == getattr(getattr(shot.stages, stage), parameter)
