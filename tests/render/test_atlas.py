"""The atlas of a source from files to files: baked, painted on, read back, and what it is refused for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fsgan_core.cli import main
from fsgan_core.contract.errors import InputError, PlateError
from fsgan_core.contract.layers import ATLAS_CHANNELS, CONFIDENCE, META_ATLAS, META_COLORSPACE, META_SYNTHETIC, RGB
from fsgan_core.contract.shot import Stages
from fsgan_core.plates.exr_writer import write_exr
from fsgan_core.plates.image_reader import read_image
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.render.atlas import compute_painted_digest
from fsgan_core.render.bake_atlas import write_atlas
from fsgan_core.render.pipeline import RenderJob, plan_shot_job
from fsgan_core.runtime.arrays import Image
from tests.small_shot import Small


@pytest.fixture(scope="module")
def baked(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("atlas") / "atlas.exr"
    facts = write_atlas(small.shot(path.parent).source, path)
    assert facts["views"] == 1 and facts["sure"] > 0.35 and facts["size"] == 256
    return path


def paint(baked: Path, output: Path, colour: tuple[float, float, float] | None) -> Path:
    """The baked atlas with a patch of colour on the forehead."""
    plate = read_image(baked)
    pixels = plate.pixels.copy()
    if colour is not None:
        pixels[60:75, 115:140, :3] = colour
    write_exr(output, Plate(pixels, plate.channels, plate.data_window, plate.display_window), depth="half")
    return output


def render_face(small: Small, folder: Path, **settings: str) -> tuple[Image, str]:
    """The reenacted face of frame 1, and what the key of the final picture depends on."""
    job = RenderJob(plan_shot_job(small.shot(folder, frames="1", layers="all", **settings)))
    result = job.run()
    assert not result.failures
    plate = read_image(folder / "swap.0001.exr")
    return plate.get("reenacted.R", "reenacted.G", "reenacted.B"), str(plate.metadata["fsgan/key-parts"])


def test_atlas_file(baked: Path) -> None:
    plate = read_image(baked)
    assert plate.channels == ATLAS_CHANNELS or set(plate.channels) == set(ATLAS_CHANNELS)
    assert set(plate.formats) == {"float"}
    assert plate.metadata[META_SYNTHETIC] == 1 and plate.metadata[META_ATLAS] and plate.metadata[META_COLORSPACE]
    confidence = plate.get_matte(CONFIDENCE)
    assert confidence.min() >= 0 and confidence.max() <= 1 and confidence.mean() > 0.2
    assert np.isfinite(plate.get(*RGB)).all()


def test_paint_shows_in_the_frame_and_nothing_else_changes(small: Small, baked: Path, tmp_path: Path) -> None:
    plain, parts = render_face(small, tmp_path / "plain")
    same, same_parts = render_face(
        small, tmp_path / "same", reenact__atlas=str(paint(baked, tmp_path / "same.exr", None))
    )
    assert np.array_equal(plain, same)
    painted, painted_parts = render_face(
        small, tmp_path / "green", reenact__atlas=str(paint(baked, tmp_path / "green.exr", (0.02, 0.4, 0.02)))
    )
    changed = np.abs(painted - plain).max(-1) > 1e-3
    assert 20 < changed.sum() < 0.1 * (plain.max(-1) > 0).sum()
    greener = (painted[..., 1] / painted[..., 0].clip(1e-4) > 1.3) & (painted[..., 1] > 0.01)
    assert greener.sum() > 20
    assert " atlas:" in f" {painted_parts}" and len({parts, same_parts, painted_parts}) == 3


def test_what_is_no_atlas_is_refused(small: Small, baked: Path, tmp_path: Path) -> None:
    def refuse(path: Path, match: str) -> None:
        with pytest.raises(PlateError, match=match):
            RenderJob(plan_shot_job(small.shot(tmp_path / "out", frames="1", reenact__atlas=str(path)))).run()

    refuse(tmp_path / "none.exr", "none.exr")
    for name, size, channels, match in (
        ("wide", (64, 32), RGB, "is not an atlas: it is 64x32"),
        ("small", (64, 64), RGB, "another size .* 64x64 pixels, the atlas is 256x256"),
        ("grey", (256, 256), ("R", "matte.face"), "no channel G, B"),
    ):
        window = Window(0, 0, *size)
        pixels = np.zeros((size[1], size[0], len(channels)), np.float32)
        write_exr(tmp_path / f"{name}.exr", Plate(pixels, channels, window, window))
        refuse(tmp_path / f"{name}.exr", match)


def test_command(small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = ["--source", str(small.folder / "source.png"), "--source-track", str(small.folder / "source.json")]
    assert main(["atlas", *source, "-o", str(tmp_path / "a.exr")]) == 0
    assert "256x256 texels from 1 view," in capsys.readouterr().out
    assert main(["atlas", *source, "-o", str(tmp_path / "a.png")]) == 2
    assert "must end in .exr" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"must end in \.exr"):
        write_atlas(small.shot(tmp_path).source, "a.jpg", Stages())


def test_file_digest(tmp_path: Path) -> None:
    assert compute_painted_digest("") == "" and compute_painted_digest(str(tmp_path / "none")) == "missing"
    (tmp_path / "one").write_bytes(b"1")
    assert compute_painted_digest(str(tmp_path / "one")) == compute_painted_digest(str(tmp_path / "one")) != "missing"
