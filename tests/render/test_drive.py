"""A drive through the pipeline: cut up it is the same, stage by stage it is the same, by itself it changes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import fsgan_core
from fsgan_core.contract import layers
from fsgan_core.contract.errors import ShotError
from fsgan_core.contract.layers import RGB
from fsgan_core.contract.shot import Clip, Shot
from fsgan_core.plates.image_reader import read_image
from fsgan_core.plates.sequence import format_output_path
from fsgan_core.render.pipeline import render_shot, render_stage
from tests.small_shot import Small


def driven(small: Small, output: Path, frames: str = "", **settings: str) -> Shot:
    """The portrait, driven by the other still."""
    return small.shot(output, frames, job="drive", **settings)


@pytest.fixture(scope="module")
def whole(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drive")
    result = render_shot(driven(small, folder, "1-4"))
    assert result.list_frames("rendered") == (1, 2, 3, 4) and result.command == "drive"
    return folder


def test_something_moves_and_says_who_did_it(small: Small, whole: Path) -> None:
    before, after = read_image(format_output_path(small.plate, 2)), read_image(whole / "swap.0002.exr")
    assert np.abs(before.get(*RGB) - after.get(*RGB)).max() > 0.01
    assert after.metadata[layers.META_DRIVER] == "source" and after.metadata[layers.META_SYNTHETIC] == 1
    assert after.metadata[layers.META_ENGINE].startswith("drive=liquify, mask=geometric, ")
    assert "plate" in after.metadata[layers.META_SOURCE]


def test_chunks_equal_the_whole(small: Small, whole: Path, tmp_path: Path) -> None:
    for frames in ("3-4", "1-2"):
        render_shot(driven(small, tmp_path, frames))
    for path in whole.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_stages_equal_one_pass(small: Small, whole: Path, tmp_path: Path) -> None:
    shot = driven(small, tmp_path)
    files = {stage: Clip(str(tmp_path / f"{stage}.####.exr")) for stage in ("reenact", "mask", "inpaint", "blend")}
    for stage, upstream in (
        ("reenact", ()),
        ("mask", ()),
        ("inpaint", ("reenact", "mask")),
        ("blend", ("inpaint", "mask")),
    ):
        result = render_stage(
            stage,
            sources=shot.source,
            target=shot.target,
            output=files[stage].path,
            job="drive",
            frames="2",
            upstream={name: files[name] for name in upstream},
            stages=shot.stages,
        )
        assert result.list_frames("rendered") == (2,)
    one, other = read_image(whole / "swap.0002.exr"), read_image(tmp_path / "blend.0002.exr")
    assert one.pixels.tobytes() == other.pixels.tobytes()


def test_by_itself_it_changes_nothing_to_be_seen(small: Small, tmp_path: Path) -> None:
    shot = driven(small, tmp_path, "3")
    shot = replace(shot, source=(Clip(small.plate, track=str(small.folder / "plate.json")),))
    render_shot(shot)
    config = fsgan_core.open_config()
    before, after = (
        config.to_srgb8(read_image(path).get(*RGB), "ACEScg").astype(int)
        for path in (format_output_path(small.plate, 3), tmp_path / "swap.0003.exr")
    )
    assert np.abs(before - after).max() <= 4 and np.abs(before - after).mean() < 0.05


def test_one_driver(small: Small, tmp_path: Path) -> None:
    shot = driven(small, tmp_path)
    with pytest.raises(ShotError, match="one driver"):
        render_shot(replace(shot, source=shot.source * 2))
