"""Colour from file to file: a frame whose colour has changed is rendered again, and states its new space."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import PyOpenColorIO as ocio
import pytest

from fsgan_core.contract.layers import META_COLORSPACE, RGB
from fsgan_core.contract.shot import Shot
from fsgan_core.plates.colour import open_config
from fsgan_core.plates.exr_writer import write_exr
from fsgan_core.plates.image_reader import read_image
from fsgan_core.plates.plate import TypedValue
from fsgan_core.plates.sequence import format_output_path
from fsgan_core.plates.space_search import LINEAR_CHROMATICITIES
from fsgan_core.render.pipeline import render_shot
from tests.ocio_configs import VERSION_1_CONFIG, write_cube, write_lut_config
from tests.small_shot import Small

FRAME = "2"


def make_shot(small: Small, folder: Path, config: Path, space: str) -> Shot:
    shot = small.shot(folder / "out", FRAME, colour__config=str(config))
    return replace(shot, target=replace(shot.target, colorspace=space))


def read_result(folder: Path) -> np.ndarray:
    return read_image(folder / "out" / "swap.0002.exr").get(*RGB)


def test_a_lut_is_replaced_under_the_same_name(small: Small, tmp_path: Path) -> None:
    config = write_lut_config(tmp_path / "ocio")
    shot = make_shot(small, tmp_path, config, "camera")
    assert render_shot(shot).list_frames("rendered") == (2,)
    before = read_result(tmp_path)
    assert render_shot(shot).list_frames("kept") == (2,)
    write_cube(config.parent / "luts" / "other.cube", 2.8)
    assert render_shot(shot).list_frames("kept") == (2,), "the LUT of another space"
    write_cube(config.parent / "luts" / "camera.cube", 2.8)
    assert render_shot(shot).list_frames("rendered") == (2,)
    after = read_result(tmp_path)
    middle = (before > 0.05) & (before < 0.5)
    assert np.median(after[middle] / before[middle]) < 0.8, "the new LUT is darker"


def test_a_context_variable_changes(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shot = make_shot(small, tmp_path, write_lut_config(tmp_path / "ocio"), "shotgrade")
    shot = replace(shot, output=replace(shot.output, colorspace="lin"))
    monkeypatch.setenv("SHOT", "sh010")
    assert render_shot(shot).list_frames("rendered") == (2,)
    before = read_result(tmp_path)
    monkeypatch.setenv("SHOT", "sh020")
    assert render_shot(shot).list_frames("rendered") == (2,)
    lamp = before > 1.0
    assert np.median(read_result(tmp_path)[lamp] / before[lamp]) == pytest.approx(2.0, rel=0.01)
    monkeypatch.setenv("UNUSED", "1")
    assert render_shot(shot).list_frames("kept") == (2,)


def test_an_archive_is_rebuilt(small: Small, tmp_path: Path) -> None:
    config = write_lut_config(tmp_path / "ocio")
    archive = tmp_path / "show.ocioz"
    ocio.Config.CreateFromFile(str(config)).archive(str(archive))
    shot = make_shot(small, tmp_path, archive, "camera")
    assert render_shot(shot).list_frames("rendered") == (2,)
    ocio.Config.CreateFromFile(str(config)).archive(str(archive))
    assert render_shot(shot).list_frames("kept") == (2,), "the same content"
    write_cube(config.parent / "luts" / "camera.cube", 2.8)
    ocio.ClearAllCaches()
    ocio.Config.CreateFromFile(str(config)).archive(str(archive))
    assert render_shot(shot).list_frames("rendered") == (2,)


def test_the_same_colour_has_the_same_digest_elsewhere(tmp_path: Path) -> None:
    """On another machine, in another folder, or as an archive."""
    config = write_lut_config(tmp_path / "ocio")
    shutil.copytree(config.parent, tmp_path / "copy")
    ocio.Config.CreateFromFile(str(config)).archive(str(tmp_path / "a.ocioz"))
    paths = [config, tmp_path / "copy" / "lut.ocio", tmp_path / "a.ocioz"]
    digests = {open_config(str(path)).compute_digest("camera", "lin") for path in paths}
    assert len(digests) == 1
    # A change below the seven digits that OCIO's own digest takes of a number.
    grade = config.parent / "luts" / "grade_sh010.cc"
    before = open_config(str(config)).compute_digest("shotgrade")
    grade.write_text(grade.read_text().replace("1.0 1.0 1.0", "1.00000001 1.0 1.0", 1))
    assert open_config(str(config)).compute_digest("shotgrade") != before


def test_a_config_of_version_1_whose_other_space_lacks_its_lut(small: Small, tmp_path: Path) -> None:
    config = tmp_path / "v1.ocio"
    config.write_text(VERSION_1_CONFIG)
    result = render_shot(make_shot(small, tmp_path, config, "linear"))
    assert result.list_frames("rendered") == (2,) and result.colorspace == "linear"


@pytest.mark.parametrize("output", ["", "Linear Rec.709 (sRGB)"])
def test_stale_statements_go_when_pixels_are_converted(small: Small, tmp_path: Path, output: str) -> None:
    plate = read_image(format_output_path(small.plate, 2))
    said = {
        "colorInteropID": "lin_ap1_scene",
        "chromaticities": TypedValue("chromaticities", LINEAR_CHROMATICITIES["lin_ap1_scene"]),
    }
    write_exr(tmp_path / "in" / "plate.0002.exr", replace(plate, metadata={**plate.metadata, **said}))
    shot = small.shot(tmp_path / "out", FRAME)
    shot = replace(
        shot,
        target=replace(shot.target, path=str(tmp_path / "in" / "plate.####.exr")),
        output=replace(shot.output, colorspace=output),
    )
    assert render_shot(shot).list_frames("rendered") == (2,)
    result = read_image(tmp_path / "out" / "swap.0002.exr")
    assert result.metadata["shot"] == "test"
    assert result.metadata[META_COLORSPACE] == (output or "ACEScg")
    if output:
        assert not set(said) & set(result.metadata)
        expected = open_config().convert(plate.get(*RGB), "ACEScg", output)
        outside = np.s_[:40, :20]
        np.testing.assert_allclose(result.get(*RGB)[outside], expected[outside], atol=2e-3)
    else:
        assert result.metadata["colorInteropID"] == "lin_ap1_scene"


def test_a_plate_that_comes_back_in_its_own_space_keeps_its_statement(small: Small, tmp_path: Path) -> None:
    """The plate is ACEScct, the stages work in ACEScg, the result is ACEScct again."""
    plate = read_image(format_output_path(small.plate, 2))
    rgb = open_config().convert(plate.get(*RGB), "ACEScg", "ACEScct")
    coded = replace(
        plate,
        pixels=np.dstack([rgb, plate.pixels[..., 3:]]),
        metadata={"colorInteropID": "ocio:acescct_ap1_scene"},
        formats=(),
        integers={},
    )
    write_exr(tmp_path / "in" / "plate.0002.exr", coded, depth="float")
    for output, kept in (("ACEScct", True), ("", False)):
        shot = small.shot(tmp_path / f"out{kept}", FRAME)
        shot = replace(
            shot,
            target=replace(shot.target, path=str(tmp_path / "in" / "plate.####.exr")),
            output=replace(shot.output, colorspace=output),
        )
        assert render_shot(shot).list_frames("rendered") == (2,)
        metadata = read_image(tmp_path / f"out{kept}" / "swap.0002.exr").metadata
        assert ("colorInteropID" in metadata) == kept
        assert metadata[META_COLORSPACE] == (output or "ACEScg")
